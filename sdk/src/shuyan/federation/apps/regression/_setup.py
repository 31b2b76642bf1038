"""What a regression's optimisers start from: weights, penalties and which terms can be estimated. Coordinator side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from shuyan.federation import problems
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.learning.columns import slices
from shuyan.federation.learning.optimiser import Optimiser, Penalty
from shuyan.federation.learning.preprocess import Described, Fitted
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError


def check(params: RegressionParams, described: Described, minimum: int) -> None:
    """Whether there is anything to fit.

    Raises:
        ProblemError: ``training_too_small``, ``target_of_one_class``.
    """
    if described.rows < max(minimum, 1):
        raise ProblemError(problems.TRAINING_TOO_SMALL, minimum=minimum)
    if params.classes() and sum(count > 0 for count in described.classes) < 2:
        raise ProblemError(problems.TARGET_OF_ONE_CLASS, column=params.target)
    target = described.target
    if params.family == "poisson" and target is not None and target.sum == 0:
        raise ProblemError(problems.TARGET_OF_ONE_CLASS, column=params.target)


def allowed(params: RegressionParams, described: Sequence[Described]) -> Floats:
    """By fit and class, 1 where a class has rows; shape (fits · classes,), empty unless multinomial."""
    if params.family != "multinomial":
        return np.zeros(0)
    return np.concatenate([np.array([float(count > 0) for count in fit.classes]) for fit in described])


def centre(params: RegressionParams, described: Described) -> Floats:
    """What a model without features says: the target's mean, for counts the logarithm of their rate; else nothing."""
    target, offset = described.target, described.offset
    if target is None or params.family not in ("linear", "poisson"):
        return np.zeros(0)
    if params.family == "linear":
        return np.array([target.mean or 0.0])
    exposure = target.count if offset is None else offset.sum
    return np.array([math.log(target.sum / exposure)])


def _intercepts(params: RegressionParams, described: Described) -> Floats:
    """The best intercepts of a model without features, which is where the iterations begin; shape (blocks,)."""
    if params.family == "linear":
        return np.zeros(1)
    if params.family == "poisson":
        return centre(params, described)
    shares = np.log(np.maximum(np.array(described.classes, dtype=np.float64), 1.0))
    skipped = len(shares) - params.blocks()
    return np.asarray(shares[skipped:] - (shares[0] if skipped else shares.mean()))


def _of_one_class(
    params: RegressionParams, described: Described, holding: Floats, base: float
) -> Iterator[tuple[int, float]]:
    """Terms of levels whose rows are all of one class, and the effect to start from.

    Only the penalty holds these back, and Newton's method, beginning at nought, moves them by about one a round. They
    begin where the penalty would hold them if nothing else set their rows apart.

    Args:
        holding: by term, the ridge penalty on an effect (on the linear predictor).
        base: the log-odds of a model without features.
    """
    for name, place in slices(params).items():
        if not params.is_category(name):
            continue
        for level, (none, some) in enumerate(described.levels[name][1:-1].tolist()):
            term, rows = place.start + level, none + some
            if rows and not (none and some) and holding[term] > 0:
                sign = 1 if some else -1
                # Minimise rows·log(1 + exp(-sign·base - e)) + holding·e²/2 over e, which is convex.
                low, high = 0.0, 50.0
                for _ in range(100):
                    effect = (low + high) / 2
                    pull = rows / (1 + math.exp(sign * base + effect))
                    low, high = (effect, high) if pull > holding[term] * effect else (low, effect)
                yield term, sign * effect


def optimiser(params: RegressionParams, described: Described, fitted: Fitted, shared: Fitted) -> Optimiser:
    """One fit's optimiser, on inputs standardised as those of fit 0.

    Args:
        fitted: this fit's preprocessing, whose scale its penalties are on.
        shared: fit 0's, which inputs come in.
    """
    blocks, terms = params.blocks(), len(fitted.mean)
    if params.standardise == "pooled":
        scale = shared.sd / fitted.sd
    elif params.standardise == "none":
        scale = shared.sd
    else:
        scale = np.ones(terms)
    # A weight on inputs in units of shared.sd is scale times smaller or larger than one on the penalty's own scale.
    l1, l2 = np.zeros((blocks, terms + 1)), np.zeros((blocks, terms + 1))
    l1[:, :-1], l2[:, :-1] = params.l1 / scale, params.l2 / scale**2
    active = np.ones((blocks, terms + 1), dtype=bool)
    active[:, :-1] = ~fitted.constant
    if params.family == "multinomial":
        skipped = len(described.classes) - blocks
        active[np.array(described.classes[skipped:]) == 0] = False
    start = np.zeros((blocks, terms + 1))
    start[:, -1] = _intercepts(params, described)
    if params.family == "logistic" and params.l1 == 0 and params.l2 > 0:
        for term, effect in _of_one_class(params, described, l2[0, :-1] * shared.sd**2, float(start[0, -1])):
            start[0, term] = effect * shared.sd[term]
            start[0, -1] += effect * shared.mean[term]
    return Optimiser(start.ravel(), active.ravel(), Penalty(l1.ravel(), l2.ravel()), blocks=blocks,
                     tolerance=params.tolerance, quadratic=params.family == "linear")
