"""The statistics app with differential privacy: bounded, clamped and noisy; every figure says how far it may be off.

Rows are bounded before the app sees them. Values are clamped to the bounds in the parameters and counted in whole steps, so
the sums below are of integers. The run's ρ is divided equally among the vectors that are asked for: rows by cell, and by
cell and column the observations, their sum and the sum of their squares, and bins. Every declared group is answered, the
empty ones too: which groups exist tells nothing, so there is no threshold to pass and no cell to suppress.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from shuyan.federation.apps.statistics._params import StatisticsParams
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.inputs import Inputs
from shuyan.federation.learning import bounded
from shuyan.federation.own import OwnFigures
from shuyan.federation.privacy import Sensitivity, accounting
from shuyan.federation.privacy.bounding import NOISY_COUNT, STEP_BITS, UNIT_SUM, Contribution, Scale
from shuyan.federation.privacy.noise import half_width
from shuyan.federation.ring import Floats
from shuyan.federation.schema import dimension_sql, quote
from shuyan.trust.grants import PrivacyTerms

NOISY_TALLY: Final = "query.noisy_tally"
_TOO_FEW: Final = 4.0  # standard deviations of noise that a count must exceed before anything is divided by it

__all__ = ["NOISY_COUNT", "NOISY_TALLY", "UNIT_SUM", "released", "sensitivities", "tables"]


def scales(params: StatisticsParams) -> list[Scale]:
    """The columns' bounds.

    Raises:
        ProblemError: ``bounds_missing``.
    """
    return bounded.scales(params.columns, params.bounds)


def sensitivities(params: StatisticsParams, action: str, terms: PrivacyTerms) -> dict[str, Sensitivity]:
    """How far one unit moves each vector; nothing for an action without noise."""
    if action != NOISY_TALLY:
        return {}
    scales(params)
    unit = Contribution(terms.max_rows_per_unit, terms.max_groups_per_unit)
    groupings, columns = len(params.groupings()), len(params.columns)
    found = {"rows": unit.counts(groupings)}
    if columns:
        found |= {"count": unit.counts(groupings, columns), "sum": unit.sums(1.0, groupings, columns, integral=True),
                  "square": unit.squares(1.0, groupings, columns, integral=True)}
    if params.histograms:
        found["bins"] = unit.counts(len(params.histograms))
    return found


# --- on a node ---------------------------------------------------------------------------------------------------


def tables(
    inputs: Inputs, params: StatisticsParams, index: dict[tuple[Any, ...], int], own: OwnFigures
) -> dict[str, Floats]:
    """One department's sums in steps, all grouping sets in one pass; nothing in cells that would be its own figure.

    Args:
        index: (grouping mask, values of the dimensions in order) → cell.
    """
    sole = [own.sole.get((params.resource, name), frozenset()) for name in params.dimensions()]
    if not own.allowed:
        index = {key: at for key, at in index.items()
                 if not any(value in values for value, values in zip(key[1], sole, strict=True))}
    cells = params.cell_count()
    dims, columns = params.dimensions(), params.columns
    inner = [f"{dimension_sql(inputs.column(name))} AS d{place}" for place, name in enumerate(dims)]
    for place, (name, scale) in enumerate(zip(columns, scales(params), strict=True)):
        value = f"CAST({quote(name)} AS DOUBLE)"
        inner.append(f"{scale.steps_sql(f'CASE WHEN isfinite({value}) THEN {value} END')} AS v{place}")
    names = [f"d{place}" for place in range(len(dims))]
    sums = [f"count(v{place}), sum(v{place}), sum({Scale.square_sql(f'v{place}')})" for place in range(len(columns))]
    outer = ", ".join([f"grouping({', '.join(names)})" if names else "0", *names, "count(*)", *sums])
    sql = f"SELECT {outer} FROM (SELECT {', '.join(inner) or '1 AS one'} FROM data)"  # noqa: S608
    if names:
        place_of = {name: f"d{place}" for place, name in enumerate(dims)}
        sets = ", ".join("(" + ", ".join(place_of[name] for name in grouping) + ")" for grouping in params.groupings())
        sql += f" GROUP BY GROUPING SETS ({sets})"
    rows = np.zeros(cells)
    count, total, square = (np.zeros((cells, len(columns))) for _ in range(3))
    for record in inputs.connection.execute(sql).fetchall():
        at = index.get((record[0], tuple(record[1 : 1 + len(dims)])))
        if at is None:  # a null, a value that is not declared, or one's own
            continue
        rows[at] = record[1 + len(dims)]
        for place in range(len(columns)):
            seen, summed, squared = record[2 + len(dims) + 3 * place : 5 + len(dims) + 3 * place]
            if seen:
                count[at, place] = seen
                total[at, place] = math.ldexp(float(summed), -STEP_BITS)
                square[at, place] = math.ldexp(float(squared), -STEP_BITS)
    return {"rows": rows, "count": count.ravel(), "sum": total.ravel(), "square": square.ravel()}


# --- on the coordinator ------------------------------------------------------------------------------------------


def released(total: Sum, params: StatisticsParams, grid: SecureGrid) -> dict[str, Any]:
    """The result's content from one noisy sum."""
    terms = grid.privacy
    assert terms is not None
    spent = grid.spent_nano
    return {
        "kind": "statistics", "resource": params.resource, "rows": max(total.cohort, 0),
        "departments": len(total.participants), "tables": _tables(total, params, grid),
        "histograms": _histograms(total, params), "minimum_cohort": grid.minimum_cohort,
        "privacy": {
            "unit": terms.unit, "rho_nano": spent, "epsilon": accounting.epsilon(spent, terms.delta), "delta": terms.delta,
            "max_rows_per_unit": terms.max_rows_per_unit, "honest_fraction": terms.honest_fraction,
            "bounds": {name: list(params.bounds[name]) for name in params.columns},
            "rows_noise": _noise(total.deviation("cohort#")),
        },
    }


def _tables(total: Sum, params: StatisticsParams, grid: SecureGrid) -> list[dict[str, Any]]:
    rows, columns = [_whole(count) for count in total["rows"]], params.columns
    vectors = {name: total[name] for name in ("count", "sum", "square")} if columns else {}
    deviations = {name: total.deviation(name) for name in vectors}
    own = {} if grid.own_figures else grid.sole_values(params.resource)
    result, start = [], 0
    for grouping in params.groupings():
        shown, hidden = [], 0
        for place, values in enumerate(params.cells(grouping)):
            group = dict(zip(grouping, values, strict=True))
            if any(value in own.get(name, ()) for name, value in group.items()):
                hidden += 1
                continue
            at = (start + place) * len(columns)
            described = {
                name: _describe([float(vectors[each][at + number]) for each in ("count", "sum", "square")], deviations, scale)
                for number, (name, scale) in enumerate(zip(columns, scales(params), strict=True))
            }
            shown.append({"group": group, "rows": rows[start + place], "columns": described,
                          "noise": _noise(total.deviation("rows"))})
        result.append({"group_by": grouping, "cells": shown, "suppressed": hidden})
        start += len(params.cells(grouping))
    return result


def _describe(sums: list[float], sd: dict[str, float], scale: Scale) -> dict[str, Any]:
    """Figures in the column's own units; errors to first order in the noise."""
    count, total, square = sums
    half, middle = scale.half, scale.middle
    found: dict[str, Any] = {
        "count": _whole(count), "sum": half * total + middle * count, "mean": None, "variance": None, "sd": None}
    noise = {"count": sd["count"], "sum": math.hypot(half * sd["sum"], middle * sd["count"])}
    if count > _TOO_FEW * sd["count"] and count > 1:
        mean, second = total / count, square / count
        variance = half * half * max(second - mean * mean, 0.0) * count / (count - 1)
        found |= {"mean": min(max(middle + half * mean, scale.lower), scale.upper), "variance": variance,
                  "sd": math.sqrt(variance)}
        noise["mean"] = half / count * math.hypot(sd["sum"], mean * sd["count"])
        noise["variance"] = half * half / count * math.hypot(
            sd["square"], 2 * mean * sd["sum"], (2 * mean * mean - second) * sd["count"])
    found["noise"] = {name: _noise(deviation) for name, deviation in noise.items()}
    return found


def _histograms(total: Sum, params: StatisticsParams) -> list[dict[str, Any]]:
    counts = [_whole(count) for count in total["bins"]] if params.histograms else []
    found, start = [], 0
    for histogram in params.histograms:
        found.append({
            "column": histogram.column, "edges": histogram.edges(),
            "counts": counts[start : start + histogram.bins], "suppressed": 0,
            "noise": _noise(total.deviation("bins")),
        })
        start += histogram.bins
    return found


def _whole(count: float) -> int:
    """A count as it is shown; nobody understands fewer rows than none."""
    return max(round(float(count)), 0)


def _noise(deviation: float) -> dict[str, float]:
    return {"sd": deviation, "half_width": half_width(deviation)}
