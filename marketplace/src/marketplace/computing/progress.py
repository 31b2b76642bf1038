"""What a job's log says: codes with a sentence for people in each language.

The log of a job is told to whoever may see the job, so its arguments hold only counts, names of departments and the
sums a strategy itself publishes (a loss over all departments), never a value of one department.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shuyan.problems import Language, describe


@dataclass(frozen=True)
class Line:
    """A log line; ``zh`` and ``en`` are :meth:`str.format` templates."""

    zh: str
    en: str


LINES: Final[Mapping[str, Line]] = {
    "job_queued": Line("任务已提交，正在排队。", "The job is queued."),
    "job_reused": Line("同一问题已由任务 {job} 计算并获准出域，直接采用其结果，不再计算，也不消耗预算。",
                       "Job {job} answered the same question and its result was released; it is used again at no cost."),
    "run_started": Line("第 {attempt} 次执行开始：{departments} 家单位参与。",
                        "Attempt {attempt} has started with {departments} departments."),
    "run_restarting": Line("协调服务重启，任务将重新执行（第 {attempt} 次）。",
                           "The coordinator restarted; the job is run again (attempt {attempt})."),
    "run_resuming": Line("所需审批已全部通过，任务继续执行（第 {attempt} 次）。",
                         "Every approval asked for was given; the job goes on (attempt {attempt})."),
    "awaiting_approval": Line("等待{node}审批本次使用（审批编号 {approval}），批准后任务自行继续。",
                              "Waiting for {node} to approve this use (approval {approval}); the job then goes on by itself."),
    "approval_given": Line("{node}已批准本次使用。", "{node} has approved this use."),
    "waiting_for_nodes": Line("等待单位上线（最多 {seconds} 秒）：{missing}。",
                              "Waiting up to {seconds} s for departments to come online: {missing}."),
    "going_on_without": Line("以下单位不在线，由其余 {departments} 家单位继续：{missing}。",
                             "Going on with {departments} departments; offline: {missing}."),
    "round_started": Line("第 {round}/{rounds} 轮：已向 {departments} 家单位下发。",
                          "Round {round}/{rounds}: sent to {departments} departments."),
    "round_finished": Line("第 {round}/{rounds} 轮：{departments} 家单位已应答。",
                           "Round {round}/{rounds}: {departments} departments have answered."),
    "round_loss": Line("第 {round}/{rounds} 轮：{departments} 家单位已应答，损失 {loss}。",
                       "Round {round}/{rounds}: {departments} departments have answered, loss {loss}."),
    "membership_audited": Line(
        "成员推断审计：{departments} 家单位以自有数据攻击模型，{passed} 家通过，{failed} 家未通过，{undecided} 家因记录太少无法判断。",
        "Membership audit: {departments} departments attacked the model with their own rows; {passed} passed it, {failed} failed "
        "it, {undecided} have too few rows to say."),
    "rounds_resumed": Line("前 {kept} 轮已完成，不再重新计算，由第 {round} 轮继续。",
                           "The first {kept} rounds were finished before and are not computed again; going on with round {round}."),
    "rounds_discarded": Line("第 {kept} 轮之后保存的结果不再适用，由各单位重新计算。",
                             "What was kept after round {kept} no longer fits; the departments compute it again."),
    "keys_found": Line("已由加噪求和找到 {keys} 个未登记的分组取值。", "{keys} undeclared groups were found from sums with noise."),
    "round_repeated": Line("第 {round} 轮由其余 {departments} 家单位重新计算。",
                           "Round {round} is run again among {departments} departments."),
    "department_lost": Line("{node}未能继续参与：{reason}", "{node} can no longer take part: {reason}"),
    "standardised": Line("已汇总各单位的标准化参数（加密求和）。", "The standardisation statistics were pooled by secure sum."),
    "bins_chosen": Line("已由各单位的加密计数确定 {features} 个特征的分箱。",
                        "The bins of {features} features were chosen from securely summed counts."),
    "stopped_early": Line("验证集损失不再下降，提前停止，保留前 {rounds} 轮的模型。",
                          "The validation loss no longer falls: training stopped, and the model of the first {rounds} rounds is kept."),
    "converged": Line("模型已收敛（共 {rounds} 轮）。", "The model has converged after {rounds} rounds."),
    "not_converged": Line("达到最大轮数 {rounds}，模型尚未完全收敛。",
                          "The limit of {rounds} rounds was reached before the model converged fully."),
    "progress": Line("第 {round}/{rounds} 轮进行中。", "Round {round}/{rounds} is under way."),
    "run_finished": Line("计算完成：{departments} 家单位，共 {rows} 条记录。",
                         "The computation is done: {departments} departments, {rows} records."),
    "checks_passed": Line("出域自动检查全部通过（{count} 项），等待人工审核。",
                          "All {count} automatic egress checks passed; a person decides next."),
    "checks_failed": Line("出域自动检查未通过：{checks}。", "Automatic egress checks failed: {checks}."),
    "cancel_requested": Line("已请求取消，正在通知各单位停止计算。", "Cancellation was asked for; the departments are being told to stop."),
    "job_cancelled": Line("任务已取消。", "The job was cancelled."),
    "job_failed": Line("任务失败：{reason}", "The job failed: {reason}"),
    "egress_overridden": Line("审核人对自动报告中 {count} 项不通过的发现书面说明理由后予以批准。",
                              "The reviewer approved it against {count} findings of the automatic report and wrote down why."),
    "egress_approved": Line("出域审核通过，结果可以使用。", "The egress review approved the result."),
    "egress_agreed": Line("出域审核的一方已同意，等待其他审核方。", "One of those who decide on the egress has agreed; the others are waited for."),
    "egress_passed_on": Line("出域审核的一方逾期未审，转由数据主管部门决定。", "One of those who decide on the egress let the time pass; the data authority decides in its place."),
    "result_disposed": Line("产品已退市，结果已删除。", "The product was retired; the result was deleted."),
    "egress_rejected": Line("出域审核未通过，结果已删除。", "The egress review rejected the result; it was deleted."),
}
"""Every code a job's log may hold."""


NOTES: Final[Mapping[str, Line]] = {
    "exact": Line("结果为精确值；记录数不足最小群体的分组不予显示，节点拒绝与已答问题相差过少的查询。",
                  "Results are exact; groups below the cohort are left out, and nodes refuse what differs too little from "
                  "earlier answers."),
    "noise": Line("结果带有随机噪声（差分隐私），消耗各部门的隐私预算。",
                  "Results carry noise (differential privacy) and cost privacy budget at each department."),
    "own_figures_hidden": Line("仅属单个部门的分组不予显示。", "Groups that are one department's own are left out."),
    "approval": Line("有部门需先人工审批本次使用。", "Some departments look at this use before they answer."),
    "several_rounds": Line("计算分多轮进行，轮数为上限。", "It takes several rounds; the number is the most there can be."),
    "answered_before": Line("同一问题已有获准出域的结果，提交后直接采用，不消耗预算。",
                            "The same question has a released result, which is given again at no cost."),
    "suppressed_cells": Line("部分分组因记录数不足未显示。", "Some groups are not shown, for too few rows."),
    "continuous_quantiles": Line("未登记分辨率的字段，分位数按上下界之间的等距格点求得。",
                                 "Quantiles of columns without a resolution are found on a fine grid between their bounds."),
    "found_keys": Line(
        "分组取值未登记，由加噪的加密求和找出：单位数不足门槛的取值不会出现，少数取值也可能因彼此重叠而遗漏。",
        "Groups that nobody declared are found from secure sums with noise: a group with too few units is not named, and now and then "
        "one is missed because it shares its places with others."),
    "coarsened_tails": Line("最值与两端的分位数只取到有足够记录可以掩护的取值。",
                            "Extremes and far quantiles go only as far out as enough rows lie there."),
    "frequent_values": Line("不同取值的个数只计噪声之下仍能确定出现的取值，少见的取值可能漏计。",
                            "Distinct values are those that surely occur in spite of the noise; rare ones may be missing."),
    "clamped_to_bounds": Line("最值与分位数以登记的上下界为限。", "Extremes and quantiles stay within the declared bounds."),
}
"""What the notes of an explanation, or of a query's result, say."""


def note(code: str, language: Language = "zh") -> str:
    """The sentence of one note; an unknown code stands for itself."""
    line = NOTES.get(code)
    return code if line is None else line.zh if language == "zh" else line.en


class _Arguments(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


def sentence(code: str, args: Mapping[str, Any] | None = None, language: Language = "zh") -> str:
    """The sentence of one log line in ``language``; an unknown code reads as plain progress.

    ``job_failed`` carries the failure's own code and arguments, told by the error catalogue.

    >>> sentence("round_loss", {"round": 3, "rounds": 25, "departments": 4, "loss": 0.412})
    '第 3/25 轮：4 家单位已应答，损失 0.412。'
    """
    values = _Arguments({key: _shown(value, language) for key, value in (args or {}).items()})
    if code == "job_failed":
        values["reason"] = failure(str(values["code"]), values, language)
    elif code == "department_lost":
        values["reason"] = describe(str(values["reason"]), dict(values), language)
    line = LINES.get(code) or LINES["progress"]
    return (line.zh if language == "zh" else line.en).format_map(values)


def failure(code: str, args: Mapping[str, Any], language: Language = "zh") -> str:
    """Why a job failed, said of the department that refused or failed, if it was one.

    >>> failure("grant_revoked", {"node": "城西医院"})
    '城西医院：授权凭证已被数据主管部门撤销。'
    """
    reason = describe(code, dict(args), language)
    node = str(args.get("node", ""))
    if not node or node in reason:
        return reason
    return f"{node}：{reason}" if language == "zh" else f"{node}: {reason}"


def _shown(value: object, language: Language) -> object:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ("、" if language == "zh" else ", ").join(str(_shown(item, language)) for item in value)
    return value
