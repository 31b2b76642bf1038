"""Problems of the authorisation chain: scenario, data demand, grant, revocation."""

from __future__ import annotations

from typing import Final

from shuyan.problems import define

SCENARIO_INVALID: Final = define(
    "scenario_invalid", 422, zh="应用场景填写有误：“{name}”不能为空、不能过长，且须为规定的取值。",
    en="The scenario is incomplete: “{name}” must be given, not too long, and one of the agreed values.")
DEMAND_INVALID: Final = define(
    "demand_invalid", 422, zh="数据需求清单填写有误：“{name}”缺失、重复或不是规定的形式。",
    en="The data demand is wrong: “{name}” is missing, repeated, or not in the agreed form.")
RESOURCE_UNKNOWN: Final = define(
    "demand_resource_unknown", 422, zh="目录中没有数据资源“{resource}”，或已被部门撤下。",
    en="The catalogue has no resource “{resource}”, or its department has withdrawn it.")
GRADE_FORBIDDEN: Final = define(
    "demand_grade_forbidden", 403, zh="数据资源“{resource}”为 4 级（核心）数据，列入负面清单，任何主体均不得申请授权。",
    en="The resource “{resource}” is of grade 4 (core): it is on the negative list and is granted to nobody.")
COLUMN_UNKNOWN: Final = define(
    "demand_column_unknown", 422, zh="数据资源“{resource}”没有字段“{column}”。",
    en="The resource “{resource}” has no column “{column}”.")
COLUMN_IDENTIFIER: Final = define(
    "demand_column_identifier", 403, zh="字段“{column}”（数据资源“{resource}”）是直接标识符，列入负面清单，不得授权。",
    en="The column “{column}” of “{resource}” is a direct identifier: it is on the negative list and never granted.")
APP_UNKNOWN: Final = define(
    "demand_app_unknown", 422, zh="没有名为“{app}”的已登记应用。", en="There is no registered app called “{app}”.")
FORM_UNFIT: Final = define(
    "demand_form_unfit", 422, zh="所申请的应用“{app}”产出“{form}”，而清单未申请这种输出形式。",
    en="The app “{app}” produces “{form}”, an output form the demand does not ask for.")
COHORT_TOO_SMALL: Final = define(
    "demand_cohort_too_small", 422, zh="最小群体不得低于 {minimum} 条记录。",
    en="The minimum cohort may not be below {minimum} rows.")
PARTICIPANTS_TOO_FEW: Final = define(
    "demand_participants_too_few", 422, zh="最少参与部门不得少于 {minimum} 个：两个部门之间会互相暴露数据。",
    en="At least {minimum} departments must take part: two would reveal each other's data.")
DEPARTMENTS_TOO_FEW: Final = define(
    "demand_departments_too_few", 422,
    zh="数据资源“{resource}”只选了 {count} 个部门，少于所申请的最少参与部门 {minimum} 个。",
    en="“{resource}” is asked of only {count} departments, fewer than the {minimum} that must take part.")
TERM_TOO_LONG: Final = define(
    "demand_term_too_long", 422, zh="授权期限须在 1 至 {maximum} 天之间（不超过三年）。",
    en="The term must be 1 to {maximum} days (three years at most).")
RELEASE_INVALID: Final = define(
    "demand_release_invalid", 422, zh="加噪发布须填写隐私保护条款，精确发布不填：“{name}”。",
    en="Answers with noise need privacy terms, and exact ones have none: “{name}”.")
BUDGET_INVALID: Final = define(
    "demand_budget_invalid", 422, zh="隐私预算须以 ε 或 ρ 二者之一给出，且大于零。",
    en="Give the privacy budget either as ε or as ρ, above nought.")
UNIT_COLUMN_MISSING: Final = define(
    "demand_unit_column_missing", 422, zh="请为数据资源“{resource}”指明区分隐私保护对象的字段。",
    en="Say which column of “{resource}” tells the protected units apart.")
UNIT_COLUMN_UNKNOWN: Final = define(
    "demand_unit_column_unknown", 422, zh="{node}的数据资源“{resource}”没有可用来区分隐私保护对象的字段“{column}”。",
    en="The resource “{resource}” of {node} has no column “{column}” to tell the protected units apart.")
APP_WITHOUT_NOISE: Final = define(
    "demand_app_without_noise", 422, zh="应用“{app}”不支持加噪发布（差分隐私）。",
    en="The app “{app}” cannot answer with noise (differential privacy).")
OWN_FIGURES_UNEXPLAINED: Final = define(
    "demand_own_figures_unexplained", 422, zh="申请展示单个部门自身的数字，须说明理由（不超过 500 字）。",
    en="Say why single departments' own figures have to be shown (500 characters at most).")
GRANT_OUTDATED: Final = define(
    "grant_outdated", 403, zh="该授权凭证由旧版本签发，未载明结果发布方式，按失效处理；请重新提交数据需求并签发。",
    en="This grant was signed by an earlier version and says nothing of how answers are released; it counts as expired. "
       "Submit the demand again and have it signed anew.")
NODE_UNAVAILABLE: Final = define(
    "demand_node_unavailable", 409, zh="部门节点“{node}”已停用，无法签发授权。请拒绝该需求并请申请方重新提交。",
    en="The department's node “{node}” has been revoked, so no grant can be made. Refuse the demand and have it resubmitted.")
REASON_MISSING: Final = define(
    "demand_reason_missing", 422, zh="请填写不予授权的理由（不超过 500 字）。",
    en="Give the reason for refusing (500 characters at most).")

AUTHORITY_KEY_MISSING: Final = define(
    "authority_key_missing", 503, zh="市场尚未安装数据主管部门的公钥（keys/authority.pub），不能受理授权。",
    en="The data authority's public key (keys/authority.pub) is not installed, so no grant can be accepted.")
GRANT_OTHER_DEMAND: Final = define(
    "grant_other_demand", 409, zh="授权凭证与该数据需求不符：{name}。",
    en="The grant does not belong to this demand: {name} differs.")
GRANT_TOO_WIDE: Final = define(
    "grant_too_wide", 409, zh="授权凭证超出已审核的数据需求：{name}。", en="The grant goes beyond the demand: {name}.")
REVOCATIONS_OLD: Final = define(
    "revocations_old", 409, zh="撤销清单编号 {number} 不大于现有清单编号 {latest}。",
    en="Revocation list {number} is not newer than the list {latest} already held.")
REVOCATIONS_DROPPED: Final = define(
    "revocations_dropped", 409, zh="新撤销清单漏掉了已撤销的授权凭证 {grant}；撤销不可收回。",
    en="The new revocation list leaves out the revoked grant {grant}; a revocation is never taken back.")
REVOCATIONS_STALE: Final = define(
    "revocations_past", 409, zh="撤销清单已过下次更新时间，请重新签发。",
    en="The revocation list is past its next update already; sign a new one.")

# --- the authority's own command ---

CARD_MISSING: Final = define(
    "authority_card_missing", 409, zh="尚未核验节点“{node}”的密钥卡，不予签发。请先向该部门索取密钥卡，再运行 shuyan-authority nodes trust。",
    en="The key card of node “{node}” is not trusted yet, so nothing is signed. "
       "Get the card from the department and run shuyan-authority nodes trust.")
CARD_DIFFERS: Final = define(
    "authority_card_differs", 409, zh="市场给出的节点“{node}”的公钥与已核验的密钥卡不符，不予签发。请立即查明原因。",
    en="The market's keys for node “{node}” are not those on the trusted card; nothing is signed. Find out why at once.")
CARD_REPLACES: Final = define(
    "authority_card_replaces", 409, zh="节点“{node}”已有另一张受信密钥卡。确认部门更换密钥后，加 --replace 重试。",
    en="Another card of node “{node}” is trusted already. Once the department confirms new keys, repeat with --replace.")
APP_DIFFERS: Final = define(
    "authority_app_differs", 409, zh="市场给出的应用“{app}”的摘要与本机安装的版本不符，不予签发。",
    en="The market's digest of the app “{app}” is not that of the version installed here; nothing is signed.")
DRAFT_INVALID: Final = define(
    "authority_draft_invalid", 502, zh="市场给出的授权草案不完整或不合规定，不予签发。",
    en="The market's draft of the grant is incomplete or against the rules; nothing is signed.")
STATE_UNREADABLE: Final = define(
    "authority_state_unreadable", 500, zh="无法读取“{name}”，请从备份恢复后重试。",
    en="“{name}” cannot be read; restore it from a backup and try again.")
