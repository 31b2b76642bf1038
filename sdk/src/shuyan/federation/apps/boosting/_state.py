"""What a node makes of the trees in a question: margins, where the rows of the growing trees are, histograms.

All of it follows from the question and the rows. It is kept between rounds as long as each question goes on where the
last one ended, and made anew where one does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.apps.boosting import _objectives, _rows
from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.apps.boosting._trees import TreeArray, routed
from shuyan.federation.inputs import Inputs
from shuyan.federation.ring import Floats

Places = npt.NDArray[np.intp]

_JOINT_SLOTS: Final = 8192
_JOINT_ROWS: Final = 4
"""Features are counted in one pass over their joint slots where those are few, and rows are this many times as many."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Features that are counted together: their slots, and of every row the place among the joint ones."""

    places: tuple[int, ...]
    widths: tuple[int, ...]
    joint: npt.NDArray[np.uint16]


class State:
    """The rows in bins, and how far the trees have come over them.

    Args:
        cuts, sizes: as for :func:`_rows.binned`.
        base: the margin before the first tree, one a group.
    """

    def __init__(self, rows: _rows.Rows, params: BoostingParams, cuts: Floats, sizes: Floats, base: Floats) -> None:
        self.params, self.rows, self.base = params, rows, base.copy()
        self.key = (cuts.tobytes(), sizes.tobytes(), base.tobytes())
        self.binned, self.offsets = _rows.binned(rows, params, cuts, sizes)
        self._groups = self._joint()
        self._all_rows: Floats | None = None
        self._everyone = np.arange(len(rows.target))
        self._restart()

    def _restart(self) -> None:
        self.margins = np.repeat(self.base.astype(np.float32)[:, None], len(self.rows.target), axis=1)
        self._finished: Floats = np.empty(0)
        self._begin(-1)

    def _begin(self, round_: int) -> None:
        self._round = round_
        self._codes: list[Floats] = []
        self._lists: list[dict[int, Places]] = []
        self._gradient = self._hessian = np.empty((0, 0))

    # --- margins -------------------------------------------------------------------------------------------------

    def finish(self, trees: TreeArray, round_: int) -> None:
        """Bring the margins to where all rounds before ``round_`` are in them."""
        finished = trees.before(round_)
        known = len(self._finished)
        if known > len(finished) or not np.array_equal(self._finished, finished[:known]):
            self._restart()
            known = 0
        per_round = trees.groups * self.params.tree_length()
        for done in range(known // per_round, round_):
            for group in range(trees.groups):
                self._add(trees, done, group)
        self._finished = finished.copy()

    def _add(self, trees: TreeArray, round_: int, group: int) -> None:
        tree, margins = trees.tree(round_, group), self.margins[group]
        places = [(0, self._everyone)]
        if self._round == round_ and self._followed(tree, group):
            # The rows the tree was grown on are where they were led; only the others have to be.
            lists = self._lists[group]
            for place, rows in lists.items():
                places.append((place, rows))
            places[0] = (0, self._others)
        while places:
            place, rows = places.pop()
            split = trees.split(tree, place) if place < self.params.inner() else None
            if split is None:
                margins.put(rows, margins.take(rows) + np.float32(trees.value(tree, place)))
            elif len(rows):
                left, right = routed(self.binned, self.offsets, rows, split)
                places += [(2 * place + 1, left), (2 * place + 2, right)]

    # --- the growing trees ---------------------------------------------------------------------------------------

    def _followed(self, tree: Floats, group: int) -> bool:
        """Whether the splits that rows were led by are still those of the tree."""
        if group >= len(self._codes):
            return False
        known = self._codes[group]
        return bool(np.array_equal(known[known != 0], tree[: len(known)][known != 0]))

    def grow(self, trees: TreeArray, round_: int, quantum: float) -> None:
        """Lead the round's rows down the splits that its trees have so far."""
        if self._round != round_ or not all(
            self._followed(trees.tree(round_, group), group) for group in range(trees.groups)
        ):
            self._start(trees, round_, quantum)
        inner = self.params.inner()
        for group in range(trees.groups):
            tree, codes, lists = trees.tree(round_, group), self._codes[group], self._lists[group]
            pending = [place for place in lists if place < inner and tree[place] != 0]
            while pending:
                place = pending.pop()
                split = trees.split(tree, place)
                if split is None:
                    continue
                left, right = routed(self.binned, self.offsets, lists.pop(place), split)
                for child, rows in ((2 * place + 1, left), (2 * place + 2, right)):
                    lists[child] = rows
                    if child < inner and tree[child] != 0:
                        pending.append(child)
                codes[place] = tree[place]
                start = inner + place * self.params.words()
                codes[start : start + self.params.words()] = tree[start : start + self.params.words()]

    def _start(self, trees: TreeArray, round_: int, quantum: float) -> None:
        params, trained = self.params, self.rows.trained
        self._begin(round_)
        predicted = _objectives.predictions(params.objective, self.margins)
        gradient, hessian = _objectives.derivatives(params, predicted[:, :trained], self.rows.target[:trained])
        self._gradient = np.rint(gradient.astype(np.float64) / quantum)
        self._hessian = np.empty((0, 0)) if hessian is None else np.rint(hessian.astype(np.float64) / quantum)
        if params.subsample < 1:
            chosen = _rows.drawn(self.rows.numbers, params.seed, round_, params.subsample)
            chosen[trained:] = False
            sample, self._others = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        else:
            sample, self._others = self._everyone[:trained], self._everyone[trained:]
        length = params.inner() * (1 + params.words())
        self._codes = [np.zeros(length) for _ in range(trees.groups)]
        self._lists = [{0: sample} for _ in range(trees.groups)]

    # --- histograms ----------------------------------------------------------------------------------------------

    def _joint(self) -> list[_Group]:
        """Features that can be counted together, each group with its joint slots; and the rest one by one."""
        widths = np.diff(self.offsets).tolist()
        groups: list[_Group] = []
        open_: list[int] = []
        for feature in sorted(range(len(widths)), key=lambda place: widths[place]):
            if math.prod(widths[place] for place in open_) * widths[feature] > _JOINT_SLOTS:
                groups.append(self._group(open_, widths))
                open_ = []
            open_.append(feature)
        groups.append(self._group(open_, widths))
        return groups

    def _group(self, features: list[int], widths: list[int]) -> _Group:
        joint = np.zeros(self.binned.shape[1], dtype=np.uint16)
        for feature in features:
            joint = joint * np.uint16(widths[feature]) + (self.binned[feature] - np.uint16(self.offsets[feature]))
        return _Group(tuple(features), tuple(widths[feature] for feature in features), joint)

    def histograms(self, group: int, place: int) -> tuple[Floats, Floats, Floats]:
        """Sums of gradients and Hessians (multiples of the quantum) and rows by slot, over the rows at a place of a tree.

        Raises:
            ValueError: there is no such place.
        """
        found = self._lists[group].get(place)
        if found is None:
            raise ValueError("no such place")
        rows = None if len(found) == len(self._everyone) else found
        weights: list[Floats | None] = [self._gradient[group] if rows is None else self._gradient[group].take(rows)]
        if self._hessian.size:
            weights.append(self._hessian[group] if rows is None else self._hessian[group].take(rows))
        counted = rows is None and self._all_rows is not None
        sums = np.zeros((3, self.offsets[-1]))
        for features in self._groups:
            if len(features.places) > 1 and len(found) < _JOINT_ROWS * math.prod(features.widths):
                for feature in features.places:
                    start, end = self.offsets[feature : feature + 2]
                    column = self.binned[feature] if rows is None else self.binned[feature].take(rows)
                    index = column - np.uint16(start)
                    for kind, weight in enumerate(weights):
                        sums[kind, start:end] = np.bincount(index, weight, minlength=end - start)
                    sums[2, start:end] = np.bincount(index, minlength=end - start)
                continue
            index = features.joint if rows is None else features.joint.take(rows)
            for kind, weight in [*enumerate(weights), *([] if counted else [(2, None)])]:
                table = np.bincount(index, weight, minlength=math.prod(features.widths)).reshape(features.widths)
                for axis, feature in enumerate(features.places):
                    others = tuple(other for other in range(table.ndim) if other != axis)
                    sums[kind, self.offsets[feature] : self.offsets[feature + 1]] = table.sum(axis=others)
        if counted and self._all_rows is not None:
            sums[2] = self._all_rows
        elif rows is None:
            self._all_rows = sums[2].copy()  # they are the same at every tree's root
        return sums[0], sums[1], sums[2]

    def leaves(self, group: int) -> Iterator[tuple[int, Floats, Floats | None]]:
        """The places where rows of a growing tree are, with their gradients and Hessians (multiples of the quantum)."""
        for place, rows in self._lists[group].items():
            yield place, self._gradient[group].take(rows), self._hessian[group].take(rows) if self._hessian.size else None

    # --- measuring -----------------------------------------------------------------------------------------------

    def predicted(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Predictions at the present margins: of rows trained on, and of those kept apart."""
        predicted = _objectives.predictions(self.params.objective, self.margins)
        return predicted[:, : self.rows.trained], predicted[:, self.rows.trained :]

    def losses(self) -> Floats:
        """Sum of losses and number of rows: of those trained on, and of those kept apart."""
        parts = zip(self.predicted(), (self.rows.target[: self.rows.trained], self.rows.target[self.rows.trained :]),
                    strict=True)
        found = [(_objectives.loss(self.params.objective, predicted, target), float(len(target)))
                 for predicted, target in parts]
        return np.array(found).ravel()


_ROWS: Final = "rows"
_STATE: Final = "state"


def rows_of(inputs: Inputs, params: BoostingParams) -> _rows.Rows:
    """The department's rows, read once a run."""
    found = inputs.cache.get(_ROWS)
    if not isinstance(found, _rows.Rows):
        found = inputs.cache[_ROWS] = _rows.read(inputs, params)
    return found


def state_of(inputs: Inputs, params: BoostingParams, cuts: Floats, sizes: Floats, base: Floats) -> State:
    """The state that goes with these cut points and margins."""
    found = inputs.cache.get(_STATE)
    if not isinstance(found, State) or found.key != (cuts.tobytes(), sizes.tobytes(), base.tobytes()):
        rows = rows_of(inputs, params)
        rows.forget_order()
        found = inputs.cache[_STATE] = State(rows, params, cuts, sizes, base)
    return found
