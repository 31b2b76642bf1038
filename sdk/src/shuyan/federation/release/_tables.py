"""All tables of one result as projections of one joint table, which need not be known to protect its projections.

Each table counts the rows that have declared values in all its dimensions. Every dimension therefore gets one level
more, for the rows without one: its cells are never published, but they can be worked out where a coarser table is
published too, so they are cells like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.ring import Floats

Mask = npt.NDArray[np.bool_]

MAX_JOINT: Final = 1_000_000
"""Cells of the joint table of tables that are linked; tables that would make it larger are not shown together."""
_SWEEPS: Final = 400
_CLOSE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of a table: its name, and how many values it has."""

    name: str
    size: int


@dataclass
class Table:
    """One table with the level for rows without a value.

    Attributes:
        dims: places of its dimensions among all dimensions, ascending.
        counts: extended, shape (size + 1, …) in the order of ``dims``.
        hidden: extended; what an observer cannot work out.
        certified: extended; how wide the interval is, at least, that an observer is left with.
        order: the permutation from the caller's order of axes to ``dims``.
        weight: of what is lost by hiding its cells.
    """

    dims: tuple[int, ...]
    counts: Floats
    hidden: Mask
    certified: Floats
    order: tuple[int, ...]
    weight: float = 1.0


class Joint:
    """A joint table that agrees with every published one; observers cannot rule it out.

    Attributes:
        sizes: of the dimensions, without the additional level.
        cells: shape (size + 1, …); non-negative. Where one table has all the dimensions these are the true counts.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.shape = tuple(size + 1 for size in sizes)
        self.cells: Floats = np.zeros(self.shape)

    def fit(self, tables: Sequence[tuple[tuple[int, ...], Floats]], total: float) -> bool:
        """Find such a table for ``(dims, declared counts)`` and a total; False if none was found.

        Rows that a coarse table has and no finer one accounts for go to the cells without values. Where that does not
        work out, iterative proportional fitting (Deming & Stephan, Ann. Math. Statist. 11, 1940) finds the table of
        largest entropy.
        """
        everything = [*sorted(tables, key=lambda table: -len(table[0]))]
        if not any(not dims for dims, _ in everything):
            everything.append(((), np.array(total)))
        for dims, counts in everything:
            rest = counts - self._seen(dims)
            where = tuple(slice(0, self.sizes[dim]) if dim in dims else self.sizes[dim] for dim in range(len(self.sizes)))
            self.cells[where] += rest
        if self.cells.size == 0 or ((self.cells >= 0).all() and self._agrees(everything)):
            return True
        return self._proportional(everything, total)

    def _seen(self, dims: tuple[int, ...]) -> Floats:
        """What the joint table has in the declared cells of a table."""
        inside = self.cells[tuple(
            slice(0, self.sizes[dim]) if dim in dims else slice(None) for dim in range(len(self.sizes)))]
        return np.asarray(inside.sum(axis=tuple(dim for dim in range(len(self.sizes)) if dim not in dims)))

    def _agrees(self, tables: Sequence[tuple[tuple[int, ...], Floats]], tolerance: float = 1e-9) -> bool:
        return all(bool(np.all(np.abs(self._seen(dims) - counts) <= tolerance * (1 + np.abs(counts))))
                   for dims, counts in tables)

    def _proportional(self, tables: Sequence[tuple[tuple[int, ...], Floats]], total: float) -> bool:
        self.cells = np.ones(self.shape)
        for _ in range(_SWEEPS):
            for dims, counts in tables:
                if not dims:
                    self.cells *= total / max(self.cells.sum(), 1e-300)
                    continue
                declared = tuple(slice(0, self.sizes[dim]) if dim in dims else slice(None)
                                 for dim in range(len(self.sizes)))
                seen = self._seen(dims)
                factor = np.divide(counts, seen, out=np.zeros_like(seen), where=seen > 0)
                outside = self.cells.sum() - seen.sum()
                rest = max(total - float(counts.sum()), 0.0)
                inner = self.cells[declared] * np.expand_dims(
                    factor, tuple(dim for dim in range(len(self.sizes)) if dim not in dims))
                self.cells *= rest / outside if outside > 0 else 0.0
                self.cells[declared] = inner
            if self._agrees(tables, _CLOSE):
                return True
        return False

    def project(self, dims: tuple[int, ...]) -> Floats:
        """A table's extended counts."""
        return np.asarray(self.cells.sum(axis=tuple(dim for dim in range(len(self.sizes)) if dim not in dims)))


def joint_size(sizes: Sequence[int]) -> int:
    """Cells of a joint table over dimensions of these sizes."""
    return math.prod(size + 1 for size in sizes)
