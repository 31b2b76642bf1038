"""Which cells of several linked tables may be shown, so that the rest cannot be worked out from them.

Primary suppression: a cell about fewer rows than the minimum cohort, or that fewer than two departments contribute to
unless their own figures may be shown. An empty cell is left out too, but is taken to be known: domains are declared
ones, and half of a wide table is empty for reasons everybody knows. ``empty="protect"`` hides empty cells like small
ones, for dimensions where it is sensitive that nobody is there.

Complementary suppression: every hidden cell gets a *certificate*, another table that agrees with all that is shown and
differs in that cell. It is built from the true table by adding and subtracting alternately at the corners of a
hypercube (Giessing & Repsilber, "Tools and Strategies to Protect Multiple Tables with the GHQUAR Cell Suppression
Engine", 2002): sums over any direction of the cube stay what they are, so only tables that have all the directions
change, and there the corners are hidden. How far the shift may go in both directions before a cell would fall below
nothing is the width of the interval that an observer is left with. So an observer who solves all linear relations
between shown cells, non-negativity included, is left with an interval at least as wide as stated:

* the minimum cohort for every hidden cell that is not empty,
* and a tenth of its count for a cell that was hidden because one department alone contributes.

All margins of a table are treated as if they were shown with it, since another question may ask for them.

The certificate is sufficient, not necessary: now and then a cell more than needed is hidden. Where tables share
dimensions without one of them having all, the shift is made in a joint table that agrees with them all
(:mod:`._tables`); whole-number reasoning beyond the linear one is not covered there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from shuyan.federation.release._cover import Cover
from shuyan.federation.release._tables import MAX_JOINT, Axis, Joint, Mask, Table, joint_size
from shuyan.federation.ring import Floats

_SHARE: Final = 0.1  # of one department's own count: the least width of the interval around it
_UNASKED: Final = 1000.0  # how much rather a cell that was asked for is hidden than one of a margin that was not


class Reason(IntEnum):
    """Why a cell is not shown; 0 where it is."""

    SHOWN = 0
    SMALL = 1
    ONE_DEPARTMENT = 2
    COMPLEMENT = 3
    EMPTY = 4
    TABLE = 5


@dataclass(frozen=True)
class Decision:
    """What was decided about all cells, in the order they were given.

    Attributes:
        reasons: a :class:`Reason` per cell.
        widths: per cell, the width of the interval an observer is left with, at least; 0 where nothing is hidden.
    """

    reasons: npt.NDArray[np.int8]
    widths: Floats

    @property
    def released(self) -> Mask:
        """Which cells may be shown."""
        return np.asarray(self.reasons == Reason.SHOWN)


def suppress(
    counts: Sequence[float] | npt.NDArray[Any], contributors: Sequence[float] | npt.NDArray[Any] | None,
    axes: Sequence[Sequence[Axis]], minimum: int, *, own_figures: bool = False, total: int | None = None,
    hidden: npt.NDArray[np.bool_] | None = None, empty: Literal["known", "protect"] = "known",
    margins: Literal["all", "asked"] = "all",
) -> Mask:
    """The released cells of all tables of one result, in the order of ``counts``; see :func:`decide`."""
    return decide(counts, contributors, axes, minimum, own_figures=own_figures, total=total, hidden=hidden,
                  empty=empty, margins=margins).released


def decide(
    counts: Sequence[float] | npt.NDArray[Any], contributors: Sequence[float] | npt.NDArray[Any] | None,
    axes: Sequence[Sequence[Axis]], minimum: int, *, own_figures: bool = False, total: int | None = None,
    hidden: npt.NDArray[np.bool_] | None = None, empty: Literal["known", "protect"] = "known",
    margins: Literal["all", "asked"] = "all",
) -> Decision:
    """Decide over all tables of one result together; the same input gives the same answer.

    Args:
        counts: the cells of all tables one after the other, each in row-major order of its axes.
        contributors: how many departments have rows in each cell; None where that plays no part.
        axes: each table's dimensions; no axes at all is the overall figure, a single cell that is never hidden for the
            sake of others.
        minimum: the cohort.
        own_figures: whether one department's own figures may be shown.
        total: the rows all tables are about, where it is shown and no table without axes is among them.
        hidden: cells that must not be shown for other reasons and that must not be recoverable either.
        empty: whether empty cells are taken to be known, or protected like small ones.
        margins: whether margins that are not asked for now are taken to be asked for some day.

    Raises:
        ValueError: lengths do not fit, or a table is named twice.
    """
    problem = _Problem(counts, contributors, axes, minimum, own_figures=own_figures, total=total, forced=hidden,
                       empty=empty, all_margins=margins == "all")
    return problem.solve()


class _Problem:
    def __init__(
        self, counts: Any, contributors: Any, axes: Sequence[Sequence[Axis]], minimum: int, *, own_figures: bool,
        total: int | None, forced: npt.NDArray[np.bool_] | None, empty: str, all_margins: bool,
    ) -> None:
        self.all_margins = all_margins
        self.counts = np.asarray(counts, dtype=np.float64)
        self.minimum, self.protect_empty = minimum, empty == "protect"
        self.shapes = [tuple(axis.size for axis in table) for table in axes]
        self.starts = np.cumsum([0, *(math.prod(shape) for shape in self.shapes)])
        given = None if contributors is None else np.asarray(contributors, dtype=np.float64)
        if self.counts.shape != (self.starts[-1],) or (given is not None and given.shape != self.counts.shape):
            raise ValueError("a count for every cell of every table")
        names = list(dict.fromkeys(axis.name for table in axes for axis in table))
        size_of = {axis.name: axis.size for table in axes for axis in table}
        if any(axis.size != size_of[axis.name] for table in axes for axis in table):
            raise ValueError("a dimension has one size")
        self.sizes = [size_of[name] for name in names]
        self.places = [tuple(names.index(axis.name) for axis in table) for table in axes]
        sets = [frozenset(places) for places in self.places]
        if len(set(sets)) != len(sets) or any(len(places) != len(set(places)) for places in self.places):
            raise ValueError("a table is named twice")
        self.total = float(total) if total is not None else self._largest_total()
        self.reasons = np.zeros(len(self.counts), dtype=np.int8)
        self.reasons[self.counts < minimum] = Reason.SMALL
        if given is not None and not own_figures:
            self.reasons[(given < 2) & (self.counts >= minimum)] = Reason.ONE_DEPARTMENT
        if forced is not None:
            self.reasons[np.asarray(forced) & (self.reasons == 0)] = Reason.COMPLEMENT
        if not self.protect_empty:
            self.reasons[self.counts == 0] = Reason.EMPTY

    def _largest_total(self) -> float:
        """The rows all are about, if nobody says: as many as the fullest table has."""
        return max((float(self._part(index).sum()) for index in range(len(self.shapes))), default=0.0)

    def _part(self, index: int) -> Floats:
        return np.asarray(self.counts[self.starts[index] : self.starts[index + 1]])

    def solve(self) -> Decision:
        widths = np.zeros(len(self.counts))
        dropped: set[int] = set()
        needed = np.isin(self.reasons, (Reason.SMALL, Reason.ONE_DEPARTMENT, Reason.COMPLEMENT)).any()
        if needed or self._leftovers():
            for group in self._groups(dropped):
                self._solve(group, widths)
        for index in dropped:
            part = slice(self.starts[index], self.starts[index + 1])
            self.reasons[part] = np.where(self.reasons[part] == 0, Reason.TABLE, self.reasons[part])
        return Decision(self.reasons, widths)

    def _leftovers(self) -> bool:
        """Whether some rows without a declared value could be told as a difference, and are few."""
        for index, places in enumerate(self.places):
            for other, others in enumerate(self.places):
                if set(others) < set(places):
                    axis = tuple(at for at, place in enumerate(places) if place not in others)
                    summed = self._part(index).reshape(self.shapes[index]).sum(axis=axis)
                    kept = [place for place in places if place in others]
                    coarse = self._part(other).reshape(self.shapes[other]).transpose(
                        [others.index(place) for place in kept])
                    rest = coarse - summed
                    if ((rest > 0) & (rest < self.minimum)).any():
                        return True
            rest_of_all = self.total - float(self._part(index).sum())
            if 0 < rest_of_all < self.minimum:
                return True
        return False

    def _groups(self, dropped: set[int]) -> list[list[int]]:
        """Tables that are protected together; the rest are independent given what they share, or are dropped."""
        order = sorted(range(len(self.places)), key=lambda index: (-len(self.places[index]), index))
        tops = [index for index in order
                if not any(set(self.places[index]) < set(self.places[other]) for other in order)]
        groups: list[tuple[set[int], list[int]]] = []
        for top in tops:
            dims = set(self.places[top])
            linked = [group for group in groups if group[0] & dims]
            union = dims.union(*(group[0] for group in linked))
            if linked and joint_size([self.sizes[dim] for dim in union]) > MAX_JOINT:
                dropped.add(top)
                continue
            groups = [group for group in groups if group not in linked]
            groups.append((union, [index for group in linked for index in group[1]] + [top]))
        result = []
        for _, members in groups:
            below = [index for index in order if index not in dropped and any(
                set(self.places[index]) <= set(self.places[top]) for top in members)]
            result.append(below)
        kept = {index for group in result for index in group}
        dropped.update(index for index in order if index not in kept and self.places[index])
        return result

    def _solve(self, members: list[int], widths: Floats) -> None:
        dims = sorted({place for index in members for place in self.places[index]})
        if not dims:
            return
        local = {place: at for at, place in enumerate(dims)}
        joint = Joint([self.sizes[place] for place in dims])
        declared = {}
        for index in members:
            at = [local[place] for place in self.places[index]]
            by_place = tuple(int(place) for place in np.argsort(at))
            shaped = self._part(index).reshape(self.shapes[index]).transpose(by_place)
            declared[index] = (tuple(sorted(at)), shaped, by_place)
        given = [(where, shaped) for where, shaped, _ in declared.values()]
        fits = joint.fit(given, self.total)
        if not fits and len(members) == 1:
            # Not of as many rows as is said: it is taken for all there is.
            joint = Joint([self.sizes[place] for place in dims])
            fits = joint.fit(given, float(given[0][1].sum()))
        if not fits and len(members) > 1:
            # No table agrees with all of them (they are not of the same rows): only one can be shown safely.
            for index in members[1:]:
                self._drop(index)
            self._solve(members[:1], widths)
            return
        tables = {index: self._table(index, joint, *declared[index]) for index in members if self.places[index]}
        unasked = self._unasked(joint, {dims for dims, _, _ in declared.values()}) if self.all_margins else []
        needs = [*self._needs(tables), *(np.full(table.counts.shape, float(self.minimum)) for table in unasked)]
        Cover(joint, [*tables.values(), *unasked], self.minimum, self.protect_empty, needs).run()
        for index, table in tables.items():
            self._take(index, table, widths)

    def _unasked(self, joint: Joint, asked: set[tuple[int, ...]]) -> list[Table]:
        """The margins of the tables that were not asked for; small cells of theirs would be hidden."""
        missing = {dims for table in asked for size in range(1, len(table)) for dims in combinations(table, size)} - asked
        margins = []
        for dims in sorted(missing):
            counts = joint.project(dims)
            few = (counts > 0.5) & (counts < self.minimum)
            margins.append(Table(dims, counts, few, np.zeros(counts.shape), tuple(range(len(dims))), _UNASKED))
        return margins

    def _drop(self, index: int) -> None:
        part = slice(self.starts[index], self.starts[index + 1])
        self.reasons[part] = np.where(self.reasons[part] == 0, Reason.TABLE, self.reasons[part])

    def _table(self, index: int, joint: Joint, dims: tuple[int, ...], shaped: Floats, order: tuple[int, ...]) -> Table:
        counts = joint.project(dims)
        inside = tuple(slice(0, -1) for _ in dims)
        counts[inside] = shaped
        reasons = self.reasons[self.starts[index] : self.starts[index + 1]].reshape(self.shapes[index]).transpose(order)
        # Rows without a value: hidden while few, known otherwise.
        hidden = (counts > 0.5) & (counts < self.minimum)
        hidden[inside] = np.isin(reasons, (Reason.SMALL, Reason.ONE_DEPARTMENT, Reason.COMPLEMENT))
        return Table(dims, counts, hidden, np.zeros(counts.shape), order)

    def _needs(self, tables: dict[int, Table]) -> list[Floats]:
        needs = []
        for index, table in tables.items():
            need = np.full(table.counts.shape, float(self.minimum))
            reasons = self.reasons[self.starts[index] : self.starts[index + 1]].reshape(
                self.shapes[index]).transpose(table.order)
            inside = tuple(slice(0, -1) for _ in table.dims)
            need[inside] = np.where(reasons == Reason.ONE_DEPARTMENT,
                                    np.maximum(self.minimum, np.ceil(_SHARE * table.counts[inside])), self.minimum)
            needs.append(need)
        return needs

    def _take(self, index: int, table: Table, widths: Floats) -> None:
        inside = tuple(slice(0, -1) for _ in table.dims)
        back = np.argsort(table.order)
        hidden = table.hidden[inside].transpose(back).ravel()
        part = slice(self.starts[index], self.starts[index + 1])
        self.reasons[part] = np.where(hidden & (self.reasons[part] == 0), Reason.COMPLEMENT, self.reasons[part])
        widths[part] = np.where(hidden, table.certified[inside].transpose(back).ravel(), 0.0)
