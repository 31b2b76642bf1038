"""Regression with differential privacy: Newton's method on noisy sums of bounded derivatives. What is asked, and a department's part.

Inputs are scaled to [-1, 1] by the columns' declared bounds, which say nothing of the data, and clamped; a category gives one input
of 1 at most. So a row's inputs have a norm of at most B = √(numbers + categories + 1). What a row adds to the gradient is its
residual, whose norm is at most r, times B, and to the Hessian its curvature, whose Frobenius norm is at most c, times B²:

- ``linear``: targets and predictions lie in [-1, 1], so r = 2 and c = 1;
- ``logistic``: r = 1 and c = 1/4;
- ``multinomial``: probabilities p less the class's unit vector, so r = √2, and ‖diag(p) - ppᵀ‖² = Σp² - 2Σp³ + (Σp²)², which is at
  most a - a² with a = Σp² (Jensen: Σp³ ≥ a²), so c = 1/2;
- ``poisson``: counts are clamped to their bounds, and means to at most the upper one, U; in units of U, r = 1 and c = 1. Clamping
  means keeps the loss convex, and moves nothing unless a row's own mean lies above the bound.

One unit moves a sum by at most that for each of its rows, and the nodes add noise shares to both.
"""


from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Final

import numpy as np
from flwr.app import Context, Message

from shuyan.federation import _flower, problems
from shuyan.federation.apps.regression._client import client_app
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.inputs import Inputs
from shuyan.federation.learning import bounded, plain
from shuyan.federation.privacy import Sensitivity, need_bounds
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

STEP: Final = "train.noisy_newton"
LAST: Final = "train.noisy_last"
STEP_BITS: Final = 20
"""Rows' derivatives are counted in steps of 2^-20, so that their sums are exact whatever the order."""
DERIVATIVE: Final = VectorSpec(limbs=2, fraction_bits=STEP_BITS, bound=2.0**43)
_CURVATURE: Final = {"linear": 1.0, "logistic": 0.25, "multinomial": 0.5, "poisson": 1.0}
_RESIDUAL: Final = {"linear": 2.0, "logistic": 1.0, "multinomial": math.sqrt(2), "poisson": 1.0}
_ROUNDS: Final = {"linear": 2, "logistic": 6, "multinomial": 6, "poisson": 6}
_PRODUCTS: Final = 4_000_000
_LARGEST: Final = 700.0
"""Linear predictors beyond are those of weights that nothing was fitted to."""


def rounds(params: RegressionParams) -> int:
    """Questions of a run."""
    return params.noisy_rounds or _ROUNDS[params.family]


def check(params: RegressionParams) -> None:
    """Whether a job can be trained with noise.

    Raises:
        ProblemError: ``bad_params``, naming what does not fit; ``bounds_missing``.
    """
    plain_impute = params.impute.numbers == params.impute.categories == "drop" and not params.impute.columns
    for field, fits in (("standardise", params.standardise == "bounds"),
                        ("l1", params.l1 == 0), ("split", params.split is None), ("audit", params.audit is None),
                        ("impute", plain_impute), ("unknown_levels", params.unknown_levels == "drop"),
                        ("bounds", params.family != "poisson" or params.bounds.get(params.target, (0.0, 1.0))[1] > 0)):
        if not fits:
            raise ProblemError(problems.BAD_PARAMS, field=field, where=field)
    need_bounds(_scaled(params), params.bounds)


def _scaled(params: RegressionParams) -> list[str]:
    return [*params.numbers(), *([params.target] if params.family in ("linear", "poisson") else [])]


def unit(params: RegressionParams) -> float:
    """What derivatives are told in: the largest count, for counts."""
    return params.bounds[params.target][1] if params.family == "poisson" else 1.0


def questions(params: RegressionParams) -> dict[str, dict[str, int]]:
    """All questions, with the lengths of their vectors."""
    size = params.size()
    return {STEP: {"gradient": size, "hessian": size * (size + 1) // 2}, LAST: {"gradient": size}}


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
    matrix, target, shift = _rows(inputs, params)
    blocks, width = params.blocks(), matrix.shape[1]
    weights = _flower.arrays_of(message)["weights"].reshape(blocks, width)
    gradient = np.zeros(weights.size)
    upper = np.triu_indices(weights.size)
    curvature = np.zeros(len(upper[0]))
    of_block, of_term = np.divmod(np.arange(weights.size), width)
    for piece in _pieces(len(target), weights.size):
        rows = matrix[piece]
        with np.errstate(over="ignore", invalid="ignore"):
            linear = np.clip(np.nan_to_num(bounded.times(rows, weights.T) + shift[piece, None]), -_LARGEST, _LARGEST)
        residual, bent = _DERIVATIVES[params.family](params, linear, target[piece])
        gradient += np.rint(np.ldexp(rows[:, of_term] * residual[:, of_block], STEP_BITS)).sum(axis=0)
        if hessian:
            products = rows[:, of_term[upper[0]]] * rows[:, of_term[upper[1]]] * bent[:, of_block[upper[0]], of_block[upper[1]]]
            curvature += np.rint(np.ldexp(products, STEP_BITS)).sum(axis=0)
    vectors = {"gradient": np.ldexp(gradient, -STEP_BITS)}
    if hessian:
        vectors["hessian"] = np.ldexp(curvature, -STEP_BITS)
    return _flower.reply(message, vectors, inputs.row_count())


def _pieces(rows: int, size: int) -> Iterator[slice]:
    """The rows in pieces whose products of derivatives take some 100 MB."""
    most = max(_PRODUCTS // size**2, 1)
    return (slice(start, start + most) for start in range(0, rows, most))


# What a row's loss is by its linear predictors, shape (n, blocks): residuals of that shape, curvatures of (n, blocks, blocks).
# Whatever weights came, neither is larger than what the noise is made for.


def _linear(_params: RegressionParams, linear: Floats, target: Floats) -> tuple[Floats, Floats]:
    return np.clip(linear - target[:, None], -2.0, 2.0), np.ones((len(target), 1, 1))


def _logistic(_params: RegressionParams, linear: Floats, target: Floats) -> tuple[Floats, Floats]:
    chance = 0.5 * (1 + np.tanh(0.5 * linear))
    return chance - target[:, None], np.asarray((chance * (1 - chance))[:, :, None])


def _multinomial(params: RegressionParams, linear: Floats, target: Floats) -> tuple[Floats, Floats]:
    """The target is the class's place, from 1 on."""
    reference = len(params.classes()) - linear.shape[1]  # one class without weights, or none
    linear = np.concatenate([np.zeros((len(linear), reference)), linear], axis=1)
    chance = np.exp(linear - linear.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    true = np.arange(1, chance.shape[1] + 1) == target[:, None]
    own = chance[:, reference:]
    bent = -own[:, :, None] * own[:, None, :]
    at = np.arange(own.shape[1])
    bent[:, at, at] += own
    return (chance - true)[:, reference:], bent


def _poisson(params: RegressionParams, linear: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Both in units of the largest count."""
    mean = np.minimum(np.exp(linear) / unit(params), 1.0)
    return mean - target[:, None], mean[:, :, None]


_DERIVATIVES: Final = {"linear": _linear, "logistic": _logistic, "multinomial": _multinomial, "poisson": _poisson}


def _rows(inputs: Inputs, params: RegressionParams) -> tuple[Floats, Floats, Floats]:
    """Inputs between -1 and 1, the last being 1, targets, and what is added to linear predictors.

    A row with a value missing, of no class, or with an exposure that is not positive is not used: refusing would tell of it.
    """
    if "noisy" not in inputs.cache:
        shifted = params.offset_column
        found = plain.read(inputs, params.features, params.domains, (params.target, *([shifted] if shifted else [])))
        matrix, target = np.column_stack([found.matrix, np.ones(len(found))]), found.extra[params.target].copy()
        shift = found.extra[shifted].copy() if shifted else np.zeros(len(found))
        for at, term in enumerate(params.terms()):
            if term.level is None:
                matrix[:, at] = _between(matrix[:, at], params.bounds[term.feature])
        kept = np.ones(len(target), dtype=bool)
        if params.family == "linear":
            target = _between(target, params.bounds[params.target])
        elif params.family == "poisson":
            target = np.clip(target / unit(params), 0.0, 1.0)
        elif params.family == "logistic":
            kept = np.isin(target, (0.0, 1.0))
        if params.exposure is not None:
            kept &= shift > 0
            shift = np.log(np.maximum(shift, 1e-300))
        inputs.cache["noisy"] = (matrix[kept], target[kept], shift[kept])
    result: tuple[Floats, Floats, Floats] = inputs.cache["noisy"]
    return result


def _between(values: Floats, bounds: tuple[float, float]) -> Floats:
    middle, half = scale(bounds)
    return np.clip((values - middle) / half, -1.0, 1.0)


def scale(bounds: tuple[float, float]) -> tuple[float, float]:
    """The middle between bounds, and half of their distance."""
    lower, upper = bounds
    return lower / 2 + upper / 2, upper / 2 - lower / 2
