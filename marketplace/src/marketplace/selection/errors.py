"""Problems of operator selection."""

from __future__ import annotations

from shuyan.problems import define

INVALID = define("selection_invalid", 422, zh="公告内容“{name}”填写有误。", en="“{name}” of the selection notice is not valid.")
WEIGHTS = define("selection_weights", 422, zh="评审标准的权重之和须为 100，现为 {total}。", en="The criteria's weights have to add up to 100; they add up to {total}.")
TOO_SOON = define("selection_deadline", 422, zh="申报截止时间须晚于现在，且在一年之内。", en="The deadline for applications has to be in the future, within a year.")
CLOSED = define("selection_closed", 409, zh="申报已截止。", en="Applications are closed.")
APPLIED = define("selection_applied", 409, zh="贵单位已提交申报。", en="Your organisation has applied already.")
STATEMENT = define("selection_statement", 422, zh="请填写运营方案说明（1–10000 字）。", en="Describe how you would operate (1 to 10,000 characters).")
FILES_MISSING = define("selection_files_missing", 422, zh="请附上申报材料。", en="Attach the application's documents.")
CONFLICT = define(
    "expert_conflict", 403, zh="专家所在单位是申报单位，或为遴选的经办、审核人员，按利益冲突回避规则不能评审。",
    en="The expert belongs to an applicant, or prepared or reviewed this selection: a conflict of interest.")
NOT_EXPERT = define("expert_unknown", 422, zh="没有找到该成员，不能聘为专家。", en="There is no such member to be named as an expert.")
NAMED = define("expert_named", 409, zh="该成员已是评审专家。", en="This member is an expert of the panel already.")
SCORED = define("expert_scored", 409, zh="该专家已经评分，不能解聘。", en="This expert has scored already and stays on the panel.")
POINTS = define("score_invalid", 422, zh="请对每项评审标准给出 0 至 100 的整数分。", en="Give every criterion whole points from 0 to 100.")
TERMS_MISSING = define("selection_terms_missing", 422, zh="请填写谈判商定的条款。", en="State the terms that were negotiated.")
