"""Which cells of a table of known values each count of a query's result is the sum of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from sqlglot import exp

from shuyan.federation.schema import SQL_TYPES, quote
from shuyan.federation.sql.compile import from_sql, guarded
from shuyan.federation.sql.cores import Core
from shuyan.federation.sql.domains import column_values
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.plan import Plan, make_plan
from shuyan.federation.sql.scopes import Field
from shuyan.federation.sql.terms import ColumnTerms
from shuyan.problems import ProblemError

_ID: Final = "__cell"
Group = tuple[Any, ...]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Counting:
    """A query whose rows are told apart by columns of known values only.

    Attributes:
        values: by column of its keys, filter and counts, all values it can have, as text. types: DuckDB's names of their types.
        measures: SQL of what it counts, ``count(*)`` first.
    """

    core: Core
    resource: str
    values: Mapping[str, Sequence[str]]
    types: Mapping[str, str]
    measures: tuple[str, ...]
    _shown: Mapping[Group, Mapping[int, float]]
    _suppressed: bool

    def over(self, dims: Sequence[str], cells: Sequence[tuple[str, ...]], types: Mapping[str, str]) -> dict[tuple[Group, int], Vector]:
        """By group and measure, 1 for each of the cells whose rows it counts.

        Args:
            dims: columns; all of the query's are among them.
            cells: their values. types: of those that any query reads.
        """
        keys = [f"{to_sql(guarded(key.expression))} AS k{place}" for place, key in enumerate(self.core.keys)]
        counts = [f"{measure} AS m{place}" for place, measure in enumerate(self.measures)]
        columns = ", ".join([f"c.i AS {quote(_ID)}", *(
            f"TRY_CAST(c.v[{place + 1}] AS {types.get(name, 'VARCHAR')}) AS {quote(name)}" for place, name in enumerate(dims))])
        found: dict[tuple[Group, int], Vector] = {}
        # As at the nodes: what two expressions share is otherwise worked out before, and outside of, the TRY around either.
        with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB", "enable_external_access": "false"}) as database:
            database.execute("SET disabled_optimizers = 'common_subexpressions'")
            database.execute(
                f"CREATE TABLE {quote(self.resource)} AS SELECT {columns} FROM (SELECT unnest($i::BIGINT[]) AS i, "  # noqa: S608
                "unnest($v::VARCHAR[][]) AS v) AS c", {"i": list(range(len(cells))), "v": [list(cell) for cell in cells]})
            places = ", ".join(str(place + 1) for place in range(len(keys) + 1))  # ALL would look into TRY
            records = database.execute(
                f"SELECT {', '.join([quote(_ID), *keys, *counts])} {from_sql(self.core)} GROUP BY {places}").fetchall()
        for cell, *rest in records:
            group = tuple(map(_plain, rest[: len(keys)]))
            if None in group:
                continue
            for measure, count in enumerate(rest[len(keys):]):
                found.setdefault((group, measure), np.zeros(len(cells)))[cell] += count
        return found

    def shown(self, group: Group, measure: int) -> float | None:
        """The count that the result shows."""
        return self._shown.get(group, {}).get(measure)

    def hides(self, group: Group) -> bool:
        """Whether a group may have been left out because of what it would tell."""
        return self._suppressed and group not in self._shown


def counting(content: Mapping[str, Any], params: Mapping[str, Any]) -> Counting | None:
    """A query's result as counts; None where it is none, or is about rows that known values do not tell apart."""
    try:
        schemas = {resource: {name: ColumnTerms.model_validate(terms) for name, terms in columns.items()}
                   for resource, columns in (params.get("schemas") or {}).items()}
        plan = make_plan(str(params.get("sql", content.get("sql", ""))), schemas)
    except (ProblemError, ValidationError, AttributeError):
        return None
    if len(plan.cores) != 1 or len(plan.columns) != 1 or not isinstance(plan.tree.args["from_"].this, exp.Table):
        return None
    core = plan.cores[0]
    if not isinstance(core.relation.args["from_"].this, exp.Table) or core.relation.args.get("joins"):
        return None
    places = _places(plan)
    if any(("k", place) not in places for place in range(len(core.keys))):
        return None
    terms = schemas[plan.main]
    values = {name: column_values(Field(name, plan.main, name, one)) for name, one in terms.items()}
    telling = [key.expression for key in core.keys]
    if core.relation.args.get("where") is not None:
        telling.append(core.relation.args["where"])
    used = {column.name for tree in telling for column in tree.find_all(exp.Column)}
    if any(not values.get(name) for name in used):
        return None
    measures: dict[str, int | None] = {"count(*)": None}
    for (kind, number), place in places.items():
        if kind == "a" and core.aggregates[number].kind == "count":
            sql = core.measures[core.supports[core.aggregates[number].support]]
            named = _columns_of(sql)
            if named is not None and all(values.get(name) for name in named):
                measures[sql] = place
                used |= named
    return Counting(
        core, plan.main, {name: tuple(values[name] or ()) for name in sorted(used)},
        {name: SQL_TYPES[terms[name].type] for name in used}, tuple(measures), _shown(content, core, places, list(measures.values())),
        bool(content.get("suppressed")))


def _places(plan: Plan) -> dict[tuple[str, int], int]:
    """Where in a row of the result each key (``k``) and aggregate (``a``) stands as it is."""
    found: dict[tuple[str, int], int] = {}
    for place, item in enumerate(plan.tree.expressions):
        inner = item.unalias()
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if isinstance(inner, exp.Column) and inner.name[:1] in ("k", "a") and inner.name[1:].isdigit():
            found.setdefault((inner.name[0], int(inner.name[1:])), place)
    return found


def _columns_of(measure: str) -> set[str] | None:
    """The columns that a count looks at."""
    from sqlglot import ParseError, parse_one

    try:
        return {column.name for column in parse_one(measure, dialect="duckdb").find_all(exp.Column)}
    except ParseError:
        return None


def _shown(
    content: Mapping[str, Any], core: Core, places: Mapping[tuple[str, int], int], counts: Sequence[int | None],
) -> dict[Group, dict[int, float]]:
    shown: dict[Group, dict[int, float]] = {}
    for row in content["rows"]:
        group = tuple(row[places["k", place]] for place in range(len(core.keys)))
        shown[group] = {measure: float(row[place]) for measure, place in enumerate(counts)
                        if place is not None and isinstance(row[place], int | float)}
    return shown


def _plain(value: Any) -> Any:
    """A key's value as a result's JSON has it."""
    if hasattr(value, "isoformat"):
        return value.isoformat(" ") if hasattr(value, "hour") else value.isoformat()
    return value
