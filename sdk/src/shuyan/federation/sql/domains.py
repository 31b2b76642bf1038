"""Which values an expression can take, found without any data.

A group's key must have finitely many values that everybody knows beforehand, since a secure sum has a place for each.
They are found by working the expression out on everything its columns can hold by declaration, or from its form: a
comparison is true or false, a CASE gives one of its results, a month is one of twelve. Null is no value here: rows with
a null key belong to no group, unless the key turns nulls into something (CASE, coalesce).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import duckdb
from sqlglot import exp

from shuyan.federation.schema import SQL_TYPES
from shuyan.federation.sql import grammar
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.scopes import Field, Scope
from shuyan.federation.sql.terms import ColumnTerms

MAX_COMBINATIONS: Final = 100_000
MAX_STEPS: Final = 20_000
_EPOCH: Final = datetime.date(1970, 1, 1)
_RANGES: Final[dict[str, range]] = {
    "MONTH": range(1, 13), "QUARTER": range(1, 5), "DAY": range(1, 32), "DAYOFMONTH": range(1, 32), "HOUR": range(24),
    "MINUTE": range(60), "SECOND": range(60), "WEEK": range(1, 54), "WEEKOFYEAR": range(1, 54), "DOW": range(7),
    "DAYOFWEEK": range(7), "ISODOW": range(1, 8), "DOY": range(1, 367), "DAYOFYEAR": range(1, 367),
}
_PARTS: Final[dict[type[exp.Expr], str]] = {
    exp.Month: "MONTH", exp.Quarter: "QUARTER", exp.Day: "DAY", exp.DayOfMonth: "DAY", exp.Hour: "HOUR",
    exp.Minute: "MINUTE", exp.Second: "SECOND", exp.Week: "WEEK", exp.WeekOfYear: "WEEK", exp.DayOfWeek: "DOW",
    exp.DayOfWeekIso: "ISODOW", exp.DayOfYear: "DOY",
}
_BOOLEAN: Final = (*grammar.COMPARISONS, *grammar.LOGIC, exp.Boolean, exp.IsNan, exp.IsInf)
_COARSE: Final = (exp.TimestampTrunc, exp.DateTrunc, exp.Extract, exp.Year, exp.Quarter, exp.Month, exp.Week, exp.WeekOfYear,
                  exp.Day, exp.DayOfMonth, exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfYear, exp.Hour)


@dataclass(frozen=True)
class Domain:
    """The values of a key, sorted, as DuckDB gives them to Python.

    Attributes:
        origins: by value, for each (resource, column) behind it, the declared values that lead to it.
    """

    values: tuple[Any, ...]
    origins: Mapping[Any, Mapping[tuple[str, str], frozenset[str]]] = field(default_factory=dict, compare=False)


@dataclass
class _Variable:
    resource: str
    column: str
    type: str
    values: Sequence[str]


class Domains:
    """Finds domains.

    Args:
        connection: an empty database to calculate with.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def of(self, tree: exp.Expr, scope: Scope) -> Domain | None:
        """The values ``tree`` can take, or None if they are not known to be few."""
        image = self._image(tree, scope)
        if image is not None:
            return image
        values = self._by_form(_bare(tree), scope)
        return None if values is None else Domain(tuple(self._sorted(values)))

    # --- worked out on everything the columns can hold -----------------------------------------------------------

    def _image(self, tree: exp.Expr, scope: Scope) -> Domain | None:
        variables: dict[tuple[int, str, str], _Variable] = {}
        expanded = _expand(tree, scope, variables)
        if expanded is None or math.prod(len(one.values) + 1 for one in variables.values()) > MAX_COMBINATIONS:
            return None
        names = [f"v{place}" for place in range(len(variables))]
        with_ = [
            f"{name}(v, s) AS (SELECT CAST(u AS {one.type}), u FROM (SELECT unnest($p{place}::VARCHAR[]) u) "  # noqa: S608
            "UNION ALL SELECT NULL, NULL)"
            for place, (name, one) in enumerate(zip(names, variables.values(), strict=True))]
        origins = "".join(f", list(DISTINCT {name}.s) FILTER ({name}.s IS NOT NULL)" for name in names)
        source = f" FROM {', '.join(names)}" if names else ""
        sql = (f"{'WITH ' + ', '.join(with_) if with_ else ''} SELECT TRY({to_sql(expanded)}) AS r{origins}{source} "
               "GROUP BY r ORDER BY r")
        if not names:
            sql = f"SELECT TRY({to_sql(expanded)}) AS r"
        try:
            rows = self._connection.execute(
                sql, {f"p{place}": list(one.values) for place, one in enumerate(variables.values())}).fetchall()
        except duckdb.Error:
            return None
        behind = [(one.resource, one.column) for one in variables.values()]
        found: dict[Any, dict[tuple[str, str], frozenset[str]]] = {}
        for value, *lists in rows:
            if value is not None and not (isinstance(value, float) and math.isnan(value)):
                merged: dict[tuple[str, str], frozenset[str]] = {}
                for name, values in zip(behind, lists, strict=True):
                    merged[name] = merged.get(name, frozenset()) | frozenset(values or ())
                found[value] = merged
        return Domain(tuple(found), found)

    # --- by form -------------------------------------------------------------------------------------------------

    def _by_form(self, tree: exp.Expr, scope: Scope) -> list[Any] | None:
        if isinstance(tree, exp.Column):
            behind = scope.field(tree)
            if behind.expression is None or behind.scope is None:
                return [False, True] if behind.terms is not None and behind.terms.type == "boolean" else None
            found = self.of(behind.expression, behind.scope)
            return None if found is None else list(found.values)
        if isinstance(tree, _BOOLEAN) or (isinstance(tree, exp.Anonymous) and tree.name.lower() in ("isfinite", "suffix", "prefix")):
            return [False, True]
        if isinstance(tree, (exp.Case, exp.If)):
            branches = [*tree.args.get("ifs", []), tree] if isinstance(tree, exp.Case) else [tree]
            results = [one for branch in branches for one in (branch.args.get("true"), branch.args.get("false"),
                                                              branch.args.get("default")) if one is not None]
            return self._union(results, scope)
        if isinstance(tree, exp.Coalesce):
            return self._union([tree.this, *tree.expressions], scope)
        part = tree.this.name.upper() if isinstance(tree, exp.Extract) else _PARTS.get(type(tree), "")
        if part in _RANGES:
            return list(_RANGES[part])
        return self._of_parts(tree, scope)

    def _union(self, trees: Sequence[exp.Expr], scope: Scope) -> list[Any] | None:
        values: dict[Any, None] = {}
        for tree in trees:
            if isinstance(_bare(tree), exp.Null):
                continue
            found = self.of(tree, scope)
            if found is None:
                return None
            values.update(dict.fromkeys(found.values))
        return list(values)

    def _of_parts(self, tree: exp.Expr, scope: Scope) -> list[Any] | None:
        """A function of what is finite itself: ``cast(x > 5 AS INT)``."""
        children = [child for child in tree.iter_expressions() if not isinstance(child, (exp.DataType, exp.Var, exp.Literal))]
        if not children or type(tree) not in grammar.SCALARS:
            return None
        copied = exp.Paren(this=tree.copy())
        inner = [child for child in copied.this.iter_expressions() if not isinstance(child, (exp.DataType, exp.Var, exp.Literal))]
        parameters: dict[str, list[Any]] = {}
        for place, (child, target) in enumerate(zip(children, inner, strict=True)):
            found = self.of(child, scope)
            if found is None:
                return None
            parameters[f"p{place}"] = list(found.values)
            target.replace(exp.column("v", table=f"v{place}"))
        if not parameters or math.prod(len(values) + 1 for values in parameters.values()) > MAX_COMBINATIONS:
            return None
        sources = ", ".join(f"(SELECT unnest($p{place}) UNION ALL SELECT NULL) AS v{place}(v)" for place in range(len(parameters)))
        try:
            rows = self._connection.execute(
                f"SELECT DISTINCT TRY({to_sql(copied)}) FROM {sources}", parameters).fetchall()  # noqa: S608
        except duckdb.Error:
            return None
        return [value for (value,) in rows if value is not None]

    def _sorted(self, values: Sequence[Any]) -> list[Any]:
        kept = [value for value in values if value is not None]
        try:
            return sorted(set(kept))
        except TypeError:
            return list(dict.fromkeys(kept))


def _bare(tree: exp.Expr) -> exp.Expr:
    while isinstance(tree, exp.Paren):
        tree = tree.this
    return tree


def _expand(tree: exp.Expr, scope: Scope, variables: dict[tuple[int, str, str], _Variable]) -> exp.Expr | None:
    """``tree`` over variables ``v0.v``, …, each a granted column with known values; None if there is another."""
    holder = exp.Paren(this=tree.copy())
    for column in list(holder.find_all(exp.Column)):
        behind = scope.field(column)
        if behind.expression is not None and behind.scope is not None:
            inner = _expand(behind.expression, behind.scope, variables)
            if inner is None:
                return None
            column.replace(exp.Paren(this=inner))
            continue
        if behind.terms is None:
            return None
        key = (id(scope), column.table.lower(), behind.column)
        if key not in variables:
            values = column_values(behind)
            if values is None and behind.terms.type == "timestamp" and _coarse(column):
                values = _hours(behind.terms)
            if values is None:
                return None
            variables[key] = _Variable(behind.resource, behind.column, SQL_TYPES[behind.terms.type], values)
        column.replace(exp.column("v", table=f"v{list(variables).index(key)}"))
    return holder


def _coarse(column: exp.Column) -> bool:
    parent = column.parent
    if isinstance(parent, exp.Cast):
        return str(parent.to.this.value if isinstance(parent.to.this, exp.DType) else parent.to.this) == "DATE"
    if not isinstance(parent, _COARSE):
        return False
    unit = parent.this if isinstance(parent, exp.Extract) else parent.args.get("unit")
    return unit is None or unit.name.upper() not in ("MINUTE", "SECOND", "EPOCH")


def column_values(column: Field) -> list[str] | None:
    """All values a granted column can hold by declaration, as text in its own type's spelling."""
    terms = column.terms
    if terms is None:
        return None
    if terms.domain:
        return list(terms.domain)
    if terms.type == "boolean":
        return ["false", "true"]
    return list(_steps(terms)) if _few(terms) else None


def _few(terms: ColumnTerms) -> bool:
    step = step_of(terms)
    if terms.lower is None or terms.upper is None or step is None or terms.type == "timestamp":
        return False
    return 0 <= (terms.upper - terms.lower) / step < MAX_STEPS


def step_of(terms: ColumnTerms) -> float | None:
    """The step between neighbouring values: declared, or 1 for whole numbers and dates."""
    if terms.resolution:
        return terms.resolution
    return 1.0 if terms.type in ("integer", "date") else None


def _steps(terms: ColumnTerms) -> Iterator[str]:
    lower, upper, step = terms.lower or 0.0, terms.upper or 0.0, Fraction(repr(step_of(terms)))
    for number in range(math.ceil(Fraction(repr(lower)) / step), math.floor(Fraction(repr(upper)) / step) + 1):
        value = number * step
        if terms.type == "date":
            yield (_EPOCH + datetime.timedelta(days=int(value))).isoformat()
        else:
            yield str(int(value)) if terms.type == "integer" else repr(float(value))


def _hours(terms: ColumnTerms) -> list[str] | None:
    if terms.lower is None or terms.upper is None or not 0 <= terms.upper - terms.lower < 3600.0 * MAX_COMBINATIONS:
        return None
    start = datetime.datetime(1970, 1, 1)
    first, last = math.floor(terms.lower / 3600), math.floor(terms.upper / 3600)
    return [(start + datetime.timedelta(hours=hour)).isoformat(" ") for hour in range(first, last + 1)]
