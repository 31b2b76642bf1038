"""Problems of sandboxes."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind
from shuyan.problems import define

NOTHING_APPROVED: Final = define(
    "sandbox_nothing_approved", 409, zh="该场景还没有审核通过的数据需求，沙箱须在数据需求通过后开通；已撤回或过期的授权不再提供沙箱数据。",
    en="No data demand of this scenario is approved yet, or its grant is over; a sandbox has what was approved and nothing else.")
CLOSED: Final = define("sandbox_closed", 409, zh="沙箱已关闭，重新开通后方可使用。", en="The sandbox is closed; open it again first.")
RUNS_USED_UP: Final = define(
    "sandbox_runs_used_up", 429, zh="今天的沙箱运行次数（{limit} 次）已用完，明天零点后恢复。",
    en="Today's {limit} runs of this sandbox are used up; there are more after midnight.")
ROWS_EXCEEDED: Final = define(
    "sandbox_run_rows", 422, zh="沙箱每个部门每个资源最多 {limit} 行模拟数据。",
    en="A run has at most {limit} rows of mock data a resource of a department.")
PARTS_INVALID: Final = define(
    "sandbox_parts_invalid", 422, zh="任务说明与其摘要不符，或过长；请使用 shuyan 工具提交。",
    en="What the job is does not fit its digest, or is too long; use the shuyan tools.")
NOT_TRIED: Final = define(
    "not_tried_in_sandbox", 409, zh="该任务须先在本场景的沙箱中试运行成功，再原样提交（shuyan sandbox run，shuyan sandbox promote）。",
    en="This job has to succeed in the scenario's sandbox first, and is then submitted unchanged (shuyan sandbox run, shuyan sandbox promote).")
CHANGED: Final = define(
    "changed_since_sandbox", 409, zh="任务与沙箱试运行的不一致：{what}。请原样提交，或在沙箱中重新试运行。",
    en="The job is not the one that was tried in the sandbox: {what} changed. Submit it unchanged, or try it again.")
NOTE_MISSING: Final = define("marginals_note_missing", 422, zh="请写明理由。", en="Say why.")
MARGINALS_OTHER: Final = define(
    "marginals_changed", 409, zh="部门节点已送来另一份分布，请重新查看后再决定。",
    en="The department's node has sent another distribution meanwhile; look at it before you decide.")

MARGINALS_OFFERED: Final = kind(
    "marginals_offered", zh="节点已送来“{title}”的取值分布，请审核是否可用于生成沙箱模拟数据。",
    en="Your node has sent how the values of “{title}” spread; decide whether sandboxes may make mock data of it.",
    page="marginals:resource_id")
