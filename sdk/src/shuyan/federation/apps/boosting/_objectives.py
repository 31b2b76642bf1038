"""Losses with their first two derivatives, in float32 and by XGBoost's formulas, so that trees come out as its own."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.apps.boosting._params import BoostingParams, Objective
from shuyan.federation.ring import Floats

Float32s = npt.NDArray[np.float32]

_SMALL: Final = np.float32(1e-16)
METRIC: Final[dict[Objective, str]] = {
    "binary:logistic": "log_loss", "multi:softprob": "log_loss", "reg:squarederror": "squared_error",
    "count:poisson": "poisson_loss",
}
"""What the loss is called in a result; each is a mean over rows."""


def predictions(objective: Objective, margins: Float32s) -> Float32s:
    """Margins of shape (groups, n) as probabilities, means or rates of the same shape."""
    if objective == "binary:logistic":
        with np.errstate(over="ignore"):
            return np.asarray(np.float32(1) / (np.float32(1) + np.exp(-margins)))
    if objective == "multi:softprob":
        powers = np.exp(margins - margins.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0))
    return np.exp(margins) if objective == "count:poisson" else margins


def derivatives(params: BoostingParams, predicted: Float32s, target: Float32s) -> tuple[Float32s, Float32s | None]:
    """Gradients and Hessians of the loss by margin, shape (groups, n) each; None where all Hessians are 1."""
    if params.objective == "reg:squarederror":
        return predicted - target, None
    if params.objective == "binary:logistic":
        return predicted - target, np.maximum(predicted * (np.float32(1) - predicted), _SMALL)
    if params.objective == "count:poisson":
        return predicted - target, predicted * np.float32(math.exp(params.delta_step()))
    gradient = predicted.copy()
    gradient[target.astype(np.intp), np.arange(len(target))] -= np.float32(1)
    return gradient, np.maximum(np.float32(2) * predicted * (np.float32(1) - predicted), _SMALL)


def loss(objective: Objective, predicted: Float32s, target: Float32s) -> float:
    """The sum of the losses of rows."""
    if objective == "reg:squarederror":
        error = (predicted[0] - target).astype(np.float64)
        return float(error @ error)
    if objective == "count:poisson":
        rate = np.maximum(predicted[0].astype(np.float64), 1e-16)
        return float(np.sum(rate - target * np.log(rate)))
    if objective == "binary:logistic":
        of_class = np.where(target > 0, predicted[0], np.float32(1) - predicted[0])
    else:
        of_class = predicted[target.astype(np.intp), np.arange(len(target))]
    return -float(np.sum(np.log(np.maximum(of_class, _SMALL)), dtype=np.float64))


def hits(objective: Objective, predicted: Float32s, target: Float32s) -> float:
    """How many rows are of the class that is predicted."""
    found = predicted[0] >= 0.5 if objective == "binary:logistic" else predicted.argmax(axis=0)
    return float(np.sum(found == target))


def base_margins(params: BoostingParams, counts: Floats, mean: float) -> tuple[list[float], list[float]]:
    """The scores before the first tree, and the margins they stand for, one a group.

    Args:
        counts: rows of each class, for the objectives that have classes.
        mean: of the target, for the others.
    """
    given = params.base_score
    if params.objective == "multi:softprob":
        logs = np.log(np.maximum(counts, 1e-6))
        scores = [float(np.float32(log - logs.mean())) if given is None else given for log in logs]
        return scores, [float(np.float32(score)) for score in scores]
    if params.objective == "binary:logistic":
        score = counts[1] / counts.sum() if given is None else given
    else:
        score = mean if given is None else given
    if params.objective == "count:poisson":
        score = max(score, 1e-6)
    score = float(np.float32(score))
    margin = score
    if params.objective == "binary:logistic":
        margin = -math.log(1 / score - 1)
    elif params.objective == "count:poisson":
        margin = math.log(score)
    return [score], [float(np.float32(margin))]
