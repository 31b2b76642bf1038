"""Problems of registration, credit lists, ownership and measures."""

from __future__ import annotations

from shuyan.problems import define

REGISTRATION_INCOMPLETE = define(
    "registration_incomplete", 422, zh="注册信息还不完整，缺少：{missing}。", en="The registration is not complete; missing: {missing}.")
QUALIFICATION_EXPIRED = define(
    "qualification_expired", 422, zh="资质“{number}”已于 {date} 到期，请更换有效的资质证明。",
    en="The qualification “{number}” expired on {date}; give one that is valid.")
CREDIT_LISTED = define(
    "credit_listed", 409, zh="“{name}”列于{list}（来源：{source}，{date} 发布），原因：{reason}。移出名单并经复核后方可办理。",
    en="“{name}” is on a credit list ({list}, {source}, published {date}): {reason}. It has to be off the list, and reviewed, first.")
CHECKS_OPEN = define(
    "checks_not_passed", 409, zh="还有审核事项未通过：{items}。", en="Some items are not checked or have not passed: {items}.")
REASON_NEEDED = define("reason_needed", 422, zh="请写明理由（1–2000 字）。", en="Give the reason (1 to 2000 characters).")
OWN_WORK = define("own_work", 403, zh="不能审批自己经办或提交的事项，请由其他人员办理。",
                  en="Nobody decides what they submitted or checked themselves; somebody else has to.")
BARRED_SELF = define(
    "second_tier_barred", 403, zh="授权运营机构不得直接或间接参与授权范围内数据产品和服务的再开发。",
    en="The operator may not redevelop data products itself, neither directly nor indirectly.")
BARRED_CONTROLLED = define(
    "second_tier_controlled", 403, zh="贵单位由运营机构“{operator}”控制（{chain}），不得参与数据产品和服务的再开发。",
    en="Your organisation is controlled by the operator “{operator}” ({chain}) and may not redevelop data products.")
NOT_PARTICIPANT = define(
    "not_a_participant", 422, zh="只能对开发主体和使用方采取此项措施。", en="This can be done to developers and consumers only.")
LIST_INVALID = define("credit_list_invalid", 422, zh="名单第 {line} 行有误：{reason}。", en="The list is wrong in line {line}: {reason}.")
LIST_UNREADABLE = define(
    "credit_list_unreadable", 422, zh="无法读取名单：请提供 UTF-8 或 GB 18030 编码的 CSV，或 JSON。",
    en="The list cannot be read: give CSV in UTF-8 or GB 18030, or JSON.")
LIST_OLDER = define(
    "credit_list_older", 409, zh="已有 {date} 发布的名单，不能导入更早的。", en="A list published on {date} is in force; an older one cannot replace it.")
LIST_EMPTY = define(
    "credit_list_empty", 422, zh="名单中没有任何条目；如确认名单已清空，请注明允许为空。",
    en="The list has no entries; say so if it is meant to be empty.")
SHARE_INVALID = define(
    "shareholding_invalid", 422, zh="持股信息有误：{reason}。", en="The shareholding is not valid: {reason}.")
SHARES_EXCEED = define(
    "shares_exceed_whole", 422, zh="“{owned}”在 {date} 的持股比例合计达 {percent}%，超过 100%。",
    en="On {date} the shares of “{owned}” add up to {percent} %, more than 100 %.")
PERIOD_INVALID = define(
    "period_invalid", 422, zh="期限有误：结束日期须晚于开始日期。", en="The period is not valid: it has to end after it begins.")
