"""Quantiles of columns that nobody sees whole: counts over a grid that is refined where the rows are.

A float32 has an order-preserving 32-bit key (after Herf's radix tricks: flip all bits of a negative number, and the sign
of any other), so the line of all numbers is a tree of cells in which a cell is a run of leading bits. The first round
counts the 256 cells of eight bits; each later round splits the fullest cells by four bits more, at most ``capacity`` per
column, until all 32 bits are known. What is added up are counts of rows, so rows weigh the same wherever they are, and the
sketch is the same however they are cut among departments.

*Exactness.* A cell is left coarse at some round if it holds fewer than ``least`` rows, or was not among the fullest
``capacity`` and so holds less than 1/(capacity + 1) of the rows. The larger of the two is the rank error of any quantile;
:meth:`Sketch.rank_error` tells the one that came out. A column with at most ``capacity`` distinct values, each in ``least``
rows, ends with one cell a value.

*Privacy.* The cells are seen where the sums arrive, and their edges are what a model's thresholds are made of. So what holds
fewer than ``least`` rows, the cohort, is not looked into: every digit of an edge is shared by as many rows but for the last.

Cut points are chosen from the cells as XGBoost chooses them from its own summaries (``WQSummary::SetPrune``, after
Chen & Guestrin, "XGBoost", KDD 2016, supplement A), so that both give the same bins where the sketch is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.ring import Floats

Keys = npt.NDArray[np.uint32]
Float32s = npt.NDArray[np.float32]

KEY_BITS: Final = 32
FIRST_BITS: Final = 8
STEP_BITS: Final = 4
FIRST_CELLS: Final = 1 << FIRST_BITS
CHILDREN: Final = 1 << STEP_BITS
LEVELS: Final = tuple(range(FIRST_BITS, KEY_BITS, STEP_BITS))
"""The numbers of leading bits that are known before each refining round."""

_XGBOOST_FACTOR: Final = 8  # it prunes to this many times the bins first
_SIGN: Final = np.uint32(1 << 31)


def keys_of(values: Float32s) -> Keys:
    """Order-preserving keys of finite float32 numbers; the two zeros have one."""
    bits = (values + np.float32(0)).view(np.uint32)
    return np.asarray(np.where(bits & _SIGN, ~bits, bits | _SIGN), dtype=np.uint32)


def values_of(keys: Keys) -> Float32s:
    """The numbers that keys belong to."""
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).astype(np.uint32).view(np.float32)


# --- at the node -------------------------------------------------------------------------------------------------


def first_counts(keys: Keys) -> Floats:
    """Rows by the leading eight bits, shape (256,)."""
    return np.bincount(keys >> np.uint32(KEY_BITS - FIRST_BITS), minlength=FIRST_CELLS).astype(np.float64)


def child_counts(ordered: Keys, cells: npt.NDArray[np.int64], bits: int) -> Floats:
    """Rows in each of the sixteen parts of cells, shape (16 · cells,).

    Args:
        ordered: a column's keys, sorted.
        cells: the cells' leading ``bits`` bits as numbers.
    """
    shift = KEY_BITS - bits - STEP_BITS
    edges = (cells[:, None] * CHILDREN + np.arange(CHILDREN)) << shift
    starts = np.searchsorted(ordered, edges.ravel().astype(np.uint32), side="left").reshape(edges.shape)
    last = np.searchsorted(ordered, (((cells + 1) << (shift + STEP_BITS)) - 1).astype(np.uint32), side="right")
    return np.diff(np.column_stack([starts, last]), axis=1).ravel().astype(np.float64)


# --- at the coordinator ------------------------------------------------------------------------------------------


@dataclass
class _Column:
    """The non-empty cells of one column in order: first key, known bits, rows."""

    start: npt.NDArray[np.int64]
    bits: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """One question: which cells to split, by column; the answer has sixteen counts for each, columns in order."""

    cells: list[tuple[int, npt.NDArray[np.int64]]] = field(repr=False)

    @property
    def length(self) -> int:
        """How many counts the answer has."""
        return CHILDREN * sum(len(cells) for _, cells in self.cells)

    def array(self, columns: int, capacity: int) -> Floats:
        """The cells as one array of ``columns · capacity``, filled up with -1."""
        array = np.full((columns, capacity), -1.0)
        for column, cells in self.cells:
            array[column, : len(cells)] = cells
        return array.ravel()


class Sketch:
    """The coordinator's side.

    Args:
        counts: the sum of all departments' :func:`first_counts`, shape (columns, 256).
        capacity: cells of a column that are split in one round, at most.
        least: rows that a cell must hold to be split.
    """

    def __init__(self, counts: Floats, capacity: int, least: int = 1) -> None:
        self.capacity, self.least = capacity, least
        self._columns: list[_Column] = []
        for rows in counts.astype(np.int64):
            filled = np.flatnonzero(rows)
            self._columns.append(_Column(filled << (KEY_BITS - FIRST_BITS), np.full(len(filled), FIRST_BITS), rows[filled]))

    def batches(self, bits: int, limit: int) -> Iterator[Batch]:
        """What to ask at a level, in questions of at most ``limit`` counts."""
        room = max(limit // CHILDREN, 1)
        open_: list[tuple[int, npt.NDArray[np.int64]]] = []
        used = 0
        for place, column in enumerate(self._columns):
            chosen = self._fullest(column, bits)
            cells = column.start[chosen] >> (KEY_BITS - bits)
            while len(cells):
                part = cells[: room - used]
                open_.append((place, part))
                used += len(part)
                cells = cells[len(part):]
                if used == room:
                    yield Batch(open_)
                    open_, used = [], 0
        if open_:
            yield Batch(open_)

    def _fullest(self, column: _Column, bits: int) -> npt.NDArray[np.int64]:
        """Places of the cells to split, in order."""
        candidates = np.flatnonzero((column.bits == bits) & (column.rows >= self.least))
        if len(candidates) > self.capacity:
            heaviest = np.argsort(-column.rows[candidates], kind="stable")[: self.capacity]
            candidates = np.sort(candidates[heaviest])
        return candidates

    def take(self, bits: int, answers: Sequence[tuple[Batch, Floats]]) -> None:
        """Replace the cells that were asked about at a level by their non-empty parts."""
        found: dict[int, list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]] = {}
        for batch, counts in answers:
            at = 0
            for place, cells in batch.cells:
                size = CHILDREN * len(cells)
                found.setdefault(place, []).append((cells, counts[at : at + size].astype(np.int64)))
                at += size
        shift = KEY_BITS - bits - STEP_BITS
        for place, parts in found.items():
            cells = np.concatenate([part for part, _ in parts])
            rows = np.concatenate([part for _, part in parts])
            starts = ((cells[:, None] * CHILDREN + np.arange(CHILDREN)) << shift).ravel()
            column, filled = self._columns[place], rows > 0
            kept = ~np.isin(column.start, cells << (shift + STEP_BITS))
            start = np.concatenate([column.start[kept], starts[filled]])
            order = np.argsort(start, kind="stable")
            self._columns[place] = _Column(
                start[order],
                np.concatenate([column.bits[kept], np.full(int(filled.sum()), bits + STEP_BITS)])[order],
                np.concatenate([column.rows[kept], rows[filled]])[order])

    def distinct(self, place: int) -> int:
        """Cells of a column: its distinct values where the sketch is exact, and fewer than those otherwise."""
        return len(self._columns[place].start)

    def rows(self, place: int) -> int:
        """Rows with a value in a column."""
        return int(self._columns[place].rows.sum())

    def rank_error(self, place: int) -> float:
        """The share of a column's rows by which a quantile may be off: 0 where every cell is one value."""
        column = self._columns[place]
        coarse = column.rows[column.bits < KEY_BITS]
        return float(coarse.max() / column.rows.sum()) if len(coarse) else 0.0

    def cuts(self, place: int, bins: int) -> Float32s:
        """Ascending cut points for at most ``bins`` bins: a row is left of a cut where its value is smaller.

        A column with one value, or none, has no cuts.
        """
        column = self._columns[place]
        if len(column.start) < 2:
            return np.empty(0, dtype=np.float32)
        summary = list(zip(values_of(column.start.astype(np.uint32)).tolist(), column.rows.tolist(), strict=True))
        entries = _prune(_prune(_exact(summary), bins * _XGBOOST_FACTOR), bins + 1)
        return np.array([entry[0] for entry in entries[1:bins]], dtype=np.float32)


_Entry = tuple[float, float, float, float]
"""Value, smallest rank before it, largest rank after it, weight."""


def _exact(summary: Sequence[tuple[float, int]]) -> list[_Entry]:
    entries, before = [], 0.0
    for value, rows in summary:
        entries.append((value, before, before + rows, float(rows)))
        before += rows
    return entries


def _prune(entries: list[_Entry], size: int) -> list[_Entry]:
    """At most ``size`` entries: the ends, and others evenly by rank (``WQSummary::SetPrune``)."""
    if len(entries) <= size:
        return entries
    begin, last = entries[0][2], len(entries) - 1
    span = entries[last][1] - begin
    pruned, at, latest = [entries[0]], 1, 0
    for step in range(1, size - 1):
        rank = 2 * (step * span / (size - 1) + begin)
        while at < last and rank >= entries[at + 1][2] + entries[at + 1][1]:
            at += 1
        if at == last:
            break
        # Between two neighbours, the one whose ranks are nearer.
        between = entries[at][1] + entries[at][3] + entries[at + 1][2] - entries[at + 1][3]
        pick = at if rank < between else at + 1
        if pick != latest:
            pruned.append(entries[pick])
            latest = pick
    if latest != last:
        pruned.append(entries[last])
    return pruned


def sketch_arguments(cells: Floats, columns: int) -> dict[int, Any]:
    """The cells asked about by column, read back from :meth:`Batch.array`; columns without any are left out.

    Raises:
        ValueError: not an array of cells.
    """
    found: dict[int, Any] = {}
    for place, row in enumerate(cells.reshape(columns, -1)):
        chosen = row[row >= 0]
        if len(chosen):
            if not (chosen == np.floor(chosen)).all() or chosen.max() >= 2.0**KEY_BITS:
                raise ValueError("not cells")
            found[place] = chosen.astype(np.int64)
    return found
