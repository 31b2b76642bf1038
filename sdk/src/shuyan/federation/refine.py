"""Exact order statistics and counts of distinct values from secure sums.

A quantile over departments cannot be summed, but counts below a threshold can. So the coordinator asks how many values
lie at or below many thresholds at once, and narrows every bracket that holds a wanted rank, until the column's own
resolution is reached: with a million steps between the bounds, a hundred thresholds a bracket find every rank in three
rounds. The result is the pooled order statistic itself, not an approximation.

What may be released. A quantile *is* some row's value, and an extreme is one person's. A value at rank r (of n, from 0)
is therefore released as it is only if at least ``minimum`` values lie at or below it and as many at or above it, on the
side where it is scarce: the tail. Otherwise it is coarsened to the outermost value whose tail holds ``minimum`` values,
and marked: a minimum becomes "``minimum`` values are this low or lower". An extreme that many rows share comes out as it
is. With fewer than ``minimum`` values nothing is released. Where a column is declared to be about no one (classified as
``free``), the caller asks with a minimum of 1 and gets the true extremes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from shuyan.federation.ring import Floats

ROUNDS: Final = 3
MAX_STEPS: Final = 1 << 50

Interpolation = Literal["cont", "disc"]
Counts = npt.NDArray[np.int64]
Ask = Callable[[Floats], npt.NDArray[Any]]
"""Thresholds of shape (groups, m) to the number of values at or below each; values beyond the bounds count as on them."""


@dataclass(frozen=True)
class Grid:
    """The values a column can take: from ``lower`` in steps of ``resolution`` to ``upper``.

    Attributes:
        steps: the number of steps; there are ``steps + 1`` values.
    """

    lower: float
    upper: float
    resolution: float
    steps: int

    @classmethod
    def of(cls, lower: float, upper: float, resolution: float) -> Grid:
        """Raises ValueError if the bounds are not in order, or too many steps apart to be told apart in float64."""
        lower, upper, resolution = float(lower), float(upper), float(resolution)
        if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper and 0 < resolution < math.inf):
            raise ValueError("a grid needs ordered bounds and a step")
        steps = math.ceil(_exact(upper, lower) / Fraction(repr(resolution)))
        if steps > MAX_STEPS:
            raise ValueError("the resolution is too fine for the bounds")
        return cls(lower, upper, resolution, steps)

    def value(self, index: int) -> float:
        """A value; computed in decimal, so that 0.1 is 0.1 and not the third multiple of something."""
        exact = Fraction(repr(self.lower)) + index * Fraction(repr(self.resolution))
        return min(float(exact), self.upper)

    def threshold(self, index: int) -> float:
        """Between a value and the next, so that rounding decides nothing; at the last value, the upper bound."""
        if index >= self.steps:
            return self.upper
        exact = Fraction(repr(self.lower)) + (index + Fraction(1, 2)) * Fraction(repr(self.resolution))
        return min(float(exact), self.upper)


def _exact(upper: float, lower: float) -> Fraction:
    return Fraction(repr(upper)) - Fraction(repr(lower))


@dataclass(frozen=True)
class Quantiles:
    """Order statistics by group.

    Attributes:
        values: shape (groups, probabilities); NaN where nothing may be released.
        exact: same shape; False where the value was coarsened outwards or withheld.
        counts: values per group.
        rounds: how often was asked.
    """

    values: Floats
    exact: npt.NDArray[np.bool_]
    counts: Counts
    rounds: int


def wanted_ranks(probability: float, count: int, interpolation: Interpolation) -> tuple[int, int, float]:
    """Ranks from 0 of the two values a quantile lies between, and how far from the first, as DuckDB has them.

    ``cont`` interpolates linearly between the neighbours of (n - 1)·p (R's type 7); ``disc`` takes the smallest value
    with at least a share of p at or below it (SQL's PERCENTILE_DISC). 0 is the minimum, 1 the maximum.
    """
    if interpolation == "disc":
        rank = max(1, count - math.floor(count - probability * count)) - 1
        return rank, rank, 0.0
    position = (count - 1) * probability
    low = math.floor(position)
    return low, min(low + 1, count - 1) if position > low else low, position - low


def released_rank(rank: int, count: int, minimum: int) -> int | None:
    """The rank to be shown for a wanted one: itself, or the outermost whose tail holds ``minimum`` values.

    None if there are fewer than ``minimum`` values. The value found may still equal the one wanted: many rows may share
    it.
    """
    if count < max(minimum, 1):
        return None
    if 2 * rank < count:
        return max(rank, minimum - 1)
    return min(rank, count - minimum)


def quantiles(
    ask: Ask, *, lower: float, upper: float, resolution: float, probabilities: Sequence[float], groups: int = 1,
    interpolation: Interpolation = "cont", minimum: int = 1,
) -> Quantiles:
    """Quantiles of one column in several groups, all at once; 0 and 1 are minimum and maximum.

    Args:
        ask: one round; see :data:`Ask`.
        lower, upper, resolution: as declared; values off the grid are told as the grid value above them.
        minimum: the cohort that a released value's tail must hold.

    Raises:
        ValueError: of the bounds, or a probability outside [0, 1].
    """
    if not probabilities or any(not 0 <= one <= 1 for one in probabilities):
        raise ValueError("probabilities lie between 0 and 1")
    grid = Grid.of(lower, upper, resolution)
    fan = max(2, math.ceil((grid.steps + 1) ** (1 / ROUNDS) - 1e-9))
    # No group's count is known yet: the first round cuts every group alike, the last threshold counts all.
    first = np.unique(np.linspace(0, grid.steps, min(fan, grid.steps) + 1).astype(np.int64))
    known = [_Known(grid.steps) for _ in range(groups)]
    _round(ask, grid, known, [first] * groups)
    counts = np.array([one.total for one in known], dtype=np.int64)
    chosen = [[_chosen(probability, int(count), interpolation, minimum) for probability in probabilities]
              for count in counts]
    ranks = [sorted({rank for pair in row if pair is not None for rank in pair[:4]}) for row in chosen]
    rounds = 1
    while True:
        probes = [one.probes(wanted, fan) for one, wanted in zip(known, ranks, strict=True)]
        if not any(len(part) for part in probes):
            break
        _round(ask, grid, known, probes)
        rounds += 1
    values = np.full((groups, len(probabilities)), np.nan)
    exact = np.zeros(values.shape, dtype=bool)
    for group, row in enumerate(chosen):
        for place, pair in enumerate(row):
            if pair is None:
                continue
            low, high, true_low, true_high, share = pair
            at = [known[group].find(rank) for rank in (low, high, true_low, true_high)]
            ends = [grid.value(index) for index in at[:2]]
            values[group, place] = ends[0] + (ends[1] - ends[0]) * share if share else ends[0]
            exact[group, place] = at[:2] == at[2:]
    return Quantiles(values, exact, counts, rounds)


def _chosen(
    probability: float, count: int, interpolation: Interpolation, minimum: int,
) -> tuple[int, int, int, int, float] | None:
    """Ranks to be shown, the ranks they stand for, and the share between; None where nothing may be."""
    if count == 0:
        return None
    low, high, share = wanted_ranks(probability, count, interpolation)
    shown = [released_rank(rank, count, minimum) for rank in (low, high)]
    if shown[0] is None or shown[1] is None:
        return None
    return shown[0], shown[1], low, high, share


class _Known:
    """What is known of one group's cumulative counts: the number of values up to some places of the grid."""

    def __init__(self, steps: int) -> None:
        self.at: Counts = np.array([-1], dtype=np.int64)
        self.count: Counts = np.array([0], dtype=np.int64)
        self.steps = steps

    @property
    def total(self) -> int:
        return int(self.count[-1])

    def learn(self, at: Counts, count: Counts) -> None:
        places, first = np.unique(np.concatenate([self.at, at]), return_index=True)
        self.at, self.count = places, np.concatenate([self.count, count])[first]

    def bracket(self, rank: int) -> tuple[int, int]:
        """The place below which there are too few, and the first known one with enough."""
        place = int(np.searchsorted(self.count, rank, side="right"))
        return int(self.at[place - 1]), int(self.at[place])

    def find(self, rank: int) -> int:
        """The place of a rank whose bracket is closed."""
        return self.bracket(rank)[1]

    def probes(self, ranks: Sequence[int], fan: int) -> Counts:
        """Where to look next: evenly within every bracket that is open."""
        brackets = {bracket for rank in ranks if (bracket := self.bracket(rank))[1] - bracket[0] > 1}
        parts = [np.unique(np.linspace(low, high, min(fan, high - low) + 1).astype(np.int64))[1:-1]
                 for low, high in sorted(brackets)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _round(ask: Ask, grid: Grid, known: Sequence[_Known], probes: Sequence[Counts]) -> None:
    width = max(len(part) for part in probes)
    thresholds = np.full((len(known), width), grid.upper)  # what a group has no use for is the upper bound again
    for group, part in enumerate(probes):
        thresholds[group, : len(part)] = [grid.threshold(int(index)) for index in part]
    answers = np.asarray(ask(thresholds)).astype(np.int64)
    for group, part in enumerate(probes):
        # Sums of honest counts are monotone; what is not must not send the search astray.
        known[group].learn(part, np.maximum.accumulate(answers[group, : len(part)]))
