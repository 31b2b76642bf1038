"""Test of independence on a table of counts that each carry noise of a known deviation σ.

Pearson's statistic would take the noise for dependence. Here counts are normal around μ_ij = r_i·c_j with the variance μ_ij + σ²,
of sampling and of noise, and the statistic is Σ (count - μ)²/(μ + σ²) at the r and c that make it least, which under independence
follows chi-square with as many degrees of freedom as without noise (minimum chi-square; after Kifer & Rogers, "A new class of private
chi-square hypothesis tests", AISTATS 2017; here the number of rows is not known either, so that cells vary apart). Without noise it
is Pearson's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from shuyan.federation.ring import Floats
from shuyan.federation.sql.chi2 import survival

_MOST_STEPS: Final = 500
_LEAST: Final = 1e-9  # a predicted count


def independence(counts: Sequence[float], rows: int, columns: int, deviation: float, *, least: float) -> dict[str, Any] | None:
    """Statistic, degrees of freedom, p-value and Cramér's V, the last without what noise adds to it; None without two rows and columns.

    Args:
        counts: rows × columns, row by row.
        deviation: standard deviation of the noise on each.
        least: standard deviations of its noise that a row's or column's sum must exceed, or it counts as empty.
    """
    table = np.asarray(counts, dtype=np.float64).reshape(rows, columns)
    full = [table.sum(axis=1) > least * deviation * math.sqrt(columns), table.sum(axis=0) > least * deviation * math.sqrt(rows)]
    table = table[np.ix_(*full)]
    smaller = min(table.shape)
    if smaller < 2:
        return None
    expected = _fitted(table, deviation**2)
    off = (table - expected) ** 2
    statistic = float((off / (expected + deviation**2)).sum())
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    # Noise adds σ² to what a count is off by, but for the part that the fit takes up.
    dependence = float(((off - deviation**2 * degrees / table.size) / expected).sum())
    return {"statistic": statistic, "dof": degrees, "p": survival(statistic, degrees),
            "cramers_v": math.sqrt(min(max(dependence, 0.0) / (float(expected.sum()) * (smaller - 1)), 1.0))}


def _fitted(table: Floats, variance: float) -> Floats:
    """The r·c with the least sum of squares, weighted by their own variances: rows and columns by turns."""
    by_row, by_column = np.maximum(table.sum(axis=1), _LEAST), np.maximum(table.sum(axis=0), _LEAST)
    by_column = by_column / by_column.sum()
    for _ in range(_MOST_STEPS):
        before = np.outer(by_row, by_column)
        weights = 1 / (before + variance)
        by_row = np.maximum((weights * table) @ by_column / (weights @ by_column**2), _LEAST)
        weights = 1 / (np.outer(by_row, by_column) + variance)
        by_column = np.maximum(by_row @ (weights * table) / (by_row**2 @ weights), _LEAST)
        if np.abs(np.outer(by_row, by_column) - before).max() <= 1e-10 * before.max():
            break
    return np.asarray(np.maximum(np.outer(by_row, by_column), _LEAST))
