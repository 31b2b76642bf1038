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
    "review_reason_missing", 422, zh="退回或不予批准须写明理由（不超过 2000 字）。",
    en="Returning or refusing takes a reason (2,000 characters at most).")
LINE_UNEXPLAINED: Final = define(
    "demand_line_unexplained", 422, zh="请说明为何需要数据资源“{resource}”的这些字段。",
    en="Say what the columns of “{resource}” are needed for.")
RESOURCE_NEGATIVE: Final = define(
    "demand_resource_negative", 403, zh="数据资源“{resource}”已列入负面清单，任何主体均不得申请授权。",
    en="The resource “{resource}” is on the negative list: it is granted to nobody.")
COLUMN_NEGATIVE: Final = define(
    "demand_column_negative", 403, zh="字段“{column}”（数据资源“{resource}”）已列入负面清单，不得授权。",
    en="The column “{column}” of “{resource}” is on the negative list and never granted.")
VOLUME_EXHAUSTED: Final = define(
    "demand_volume_exhausted", 409, zh="{node}的数据资源“{resource}”已达到部门设定的授权总量，暂不受理新的授权。",
    en="“{resource}” of {node} is in use as much as its department allows in total; no new grant can be made for now.")
TERM_BEYOND_SCENARIO: Final = define(
    "demand_term_beyond_scenario", 422, zh="授权期限不得超过应用场景的期限（{maximum} 天）。",
    en="The term may not go beyond the scenario's own ({maximum} days).")
OPERATION_MISSING: Final = define(
    "operation_missing", 409, zh="该领域目前没有生效的授权运营协议，不能受理数据需求。",
    en="No operation agreement in force covers this sector, so no data can be asked for.")
OPERATION_ENDS: Final = define(
    "operation_ends", 422, zh="授权运营协议将在 {days} 天后到期，申请的授权期限超出协议期限。",
    en="The operation agreement ends in {days} days, before the term asked for.")
REVIEW_OWN: Final = define(
    "review_own", 403, zh="提交人不得审核自己提交的内容。", en="Nobody reviews what they submitted themselves.")
REVIEW_OVER: Final = define(
    "review_over", 409, zh="该事项已有审核结论，或已被新的版本取代。", en="This has been decided already, or a newer version has taken its place.")
LINE_NOT_YOURS: Final = define(
    "review_line_not_yours", 403, zh="只能就本部门提供的数据资源逐项剔除。", en="A department strikes lines of its own resources only.")
COMMENT_INVALID: Final = define(
    "review_comment_invalid", 422, zh="审核意见过长，或针对清单中没有的项目。",
    en="A comment is too long, or about a line that is not in the list.")
NO_AUTHORITY: Final = define(
    "authority_missing", 409, zh="平台尚未登记数据主管部门，不能受理。", en="No data authority is registered, so nothing can be put forward.")
SCENARIO_NOT_ACCEPTED: Final = define(
    "scenario_not_accepted", 409, zh="应用场景尚未通过论证，不能提交数据需求（无场景不授权）。",
    en="The scenario has not been accepted yet; without one no data can be asked for.")
SCENARIO_GRANTED: Final = define(
    "scenario_granted", 409, zh="该场景已有授权，不能撤回。", en="The scenario has grants and cannot be withdrawn.")
DEMAND_OPEN: Final = define(
    "demand_open_version", 409, zh="该数据需求已有一个在办的新版本。", en="A newer version of this demand is under way already.")
GRANT_NOT_CONCERNED: Final = define(
    "grant_not_concerned", 403, zh="该授权不涉及本单位的数据或本单位负责的领域。",
    en="The grant covers neither data of your organisation nor a field it answers for.")
HOLD_REASON: Final = define(
    "hold_reason_missing", 422, zh="请填写撤回理由（不超过 500 字）。", en="Give the reason for withdrawing (500 characters at most).")
VOLUME_INVALID: Final = define(
    "volume_invalid", 422, zh="授权总量须为正整数，期间为月、季或年。", en="The total must be a whole number above nought, in a month, quarter or year.")
RUN_VOLUME_EXHAUSTED: Final = define(
    "volume_exhausted", 409, zh="{node}的数据资源“{resource}”本期可用记录总量已用完。",
    en="The rows of “{resource}” of {node} that may be read in this period are used up.")
SECTOR_UNFIT: Final = define(
    "sector_department_invalid", 422, zh="请选择一个领域和一个行业主管部门。", en="Choose a sector and an industry department.")

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
