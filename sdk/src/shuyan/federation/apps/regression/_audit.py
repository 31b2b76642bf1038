"""The department's part of a membership audit: the same model fitted to halves of its rows."""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message

from shuyan.federation import _flower, audit
from shuyan.federation.apps.regression import _losses
from shuyan.federation.apps.regression._client import client_app, offset_of, usable, weights_of
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.federation.audit.lira import MOST_ROWS, Mask
from shuyan.federation.learning.design import Design, Scaling
from shuyan.federation.learning.optimiser import Optimiser, Penalty
from shuyan.federation.learning.quadratic import symmetric
from shuyan.federation.ring import Floats

_WORK = 1e12
"""Multiplications that all shadow models together may take."""
_ROUNDS = 25


@client_app.evaluate("membership")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_membership(message: Message, context: Context) -> Message:
    """Whether this department's rows can be told to have been trained on."""
    params: RegressionParams = context.params
    if params.audit is None:
        raise ValueError("no audit was asked for")
    arrays = _flower.arrays_of(message)
    rows = usable(context)
    design = Design.cached(context.inputs, rows, params, Scaling.of(params, arrays))
    _, matrix = design.rows(0, [0, 1])
    most = int(_WORK / (params.audit.models * _ROUNDS * params.size() ** 2))
    tried = audit.sample(rows.part == 0, params.audit, min(max(most, 500), MOST_ROWS))
    offset = offset_of(rows, params, slice(None))
    sd = arrays["sd"] if params.standardise == "none" else np.ones(matrix.shape[1] - 1)
    local = _Local(params, matrix[tried.places], rows.target[tried.places],
                   None if offset is None else offset[tried.places], sd)
    allowed = arrays["classes"] if params.family == "multinomial" else None
    found = audit.audited(local.scores(weights_of(params, arrays)[0], allowed), tried.members, params.audit, local.shadow)
    return _flower.reply(message, audit.states(found), len(rows), rows.among_all(context.inputs, params.resource))


class _Local:
    """Models of the job's family on some of a department's rows.

    Args:
        matrix: shape (n, p + 1), the last column ones.
        sd: what a penalty's scale is divided by, shape (p,).
    """

    def __init__(self, params: RegressionParams, matrix: Floats, target: Floats, offset: Floats | None, sd: Floats) -> None:
        self._params, self._matrix, self._target, self._offset, self._sd = params, matrix, target, offset, sd

    def shadow(self, chosen: Mask) -> Floats:
        """The scores of all rows under a model fitted to those marked."""
        params, width = self._params, self._matrix.shape[1]
        matrix, target = self._matrix[chosen], self._target[chosen]
        offset = None if self._offset is None else self._offset[chosen]
        blocks, allowed = params.blocks(), None
        start, active = np.zeros((blocks, width)), np.ones((blocks, width), dtype=bool)
        active[:, :-1] = np.ptp(matrix[:, :-1], axis=0) > 0
        if params.family == "multinomial":
            counts = np.bincount(target.astype(np.intp), minlength=len(params.classes()))
            allowed = (counts > 0).astype(np.float64)
            active[counts[len(counts) - blocks :] == 0] = False
        elif params.family == "poisson":
            shift = len(target) if offset is None else float(np.exp(offset).sum())
            start[0, -1] = np.log(max(float(target.sum()), 0.5) / shift)
        l1, l2 = np.zeros((blocks, width)), np.zeros((blocks, width))
        l1[:, :-1], l2[:, :-1] = params.l1 / self._sd, params.l2 / self._sd**2
        fit = Optimiser(start.ravel(), active.ravel(), Penalty(l1.ravel(), l2.ravel()), blocks=blocks,
                        tolerance=max(params.tolerance, 1e-6), quadratic=params.family == "linear")
        while not fit.done and fit.rounds < min(params.max_rounds, _ROUNDS):
            weights = fit.weights.reshape(blocks, width)
            gradient, hessian, loss = _losses.derivatives(params.family, matrix, target, offset, weights, allowed)
            fit.take(gradient, symmetric(hessian, blocks * width), loss, 1)
        return self.scores(fit.weights.reshape(blocks, width), allowed)

    def scores(self, weights: Floats, allowed: Floats | None) -> Floats:
        """How sure a model is of each row's true answer.

        Args:
            weights: shape (blocks, p + 1).
            allowed: by class, 1 where it may be predicted.
        """
        family, target = self._params.family, self._target
        if family == "multinomial":
            whole = None if allowed is None else allowed.reshape(-1, len(self._params.classes()))[0]
            return audit.odds_of_truth(_losses.probabilities(self._matrix, weights, whole), target)
        linear = self._matrix @ weights[0]
        if family == "logistic":
            return np.asarray(np.where(target > 0, linear, -linear))
        if family == "linear":
            return np.asarray(-np.abs(target - linear))
        mean = np.exp(np.minimum(linear + (0.0 if self._offset is None else self._offset), _losses.LARGEST_LOG_MEAN))
        return audit.surprise_of_counts(target, mean)
