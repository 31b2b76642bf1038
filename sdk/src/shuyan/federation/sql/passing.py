"""Which rows pass a filter, told in the pass that adds them up, where they are few of many.

DuckDB leaves out most of a Parquet file for a filter that few rows pass. A second pass over all of it, only to tell the
differencing guard which rows those were, would take longer than the query. So each group lists its rows' numbers beside its
sums. Where many rows pass, the lists would cost more than a second pass, which writes down one bit a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
from sqlglot import exp

from shuyan.federation import rowsets
from shuyan.federation.inputs import Inputs
from shuyan.federation.schema import quote
from shuyan.federation.sql.compile import grouped_sql, guard_rows, tally_sql
from shuyan.federation.sql.cores import Core
from shuyan.federation.sql.gate import to_sql

_SMALL: Final = 20_000  # rows of which no guess is worth it
_SAMPLE: Final = 8192
_SHARE: Final = 1 / 8

Numbers = dict[str, npt.NDArray[np.int64]]


def labelled(core: Core) -> dict[str, str]:
    """The conditions inside aggregates and of groups, by the labels of their row sets."""
    return {f"c{place}": condition for place, condition in enumerate(core.conditional)} | {
        f"{rowsets.GROUP}{place}": condition for place, condition in enumerate(core.groups)}


def tallied_with_rows(inputs: Inputs, core: Core) -> list[tuple[Any, ...]] | None:
    """The records of :func:`tally_sql`, and the numbers of the rows for :func:`passing`; None: let them be counted apart.

    Raises:
        duckdb.OutOfRangeException: a variance of something that is not finite.
    """
    place, where = core.relation.args["from_"].this, core.relation.args.get("where")
    if where is None or core.relation.args.get("joins") or not isinstance(place, exp.Table) or not inputs.files(place.name):
        return None
    if not _few(inputs, place, to_sql(guard_rows(core.relation).args["where"].this)):
        return None
    number = f"{quote(place.alias_or_name)}.{inputs.row_number(place.name)}"
    conditions = labelled(core)
    lists = [f"list({number})", *(f"list({number}) FILTER (WHERE {condition})" for condition in conditions.values())]
    width = len(core.keys) + len(core.measures)
    connection = inputs.connection
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE __passing AS {grouped_sql(core, [*core.measures, *lists])}")
    except duckdb.OutOfMemoryException:  # they are not few after all
        return None
    names = [str(column[0]) for column in connection.execute("SELECT * FROM __passing LIMIT 0").description or []]
    records: list[tuple[Any, ...]] = connection.execute(f"SELECT {', '.join(map(quote, names[:width]))} FROM __passing").fetchall()  # noqa: S608
    numbers = {label: _flat(connection, name) for label, name in zip([rowsets.BASE, *conditions], names[width:], strict=True)}
    connection.execute("DROP TABLE __passing")
    inputs.cache.setdefault("passing", {})[tally_sql(core)] = numbers
    return records


def passing(inputs: Inputs, core: Core) -> Numbers | None:
    """By label, the numbers of the rows that a core's figures rest on, if they were told with them."""
    found: Numbers | None = inputs.cache.get("passing", {}).get(tally_sql(core))
    return found


def _few(inputs: Inputs, place: exp.Table, condition: str) -> bool:
    rows = inputs.count(place.name)
    if rows <= _SMALL:
        return True
    seen: Sequence[Any] | None = inputs.connection.execute(
        f"SELECT count(*) FILTER (WHERE {condition}) FROM (SELECT * FROM {quote(place.name)} LIMIT {_SAMPLE}) "  # noqa: S608
        f"AS {quote(place.alias_or_name)}").fetchone()
    return seen is not None and seen[0] <= _SHARE * _SAMPLE


def _flat(connection: duckdb.DuckDBPyConnection, name: str) -> npt.NDArray[np.int64]:
    rows = rowsets.numbers(connection, f"SELECT unnest({quote(name)}) AS r FROM __passing")["r"]  # noqa: S608
    return np.asarray(rows, dtype=np.int64)
