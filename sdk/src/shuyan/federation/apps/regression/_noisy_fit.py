"""Regression with differential privacy, coordinator side: the steps, and the result.

A step on noisy sums errs, but the next one mends that, as far as it knows the gradient: to first order only the last gradient's
noise stays in the weights, σ²·H⁻¹H⁻¹, so that it gets half of the run's ρ. (Newton's method with noise: Avella-Medina, Bradshaw & Loh,
"Differentially private inference via noisy optimization", Ann. Statist. 51, 2023.)

Where the Hessian's own noise E is not small beside it, a step mends less: of the weights' error e, (H + E)⁻¹·E·e stays. Therefore the
Hessian of a step is the mean of those of the later half of the steps, and what stays is counted in the error that is announced.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from shuyan.federation.apps.regression._noisy import LAST, STEP, check, questions, rounds, scale, unit
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.apps.regression._result import INTERCEPT
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.learning import inference
from shuyan.federation.learning.content import spent
from shuyan.federation.learning.notices import notice
from shuyan.federation.privacy.noise import half_width
from shuyan.federation.ring import Floats

_LONGEST: Final = 4.0
"""No step is longer: far from the optimum, Newton's method on noisy sums overshoots."""


def serve(grid: SecureGrid, params: RegressionParams) -> dict[str, Any]:
    """Fit and describe a model; without an evaluation, which would cost as much again.

    Raises:
        ProblemError: ``bad_params``, and what charging the budget raises.
    """
    check(params)
    count, size = rounds(params), params.size()
    grid.plan(count)
    # Derivatives of counts come in units of their bound, so the penalty does as well.
    ridge = np.full((params.blocks(), size // params.blocks()), params.l2 / unit(params))
    ridge[:, -1] = 0.0
    steps = _Steps(params, ridge.ravel())
    asked = questions(params)
    for _ in range(count - 1):
        steps.take(grid.secure_sum(STEP, expect=asked[STEP], arrays={"weights": steps.weights}))
    total = grid.secure_sum(LAST, expect=asked[LAST], arrays={"weights": steps.weights})
    steps.take_last(total)
    return _content(grid, params, steps.weights, steps.covariance, rows=max(total.cohort, 0), departments=len(total.participants))


class _Steps:
    """The weights on their way; noise is made up for as far as the sums that come let it be."""

    def __init__(self, params: RegressionParams, ridge: Floats) -> None:
        self._params, self._ridge = params, ridge
        size = params.size()
        self.weights: Floats = np.zeros(size)
        self.covariance: Floats = np.zeros((size, size))
        """Of the weights, as far as noise makes it."""
        self._hessians: list[tuple[Floats, float]] = []
        """Those that came, without a penalty, and the standard deviation of the noise on their elements."""
        if params.family == "poisson":
            self.weights[-1] = math.log(unit(params) / 4) - _largest_shift(params)

    def take(self, total: Sum) -> None:
        """A step on both sums."""
        size = len(self.weights)
        upper = np.triu_indices(size)
        hessian, gradient, deviation = np.zeros((size, size)), total["gradient"], total.deviation("hessian")
        hessian[upper] = total["hessian"]
        hessian = hessian + np.triu(hessian, 1).T
        if self._params.family == "poisson":
            hessian, gradient, deviation = self._levelled(hessian, gradient, deviation)
        self._hessians.append((hessian, deviation))
        self._move(gradient, total.deviation("gradient"))

    def take_last(self, total: Sum) -> None:
        """A step on the gradient and the Hessians known already."""
        self._move(total["gradient"], total.deviation("gradient"))

    def _move(self, gradient: Floats, deviation: float) -> None:
        noisy, uncertain = self._hessian()
        hessian = _lifted(noisy, uncertain)
        step = -np.linalg.solve(hessian, gradient + self._ridge * self.weights)
        step *= min(1.0, _LONGEST / max(float(np.linalg.norm(step)), 1e-300))
        self.weights = self.centred(self.weights + step)
        # The step leaves hessian⁻¹·((lift + E)·e - noise) of the weights' error e.
        inverse, lift = self.centred(np.asarray(np.linalg.inv(hessian), dtype=np.float64)), hessian - noisy
        left = deviation**2 * np.eye(len(gradient)) + lift @ self.covariance @ lift + _through_noise(self.covariance, uncertain)
        self.covariance = inverse @ left @ inverse.T

    def _hessian(self) -> tuple[Floats, float]:
        """The best known Hessian with the penalty, and the standard deviation of its elements.

        The earlier half was taken far from where the weights are now.
        """
        late = self._hessians[len(self._hessians) // 2:]
        precision = np.array([deviation**-2 for _, deviation in late])
        mean = np.average([hessian for hessian, _ in late], axis=0, weights=precision)
        return mean + np.diag(self._ridge), float(precision.sum() ** -0.5)

    def _levelled(self, hessian: Floats, gradient: Floats, deviation: float) -> tuple[Floats, Floats, float]:
        """The sums as they would be if predicted counts added up to the counts: another intercept scales all means alike.

        Without that, Newton's method takes many steps to come down from means that are too large. It costs nothing, as it is
        worked out from the sums: those of the means stand in the last column of the Hessian, where the inputs are 1.
        """
        predicted = float(hessian[-1, -1])
        counted = predicted - float(gradient[-1])
        if not (predicted > 0 and counted > 0):
            return hessian, gradient, deviation
        factor = min(max(counted / predicted, 0.01), 100.0)
        self.weights = self.weights.copy()
        self.weights[-1] += math.log(factor)
        return hessian * factor, gradient + (factor - 1) * hessian[:, -1], deviation * factor

    def centred(self, values: Floats) -> Floats:
        """With a penalty every class has weights, and only their differences count: they add up to nought over the classes.

        Args:
            values: shape (weights, …).
        """
        if self._params.family != "multinomial" or not self._params.penalised:
            return values
        shaped = values.reshape(self._params.blocks(), -1, *values.shape[1:])
        return np.asarray((shaped - shaped.mean(axis=0)).reshape(values.shape))


def _largest_shift(params: RegressionParams) -> float:
    """About the largest number that an exposure or offset adds, where it is declared."""
    name = params.offset_column
    if name is None or name not in params.bounds:
        return 0.0
    largest = params.bounds[name][1]
    return largest if params.offset else math.log(max(largest, 1e-300))


def _lifted(hessian: Floats, deviation: float) -> Floats:
    """A Hessian with no eigenvalue below what noise alone makes: in such a direction nothing is known, and steps are short."""
    values, vectors = np.linalg.eigh(hessian)
    least = max(deviation * math.sqrt(2 * len(values)), 1e-9)  # about the norm of a symmetric matrix of such noise
    return np.asarray((vectors * np.maximum(values, least)) @ vectors.T)


def _through_noise(covariance: Floats, deviation: float) -> Floats:
    """The covariance of E·e, for e of a covariance and a symmetric E of independent elements with a standard deviation.

    From E[E_ik·E_jl], which is σ² where {i, k} = {j, l} and nought elsewhere.
    """
    plain = covariance + np.trace(covariance) * np.eye(len(covariance)) - np.diag(np.diag(covariance))
    return np.asarray(deviation**2 * plain)


def _content(
    grid: SecureGrid, params: RegressionParams, weights: Floats, covariance: Floats, *, rows: int, departments: int,
) -> dict[str, Any]:
    """The result.

    Args:
        covariance: of the weights, as far as noise makes it.
    """
    terms = params.terms()
    names = [*(term.name for term in terms), INTERCEPT]
    scales = [scale(params.bounds[term.feature]) if term.level is None else (0.0, 1.0) for term in terms]
    mean, sd = (np.array(column) for column in zip(*scales, strict=True))
    middle, half = scale(params.bounds[params.target]) if params.family == "linear" else (0.0, 1.0)
    back = np.kron(np.eye(params.blocks()), inference.to_original(mean, sd))
    weights, covariance = weights * half, covariance * half**2
    weights[-1] += middle
    off = [np.sqrt(np.diag(matrix)).tolist() for matrix in (covariance, back @ covariance @ back.T)]
    labels = names
    if params.family == "multinomial":
        labels = [f"{name}:{term}" for name in params.classes()[-params.blocks():] for term in names]
    return {
        "kind": "model", "family": params.family, "target": params.target, "features": _features(params),
        **_weights(params, names, weights), "original": {
            name: value for name, value in _weights(params, names, back @ weights).items() if name != "terms"},
        "classes": params.classes() or None,
        "l1": 0.0, "l2": params.l2, "standardise": "bounds", "offset": params.offset, "exposure": params.exposure,
        "threshold": params.threshold if params.family == "logistic" else None, "rows": rows, "departments": departments,
        "rounds": rounds(params), "converged": False, "metrics": {},
        "inference": {"available": False, "reason": notice("inference_noise"), "confidence": params.confidence,
                      "distribution": "normal", "degrees": None, "dispersion": None, "standardised": None, "original": None},
        "evaluation": None, "warnings": [],
        "noise": [{"term": name, "sd": scaled, "half_width": half_width(scaled), "original_sd": plain_sd}
                  for name, scaled, plain_sd in zip(labels, *off, strict=True)],
        "privacy": spent(grid),
    }


def _weights(params: RegressionParams, names: list[str], weights: Floats) -> dict[str, Any]:
    """The weights as a result tells them, classes one after the other."""
    if params.family != "multinomial":
        return {"terms": names[:-1], "coefficients": weights[:-1].tolist(), "intercept": float(weights[-1]), "intercepts": None}
    blocks = weights.reshape(params.blocks(), -1)
    full = np.concatenate([np.zeros((len(params.classes()) - len(blocks), blocks.shape[1])), blocks])  # the reference has none
    return {"terms": [f"{name}:{term}" for name in params.classes() for term in names[:-1]],
            "coefficients": full[:, :-1].ravel().tolist(), "intercept": None, "intercepts": full[:, -1].tolist()}


def _features(params: RegressionParams) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = []
    for name in params.features:
        if params.is_category(name):
            levels = params.domains[name]
            features.append({"name": name, "type": "category", "levels": list(levels), "mean": [0.0] * (len(levels) - 1),
                             "sd": [1.0] * (len(levels) - 1)})
        else:
            centre, width = scale(params.bounds[name])
            features.append({"name": name, "type": "number", "mean": centre, "sd": width})
    return features
