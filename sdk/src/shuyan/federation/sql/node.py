"""What a department works out: one pass over its rows for all cells, kept for the rounds of the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from shuyan.federation import problems
from shuyan.federation.inputs import Inputs
from shuyan.federation.own import OwnFigures
from shuyan.federation.ring import Floats
from shuyan.federation.sql import errors
from shuyan.federation.sql.compile import bins_sql, ranks_sql, tally_sql
from shuyan.federation.sql.cores import Core, terms_of
from shuyan.federation.sql.passing import tallied_with_rows
from shuyan.federation.sql.plan import Plan
from shuyan.problems import ProblemError

Mask = npt.NDArray[np.bool_]


@dataclass
class Tallied:
    """A core's figures at this department.

    Attributes:
        counts: shape (cells, supports).
        sums: shape (2, cells, sums); products: shape (3, cells, products); bins: shape (cells, bins).
        ranked: per order statistic, by cell: places in the grid and how many values lie at or below each.
    """

    counts: Floats
    sums: Floats
    products: Floats
    bins: Floats
    ranked: dict[int, dict[int, tuple[Floats, Floats]]] = field(default_factory=dict)


def sole_cells(core: Core, own: OwnFigures) -> Mask:
    """The cells that are one department's own by the declared values they stand for.

    Raises:
        ProblemError: ``own_figure_refused`` where no other cell is left, or where a condition inside an aggregate tells
            such values apart.
    """
    found = np.zeros(core.cells, dtype=bool)
    if own.allowed:
        return found
    for resource, column in sorted(core.told_apart):
        if (resource, column) in own.sole:
            raise ProblemError(errors.OWN_FIGURE, dimension=column)
    shape = tuple(len(key.domain.values) for key in core.keys)
    grid = found.reshape(shape)
    for place, key in enumerate(core.keys):
        alone = np.array([_alone(key.domain.origins.get(value, {}), own) for value in key.domain.values], dtype=bool)
        if len(alone) and alone.all():
            raise ProblemError(errors.OWN_FIGURE, dimension=key.title)
        grid |= alone.reshape([-1 if axis == place else 1 for axis in range(len(shape))])
    if core.cells and found.all():
        raise ProblemError(errors.OWN_FIGURE, dimension=", ".join(key.title for key in core.keys))
    return found


def _alone(origins: Any, own: OwnFigures) -> bool:
    return any(len(values) == 1 and values <= own.sole.get(column, frozenset()) for column, values in origins.items())


def tallied(inputs: Inputs, plan: Plan) -> list[Tallied]:
    """All cores, worked out once a run."""
    if "tallied" not in inputs.cache:
        inputs.cache["tallied"] = [_tally(inputs, core) for core in plan.cores]
    result: list[Tallied] = inputs.cache["tallied"]
    return result


def cell_index(core: Core) -> list[dict[Any, int]]:
    """For each key, what a value adds to a cell's number."""
    index, stride = [], core.cells
    for key in core.keys:
        stride //= max(len(key.domain.values), 1)
        index.append({value: place * stride for place, value in enumerate(key.domain.values)})
    return index


def cell_of(record: Sequence[Any], index: Sequence[dict[Any, int]]) -> int | None:
    """The cell that a record, its keys first, belongs to; None for a null, or a value that nobody declared."""
    cell = 0
    for value, places in zip(record, index, strict=False):
        place = places.get(value)
        if place is None:
            return None
        cell += place
    return cell


def _tally(inputs: Inputs, core: Core) -> Tallied:
    index, keys = cell_index(core), len(core.keys)
    try:
        told = tallied_with_rows(inputs, core)
        records = inputs.connection.execute(tally_sql(core)).fetchall() if told is None else told
    except duckdb.OutOfRangeException:  # a variance of something that is not finite
        records = [(math.nan,)] if not keys else [(*([None] * keys), math.nan)]
    if any(isinstance(value, float) and not math.isfinite(value) for record in records for value in record[keys:]):
        records = inputs.connection.execute(tally_sql(core, finite=True)).fetchall()
    result = Tallied(
        np.zeros((core.cells, len(core.supports))), np.zeros((2, core.cells, len(core.sums))),
        np.zeros((3, core.cells, len(core.products))), np.zeros((core.cells, core.bin_width())))
    for record in records:
        cell = cell_of(record, index)
        if cell is None:
            continue
        measures = record[keys:]
        for promise in core.promises:
            if measures[promise.values] != measures[promise.rows]:
                raise ProblemError(problems.VALUES_MISSING)
        result.counts[cell] = [measures[place] for place in core.supports]
        for place, total in enumerate(core.sums):
            result.sums[:, cell, place] = terms_of(measures[total.measure] or 0, 2)
        for place, product in enumerate(core.products):
            seen = measures[core.supports[product.support]]
            if seen:
                square = Fraction(measures[product.x] or 0) * Fraction(measures[product.y] or 0) / seen
                result.products[:, cell, place] = terms_of(square + Fraction(measures[product.centred] or 0) * seen, 3)
    start = 0
    for place, bins in enumerate(core.bins):
        for record in inputs.connection.execute(bins_sql(core, place)).fetchall():
            cell = cell_of(record[:keys], index)
            if cell is not None and record[-2] is not None and 0 <= record[-2] < bins.width:
                result.bins[cell, start + record[-2]] = 1 if bins.presence else record[-1]
        start += bins.width
    return result


def present(inputs: Inputs, plan: Plan, own: OwnFigures) -> Floats:
    """For each core, cell and support: 1 where this department has such rows."""
    parts = []
    for core, result in zip(plan.cores, tallied(inputs, plan), strict=True):
        seen = (result.counts > 0).astype(np.float64)
        seen[sole_cells(core, own)] = 0.0
        parts.append(seen.ravel())
    return np.concatenate(parts)


def allowed_cells(plan: Plan, cells: Floats, own: OwnFigures) -> list[Floats]:
    """For each core, shape (cells, supports): 1 where a figure may leave, as the coordinator asks and the grant permits."""
    parts, start = [], 0
    for core in plan.cores:
        size = core.cells * len(core.supports)
        asked = (cells[start : start + size] == 1).astype(np.float64).reshape(core.cells, len(core.supports))
        asked[sole_cells(core, own)] = 0.0
        parts.append(asked)
        start += size
    return parts


def tally(inputs: Inputs, plan: Plan, cells: Floats, own: OwnFigures) -> dict[str, Floats]:
    """The vectors of the tally, with nothing in cells that are not allowed."""
    counts, sums, products, bins = [], [], [], []
    for core, result, allowed in zip(plan.cores, tallied(inputs, plan), allowed_cells(plan, cells, own), strict=True):
        counts.append((result.counts * allowed).ravel())
        sums.append((result.sums * allowed[:, [state.support for state in core.sums]]).reshape(2, -1))
        products.append((result.products * allowed[:, [state.support for state in core.products]]).reshape(3, -1))
        widths = [state.support for state in core.bins for _ in range(state.width)]
        bins.append((result.bins * allowed[:, widths]).ravel())
    vectors = {"count": np.concatenate(counts), "sum": np.concatenate(sums, axis=1),
               "product": np.concatenate(products, axis=1), "bins": np.concatenate(bins)}
    return {name: vectors[name] for name in plan.tally()}


def below(inputs: Inputs, plan: Plan, cells: Floats, thresholds: Floats, own: OwnFigures) -> Floats:
    """How many values lie at or below each threshold: by core, cell, order statistic and threshold."""
    each = plan.thresholds()
    result = np.zeros(len(thresholds))
    at = 0
    for core, found, allowed in zip(plan.cores, tallied(inputs, plan), allowed_cells(plan, cells, own), strict=True):
        for place in range(len(core.ranks)):
            if place not in found.ranked:
                found.ranked[place] = _ranked(inputs, core, place)
        for cell in range(core.cells if core.ranks else 0):
            for place, state in enumerate(core.ranks):
                size = state.ranks * each
                values = found.ranked[place].get(cell)
                if values is not None and allowed[cell, state.support]:
                    reached = np.searchsorted(values[0], thresholds[at : at + size], side="right")
                    result[at : at + size] = values[1][reached]
                at += size
    return result


def _ranked(inputs: Inputs, core: Core, place: int) -> dict[int, tuple[Floats, Floats]]:
    """By cell, the places in the grid that occur, and how many values lie at or below each (and none, first)."""
    held = inputs.cache.setdefault("ranked", {})
    sql = ranks_sql(core, place)
    if sql not in held:
        index, found = cell_index(core), {}
        for *keys, places, counts in inputs.connection.execute(sql).fetchall():
            cell = cell_of(keys, index)
            if cell is not None and places is not None:
                found[cell] = (np.array(places, dtype=np.float64), np.cumsum([0.0, *counts]))
        held[sql] = found
    result: dict[int, tuple[Floats, Floats]] = held[sql]
    return result
