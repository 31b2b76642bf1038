"""The coordinator's side: presence, tally, order statistics, release, and the part that runs on released results."""

from __future__ import annotations

import datetime
import decimal
import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np

from shuyan.federation import problems
from shuyan.federation.grid import SecureGrid
from shuyan.federation.own import OwnFigures
from shuyan.federation.refine import released_rank
from shuyan.federation.release import Axis, suppress
from shuyan.federation.ring import Floats
from shuyan.federation.sql import errors
from shuyan.federation.sql.compile import from_sql
from shuyan.federation.sql.cores import Core
from shuyan.federation.sql.finish import CellSums, ranks_of, value_of
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.node import Mask, sole_cells
from shuyan.federation.sql.plan import Plan
from shuyan.problems import ProblemError

PRESENCE: Final = "query.presence"
TALLY: Final = "query.tally"
REFINE: Final = "query.refine"
_MAX_EXACT: Final = 2**53


def answer(grid: SecureGrid, plan: Plan) -> dict[str, Any]:
    """Run a query over the departments of a grid and return its content.

    Raises:
        ProblemError: ``sql_no_domain``, ``own_figure_refused``, ``cohort_too_small``, ``sql_released_failed``, and ``department_left`` if a
            department was lost between the rounds.
    """
    exactly(plan)
    own = OwnFigures(grid.own_figures, {
        (resource, column): values for resource in plan.columns for column, values in grid.sole_values(resource).items()})
    for core in plan.cores:
        sole_cells(core, own)
    present = not own.allowed and needs_presence(plan)
    grid.plan(int(present) + 1 + plan.refinements())
    contributors: list[int] | None = None
    participants: tuple[str, ...] = ()
    if present:
        seen = grid.secure_sum(PRESENCE, expect={"present": plan.supports()})
        contributors, participants = seen.integers("present"), seen.participants
    allowed = np.ones(plan.supports()) if contributors is None else np.array([float(count >= 2) for count in contributors])
    total = grid.secure_sum(TALLY, expect=plan.tally(), arrays={"cells": allowed})
    # With a department less, a cell may now be about one alone, and it cannot be asked again without telling the difference.
    if participants and total.participants != participants:
        raise ProblemError(errors.DEPARTMENT_LEFT)
    cells = _cells(plan, {name: total.integers(name) for name in plan.tally()})
    shown = _shown(plan, cells, contributors, grid.minimum_cohort, own.allowed, total.cohort)
    coarsened = _refine(grid, plan, cells, shown, allowed, total.participants)
    suppressed = 0
    tables = []
    for core, found, mask in zip(plan.cores, cells, shown, strict=True):
        suppressed += sum(1 for cell, one in enumerate(found) if not mask[cell] and one.counts[0] > 0)
        if not core.keys and not mask[0]:
            raise ProblemError(problems.COHORT_TOO_SMALL, minimum=grid.minimum_cohort)
        tables.append(_released(core, found, mask, grid.minimum_cohort))
    rows, types = run_released(plan, tables)
    return {
        "kind": "table", "sql": plan.sql,
        "columns": [{"name": name, "type": type_} for name, type_ in zip(plan.names, types, strict=True)],
        "rows": rows, "suppressed": suppressed, "cells": plan.cells, "rows_used": total.cohort,
        "departments": len(total.participants), "minimum_cohort": grid.minimum_cohort, "release": "exact",
        "notes": [*notes(plan, suppressed), *(["coarsened_tails"] if coarsened else [])],
    }


def exactly(plan: Plan) -> None:
    """Let a query pass that can be answered exactly.

    Raises:
        ProblemError: ``sql_no_domain``.
    """
    if plan.inexact is not None:
        # A new one: plans are shared, and whoever catches it may add to it.
        raise ProblemError(plan.inexact.code, field=plan.inexact.field, **plan.inexact.args_)


def needs_presence(plan: Plan) -> bool:
    """Whether a cell might be about one department although all take part: unless all that is asked is how many rows."""
    return any(core.keys or core.filtered or len(core.supports) > 1 for core in plan.cores)


def notes(plan: Plan, suppressed: int) -> list[str]:
    """Codes of what a reader should know: ``suppressed_cells``, ``continuous_quantiles``, ``clamped_to_bounds``."""
    found = []
    if suppressed:
        found.append("suppressed_cells")
    if any(core.ranks for core in plan.cores):
        found.append("clamped_to_bounds")
    if any(state.grid.count > 2**40 for core in plan.cores for state in core.ranks):
        found.append("continuous_quantiles")
    return found


def _cells(plan: Plan, sums: dict[str, list[int]]) -> list[list[CellSums]]:
    result, at = [], dict.fromkeys(("count", "sum", "product", "bins"), 0)
    for core in plan.cores:
        widths = {"count": len(core.supports), "sum": len(core.sums), "product": len(core.products), "bins": core.bin_width()}
        found = []
        for _ in range(core.cells):
            parts = {}
            for name, width in widths.items():
                parts[name] = sums[name][at[name] : at[name] + width] if width else []
                at[name] += width
            found.append(CellSums(parts["count"], parts["sum"], parts["product"], parts["bins"]))
        result.append(found)
    return result


def _shown(
    plan: Plan, cells: list[list[CellSums]], contributors: list[int] | None, minimum: int, own_figures: bool, total: int,
) -> list[Mask]:
    """Which cells of each core may be shown, decided together where cores are tables of the same rows."""
    by_relation: dict[str, list[int]] = {}
    starts, start = [], 0
    for number, core in enumerate(plan.cores):
        starts.append(start)
        start += core.cells * len(core.supports)
        by_relation.setdefault(from_sql(core), []).append(number)
    shown: list[Mask] = [np.zeros(core.cells, dtype=bool) for core in plan.cores]
    for numbers in by_relation.values():
        axes: list[list[Axis]] = []
        distinct: list[list[int]] = []
        for number in numbers:
            own_axes = [Axis(to_sql(key.expression), len(key.domain.values)) for key in plan.cores[number].keys]
            twin = next((place for place, other in enumerate(axes) if other == own_axes), None)
            if twin is None:
                axes.append(own_axes)
                distinct.append([number])
            else:
                distinct[twin].append(number)
        counts, given, hidden = [], [], []
        for twins in distinct:
            first = plan.cores[twins[0]]
            for cell in range(first.cells):
                seen, behind, thin = cells[twins[0]][cell].counts[0], 2, False
                for number in twins:
                    core, one = plan.cores[number], cells[number][cell]
                    width = len(core.supports)
                    at = starts[number] + cell * width
                    who = contributors[at : at + width] if contributors is not None else [2] * width
                    if who[0] == 1:  # its rows were never told
                        seen, behind = max(minimum, 1), 1
                        one.counts = [1, *one.counts[1:]] if not one.counts[0] else one.counts
                    thin |= any(0 < count < minimum or by == 1 for count, by in zip(one.counts[1:], who[1:], strict=True))
                counts.append(seen)
                given.append(behind)
                hidden.append(thin)
        filtered = plan.cores[numbers[0]].filtered
        mask = suppress(
            counts, given, axes, max(minimum, 1), own_figures=own_figures, hidden=np.array(hidden, dtype=bool),
            total=None if filtered or any(not one for one in axes) or len(plan.cores[numbers[0]].tables) > 1 else max(
                total, int(sum(counts))))
        at = 0
        for twins in distinct:
            size = plan.cores[twins[0]].cells
            for number in twins:
                shown[number] = np.asarray(mask[at : at + size]) & np.array([not one for one in hidden[at : at + size]])
            at += size
    return shown


def _refine(
    grid: SecureGrid, plan: Plan, cells: list[list[CellSums]], shown: list[Mask], allowed: Floats, participants: tuple[str, ...],
) -> bool:
    """Find all order statistics, each by narrowing down where in its grid it lies.

    An order statistic is some row's value. Unless the column is about no one, one whose tail holds fewer values than the
    cohort is not looked for, but the outermost whose tail holds as many (:mod:`shuyan.federation.refine`).

    Returns:
        Whether any of them is another value for that reason.
    """
    each = plan.thresholds()
    if not each:
        return False
    targets: list[_Target | None] = []
    for core, found, mask in zip(plan.cores, cells, shown, strict=True):
        users = {aggregate.states[0]: aggregate for aggregate in core.aggregates
                 if aggregate.kind in ("min", "max", "quantile_cont", "quantile_disc")}
        for cell, one in enumerate(found):
            for place, state in enumerate(core.ranks):
                count = one.counts[state.support]
                wanted = ranks_of(users[place], count) if mask[cell] and count > 0 else None
                least = 1 if state.free else max(grid.minimum_cohort, 1)
                targets.extend(None if wanted is None else _Target.of(one, place, rank, least, count, state.grid.count)
                               for rank in wanted or [0] * state.ranks)
    low = [0] * len(targets)
    high = [0 if target is None else target.places - 1 for target in targets]
    while any(below < above for below, above in zip(low, high, strict=True)):
        thresholds = np.full(len(targets) * each, -1.0)
        for place in range(len(targets)):
            thresholds[place * each : (place + 1) * each] = _probes(low[place], high[place], each)
        asked = grid.secure_sum(REFINE, expect={"below": len(thresholds)}, arrays={"cells": allowed, "thresholds": thresholds})
        if asked.participants != participants:  # the ranks are those of other rows now
            raise ProblemError(errors.DEPARTMENT_LEFT)
        counts = asked.integers("below")
        for place, target in enumerate(targets):
            if target is None or low[place] >= high[place]:
                continue
            for threshold, count in zip(thresholds[place * each : (place + 1) * each],
                                        counts[place * each : (place + 1) * each], strict=True):
                if threshold < low[place]:
                    continue
                if count > target.rank:
                    high[place], target.reached = min(high[place], int(threshold)), count
                    break
                low[place], target.under = int(threshold) + 1, count
    for place, target in enumerate(targets):
        if target is not None:
            target.cell.ranked.setdefault(target.state, []).append(low[place])
    return any(target is not None and not target.under <= target.wanted < target.reached for target in targets)


@dataclass
class _Target:
    """An order statistic that is looked for.

    Attributes:
        rank: the one to show. wanted: the one asked for.
        places: in its grid.
        under, reached: how many values lie below the place found, and at or below it.
    """

    cell: CellSums
    state: int
    rank: int
    wanted: int
    places: int
    under: int
    reached: int

    @classmethod
    def of(cls, cell: CellSums, state: int, wanted: int, least: int, count: int, places: int) -> _Target:
        """For a rank among ``count`` values, of which ``least`` must lie in its tail."""
        shown = released_rank(wanted, count, min(least, count))
        return cls(cell, state, wanted if shown is None else shown, wanted, places, 0, count)


def _probes(low: int, high: int, count: int) -> list[float]:
    """Up to ``count`` places from ``low`` to below ``high``, evenly; what is not needed asks for nothing."""
    if low >= high:
        return [-1.0] * count
    wanted = min(count, high - low)
    places = [float(low + (high - low) * (number + 1) // (wanted + 1)) for number in range(wanted)]
    places = sorted({min(place, float(high - 1)) for place in places})
    return [-1.0] * (count - len(places)) + places


def _released(core: Core, cells: Sequence[CellSums], shown: Mask, minimum: int) -> list[list[Any]]:
    """The shown groups that exist, as columns: keys, then aggregates."""
    columns: list[list[Any]] = [[] for _ in range(len(core.keys) + len(core.aggregates))]
    for cell, one in enumerate(cells):
        if not shown[cell]:
            continue
        rest, stride = cell, core.cells
        for place, key in enumerate(core.keys):
            stride //= len(key.domain.values)
            columns[place].append(key.domain.values[rest // stride])
            rest %= stride
        for place, aggregate in enumerate(core.aggregates):
            columns[len(core.keys) + place].append(value_of(core, aggregate, one, minimum))
    return columns


def run_released(
    plan: Plan, tables: Sequence[Sequence[Sequence[Any]]], *, more: Sequence[str] = (), final: str | None = None,
) -> tuple[list[list[Any]], list[str]]:
    """Run what is left of a query on its cores' released groups, in a database that holds nothing else.

    Args:
        tables: for each core its columns.
        more: names of further columns of the first core, numbers all.
        final: what to run instead of the plan's own.

    Returns:
        The rows, ready for JSON, and the columns' types.

    Raises:
        ProblemError: ``sql_released_failed``.
    """
    with _database() as connection:
        for number, (core, columns) in enumerate(zip(plan.cores, tables, strict=True)):
            names = [*((f"k{place}", key.type) for place, key in enumerate(core.keys)),
                     *((f"a{place}", aggregate.type) for place, aggregate in enumerate(core.aggregates))]
            names += [(name, "DOUBLE") for name in more] if number == 0 else []
            if not names:
                names, columns = [("one", "INTEGER")], [[1]]
            listed = ", ".join(f"unnest($p{place}::{type_}[]) AS {name}" for place, (name, type_) in enumerate(names))
            connection.execute(f"CREATE TEMP TABLE core_{number} AS SELECT {listed}",
                               {f"p{place}": list(column) for place, column in enumerate(columns)})
        found = connection.execute(final or plan.final)
        types = [str(column[1]) for column in found.description or []]
        rows = found.fetchmany(100_000)
    return [[_plain(value) for value in row] for row in rows], types


_idle: Final[deque[duckdb.DuckDBPyConnection]] = deque(maxlen=2)


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked, empty database for one caller. Making one takes longer than a small query, so it is used again; what is
    temporary goes with the connection.

    Raises:
        ProblemError: ``sql_released_failed`` where DuckDB refuses anything; that database is not used again.
    """
    try:
        database = _idle.pop()
    except IndexError:
        database = duckdb.connect(":memory:", config={
            "threads": 1, "memory_limit": "512MB", "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false", "allow_community_extensions": "false", "temp_directory": ""})
        database.execute("SET GLOBAL python_enable_replacements = false")  # for its other connections as well
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
    connection = database.cursor()
    try:
        yield connection
    except BaseException as error:
        connection.close()
        database.close()
        if isinstance(error, duckdb.Error):
            raise ProblemError(errors.RELEASED_FAILED, reason=str(error).split("\n")[0][:200]) from None
        raise
    connection.close()
    _idle.append(database)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if abs(value) < _MAX_EXACT else float(value)
    if isinstance(value, (float, decimal.Decimal)):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime.date) else str(value)
