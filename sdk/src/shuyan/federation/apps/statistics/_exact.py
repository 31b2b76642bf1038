"""What is released of exact sums: all tables decided together, then each column's, then the histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shuyan.federation import moments, problems
from shuyan.federation.apps.statistics._params import StatisticsParams
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.release import Axis, decide, estimated, suppress
from shuyan.federation.release import Reason as Why
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError

Mask = npt.NDArray[np.bool_]


def presence(vectors: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Where a department has anything: 1 or 0 by cell, by cell and column, by bin."""
    return np.concatenate([vectors[name] > 0 for name in ("rows", "count", "bins") if name in vectors]).astype(np.float64)


def presence_length(params: StatisticsParams) -> int:
    """The length of :func:`presence`."""
    return params.cell_count() * (1 + len(params.columns)) + sum(histogram.bins for histogram in params.histograms)


def only(
    vectors: dict[str, npt.NDArray[np.float64]], permitted: npt.NDArray[np.float64], params: StatisticsParams,
) -> dict[str, npt.NDArray[np.float64]]:
    """Vectors with nothing where nothing may leave, and :func:`presence` of what is left."""
    by_cell, by_column, by_bin = _split(permitted, params)
    by_column = by_column * np.repeat(by_cell, len(params.columns))
    kept = {"rows": by_cell, "count": by_column, "sum": by_column, "square": by_column, "bins": by_bin}
    left = {name: vector * kept[name] for name, vector in vectors.items()}
    return {**left, "present": presence(left)}


def sole(params: StatisticsParams, values: Mapping[str, frozenset[str]]) -> Mask:
    """Which figures are one department's own, by the values of dimensions that only one declares."""
    cells = [any(value in values.get(name, ()) for name, value in zip(grouping, cell, strict=True))
             for grouping in params.groupings() for cell in params.cells(grouping)]
    alone = np.array(cells, dtype=bool)
    bins = sum(histogram.bins for histogram in params.histograms)
    return np.concatenate([alone, np.repeat(alone, len(params.columns)), np.zeros(bins, dtype=bool)])


def _split(array: npt.NDArray[Any], params: StatisticsParams) -> list[npt.NDArray[Any]]:
    """By cell, by cell and column, by bin."""
    cells = params.cell_count()
    return np.split(array, [cells, cells * (1 + len(params.columns))])


def released(total: Sum, contributors: Sequence[int], params: StatisticsParams, grid: SecureGrid) -> dict[str, Any]:
    """The result's content: no cell about fewer rows than the cohort or about one department, nor one the rest tells.

    Args:
        contributors: in how many departments there is anything, as :func:`presence` has it.
    """
    present = np.array(contributors)
    cells, columns = params.cell_count(), len(params.columns)
    _check(total, present, columns, told=np.ones(len(present), dtype=bool) if "present" in total.words else present >= 2)
    if not grid.own_figures:  # nodes say nothing of these
        present[sole(params, grid.sole_values(params.resource))] = 1
    by_cell, by_column, by_bin = _split(present, params)
    return {
        "kind": "statistics", "resource": params.resource, "rows": total.cohort, "departments": len(total.participants),
        "tables": _tables(total, params, grid, by_cell, by_column.reshape(cells, columns)),
        "histograms": _histograms(total, params, grid, by_bin), "minimum_cohort": grid.minimum_cohort,
    }


def _check(total: Sum, present: npt.NDArray[np.int64], columns: int, told: Mask) -> None:
    """What no data can add up to was made up by somebody; whoever lies consistently cannot be told from the truth.

    Args:
        told: which figures were asked for; there is nothing in the others.

    Raises:
        ProblemError: ``sum_implausible``.
    """
    counts = {name: total.integers(name) for name in ("rows", "count", "bins") if name in total.words}
    rows = counts["rows"]
    if not all(0 <= departments <= len(total.participants) for departments in present.tolist()):
        raise ProblemError(problems.SUM_IMPLAUSIBLE, where="present")
    for name, found in counts.items():
        ceilings = [rows[at // columns] for at in range(len(found))] if name == "count" else [total.cohort] * len(found)
        if any(not 0 <= count <= most for count, most in zip(found, ceilings, strict=True)):
            raise ProblemError(problems.SUM_IMPLAUSIBLE, where=name)
    figures = [count for name in ("rows", "count", "bins") for count in counts.get(name, ())]
    expected = (present > 0) & told
    if any(some != (count > 0) for some, count in zip(expected.tolist(), figures, strict=True)):
        raise ProblemError(problems.SUM_IMPLAUSIBLE, where="present")
    if columns:
        sums = zip(counts["count"], total.integers("sum"), total.integers("square"), strict=True)
        # By Cauchy and Schwarz; the slack is for the rounding of each department's terms.
        slack = 1 + 2.0**-40
        shift = moments.SQUARE.fraction_bits - 2 * moments.SUM.fraction_bits
        if any(square < 0 or (summed and not count) or math.ldexp(float(summed), shift // 2) ** 2 > slack * count * float(square) + 1
               for count, summed, square in sums):
            raise ProblemError(problems.SUM_IMPLAUSIBLE, where="square")


def _tables(total: Sum, params: StatisticsParams, grid: SecureGrid, by_cell: npt.NDArray[np.int64],
            by_column: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    rows, columns = total.integers("rows"), params.columns
    minimum = grid.minimum_cohort
    pooled = moments.combine(total.integers("count"), total.integers("sum"), total.integers("square")) if columns else []
    axes = [[Axis(name, len(params.domains[name])) for name in grouping] for grouping in params.groupings()]
    decision = decide(_guessed(rows, by_cell, axes, minimum, total.cohort), by_cell, axes, minimum, own_figures=grid.own_figures, total=total.cohort)
    shown = decision.released
    hidden = ~shown & (decision.reasons != Why.EMPTY)
    described: list[Mask] = []
    for place in range(len(columns)):
        counts = [pooled[cell * len(columns) + place].count for cell in range(len(rows))]
        # What is hidden of the rows must not be told by a column that all of them have.
        guessed = _guessed(counts, by_column[:, place], axes, minimum)
        described.append(shown & suppress(guessed, by_column[:, place], axes, minimum, own_figures=grid.own_figures,
                                          hidden=hidden))
    tables, start = [], 0
    for grouping in params.groupings():
        found, kept_back = [], 0
        for cell, values in enumerate(params.cells(grouping), start):
            figures = {name: _describe(pooled[cell * len(columns) + place])
                       for place, name in enumerate(columns) if described[place][cell]}
            if not shown[cell] or (columns and not figures):
                kept_back += 1
                continue
            found.append({"group": dict(zip(grouping, values, strict=True)), "rows": rows[cell], "columns": figures})
        tables.append({"group_by": grouping, "cells": found, "suppressed": kept_back})
        start += len(params.cells(grouping))
    return tables


def _guessed(counts: Sequence[int], contributors: npt.NDArray[np.int64], axes: Sequence[Sequence[Axis]], minimum: int,
             total: int | None = None) -> Floats:
    """Counts with an estimate of those that were not asked for, since one department alone has such rows."""
    unknown = (np.array(counts) == 0) & (contributors == 1)
    return estimated(counts, unknown, axes, likely=float(max(minimum, 1)), total=total)


def _describe(found: moments.Moments) -> dict[str, float | int | None]:
    sd = None if found.variance is None else found.variance**0.5
    return {"count": found.count, "sum": found.sum, "mean": found.mean, "variance": found.variance, "sd": sd}


def _histograms(total: Sum, params: StatisticsParams, grid: SecureGrid, by_bin: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    counts = total.integers("bins") if params.histograms else []
    observed = _observed(total, params)
    released, start = [], 0
    for histogram in params.histograms:
        here = counts[start : start + histogram.bins]
        behind, all_ = by_bin[start : start + histogram.bins], observed.get(histogram.column)
        axes = [[Axis(histogram.column, histogram.bins)]]
        mask = suppress(_guessed(here, behind, axes, grid.minimum_cohort, all_), behind, axes,
                        grid.minimum_cohort, own_figures=grid.own_figures, total=all_)
        released.append({
            "column": histogram.column, "edges": histogram.edges(),
            "counts": [count if shown else None for count, shown in zip(here, mask, strict=True)],
            "suppressed": int((~mask).sum()),
        })
        start += histogram.bins
    return released


def _observed(total: Sum, params: StatisticsParams) -> dict[str, int]:
    """Each column's observations, where the overall table tells them and there are any."""
    start = 0
    for grouping in params.groupings():
        if not grouping and params.columns:
            counts = total.integers("count")[start * len(params.columns) :]
            return {name: count for name, count in zip(params.columns, counts, strict=False) if count}
        start += len(params.cells(grouping))
    return {}
