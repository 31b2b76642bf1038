"""What a regression's optimisers start from: weights, penalties and which terms can be estimated. Coordinator side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shuyan.federation import problems
from shuyan.federation.apps.regression._params import RegressionParams
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
    if params.family == "poisson":
        start[0, -1] = centre(params, described)[0]
    return Optimiser(start.ravel(), active.ravel(), Penalty(l1.ravel(), l2.ravel()), blocks=blocks,
                     tolerance=params.tolerance, quadratic=params.family == "linear")
