"""Pearson's chi-square test of independence on a table of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def chi_square(counts: Sequence[float], rows: int, columns: int) -> dict[str, Any] | None:
    """Statistic, degrees of freedom, p-value and Cramér's V; None without two non-empty rows and columns.

    Args:
        counts: rows × columns, row by row.
    """
    table = [list(counts[row * columns : (row + 1) * columns]) for row in range(rows)]
    table = [row for row in table if sum(row) > 0]
    kept = [place for place in range(columns) if sum(row[place] for row in table) > 0]
    table = [[row[place] for place in kept] for row in table]
    if len(table) < 2 or len(kept) < 2:
        return None
    total = sum(map(sum, table))
    by_row, by_column = [sum(row) for row in table], [sum(row[place] for row in table) for place in range(len(kept))]
    statistic = math.fsum((seen - by_row[i] * by_column[j] / total) ** 2 / (by_row[i] * by_column[j] / total)
                          for i, row in enumerate(table) for j, seen in enumerate(row))
    degrees = (len(table) - 1) * (len(kept) - 1)
    return {"statistic": statistic, "dof": degrees, "p": survival(statistic, degrees),
            "cramers_v": math.sqrt(statistic / (total * (min(len(table), len(kept)) - 1)))}


def survival(x: float, degrees: int) -> float:
    """P(X > x) for chi-square: the regularised upper incomplete gamma function Q(k/2, x/2), by its series below the mean
    and its continued fraction above (Press et al., Numerical Recipes, 3rd ed., section 6.2)."""
    a, half = degrees / 2, x / 2
    if half <= 0:
        return 1.0
    scale = math.exp(a * math.log(half) - half - math.lgamma(a))
    if half < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > abs(total) * 1e-17:
            n += 1
            term *= half / n
            total += term
        return max(0.0, 1.0 - scale * total)
    tiny = 1e-300
    b = half + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 10_000):
        an = -i * (i - a)
        b += 2
        d = 1 / (an * d + b or tiny)
        c = b + an / c or tiny
        fraction *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return scale * fraction
