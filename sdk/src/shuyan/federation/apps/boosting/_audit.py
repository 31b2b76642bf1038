"""The department's part of a membership audit: boosted trees grown on halves of its own rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Context, Message

from shuyan.federation import _flower, audit
from shuyan.federation.apps.boosting import _objectives
from shuyan.federation.apps.boosting._client import client_app, train_answer
from shuyan.federation.apps.boosting._grow import Grower
from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.apps.boosting._rows import Rows
from shuyan.federation.apps.boosting._state import State, rows_of
from shuyan.federation.apps.boosting._trees import TreeArray
from shuyan.federation.audit.lira import MOST_ROWS, Mask
from shuyan.federation.ring import Floats

_WORK: Final = 1e10
"""Values that all shadow models together may look at."""
_NODES: Final = 500_000
"""Nodes that all shadow models together may have."""
_VALUES: Final = 10**9


@client_app.evaluate("membership")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_membership(message: Message, context: Context) -> Message:
    """Whether this department's rows can be told to have been trained on."""
    params: BoostingParams = context.params
    least = int(message.content[_flower.CONFIG]["least"])
    if params.audit is None or least < 1:
        raise ValueError("no audit was asked for")
    arrays = _flower.arrays_of(message)
    rows = rows_of(context.inputs, params)
    rounds = _rounds(params, arrays["trees"])
    trees = params.audit.models * max(rounds, 1) * params.groups()
    most = int(_WORK / (trees * params.max_depth * len(params.features)))
    if trees << params.max_depth > _NODES:  # deep trees have as many nodes as there are rows for
        most = min(most, _NODES * least // trees)
    most = min(max(most, 500), MOST_ROWS)
    tried = audit.sample(np.arange(len(rows.target)) < rows.trained, params.audit, most)
    local = _Local(params, _part(rows, tried.places), arrays, least, rounds)
    verdict = audit.audited(local.scores(arrays["trees"]), tried.members, params.audit, local.shadow)
    return _flower.reply(message, audit.states(verdict), len(rows.target), rows.sets)


def _rounds(params: BoostingParams, trees: Floats) -> int:
    """How many rounds a model has; the trees of the others are noughts."""
    used = np.flatnonzero(trees)
    return int(used[-1]) // (params.groups() * params.tree_length()) + 1 if len(used) else 0


def _part(rows: Rows, places: npt.NDArray[np.intp], trained: int | None = None) -> Rows:
    """Some of the rows, in that order."""
    return Rows([column[places] for column in rows.columns], rows.target[places], rows.numbers[places],
                len(places) if trained is None else trained)


class _Sums:
    """What a grid answers, of one department only."""

    participants = ("here",)

    def __init__(self, vectors: Mapping[str, Floats]) -> None:
        self._vectors = vectors

    def __getitem__(self, name: str) -> Floats:
        return self._vectors[name]


class _Here:
    """Stands in for a grid over one department: this one."""

    def __init__(self, params: BoostingParams, state: State) -> None:
        self._params, self._state = params, state

    def secure_sum(self, action: str, *, expect: Mapping[str, int], config: Mapping[str, Any],
                   arrays: Mapping[str, Floats]) -> _Sums:
        """What the department itself would answer."""
        return _Sums(train_answer(self._params, self._state, config, arrays))


class _Local:
    """Models of the job's kind on some of a department's rows, with the bins of the model under attack."""

    def __init__(self, params: BoostingParams, rows: Rows, arrays: Mapping[str, Floats], least: int, rounds: int) -> None:
        self._params, self._rows, self._least, self._rounds = params, rows, least, rounds
        self._given = {name: arrays[name] for name in ("cuts", "sizes", "base")}

    def _state(self, rows: Rows) -> State:
        return State(rows, self._params, self._given["cuts"], self._given["sizes"], self._given["base"])

    def scores(self, trees: Floats) -> Floats:
        """How sure the model under attack is of each row's true answer."""
        return self._scored(self._state(self._rows), trees)

    def shadow(self, chosen: Mask) -> Floats:
        """The scores of all rows under trees grown on those marked."""
        order = np.concatenate([np.flatnonzero(chosen), np.flatnonzero(~chosen)])
        state = self._state(_part(self._rows, order, int(chosen.sum())))
        varies = np.diff(state.offsets) > 1
        grower = Grower(cast(Any, _Here(self._params, state)), self._params, dict(self._given), state.offsets, _VALUES,
                        self._least, self._quantum(state), varies, lambda *_: True)
        for number in range(self._rounds):
            grower.round(number)
        scores = np.empty(len(order))
        scores[order] = self._scored(state, grower.trees.array)
        return scores

    def _quantum(self, state: State) -> float:
        """As for the model itself: so fine that sums of gradients stay below 2^51 of it."""
        target = state.rows.target.astype(np.float64)
        scale = 1.0
        if self._params.objective in ("reg:squarederror", "count:poisson"):
            scale = 8 * max(float(np.abs(target).max(initial=0.0)), math.exp(min(float(abs(state.base[0])), 60.0)), 1e-6)
        return 2.0 ** (math.ceil(math.log2(scale)) + math.ceil(math.log2(max(len(target), 2))) - 51)

    def _scored(self, state: State, trees: Floats) -> Floats:
        state.finish(TreeArray(self._params, trees), self._rounds)
        target = state.rows.target.astype(np.float64)
        margins = state.margins.astype(np.float64)
        objective = self._params.objective
        if objective == "binary:logistic":
            return np.asarray(np.where(target > 0, margins[0], -margins[0]))
        predicted = _objectives.predictions(objective, state.margins).astype(np.float64)
        if objective == "multi:softprob":
            return audit.odds_of_truth(predicted.T, target)
        if objective == "count:poisson":
            return audit.surprise_of_counts(target, predicted[0])
        return np.asarray(-np.abs(target - predicted[0]))
