"""Messages of the authorisation chain."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind

_SCENARIO, _DEMAND, _GRANT = "scenario:scenario_id", "demand:demand_id", "grant:grant_id"
PAGES: Final = {"scenario": _SCENARIO, "demand": _DEMAND}

ASKED: Final = {
    "scenario": kind("scenario.review_asked", zh="应用场景“{title}”待贵单位审核，请于 {due} 前提出意见。",
                     en="The scenario “{title}” awaits your organisation's opinion by {due}.", page=_SCENARIO),
    "demand": kind("demand.review_asked", zh="“{title}”的数据需求清单待贵单位审核，请于 {due} 前提出意见。",
                   en="The data demand of “{title}” awaits your organisation's opinion by {due}.", page=_DEMAND)}
REMINDED: Final = {
    "scenario": kind("scenario.review_reminder", zh="应用场景“{title}”的审核将于 {due} 到期，请及时办理。",
                     en="Your opinion on the scenario “{title}” is due by {due}.", page=_SCENARIO),
    "demand": kind("demand.review_reminder", zh="“{title}”的数据需求审核将于 {due} 到期，请及时办理。",
                   en="Your opinion on the data demand of “{title}” is due by {due}.", page=_DEMAND)}
OVERDUE: Final = {
    "scenario": kind("scenario.review_overdue", zh="{organisation}对应用场景“{title}”的审核已逾期，数据主管部门可代为决定。",
                     en="{organisation} is late with its opinion on the scenario “{title}”; the data authority may decide in its place.",
                     page=_SCENARIO),
    "demand": kind("demand.review_overdue", zh="{organisation}对“{title}”数据需求的审核已逾期，数据主管部门可代为决定。",
                   en="{organisation} is late with its opinion on the data demand of “{title}”; the data authority may decide in its place.",
                   page=_DEMAND)}
OUTCOME: Final = {
    ("scenario", "accept"): kind("scenario.accepted", zh="应用场景“{title}”已通过论证，可据此提交数据需求。",
                                 en="The scenario “{title}” has been accepted; data may be asked for under it.", page=_SCENARIO),
    ("scenario", "return"): kind("scenario.returned", zh="应用场景“{title}”已退回，请按审核意见修改后重新提交。",
                                 en="The scenario “{title}” came back to be corrected; see the comments.", page=_SCENARIO),
    ("scenario", "refuse"): kind("scenario.refused", zh="应用场景“{title}”未获通过。", en="The scenario “{title}” was refused.",
                                 page=_SCENARIO),
    ("demand", "approve"): kind("demand.approved", zh="“{title}”的数据需求已通过审核（剔除 {struck} 项），下一步签订开发利用协议。",
                                en="The data demand of “{title}” is approved ({struck} lines struck); the development agreement comes next.",
                                page=_DEMAND),
    ("demand", "return"): kind("demand.returned", zh="“{title}”的数据需求已退回，请按逐项意见修改后重新提交。",
                               en="The data demand of “{title}” came back to be corrected; see the comments by line.", page=_DEMAND),
    ("demand", "refuse"): kind("demand.refused", zh="“{title}”的数据需求未获批准。", en="The data demand of “{title}” was refused.",
                               page=_DEMAND)}
AGREED: Final = kind("demand.agreed", zh="“{title}”的开发利用协议已生效，请数据主管部门签发授权凭证。",
                     en="The development agreement of “{title}” is in force; its grant can be signed.", page=_DEMAND)
LAPSED: Final = kind("demand.lapsed", zh="“{title}”的数据需求因协议终止而失效。",
                     en="The data demand of “{title}” has lapsed, for its agreement ended.", page=_DEMAND)
ISSUED: Final = kind("grant.issued", zh="“{title}”的授权凭证已签发。", en="The grant of “{title}” has been issued.", page=_GRANT)
HELD: Final = kind("grant.held", zh="{organisation}已撤回对“{title}”的授权：{reason}", en="{organisation} has withdrawn the grant of “{title}”: {reason}",
                   page=_GRANT)
RELEASED: Final = kind("grant.released", zh="{organisation}已恢复对“{title}”的授权。", en="{organisation} has released the grant of “{title}” again.",
                       page=_GRANT)
WITHDRAWAL_ASKED: Final = kind("grant.withdrawal_asked", zh="{organisation}请求撤回“{title}”的授权：{reason}",
                               en="{organisation} asks that the grant of “{title}” be withdrawn: {reason}", page=_GRANT)
