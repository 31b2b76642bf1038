"""What a person should know about a fitted model, in both languages, as entries of its ``warnings``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "constant_columns": (
        "以下项在全部可用记录中取值不变，无法估计，系数记为 0：{names}。",
        "These do not vary over the usable rows and cannot be estimated; their coefficients are 0: {names}."),
    "collinear_columns": (
        "以下项可由其他项线性表示，已不参与估计，系数记为 0：{names}。",
        "These are linear combinations of other terms and were left out; their coefficients are 0: {names}."),
    "collinear_penalised": (
        "以下项可由其他项线性表示，系数仅由惩罚项确定，不宜单独解读：{names}。",
        "These are linear combinations of other terms; only the penalty tells their coefficients apart, so do not read them "
        "one by one: {names}."),
    "separation": (
        "数据存在完全或准完全分离，以下项的最大似然估计不存在（趋于无穷）：{names}。建议设置 l2 惩罚，或合并、去除这些项。",
        "The classes are (quasi-)completely separated: there is no finite maximum likelihood estimate for {names}. "
        "Set an l2 penalty, or merge or drop these terms."),
    "no_finite_estimate": (
        "以下项的最大似然估计不存在（趋于无穷），例如某一取值的计数全部为 0：{names}。建议设置 l2 惩罚，或合并、去除这些项。",
        "There is no finite maximum likelihood estimate for {names}, as where all counts of a level are 0. "
        "Set an l2 penalty, or merge or drop these terms."),
    "not_converged": (
        "达到最大轮数后仍未收敛，系数仅供参考。可增大最大轮数，或设置 l2 惩罚。",
        "The limit of rounds was reached before the model converged. Allow more rounds, or set an l2 penalty."),
    "folds_not_converged": (
        "交叉验证中有 {names} 个模型未收敛，评估结果仅供参考。",
        "{names} of the models of the cross-validation did not converge; take its figures with care."),
    "classes_absent": (
        "以下类别没有任何记录，模型不会预测它们：{names}。",
        "No row belongs to these classes, so the model never predicts them: {names}."),
    "sole_values": (
        "以下取值仅有一个部门登记，授权未允许展示单个部门的数据，已按未登记的取值处理：{names}。",
        "Only one department declares these values, and the grant lets no single department's figures show; they were taken "
        "for undeclared ones: {names}."),
    "inference_noise": (
        "训练加入了差分隐私噪声，不提供标准误与检验；各系数受噪声影响的范围另列。",
        "The training carries noise (differential privacy), so there are no standard errors or tests; how far the noise moves "
        "each coefficient is listed apart."),
    "variance_below_noise": (
        "以下字段的方差与噪声相当，聚类时按噪声大小计其离散程度，因而作用较小：{names}。增大隐私预算（ρ）或收窄上下界可改善。",
        "The variances of these columns cannot be told from their noise, so they count as if they varied as much as that, which is less than "
        "others: {names}. A larger budget (ρ) or narrower bounds would help."),
    "departments_differ": (
        "各部门分别按自身均值和标准差标准化，原始尺度上的系数没有意义，未予给出。",
        "Each department was standardised by its own mean and deviation, so coefficients on the original scale mean nothing "
        "and are not given."),
    "inference_penalised": (
        "模型带惩罚项，估计有偏，标准误与显著性检验不适用。",
        "The model is penalised, so its estimates are biased; standard errors and tests do not apply."),
    "inference_not_converged": (
        "模型未收敛，标准误与显著性检验不可用。",
        "The model did not converge, so there are no standard errors or tests."),
    "inference_no_degrees": (
        "记录数不多于待估参数，标准误与显著性检验不可用。",
        "There are no more rows than parameters, so there are no standard errors or tests."),
}


def notice(code: str, names: Sequence[str] = (), shown: Sequence[str] | None = None) -> dict[str, object]:
    """One entry: ``code``, the ``terms`` it is about, and its text as ``zh`` and ``en``.

    Args:
        names: the terms, as the model names them.
        shown: what the text says instead of their names.
    """
    zh, en = _TEXTS[code]
    said = names if shown is None else shown
    return {"code": code, "terms": list(names), "zh": zh.format(names="、".join(said)), "en": en.format(names=", ".join(said))}
