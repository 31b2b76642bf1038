"""Which metrics belong to which family; nodes and coordinator must agree."""

from __future__ import annotations

from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.learning.evaluation import Binary, Classes, Numbers, bins_for


def evaluator(params: RegressionParams, groups: int) -> Binary | Classes | Numbers:
    """The evaluator of a job.

    Args:
        groups: how many groups of rows are evaluated in a round.
    """
    if params.family == "logistic":
        return Binary(bins_for(groups), params.threshold, params.confidence)
    if params.family == "multinomial":
        classes = params.classes()
        return Classes(tuple(classes), bins_for(groups, len(classes)), params.confidence)
    return Numbers(poisson=params.family == "poisson")
