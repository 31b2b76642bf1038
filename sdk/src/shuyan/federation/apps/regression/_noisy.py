"""Regression with differential privacy: Newton's method on noisy sums of bounded derivatives.

Inputs are scaled to [-1, 1] by the columns' declared bounds, which say nothing of the data, and clamped; a category gives one input
of 1 at most. So a row's inputs have a norm of at most B = √(numbers + categories + 1), its residual is clipped, and one unit moves
the sum of gradients by at most a residual times B for each of its rows, and the sum of Hessians by B² times the curvature. The
nodes add noise shares to both.

A step on noisy sums errs, but the next one mends that, as far as it knows the gradient: only the last gradient's noise stays in
the weights, to first order. It gets half of the run's ρ and leaves Σ = σ²·H⁻¹H⁻¹ around what the same steps would have come to
without noise. (Newton's method with noise: Avella-Medina, Bradshaw & Loh, "Differentially private inference via noisy optimization",
Ann. Statist. 51, 2023.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import numpy as np
from flwr.app import Context, Message

from shuyan.federation import _flower, problems
from shuyan.federation.apps.regression._client import client_app
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.grid import SecureGrid
from shuyan.federation.inputs import Inputs
from shuyan.federation.learning import inference, plain
from shuyan.federation.learning.content import spent
from shuyan.federation.learning.design import chunks
from shuyan.federation.learning.notices import notice
from shuyan.federation.privacy import Sensitivity
from shuyan.federation.privacy.noise import half_width
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

STEP: Final = "train.noisy_newton"
LAST: Final = "train.noisy_last"
STEP_BITS: Final = 20
"""Rows' derivatives are counted in steps of 2^-20, so that their sums are exact whatever the order."""
DERIVATIVE: Final = VectorSpec(limbs=2, fraction_bits=STEP_BITS, bound=2.0**43)
_CURVATURE: Final = {"linear": 1.0, "logistic": 0.25}
_RESIDUAL: Final = {"linear": 2.0, "logistic": 1.0}
"""A linear target lies in [-1, 1] as well, so the residual of a prediction in it is never larger."""
_ROUNDS: Final = {"linear": 2, "logistic": 6}
_LONGEST: Final = 4.0
"""No step is longer: far from the optimum, Newton's method on noisy sums overshoots."""


def rounds(params: RegressionParams) -> int:
    """Questions of a run."""
    return params.noisy_rounds or _ROUNDS[params.family]


def check(params: RegressionParams) -> None:
    """Whether a job can be trained with noise.

    Raises:
        ProblemError: ``bad_params``, naming what does not fit.
    """
    plain_impute = params.impute.numbers == params.impute.categories == "drop" and not params.impute.columns
    for field, fits in (("family", params.family in _CURVATURE), ("standardise", params.standardise == "bounds"),
                        ("l1", params.l1 == 0), ("split", params.split is None), ("audit", params.audit is None),
                        ("impute", plain_impute), ("unknown_levels", params.unknown_levels == "drop"),
                        ("bounds", set(_scaled(params)) <= params.bounds.keys())):
        if not fits:
            raise ProblemError(problems.BAD_PARAMS, field=field, where=field)


def _scaled(params: RegressionParams) -> list[str]:
    return [*params.numbers(), *([params.target] if params.family == "linear" else [])]


def sensitivities(params: RegressionParams, action: str, terms: PrivacyTerms) -> Mapping[str, Sensitivity]:
    """How far one unit moves each sum.

    Raises:
        ProblemError: ``bad_params``; the exact actions have no answer with noise.
    """
    check(params)
    if action not in (STEP, LAST):
        return {}
    size, rows = params.size(), terms.max_rows_per_unit
    norm = math.sqrt(len(params.features) + 1) * (1 + 1e-9)

    def of(length: float, elements: int, share: Fraction) -> Sensitivity:
        return Sensitivity(rows * (length + math.sqrt(elements) * 2.0 ** -(STEP_BITS + 1)), share=share, integral=True)

    residual = _RESIDUAL[params.family]
    if action == LAST:
        return {"gradient": of(residual * norm, size, Fraction(1, 2))}
    each = Fraction(1, 4 * (rounds(params) - 1))
    # Of a symmetric matrix the upper triangle is sent, which is no longer than the whole.
    return {"gradient": of(residual * norm, size, each),
            "hessian": of(_CURVATURE[params.family] * norm**2, size * (size + 1) // 2, each)}


# --- at a department -----------------------------------------------------------------------------------------------------


@client_app.train("noisy_newton")  # type: ignore[untyped-decorator,unused-ignore]
def train_noisy(message: Message, context: Context) -> Message:
    """Sums of rows' bounded gradients and Hessians (upper triangle by rows), for the node to add its noise to."""
    return _answer(message, context, hessian=True)


@client_app.train("noisy_last")  # type: ignore[untyped-decorator,unused-ignore]
def train_last(message: Message, context: Context) -> Message:
    """The sum of rows' bounded gradients, for the node to add its noise to."""
    return _answer(message, context, hessian=False)


def _answer(message: Message, context: Context, *, hessian: bool) -> Message:
    inputs, params = context.inputs, context.params
    if not inputs.bounded:  # an exact answer is another question's
        raise ProblemError(problems.UNKNOWN_ACTION, action=STEP if hessian else LAST)
    check(params)
    matrix, target = _rows(inputs, params)
    weights = _flower.arrays_of(message)["weights"]
    size = matrix.shape[1]
    gradient, curvature = np.zeros(size), np.zeros(size * (size + 1) // 2)
    upper = np.triu_indices(size)
    most = _RESIDUAL[params.family]
    for piece in chunks(len(target)):
        rows, true = matrix[piece], target[piece]
        with np.errstate(over="ignore", invalid="ignore"):
            linear = rows @ weights
            if params.family == "logistic":
                chance = 0.5 * (1 + np.tanh(0.5 * linear))
                residual, weight = chance - true, chance * (1 - chance)
            else:
                residual, weight = linear - true, np.ones(len(true))
        # Whatever the weights that came: nothing is larger than what the noise is made for.
        residual = np.clip(np.nan_to_num(residual, nan=0.0, posinf=most, neginf=-most), -most, most)
        weight = np.clip(np.nan_to_num(weight, nan=0.0), 0.0, _CURVATURE[params.family])
        gradient += np.rint(np.ldexp(rows * residual[:, None], STEP_BITS)).sum(axis=0)
        if hessian:
            curvature += np.rint(np.ldexp((rows * weight[:, None])[:, upper[0]] * rows[:, upper[1]], STEP_BITS)).sum(axis=0)
    vectors = {"gradient": np.ldexp(gradient, -STEP_BITS)}
    if hessian:
        vectors["hessian"] = np.ldexp(curvature, -STEP_BITS)
    return _flower.reply(message, vectors, inputs.row_count())


def _rows(inputs: Inputs, params: RegressionParams) -> tuple[Floats, Floats]:
    """Inputs between -1 and 1, the last being 1, and targets. A row with a value missing, or of no class, is not used."""
    if "noisy" not in inputs.cache:
        found = plain.read(inputs, params.features, params.domains, (params.target,))
        matrix, target = np.column_stack([found.matrix, np.ones(len(found))]), found.extra[params.target].copy()
        for at, term in enumerate(params.terms()):
            if term.level is None:
                matrix[:, at] = _between(matrix[:, at], params.bounds[term.feature])
        if params.family == "linear":
            target = _between(target, params.bounds[params.target])
        else:
            kept = np.isin(target, (0.0, 1.0))
            matrix, target = matrix[kept], target[kept]
        inputs.cache["noisy"] = (matrix, target)
    result: tuple[Floats, Floats] = inputs.cache["noisy"]
    return result


def _between(values: Floats, bounds: tuple[float, float]) -> Floats:
    middle, half = _scale(bounds)
    return np.clip((values - middle) / half, -1.0, 1.0)


def _scale(bounds: tuple[float, float]) -> tuple[float, float]:
    lower, upper = bounds
    return lower / 2 + upper / 2, upper / 2 - lower / 2


# --- at the coordinator --------------------------------------------------------------------------------------------------


def serve(grid: SecureGrid, params: RegressionParams) -> dict[str, Any]:
    """Fit and describe a model; without an evaluation, which would cost as much again.

    Raises:
        ProblemError: ``bad_params``, and what charging the budget raises.
    """
    check(params)
    count, size = rounds(params), params.size()
    grid.plan(count)
    weights, ridge = np.zeros(size), np.full(size, params.l2)
    ridge[-1] = 0.0
    hessian = np.eye(size)
    upper = np.triu_indices(size)
    for _ in range(count - 1):
        total = grid.secure_sum(STEP, expect={"gradient": size, "hessian": len(upper[0])}, arrays={"weights": weights})
        hessian = np.zeros((size, size))
        hessian[upper] = total["hessian"]
        hessian = _lifted(hessian + np.triu(hessian, 1).T + np.diag(ridge), total.deviation("hessian"))
        step = -np.linalg.solve(hessian, total["gradient"] + ridge * weights)
        weights = weights + step * min(1.0, _LONGEST / max(float(np.linalg.norm(step)), 1e-300))
    total = grid.secure_sum(LAST, expect={"gradient": size}, arrays={"weights": weights})
    step = -np.linalg.solve(hessian, total["gradient"] + ridge * weights)
    weights = weights + step * min(1.0, _LONGEST / max(float(np.linalg.norm(step)), 1e-300))
    root: Floats = np.asarray(np.linalg.inv(hessian) * total.deviation("gradient"), dtype=np.float64)
    return _content(grid, params, weights, root, rows=max(total.cohort, 0), departments=len(total.participants))


def _lifted(hessian: Floats, deviation: float) -> Floats:
    """A Hessian with no eigenvalue below what noise alone makes: in such a direction nothing is known, and steps are short."""
    values, vectors = np.linalg.eigh(hessian)
    least = max(deviation * math.sqrt(2 * len(values)), 1e-9)  # about the norm of a symmetric matrix of such noise
    return np.asarray((vectors * np.maximum(values, least)) @ vectors.T)


def _content(
    grid: SecureGrid, params: RegressionParams, weights: Floats, root: Floats, *, rows: int, departments: int,
) -> dict[str, Any]:
    """The result.

    Args:
        root: a square root of the noise's covariance of the weights.
    """
    terms = params.terms()
    scales = [_scale(params.bounds[term.feature]) if term.level is None else (0.0, 1.0) for term in terms]
    mean, sd = (np.array(column) for column in zip(*scales, strict=True))
    middle, half = _scale(params.bounds[params.target]) if params.family == "linear" else (0.0, 1.0)
    weights, root = weights * half, root * half
    weights[-1] += middle
    back = inference.to_original(mean, sd)
    original = back @ weights
    off = [np.sqrt((matrix**2).sum(axis=1)).tolist() for matrix in (root, back @ root)]
    names = [*(term.name for term in terms), "(intercept)"]
    features: list[dict[str, Any]] = []
    for name in params.features:
        if params.is_category(name):
            levels = params.domains[name]
            features.append({"name": name, "type": "category", "levels": list(levels), "mean": [0.0] * (len(levels) - 1),
                             "sd": [1.0] * (len(levels) - 1)})
        else:
            centre, width = _scale(params.bounds[name])
            features.append({"name": name, "type": "number", "mean": centre, "sd": width})
    return {
        "kind": "model", "family": params.family, "target": params.target, "features": features, "terms": names[:-1],
        "coefficients": weights[:-1].tolist(), "intercept": float(weights[-1]), "intercepts": None,
        "classes": params.classes() or None,
        "original": {"coefficients": original[:-1].tolist(), "intercept": float(original[-1]), "intercepts": None},
        "l1": 0.0, "l2": params.l2, "standardise": "bounds", "offset": None, "exposure": None,
        "threshold": params.threshold if params.family == "logistic" else None, "rows": rows, "departments": departments,
        "rounds": rounds(params), "converged": False, "metrics": {},
        "inference": {"available": False, "reason": notice("inference_noise"), "confidence": params.confidence,
                      "distribution": "normal", "degrees": None, "dispersion": None, "standardised": None, "original": None},
        "evaluation": None, "warnings": [],
        "noise": [{"term": name, "sd": scaled, "half_width": half_width(scaled), "original_sd": plain_sd}
                  for name, scaled, plain_sd in zip(names, *off, strict=True)],
        "privacy": spent(grid),
    }
