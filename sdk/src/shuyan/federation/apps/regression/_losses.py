"""The families' losses: value, gradient and Hessian of a sum over rows. Node side.

Losses are negative log-likelihoods up to a constant: half the squared error for ``linear``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shuyan.federation.learning.design import chunks
from shuyan.federation.ring import Floats

LARGEST_LOG_MEAN = 30.0
"""Means of counts beyond e^30 are an overshooting step's: cut off there, their loss is still too large to be accepted."""


def derivatives(
    family: str, matrix: Floats, target: Floats, offset: Floats | None, weights: Floats, allowed: Floats | None
) -> tuple[Floats, Floats, float]:
    """Gradient, upper triangle of the Hessian by rows, and loss.

    Args:
        matrix: shape (n, p + 1).
        weights: shape (blocks, p + 1).
        allowed: for multinomial models, 1 for classes that may be predicted, shape (classes,).
    """
    blocks, width = weights.shape
    gradient, hessian, loss = np.zeros(weights.size), np.zeros((weights.size, weights.size)), 0.0
    for piece in chunks(len(target)):
        rows, true = matrix[piece], target[piece]
        shift = 0.0 if offset is None else offset[piece]
        if family == "multinomial":
            probability = probabilities(rows, weights, allowed)
            places = true.astype(np.int64)
            chance = probability[np.arange(len(places)), places]
            loss -= float(np.sum(np.log(np.maximum(chance, np.finfo(np.float64).tiny))))
            skipped = probability.shape[1] - blocks  # the reference class has no weights
            for one in range(blocks):
                own = probability[:, one + skipped]
                at = slice(one * width, (one + 1) * width)
                gradient[at] += rows.T @ (own - (places == one + skipped))
                for two in range(one, blocks):
                    other = own * (float(one == two) - probability[:, two + skipped])
                    hessian[at, two * width : (two + 1) * width] += rows.T @ (rows * other[:, None])
            continue
        residual, curvature, part = _SINGLE[family](rows @ weights[0] + shift, true)
        gradient += rows.T @ residual
        hessian += rows.T @ (rows if curvature is None else rows * curvature[:, None])
        loss += part
    return gradient, hessian[np.triu_indices(weights.size)], loss


def probabilities(rows: Floats, weights: Floats, allowed: Floats | None) -> Floats:
    """Of every class, shape (n, classes); a first class without weights is the reference."""
    linear = rows @ weights.T
    if allowed is not None:
        if len(allowed) > len(weights):
            linear = np.concatenate([np.zeros((len(rows), 1)), linear], axis=1)
        linear = np.where(allowed > 0, linear, -np.inf)
    linear -= linear.max(axis=1, keepdims=True)
    found = np.exp(linear)
    found /= found.sum(axis=1, keepdims=True)
    return np.asarray(found)


def _linear(linear: Floats, target: Floats) -> tuple[Floats, Floats | None, float]:
    residual = linear - target
    return residual, None, 0.5 * float(residual @ residual)


def _logistic(linear: Floats, target: Floats) -> tuple[Floats, Floats | None, float]:
    probability = 0.5 * (1 + np.tanh(0.5 * linear))
    return probability - target, probability * (1 - probability), float(np.sum(np.logaddexp(0, linear) - target * linear))


def _poisson(linear: Floats, target: Floats) -> tuple[Floats, Floats | None, float]:
    mean = np.exp(np.minimum(linear, LARGEST_LOG_MEAN))
    return mean - target, mean, float(np.sum(mean - target * linear))


_SINGLE: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats | None, float]]] = {
    "linear": _linear, "logistic": _logistic, "poisson": _poisson,
}
