"""What findings say, in both languages, with their figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Severity = Literal["pass", "notice", "fail"]

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    # identifiers
    "identifiers_none": (
        "在全部 {texts} 个文本（含名称）和 {values} 个数值中未发现个人或单位标识。",
        "No identifier of a person or organisation among all {texts} texts (names of fields included) and {values} numbers."),
    "identifiers_strong": (
        "“{where}”中有 {count} 处{kind_zh}，可直接识别到个人或单位，不得出域。",
        "“{where}” holds {count} × {kind_en}, which identifies a person or organisation; it must not leave the domain."),
    "identifiers_weak": (
        "“{where}”中有 {count} 处内容形似{kind_zh}（占该项 {share}），请核对是否为公开信息。",
        "Like {kind_en}: {count:value|values} of “{where}” ({share} of it); see whether this is public."),
    # groups
    "cohorts": (
        "结果中 {count} 个可见计数最小为 {smallest}，不低于授权要求的最小群体 {minimum}。",
        "The smallest of {count:count|counts} shown is {smallest}, not below the grant's minimum cohort of {minimum}."),
    "cohorts_noisy": (
        "结果加噪发布，共 {count} 个计数；计数本身已受差分隐私保护，最小群体不适用。",
        "The result has {count:count|counts} with noise: differential privacy protects, and the minimum cohort does not apply."),
    "cohorts_unseen": (
        "结果不含计数；各轮计算涉及的记录数最少为 {rows} 条，最小群体为 {minimum}。",
        "The result shows no counts; every sum of the run was about at least {rows} rows, the minimum cohort is {minimum}."),
    "cohorts_small": (
        "有 {small} 个可见计数低于授权要求的最小群体 {minimum}。",
        "{small:count shown is|counts shown are} below the grant's minimum cohort of {minimum}."),
    "cells_alike": (
        "有 {cells} 个分组内“{column}”等字段的取值完全相同：知道某人属于该组，就知道其取值。",
        "In {cells:group|groups} all rows have the same value (of “{column}” for instance): who knows that somebody is in one "
        "knows the value."),
    "cells_dominated": (
        "有 {cells} 个分组的合计值至少一半来自同一条记录（按计数、均值、方差推算，假定取值非负），可能暴露该记录的数值。",
        "In {cells:group|groups} one row makes up at least half of the sum (as count, mean and variance tell, if no value is negative); its "
        "figure may be guessed."),
    "suppressed": (
        "另有 {suppressed} 个分组因人数过少或为保护相邻分组而未显示。",
        "{suppressed:more group is hidden, being too small or protecting one that is|more groups are hidden, being too small or protecting those that are}."),
    "cells_combined": (
        "与此前向同一申请方放行的统计和查询结果合并，可精确推算出 {cells} 个被隐藏分组的人数，不宜放行。",
        "Together with statistics and queries released to the same grantee before, the size of {cells:hidden group|hidden groups} can be worked out exactly; do not "
        "release it."),
    "cells_uncombined": (
        "分组组合过多，未能核对其与此前放行的结果合并后是否泄露被隐藏分组，请人工核对。",
        "There are too many combinations of groups to tell whether earlier released results and this together give hidden groups away; "
        "look at them yourself."),
    # size
    "size": (
        "结果含 {values} 个数值、{bytes} 字节，来自约 {rows} 条记录。",
        "The result has {values} numbers in {bytes} bytes, from about {rows} rows."),
    "size_of_rows": (
        "结果含 {values} 个数值，多于参与计算的 {rows} 条记录，容量上可能容纳逐条数据。",
        "The result has {values} numbers, more than the {rows} rows it is from, so it could hold something of each row."),
    "long_texts": (
        "有 {count} 个文本超过 {limit} 字，最长 {longest} 字，请核对内容。",
        "{count:text is|texts are} longer than {limit} characters, the longest {longest}; look at what is said."),
    "long_numbers": (
        "“{where}”中有 {count} 个整数达 13 位以上，可能由多项数据拼接而成，请核对。",
        "Of “{where}”, {count:whole number|whole numbers} of 13 digits or more might be several values written into one."),
    # models
    "parameters": (
        "模型有 {parameters} 个参数，平均每个参数对应 {ratio} 条训练记录。",
        "The model has {parameters:parameter|parameters}, one for every {ratio} rows it was trained on."),
    "parameters_many": (
        "模型有 {parameters} 个参数，平均每个参数仅对应 {ratio} 条训练记录，存在记忆个别记录的可能。",
        "The model has {parameters:parameter|parameters}, one for every {ratio} rows only: it may have learnt single rows by heart."),
    "leaves": (
        "每个叶节点至少对应 {smallest} 条记录，不低于最小群体 {minimum}。",
        "Every leaf is about at least {smallest} rows, not below the minimum cohort of {minimum}."),
    "leaves_small": (
        "最小的叶节点仅对应 {smallest} 条记录，低于最小群体 {minimum}。",
        "The smallest leaf is about {smallest} rows, below the minimum cohort of {minimum}."),
    "gap": (
        "训练集与留出集的{measure}分别为 {train} 和 {held}，差距 {gap}，未见明显过拟合。",
        "{measure} is {train} on the rows trained on and {held} on those held out, {gap} apart: no sign of overfitting."),
    "gap_wide": (
        "训练集与留出集的{measure}分别为 {train} 和 {held}，差距 {gap}，模型可能过拟合。",
        "{measure} is {train} on the rows trained on and {held} on those held out, {gap} apart: the model may be overfitted."),
    "gap_too_wide": (
        "训练集与留出集的{measure}分别为 {train} 和 {held}，差距 {gap}，模型严重过拟合，可能记住了个别记录。",
        "{measure} is {train} on the rows trained on and {held} on those held out, {gap} apart: the model is badly overfitted and may "
        "have learnt rows by heart."),
    "gap_unknown": (
        "未留出记录用于评估，无法判断模型是否过拟合。",
        "No rows were held out, so it cannot be told whether the model is overfitted."),
    # membership inference
    "membership_passed": (
        "{departments} 家单位均以自有数据作了成员推断攻击：在误判率 1% 处，可识别的训练记录占比不超过 {limit}（置信度 {confidence}，"
        "每家 {models} 个影子模型）。",
        "All {departments} departments attacked the model with their own rows: at 1 % false positives at most {limit} of the rows trained "
        "on can be recognised ({confidence} confidence, {models} shadow models each)."),
    "membership_failed": (
        "{departments} 家单位中有 {failed} 家未通过成员推断攻击检验：在误判率 1% 处，可识别的训练记录占比可能超过 {limit}。",
        "{failed} of {departments} departments found that the model gives away whom it was trained on: at 1 % false positives more than "
        "{limit} of the rows trained on may be recognised."),
    "membership_undecided": (
        "{departments} 家单位中有 {undecided} 家因留出记录太少，无法判断成员推断攻击是否成功（其余 {passed} 家通过）。",
        "{undecided} of {departments} departments have too few rows to say whether a membership inference attack succeeds (the other "
        "{passed} passed)."),
    "membership_lenient": (
        "任务自行声明的成员推断限值为 {limit}，高于通常采用的 {usual}。",
        "The job itself declared a limit of {limit} for membership inference, above the usual {usual}."),
    "membership_not_tried": (
        "训练任务未要求成员推断审计。可在参数中加入 audit 后重新训练。",
        "The job did not ask for a membership audit. Train again with the parameter audit to have one."),
    "membership_bounded": (
        "训练满足差分隐私，成员推断的效果受 ε={epsilon}（δ={delta}）约束。",
        "The training was differentially private: ε={epsilon} (δ={delta}) bounds what membership inference can tell."),
    # how it was released
    "release_exact": (
        "授权方式为精确发布：最小群体 {minimum}，节点差分攻击防护已逐次检查。",
        "Released exactly, as the grant says: minimum cohort {minimum}, each answer checked by the nodes' guards against differencing."),
    "release_noisy": (
        "加噪发布：保护单位“{unit}”，本次使用 ρ={rho}，合 ε={epsilon}（δ={delta}）。",
        "Released with noise: it protects each {unit} and used ρ={rho}, which is ε={epsilon} at δ={delta}."),
    "own_figures": (
        "结果含 {count} 家单位各自的指标；授权凭证许可展示单个部门的数据。",
        "The result shows figures of {count:single department|single departments}, which the grant allows."),
    "departments": (
        "每个数值均为 {departments} 家单位的合计，协调方和开发方看不到任何一家的数据。",
        "Every figure is a sum over {departments} departments; neither the operator nor the developer has seen that of any one."),
    "not_understood": (
        "结果的内容形式特殊，报告中的“{part}”无法生成，须人工核对。",
        "The result has a form of its own, of which the part “{part}” of this report could not be made; look at it yourself."),
    "warnings": (
        "应用对结果给出 {count} 条提示：{codes}。",
        "The app attached {count:notice|notices} to the result: {codes}."),
}

KINDS: Final[dict[str, tuple[str, str]]] = {
    "resident_id": ("居民身份号码", "resident identity number"), "credit_code": ("统一社会信用代码", "unified social credit code"),
    "mobile": ("手机号码", "mobile number"), "landline": ("固定电话号码", "landline number"), "bank_card": ("银行卡号", "bank card number"),
    "email": ("电子邮箱", "e-mail address"), "passport": ("护照或通行证号码", "passport number"),
    "licence_plate": ("机动车号牌", "licence plate"), "person_name": ("姓名", "a person's name"), "address": ("地址", "postal address"),
    "ip_address": ("网络地址", "IP address"), "coordinates": ("经纬度坐标", "coordinates"),
}
"""What kinds of identifiers are called."""


@dataclass(frozen=True)
class Finding:
    """One thing a reviewer should know; never a value of the content itself, only where it stands and how much of it."""

    code: str
    severity: Severity
    args: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """With its sentences, so that who shows it needs no rules."""
        zh, en = _TEXTS[self.code]
        counted = {name: _Counted(value) if type(value) is int else value for name, value in self.args.items()}
        return {"code": self.code, "severity": self.severity, "zh": zh.format_map(self.args), "en": en.format_map(counted),
                "args": self.args}


class _Counted(int):
    """A number that is told with what it counts: ``{n:row|rows}``."""

    def __format__(self, spec: str) -> str:
        one, parted, many = spec.partition("|")
        return f"{int(self)} {one if self == 1 else many}" if parted else super().__format__(spec)


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.3g}%"


def number(value: float) -> str:
    """A figure with four digits at most."""
    return f"{value:.4g}"


CODES: Final = frozenset(_TEXTS)
