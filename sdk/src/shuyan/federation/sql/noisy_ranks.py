"""Order statistics with differential privacy, from noisy counts of values in nested intervals.

The values that a column can have are cut into 2^h intervals, these are joined two by two, and so on up to two halves; a row counts
in one interval of each level, so h entries of the vector change with it. How many values lie below a border is then a sum of h
noisy counts at most, not of up to 2^h of them. All counts together are fitted by least squares, which makes them agree with one
another and leaves less noise than any one way of adding them up (Hay, Rastogi, Miklau & Suciu, "Boosting the accuracy of
differentially private histograms through consistency", VLDB 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from shuyan.federation.ring import Floats
from shuyan.federation.sql.cores import Aggregate, Grid, RankState

KINDS: Final = frozenset({"min", "max", "quantile_cont", "quantile_disc"})
MOST_COUNTS: Final = 262_144
"""Counts of one question: some seconds of noise at each department."""
_DEPTH: Final = 10
_WINDOW: Final = 3.0  # standard deviations of a rank to either side, over which its values' distance is measured: closer there is but noise
_SURE: Final = 3.0  # standard deviations that the rows beyond a released extreme must exceed


def depth(grid: Grid) -> int:
    """Levels of intervals: down to single values, or to a 1,024th of what lies between the bounds."""
    return min(max((grid.count - 1).bit_length(), 1), _DEPTH)


def width(grid: Grid) -> int:
    """Counts of one group: 2 of the first level, 4 of the second, …"""
    return (2 << depth(grid)) - 2


def leaf_sql(state: RankState) -> str:
    """SQL for the smallest interval that a row's value lies in; null for none."""
    leaves = 1 << depth(state.grid)
    if state.grid.count <= leaves:
        return state.index
    return f"CAST(CAST({state.index} AS HUGEINT) * {leaves} // {state.grid.count} AS BIGINT)"


def nested(leaves: Floats) -> Floats:
    """The counts of all levels, the first level first, from those of the smallest intervals, shape (…, 2^h)."""
    levels = [leaves]
    while levels[0].shape[-1] > 2:
        levels.insert(0, levels[0].reshape(*levels[0].shape[:-1], -1, 2).sum(axis=-1))
    return np.concatenate(levels, axis=-1)


@lru_cache(maxsize=_DEPTH)
def _inverse(levels: int) -> tuple[Floats, Floats]:
    """Of least squares, (AᵀA)⁻¹, and the covariances of counts below borders, for noise of variance 1."""
    number = np.arange(1 << levels)
    apart = np.frompyfunc(int.bit_length, 1, 1)(number[:, None] ^ number[None, :]).astype(np.float64)
    found = np.asarray(np.linalg.inv(levels - apart))  # how many intervals hold both
    below = np.zeros((len(number) + 1, len(number) + 1))
    below[1:, 1:] = found.cumsum(axis=0).cumsum(axis=1)
    return found, below


@dataclass(frozen=True)
class Ranks:
    """How many values lie below each border between intervals, of one group.

    Attributes:
        below: by least squares, shape (2^h + 1,). rising: the same, without steps downwards.
        covariance: of ``below``.
    """

    grid: Grid
    below: Floats
    rising: Floats
    covariance: Floats

    @classmethod
    def of(cls, grid: Grid, counts: Floats, deviation: float) -> Ranks:
        """From the noisy counts of one group, all levels."""
        levels = depth(grid)
        shared = np.zeros(1 << levels)
        for level in range(1, levels + 1):
            shared += np.repeat(counts[(1 << level) - 2 : (2 << level) - 2], 1 << (levels - level))
        inverse, covariance = _inverse(levels)
        below = np.concatenate([[0.0], np.cumsum(inverse @ shared)])
        # Running highs lie above the truth, and lows to come below it, by as much.
        rising = (np.maximum.accumulate(below) + np.minimum.accumulate(below[::-1])[::-1]) / 2
        return cls(grid, below, rising, covariance * deviation**2)

    def value(self, aggregate: Aggregate, few: float) -> tuple[Any, float | None]:
        """An order statistic, or a list of them, and its standard deviation to first order; None where there are too few values.

        An extreme is the outermost value of which it is sure that some lie as far out. How far noise moves that is not told.

        Args:
            few: standard deviations of noise that the number of values must exceed.
        """
        total, spread = float(self.below[-1]), math.sqrt(float(self.covariance[-1, -1]))
        if not total > max(few * spread, 1.0):
            return None, None
        if aggregate.kind in ("min", "max"):
            return self._extreme(aggregate.kind), None
        at, many = aggregate.options
        found = [self._quantile(q, exact=aggregate.kind == "quantile_cont") for q in at]
        if not many:
            return found[0]
        off = [sd for _, sd in found if sd is not None]
        return [value for value, _ in found], max(off) if off else None

    def _extreme(self, kind: str) -> Any:
        last = len(self.below) - 1
        if kind == "min":
            off = np.sqrt(np.maximum(np.diagonal(self.covariance), 0.0))
            sure = np.flatnonzero((self.below > _SURE * off)[1:])
            leaf = int(sure[0]) if len(sure) else last - 1
            return self.grid.value(self._places(leaf)[0])
        beyond = self.below[-1] - self.below
        off = np.sqrt(np.maximum(np.diagonal(self.covariance) - 2 * self.covariance[-1] + self.covariance[-1, -1], 0.0))
        sure = np.flatnonzero((beyond > _SURE * off)[:-1])
        leaf = int(sure[-1]) if len(sure) else 0
        return self.grid.value(self._places(leaf)[1])

    def _quantile(self, q: float, *, exact: bool) -> tuple[Any, float | None]:
        total = float(self.below[-1])
        rank = (0.5 + (total - 1) * q) if exact else max(q * total, min(0.5, total))
        rank *= 1 - 1e-9  # what least squares round off is no value
        border = min(int(np.searchsorted(self.rising[1:], rank)), len(self.rising) - 2)
        at = self.covariance[border, border] - 2 * q * self.covariance[border, -1] + q * q * self.covariance[-1, -1]
        off = math.sqrt(max(float(at), 0.0))
        place = self._at(rank)
        value = self._number(place) if exact else self.grid.value(round(place))
        if self.grid.values and not isinstance(self.grid.values[0], (int, float)):
            return value, None  # between words there is no distance
        return value, abs(self._number(self._at(rank + _WINDOW * off)) - self._number(self._at(rank - _WINDOW * off))) / (2 * _WINDOW)

    def _at(self, rank: float) -> float:
        """The place in the grid where so many values are reached; between two places within an interval."""
        leaf = min(int(np.searchsorted(self.rising[1:], rank)), self._leaves() - 1)
        first, last = self._places(leaf)
        inside = float(self.rising[leaf + 1] - self.rising[leaf])
        share = min(max((rank - float(self.rising[leaf])) / inside, 0.0), 1.0) if inside > 0 else 0.5
        return first + share * (last - first)

    def _leaves(self) -> int:
        """Intervals in which there can be values."""
        return min(self.grid.count, 1 << depth(self.grid))

    def _places(self, leaf: int) -> tuple[int, int]:
        """The first and the last place of an interval."""
        leaves, count = 1 << depth(self.grid), self.grid.count
        if count <= leaves:
            place = min(leaf, count - 1)
            return place, place
        return -(-leaf * count // leaves), -(-(leaf + 1) * count // leaves) - 1

    def _number(self, place: float) -> float:
        """The value at a place as a number: of dates days, of timestamps seconds."""
        if self.grid.values:
            return float(self.grid.values[round(place)])
        return float(self.grid.lower) + (self.grid.offset + place) * float(self.grid.step)
