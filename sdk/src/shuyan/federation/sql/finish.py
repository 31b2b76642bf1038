"""From exact sums to SQL's values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any, Final

from shuyan.federation import moments
from shuyan.federation.sql.chi2 import chi_square
from shuyan.federation.sql.cores import Aggregate, Core

_SUM: Final = 1 << moments.SUM.fraction_bits
_PRODUCT: Final = 1 << moments.SQUARE.fraction_bits
_NOUGHT: Final = Fraction(1, 10**27)
"""A spread smaller than this part of the sum of squares is rounding: department means are float64."""


@dataclass
class CellSums:
    """One cell of a core, summed over departments.

    Attributes:
        counts: by support. sums, products: exact, in the vectors' own steps. bins: of all states.
        ranked: by order statistic, then rank, places in the grid.
    """

    counts: Sequence[int]
    sums: Sequence[int]
    products: Sequence[int]
    bins: Sequence[int]
    ranked: dict[int, list[int]] = field(default_factory=dict)


def ranks_of(aggregate: Aggregate, count: int) -> list[int]:
    """The ranks, from 0, of the values that an aggregate needs among ``count`` in order."""
    if aggregate.kind == "min":
        return [0]
    if aggregate.kind == "max":
        return [count - 1]
    at = aggregate.options[0]
    if aggregate.kind == "quantile_disc":
        return [max(1, count - math.floor(count - q * count)) - 1 for q in at]
    return [rank for q in at for rank in (math.floor((count - 1) * q), math.ceil((count - 1) * q))]


def value_of(core: Core, aggregate: Aggregate, cell: CellSums, minimum: int) -> Any:
    """An aggregate's value in one cell, None for SQL's null.

    Args:
        minimum: bins of a histogram with fewer are left out.
    """
    kind = aggregate.kind
    if kind == "count":
        return cell.counts[aggregate.support]
    if kind in ("min", "max", "quantile_cont", "quantile_disc"):
        return _ranked(core, aggregate, cell)
    if kind in ("histogram", "distinct", "chi_square"):
        return _binned(core, aggregate, cell, minimum)
    if kind in ("sum", "avg"):
        return _sum(aggregate, cell)
    if kind in ("var_samp", "var_pop", "stddev_samp", "stddev_pop"):
        seen = cell.counts[aggregate.options[0]]
        total, product = aggregate.states
        return _spread(kind, seen, _centred(seen, cell.sums[total], cell.sums[total], cell.products[product], same=True))
    return _matrix(aggregate, cell)


def _sum(aggregate: Aggregate, cell: CellSums) -> Any:
    seen, total = cell.counts[aggregate.options[0]], cell.sums[aggregate.states[0]]
    if seen <= 0:
        return None
    if aggregate.kind == "avg":
        return total / (_SUM * seen)
    return total // _SUM if aggregate.type == "HUGEINT" else total / _SUM


def _centred(seen: int, x: int, y: int, product: int, *, same: bool) -> Fraction:
    """Σ(x - mean x)(y - mean y); ``same``: of one column with itself."""
    if seen <= 0:
        return Fraction(0)
    both = Fraction(product, _PRODUCT)
    found = both - Fraction(x * y, _SUM * _SUM * seen)
    return Fraction(0) if same and found <= both * _NOUGHT else found


def _spread(kind: str, seen: int, centred: Fraction) -> float | None:
    divisor = seen - 1 if kind.endswith("_samp") else seen
    if divisor <= 0:
        return None
    variance = float(centred / divisor)
    return math.sqrt(variance) if kind.startswith("stddev") else variance


def _matrix(aggregate: Aggregate, cell: CellSums) -> Any:
    size, seen = aggregate.options[0], cell.counts[aggregate.support]
    sums = [cell.sums[place] for place in aggregate.states[:size]]
    centred: dict[tuple[int, int], Fraction] = {}
    for (i, j), place in zip(combinations_with_replacement(range(size), 2), aggregate.states[size:], strict=True):
        centred[i, j] = centred[j, i] = _centred(seen, sums[i], sums[j], cell.products[place], same=i == j)
    if aggregate.kind in ("corr", "correlation_matrix"):
        table = [[_correlation(centred, i, j) for j in range(size)] for i in range(size)]
        return table[0][1] if aggregate.kind == "corr" else table if seen > 0 else None
    divisor = seen if aggregate.kind == "covar_pop" else seen - 1
    if divisor <= 0:
        return None
    if aggregate.kind in ("covar_pop", "covar_samp"):
        return float(centred[0, 1] / divisor)
    return [[float(centred[i, j] / divisor) for j in range(size)] for i in range(size)]


def _correlation(centred: dict[tuple[int, int], Fraction], i: int, j: int) -> float | None:
    spread = float(centred[i, i]) * float(centred[j, j])
    if spread <= 0:
        return None
    return 1.0 if i == j else max(-1.0, min(1.0, float(centred[i, j]) / math.sqrt(spread)))


def _binned(core: Core, aggregate: Aggregate, cell: CellSums, minimum: int) -> Any:
    place = aggregate.states[0]
    start = sum(state.width for state in core.bins[:place])
    counts = cell.bins[start : start + core.bins[place].width]
    if aggregate.kind == "distinct":
        return sum(1 for count in counts if count > 0)
    if aggregate.kind == "chi_square":
        return chi_square(counts, *aggregate.options)
    from shuyan.federation.release import withheld

    hidden = {bin_ for bin_ in withheld(counts, minimum) if counts[bin_] > 0}
    return [None if bin_ in hidden else count for bin_, count in enumerate(counts)]


def _ranked(core: Core, aggregate: Aggregate, cell: CellSums) -> Any:
    place = aggregate.states[0]
    seen, grid = cell.counts[aggregate.support], core.ranks[place].grid
    at, many = aggregate.options
    if seen <= 0 or place not in cell.ranked:
        return None
    values = [grid.value(index) for index in cell.ranked[place]]
    if aggregate.kind in ("min", "max"):
        return values[0]
    if aggregate.kind == "quantile_cont":
        found = []
        for number, q in enumerate(at):
            low, high = float(values[2 * number]), float(values[2 * number + 1])
            position = (seen - 1) * q
            found.append(low + (high - low) * (position - math.floor(position)))
        values = found
    return values if many else values[0]
