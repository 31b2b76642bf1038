"""Problems of agreements."""

from __future__ import annotations

from shuyan.problems import define

TERMS_INVALID = define("agreement_terms_invalid", 422, zh="协议条款“{name}”填写有误。", en="The agreement's term “{name}” is not valid.")
TERM_LENGTH = define(
    "agreement_term_length", 422, zh="授权期限须为 1 至 {maximum} 个月，填写的是 {months} 个月。",
    en="An agreement runs for 1 to {maximum} months, not for {months}.")
SPLIT = define(
    "agreement_split", 422, zh="各方收益分成比例之和须为 100%，现为 {total}%。", en="The revenue split has to add up to 100 per cent; it adds up to {total}.")
SCOPE_EMPTY = define(
    "agreement_scope_empty", 422, zh="分领域授权须列明领域，场景授权须列明数据资源或领域。",
    en="Mode “field” needs sectors; mode “scenario” needs data resources or sectors.")
UNTIL = define(
    "agreement_until", 422, zh="开发利用协议的终止时间须晚于现在，且不晚于所依据的授权运营协议的终止时间。",
    en="A development agreement has to end in the future and no later than the operation agreement it rests on.")
PLAN_MISSING = define(
    "agreement_plan_missing", 409, zh="尚未附应急预案。按“一授权一预案”，没有预案的授权不能批准或生效。",
    en="The emergency plan is missing. Every authorisation needs its own before it can be approved or take effect.")
TEXT_MISSING = define("agreement_text_missing", 409, zh="尚未附协议文本。", en="The text of the agreement is not attached.")
OWN_PROPOSAL = define(
    "agreement_own_proposal", 409, zh="当前条款由本单位提出，须由对方接受。", en="These terms are your own side's proposal; the other side has to accept them.")
NOTHING_CHANGED = define("agreement_nothing_changed", 422, zh="条款与上一稿完全相同。", en="These terms are the same as those before.")
SELF_REVIEW = define(
    "agreement_self_review", 403, zh="起草或提出过条款的人不能批准同一协议，请由其他审核人员办理。",
    en="Whoever drafted or proposed terms may not approve them; another reviewer has to.")
REASON_MISSING = define("agreement_reason_missing", 422, zh="请写明理由（1–1000 字）。", en="State the reason (1 to 1000 characters).")
NOTE_INVALID = define("agreement_note_invalid", 422, zh="说明过长或含有无效字符（至多 2000 字）。", en="The note is too long or not valid (at most 2000 characters).")
DIGEST_DIFFERS = define(
    "agreement_digest_differs", 409, zh="所签摘要与当前条款不符：条款可能已更新，请重新核对后签署。",
    en="The digest signed is not that of the current terms: they may have changed. Read them again, then sign.")
MISSING = define(
    "agreement_missing", 409, zh="没有生效的授权运营协议覆盖数据资源“{resource}”。",
    en="No operation agreement in force covers the data resource “{resource}”.")
EXPIRED = define(
    "agreement_expired", 409, zh="覆盖数据资源“{resource}”的授权运营协议已到期、终止或暂停。",
    en="The operation agreement that covers the data resource “{resource}” has expired, ended or been suspended.")
NOT_IN_FORCE = define(
    "agreement_not_in_force", 409, zh="所依据的协议未生效、已暂停或已终止。", en="The agreement this rests on is not in force, suspended, or over.")
TOO_EARLY = define(
    "renewal_too_early", 409, zh="续期申请须在到期前 6 至 3 个月内提出，{opens} 起可以申请。",
    en="Renewal is asked for between six and three months before the end: from {opens} on.")
TOO_LATE = define(
    "renewal_too_late", 409, zh="续期申请已于 {closed} 截止（须在到期前 6 至 3 个月内提出）。",
    en="Renewal had to be asked for by {closed}, between six and three months before the end.")
RENEWAL_OPEN = define("renewal_open", 409, zh="已有一份续期申请正在办理。", en="A renewal has been asked for already and is not decided yet.")
WRONG_PARTY = define("agreement_party_invalid", 422, zh="“{name}”不是协议要求的单位类型。", en="“{name}” is not the kind of organisation that this agreement needs.")
