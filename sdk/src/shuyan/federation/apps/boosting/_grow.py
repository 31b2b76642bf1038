"""Growing the trees of one round, level by level, from securely summed histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.apps.boosting._rows import hashed
from shuyan.federation.apps.boosting._splits import Found, Splitter, Totals
from shuyan.federation.apps.boosting._trees import TreeArray
from shuyan.federation.grid import SecureGrid
from shuyan.federation.ring import Floats

LEVEL: Final = "train.level"
_COLUMNS: Final = 2**61
"""Sets a draw of columns apart from draws of rows."""


@dataclass
class Node:
    """A node of a grown tree, for the saved model."""

    totals: Totals
    found: Found | None = None
    value: float = 0.0


@dataclass
class Grown:
    """One round's trees by place."""

    trees: list[dict[int, Node]]


@dataclass
class Grower:
    """Grows trees on a grid.

    Args:
        given: the arrays that every question brings: cuts, sizes, base.
        limit: values that one answer may have.
        least: rows that a leaf must be about.
        quantum: the step of the fixed-point numbers that gradients and Hessians are sent as.
        varies: by feature, whether it can be split by at all.
        measured: told at each round's root the number of the round, the losses before it (sum and rows, trained on and kept
            apart) and how many departments there are; says whether to go on.
    """

    grid: SecureGrid
    params: BoostingParams
    given: dict[str, Floats]
    offsets: Sequence[int]
    limit: int
    least: int
    quantum: float
    varies: npt.NDArray[np.bool_]
    measured: Callable[[int, Floats, int], bool]
    trees: TreeArray = field(init=False)
    _participants: tuple[str, ...] = ()
    _changed: bool = False

    def __post_init__(self) -> None:
        self.trees = TreeArray(self.params)
        self._splitter = Splitter(self.params, self.offsets, self.least)

    def round(self, number: int) -> Grown | None:
        """Grow the trees of a round, or none where the losses before it say that it is time to stop.

        Where a department is lost on the way, they end at the level they have reached: what is known of their nodes then
        is about all departments, and asking the others again for the same would tell, by subtraction, what the lost
        one had.
        """
        groups, inner = self.trees.groups, self.params.inner()
        usable = self._usable(number)
        self._participants, self._changed = (), False
        self._loss = np.zeros(4)
        for group in range(groups):
            self.trees.tree(number, group)[:] = 0
        asked = self._ask(number, [(group, 0) for group in range(groups)], measure=True)
        if not self.measured(number, self._loss, len(self._participants)):
            return None
        parents: dict[tuple[int, int], Floats] = {}
        grown: list[dict[int, Node]] = []
        for group in range(groups):
            gradient, hessian, rows = asked[group, 0][:, : self.offsets[1]].sum(axis=1) if (group, 0) in asked else (0, 0, 0)
            grown.append({0: Node(Totals(float(gradient), float(hessian), int(rows)))})
        level = asked
        while level:
            open_ = sorted(level)
            found = self._splitter.find([grown[group][place].totals for group, place in open_],
                                        np.stack([level[key] for key in open_]), usable)
            wanted: list[tuple[int, int]] = []
            parents.clear()
            for (group, place), best in zip(open_, found, strict=True):
                if best is None:
                    continue
                grown[group][place].found = best
                self.trees.set_split(self.trees.tree(number, group), place, best.split)
                left, right = 2 * place + 1, 2 * place + 2
                grown[group][left], grown[group][right] = Node(best.left), Node(best.right)
                if left < inner and (self._splittable(best.left) or self._splittable(best.right)):
                    parents[group, place] = level[group, place]
                    wanted.append((group, left if best.left.rows <= best.right.rows else right))
            level = self._children(number, wanted, parents, grown)
        self._set_values(number, grown)
        return Grown(grown)

    def _children(self, number: int, wanted: list[tuple[int, int]], parents: dict[tuple[int, int], Floats],
                  grown: list[dict[int, Node]]) -> dict[tuple[int, int], Floats]:
        """Histograms of the next level's nodes: asked for the smaller of two, and by subtraction for the other."""
        level: dict[tuple[int, int], Floats] = {}
        for (group, place), histogram in self._ask(number, wanted).items():
            parent = parents[group, (place - 1) // 2]
            other = place + 1 if place % 2 else place - 1
            for which, sums in ((place, histogram), (other, parent - histogram)):
                if self._splittable(grown[group][which].totals):
                    level[group, which] = sums
        return level

    def _splittable(self, node: Totals) -> bool:
        return node.rows >= 2 * self.least and node.hessian >= 2 * self.params.min_child_weight

    def _usable(self, number: int) -> npt.NDArray[np.bool_]:
        share = self.params.colsample_bytree
        if share >= 1:
            return self.varies
        # As many as XGBoost takes; which ones, the hash of a feature's place says.
        places = np.flatnonzero(self.varies)
        keep = max(1, int(share * len(places)))
        ranks = hashed(places.astype(np.uint64), self.params.seed, _COLUMNS + number)
        usable = np.zeros_like(self.varies)
        usable[places[np.argsort(ranks, kind="stable")[:keep]]] = True
        return usable

    def _ask(self, number: int, wanted: list[tuple[int, int]], *, measure: bool = False) -> dict[tuple[int, int], Floats]:
        """Histograms of shape (3, slots) by group and place; gradients and Hessians in their own unit.

        What others answered than the round's first participants is left out.
        """
        slots, plain = self.offsets[-1], self.params.objective == "reg:squarederror"
        room = max(1, (self.limit - 4) // (slots * (2 if plain else 3)))
        result: dict[tuple[int, int], Floats] = {}
        for start in range(0, len(wanted), room):
            if self._changed:
                break
            part = wanted[start : start + room]
            nodes = np.full(self.trees.groups << (self.params.max_depth - 1), -1.0)
            nodes[: len(part)] = [float((group << self.params.max_depth) + place) for group, place in part]
            expect = {"gradient": slots * len(part), "rows": slots * len(part)}
            if not plain:
                expect["hessian"] = slots * len(part)
            if measure and start == 0:
                expect["loss"] = 4
            total = self.grid.secure_sum(
                LEVEL, expect=expect,
                config={"round": number, "quantum": self.quantum, "measure": measure and start == 0},
                arrays={**self.given, "trees": self.trees.array, "nodes": nodes})
            if self._participants and total.participants != self._participants:
                self._changed = True
                break
            self._participants = total.participants
            if measure and start == 0:
                self._loss = total["loss"]
            rows = total["rows"].reshape(len(part), slots)
            gradient = total["gradient"].reshape(len(part), slots) * self.quantum
            hessian = rows if plain else total["hessian"].reshape(len(part), slots) * self.quantum
            for at, key in enumerate(part):
                result[key] = np.stack([gradient[at], hessian[at], rows[at]])
        return result

    def _set_values(self, number: int, grown: list[dict[int, Node]]) -> None:
        eta = np.float32(self.params.eta)
        for group, nodes in enumerate(grown):
            tree = self.trees.tree(number, group)
            for place, node in nodes.items():
                node.value = float(np.float32(self._splitter.weight(node.totals)) * eta)
                if node.found is None:
                    self.trees.set_value(tree, place, node.value)

