"""Variances, covariances and correlations with differential privacy, from noisy sums of scaled values and of their products.

Each is a smooth function of how many rows have a value in every column, of the columns' sums over these rows and of the sums of
products. How far it may be off is told to first order in their noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, Final

from shuyan.federation.privacy.bounding import Scale
from shuyan.federation.sql.cores import Aggregate

_MATRICES: Final = frozenset({"covariance_matrix", "correlation_matrix"})
_SPREADS: Final = frozenset({"var_samp", "var_pop", "stddev_samp", "stddev_pop"})
KINDS: Final = frozenset({"covar_pop", "covar_samp", "corr"}) | _MATRICES | _SPREADS

Pair = tuple[int, int]


def columns(aggregate: Aggregate) -> tuple[int, ...]:
    """Places of the columns' sums among the core's, in the order of the arguments; a variance is a column's covariance with itself."""
    if aggregate.kind in _SPREADS:
        return aggregate.states[0], aggregate.states[0]
    return aggregate.states[: aggregate.options[0]]


def pairs(aggregate: Aggregate) -> list[Pair]:
    """Of which two columns the product is summed; each pair once, the lower place first."""
    places = columns(aggregate)
    whole = aggregate.kind in _MATRICES or aggregate.kind == "corr"
    wanted = combinations_with_replacement(places, 2) if whole else [places]
    return list(dict.fromkeys(pair(*one) for one in wanted))


def pair(first: int, second: int) -> Pair:
    """Two places as the key of their product."""
    return (first, second) if first <= second else (second, first)


@dataclass(frozen=True)
class _Figure:
    """A number and what it moves by with each of the sums: ``n``, a column's place, or a pair."""

    value: float
    slopes: Mapping[Any, float]

    def deviation(self, noise: Mapping[Any, float]) -> float:
        return math.hypot(*(slope * noise[one] for one, slope in self.slopes.items()))


@dataclass(frozen=True)
class Moments:
    """Noisy sums over the rows where all columns of an aggregate have a value, scaled to [-1, 1].

    Attributes:
        count: of these rows.
        sums: by column's place.
        products: by pair.
        scales: by column's place.
        noise: standard deviations, by ``n``, column's place and pair.
    """

    count: float
    sums: Mapping[int, float]
    products: Mapping[Pair, float]
    scales: Mapping[int, Scale]
    noise: Mapping[Any, float]

    def value(self, aggregate: Aggregate, too_few: float) -> tuple[Any, float | None]:
        """The aggregate and its standard deviation, of a matrix the largest one's; null where noise is most of what there is.

        Args:
            too_few: standard deviations of noise that whatever is divided by must exceed.
        """
        if not (self.count > too_few * self.noise["n"] and self.count > 1):
            return None, None
        places = columns(aggregate)
        if aggregate.kind not in _MATRICES:
            return self._entry(aggregate.kind, pair(places[0], places[1]), too_few)
        cells = {one: self._entry(aggregate.kind, one, too_few) for one in pairs(aggregate)}
        if any(value is None for value, _ in cells.values()):
            return None, None
        table = [[cells[pair(row, column)][0] for column in places] for row in places]
        return table, max(deviation or 0.0 for _, deviation in cells.values())

    def _entry(self, kind: str, of: Pair, too_few: float) -> tuple[float | None, float | None]:
        if kind in ("corr", "correlation_matrix"):
            return self._correlation(*of, too_few)
        value, deviation = self._covariance(*of, sample=not kind.endswith("_pop"))
        if not kind.startswith("stddev"):
            return value, deviation
        return math.sqrt(value), deviation / (2 * math.sqrt(value)) if value > 0 else None

    def _covariance(self, first: int, second: int, *, sample: bool) -> tuple[float, float]:
        found = self._scaled(first, second)
        size = self.scales[first].half * self.scales[second].half
        # A variance is not negative, whatever the noise makes of it.
        value = max(found.value, 0.0) if first == second else found.value
        return size * value * (self.count / (self.count - 1) if sample else 1.0), size * found.deviation(self.noise)

    def _correlation(self, first: int, second: int, too_few: float) -> tuple[float | None, float | None]:
        spreads = [self._scaled(place, place) for place in (first, second)]
        if any(not one.value > too_few * one.deviation(self.noise) for one in spreads):
            return None, None
        if first == second:
            return 1.0, 0.0
        found = self._scaled(first, second)
        size = math.sqrt(spreads[0].value * spreads[1].value)
        value = found.value / size
        slopes = {one: slope / size for one, slope in found.slopes.items()}
        for spread in spreads:
            for one, slope in spread.slopes.items():
                slopes[one] = slopes.get(one, 0.0) - value / 2 * slope / spread.value
        return min(max(value, -1.0), 1.0), _Figure(value, slopes).deviation(self.noise)

    def _scaled(self, first: int, second: int) -> _Figure:
        """The covariance of two columns, or the variance of one, of scaled values."""
        n, key = self.count, pair(first, second)
        mean, other, product = self.sums[first] / n, self.sums[second] / n, self.products[key] / n
        slopes: dict[Any, float] = {"n": (2 * mean * other - product) / n, key: 1 / n, first: -other / n}
        slopes[second] = slopes.get(second, 0.0) - mean / n  # both, where it is one column
        return _Figure(product - mean * other, slopes)


def moments(places: Sequence[int], wanted: Sequence[Pair], counts: Sequence[float], sums: Sequence[float], products: Sequence[float],
            scales: Sequence[Scale], deviations: Mapping[str, float]) -> Moments:
    """What one cell holds of an aggregate.

    Args:
        places: of its columns, and ``counts``, ``sums`` and ``scales`` of each. All counts are of the same rows, each with noise of its own.
        wanted: its pairs, and ``products`` of each.
        deviations: of the noise on one element of ``count``, ``sum`` and ``square``.
    """
    noise: dict[Any, float] = {"n": deviations["count"] / math.sqrt(len(counts))}
    noise |= dict.fromkeys(places, deviations["sum"]) | dict.fromkeys(wanted, deviations["square"])
    return Moments(sum(counts) / len(counts), dict(zip(places, sums, strict=True)), dict(zip(wanted, products, strict=True)),
                   dict(zip(places, scales, strict=True)), noise)
