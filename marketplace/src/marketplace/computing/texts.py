"""What messages about results say."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind

ASKED: Final = kind(
    "egress_asked", zh="计算结果“{title}”待贵单位出域审核", en="The result “{title}” waits for your decision whether it may leave the domain",
    page="review:review_id")
PASSED_ON: Final = kind(
    "egress_passed_on", zh="{organisation}未在期限内对计算结果“{title}”作出出域审核，转由数据主管部门决定",
    en="{organisation} did not decide in time on the result “{title}”; the data authority decides in its place", page="review:review_id")
APPROVED: Final = kind(
    "egress_approved", zh="任务“{title}”的结果已通过出域审核", en="The result of “{title}” passed its egress review", page="job:job_id")
REJECTED: Final = kind(
    "egress_rejected", zh="任务“{title}”的结果未通过出域审核，已删除：{reason}",
    en="The result of “{title}” was rejected by the egress review and deleted: {reason}", page="job:job_id")
