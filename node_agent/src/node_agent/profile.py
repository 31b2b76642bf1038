"""How good a resource's data are, measured at the node.

What the market is told is in whole percents, rounded down: complete means complete, and one missing value among a million
shows as 99. Distributions stay here, with cells of fewer than ten rows left out: they would be one department's own figures.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from node_agent.sources_reading import opened
from shuyan.federation.schema import SQL_TYPES, Column, ColumnType, dimension_sql, double_sql, quote
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    import duckdb

SMALL_CELL: Final = 10
PERIOD_DAYS: Final[Mapping[str, int | None]] = {
    "realtime": 1, "daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92, "yearly": 366, "irregular": None}
"""The longest period of each declared update frequency."""

_BINS: Final = 10
_EXACT_ROWS: Final = 5_000_000  # above, duplicate rows are estimated


def measure_profile(kind: str, location: str, columns: Sequence[link_pb2.Column], date_column: str = "",
                    frequency: str = "") -> tuple[link_pb2.Profile, list[local_pb2.Distribution]]:
    """Measure a resource's columns over all rows.

    Args:
        location: resolved, see :func:`node_agent.sources_reading.reading`.
        columns: as declared: type, domain, bounds and resolution are what values are valid against.
        date_column: the column of type date or timestamp that timeliness is measured by.
        frequency: how often the department declares to bring the data up to date: one of :data:`PERIOD_DAYS`, or empty.

    Raises:
        ProblemError: a ``source_…`` code.
    """
    profile = link_pb2.Profile(measured_at_ms=time.time_ns() // 1_000_000, date_column=date_column)
    with opened(kind, location) as (connection, table):
        asked = ["count(*)"]
        for column in columns:
            name, fits = quote(column.name), valid_sql(column)
            asked += [f"count({name})", f"count(*) FILTER ({name} IS NOT NULL AND {fits})"]
        latest = f"max(TRY_CAST({quote(date_column)} AS DATE))" if date_column else "NULL"
        row = connection.execute(f"SELECT {', '.join(asked)}, {latest} FROM {table}").fetchone()  # noqa: S608
        assert row is not None
        rows = int(row[0])
        present, valid = [int(value) for value in row[1:-1:2]], [int(value) for value in row[2:-1:2]]
        for column, there, right in zip(columns, present, valid, strict=True):
            profile.columns.add(name=column.name, completeness=percent(there, rows), validity=percent(right, there))
        profile.completeness = percent(sum(present), rows * len(columns))
        profile.validity = percent(sum(valid), sum(present))
        profile.uniqueness = percent(_different_rows(connection, table, columns, rows), rows)
        if isinstance(row[-1], dt.date):
            profile.latest_month = f"{row[-1]:%Y-%m}"
            age, period = (dt.datetime.now(dt.UTC).date() - row[-1]).days, PERIOD_DAYS.get(frequency)
            if period is not None:
                profile.timeliness = 100 if age <= period else 50 if age <= 2 * period else 0
        distributions = [_distribution(connection, table, column, there) for column, there in
                         zip(columns, present, strict=True) if not column.identifier and (column.domain or _bounded(column))]
    return profile, distributions


def percent(part: int, whole: int) -> int:
    """A share in whole percents, rounded down; of nothing, all."""
    return 100 * part // whole if whole else 100


def valid_sql(column: link_pb2.Column) -> str:
    """A condition that holds for values as declared: type, then domain, bounds and resolution where there are any."""
    typed = Column(column.name, cast(ColumnType, column.type))
    name = quote(column.name)
    value = f"TRY_CAST({name} AS {SQL_TYPES[typed.type]})"
    conditions = [f"{value} IS NOT NULL"]
    if typed.type == "integer":
        conditions.append(f"TRY_CAST({name} AS DOUBLE) = trunc(TRY_CAST({name} AS DOUBLE))")
    if typed.type == "number":
        conditions.append(f"isfinite({value})")
    if column.domain:
        inner = dimension_sql(typed).replace(name, value)
        values = ", ".join("'" + each.replace("'", "''") + "'" for each in column.domain)
        conditions.append(f"({inner}) IN ({values})")
    if column.HasField("lower"):
        conditions.append(f"{value} >= {double_sql(column.lower)}")
    if column.HasField("upper"):
        conditions.append(f"{value} <= {double_sql(column.upper)}")
    if column.HasField("resolution"):
        conditions.append(on_step_sql(column.name, column.resolution))
    return " AND ".join(conditions)


def on_step_sql(name: str, step: float) -> str:
    """A condition that holds for whole multiples of a step, as far as float64 can write them."""
    value = f"TRY_CAST({quote(name)} AS DOUBLE)"
    return f"abs({value} / {double_sql(step)} - round({value} / {double_sql(step)})) <= 1e-6"


def _different_rows(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[link_pb2.Column], rows: int) -> int:
    names = ", ".join(quote(column.name) for column in columns)
    count = "count(DISTINCT hash({}))" if rows <= _EXACT_ROWS else "approx_count_distinct(hash({}))"
    found = connection.execute(f"SELECT {count.format(names)} FROM {table}").fetchone()  # noqa: S608
    return min(int(found[0]) if found else 0, rows)


def _bounded(column: link_pb2.Column) -> bool:
    return column.HasField("lower") and column.HasField("upper")


def _distribution(connection: duckdb.DuckDBPyConnection, table: str, column: link_pb2.Column,
                  present: int) -> local_pb2.Distribution:
    typed = Column(column.name, cast(ColumnType, column.type))
    name = quote(column.name)
    value = f"TRY_CAST({name} AS {SQL_TYPES[typed.type]})"
    if column.domain:
        label = dimension_sql(typed).replace(name, value)
        wanted = list(column.domain)
    else:
        width = (column.upper - column.lower) / _BINS
        edges = [column.lower + place * width for place in range(_BINS + 1)]
        wanted = [f"{edges[place]:g}–{edges[place + 1]:g}" for place in range(_BINS)]
        place = f"greatest(0, least({_BINS - 1}, CAST(floor(({value} - {double_sql(column.lower)}) / {double_sql(width)}) AS INTEGER)))"
        label = (f"CASE WHEN {value} BETWEEN {double_sql(column.lower)} AND {double_sql(column.upper)}"
                 f" THEN CAST({place} AS VARCHAR) END")
    counts = dict(connection.execute(
        f"SELECT {label} AS v, count(*) FROM {table} WHERE {name} IS NOT NULL GROUP BY v").fetchall())  # noqa: S608
    made = local_pb2.Distribution(column=column.name)
    for position, text in enumerate(wanted):
        count = counts.get(text if column.domain else str(position), 0)
        if 0 < count < SMALL_CELL:
            made.suppressed += 1
        elif count:
            made.cells.add(label=text, percent=percent(count, present))
    return made
