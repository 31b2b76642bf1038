"""SQL as a node runs it, written anew from the checked tree.

A query that fails on a department's data must not fail differently from one that does not: an error that hangs on one
row would tell about it. So whatever could fail on some value (a cast, an overflow, a square root of a negative number)
gives null for that row instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from shuyan.federation.sql import grammar
from shuyan.federation.sql.cores import Core
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.scopes import aggregates, is_aggregate

_NEVER_FAILS: Final = (
    exp.Column, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Coalesce, exp.Nullif, exp.Lower, exp.Upper, exp.Length,
    exp.Interval, exp.Var, exp.DataType, exp.DataTypeParam, exp.Identifier, exp.Year, exp.Quarter, exp.Month, exp.Day,
    exp.Hour, exp.Minute, exp.Escape, exp.Star, exp.TableAlias,
)
_SUMMED: Final = (exp.Sum, exp.Avg, exp.Variance, exp.VariancePop, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.CovarPop,
                  exp.CovarSamp, exp.Corr)
_THROUGH: Final = (*grammar.COMPARISONS, *grammar.LOGIC, exp.Paren)


def guarded(tree: exp.Expr) -> exp.Expr:
    """A copy of a row's expression in which what could fail on some value gives null instead."""
    copied = tree.copy()
    if _may_fail(copied):
        if isinstance(copied, _THROUGH):
            # Inside comparisons, so that a join's condition stays one that DuckDB can hash.
            for name, value in copied.args.items():
                if isinstance(value, exp.Expr) and not isinstance(value, exp.Identifier):
                    copied.set(name, guarded(value))
                elif isinstance(value, list):
                    copied.set(name, [guarded(one) if isinstance(one, exp.Expr) else one for one in value])
        else:
            return exp.Anonymous(this="TRY", expressions=[copied])
    return copied


def _may_fail(tree: exp.Expr) -> bool:
    return any(not isinstance(node, (*_NEVER_FAILS, *grammar.COMPARISONS, *grammar.LOGIC, exp.Case, exp.If))
               for node in tree.walk())


AGGREGATED: Final = "aggregated"
"""Mark on a SELECT that groups rows within the department."""


def guard_rows(select: exp.Select) -> exp.Select:
    """The rows of a SELECT, subqueries included, with every expression of theirs guarded."""
    select = select.copy()
    for place in [select.args["from_"], *(select.args.get("joins") or [])]:
        if isinstance(place.this, exp.Subquery):
            place.this.set("this", guard_rows(place.this.this))
        if place.args.get("on") is not None:
            place.set("on", guarded(place.args["on"]))
    if select.args.get("where") is not None:
        select.set("where", exp.Where(this=guarded(select.args["where"].this)))
    outputs = [item.this for item in select.expressions]
    if select.args.get("group") is not None or any(True for tree in outputs for _ in aggregates(tree)):
        return _guard_groups(select)
    select.set("expressions", [exp.alias_(guarded(item.this), item.alias, quoted=True) for item in select.expressions])
    return select


def _guard_groups(select: exp.Select) -> exp.Select:
    """A grouping in two: keys and aggregates inside, what is worked out from them outside, where it can be guarded."""
    group, having = select.args.get("group"), select.args.get("having")
    keys: list[exp.Expr] = list(group.expressions) if group is not None else []
    found: list[exp.Expr] = []

    def outside(tree: exp.Expr) -> exp.Expr:
        holder = exp.Paren(this=tree.copy())
        visit(holder.this)
        result: exp.Expr = holder.this
        result.pop()
        return guarded(result)

    def visit(node: exp.Expr) -> None:
        name = next((f"k{place}" for place, key in enumerate(keys) if node == key), "")
        if not name and next(aggregates(node), None) is node:
            if node not in found:
                found.append(node.copy())
            name = f"a{found.index(node)}"
        if name:
            node.replace(exp.column(exp.to_identifier(name, quoted=True), table=exp.to_identifier("_g", quoted=True)))
            return
        for child in list(node.iter_expressions()):
            visit(child)

    outer = exp.Select(expressions=[exp.alias_(outside(item.this), item.alias, quoted=True) for item in select.expressions])
    if having is not None:
        outer.set("where", exp.Where(this=outside(having.this)))
    items = [exp.alias_(guarded(key), f"k{place}", quoted=True) for place, key in enumerate(keys)]
    tables = {place.this.alias_or_name.lower() for place in [select.args["from_"], *(select.args.get("joins") or [])]
              if isinstance(place.this, exp.Table)}
    items += [exp.alias_(_guard_arguments(node, tables), f"a{place}", quoted=True) for place, node in enumerate(found)]
    inner = exp.Select(expressions=items or [exp.alias_(exp.Count(this=exp.Star()), "n", quoted=True)],
                       from_=select.args["from_"], joins=select.args.get("joins"), where=select.args.get("where"))
    if keys:
        inner.set("group", exp.Group(expressions=[guarded(key) for key in keys]))
    inner.meta[AGGREGATED] = True
    outer.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier("_g", quoted=True)))))
    return outer


def _guard_arguments(tree: exp.Expr, tables: set[str]) -> exp.Expr:
    """An aggregate, with FILTER and all, whose arguments are guarded.

    Args:
        tables: names of granted resources; what is worked out, and not a column of theirs, must not make a sum overflow.
    """
    holder = exp.Paren(this=tree.copy())
    for node in list(holder.walk()):
        if is_aggregate(node) or isinstance(node, (exp.Where, exp.Ordered)):
            for name, value in list(node.args.items()):
                if isinstance(value, exp.Expr) and not isinstance(value, (exp.Star, exp.Distinct, exp.Literal, exp.Array)):
                    safe = guarded(value)
                    if isinstance(node, _SUMMED) and not (isinstance(value, exp.Column) and value.table.lower() in tables):
                        safe = _capped(safe)
                    node.set(name, safe)
    result: exp.Expr = holder.this
    result.pop()
    return result


def _capped(tree: exp.Expr) -> exp.Expr:
    size = exp.Abs(this=exp.Cast(this=tree.copy(), to=exp.DataType.build("DOUBLE")))
    return exp.Case(ifs=[exp.If(this=exp.LTE(this=size, expression=exp.Literal.number("1e15")), true=tree)])


def from_sql(core: Core, finite: bool = False) -> str:
    """What follows the select list: FROM, JOIN and WHERE.

    Args:
        finite: read NaN and infinities as nulls; they cannot be summed.
    """
    relation = guard_rows(core.relation)
    shell = exp.Select(expressions=[exp.Literal.number(1)], from_=relation.args["from_"], joins=relation.args.get("joins"),
                       where=relation.args.get("where"))
    if finite:
        for table in list(shell.find_all(exp.Table)):
            columns = core.tables[table.name]
            outputs = [_finite(name) if type_ == "number" else exp.column(exp.to_identifier(name, quoted=True))
                       for name, type_ in columns]
            inner = exp.Select(expressions=outputs or [exp.Literal.number(1)],
                               from_=exp.From(this=exp.Table(this=exp.to_identifier(table.name, quoted=True))))
            table.replace(exp.Subquery(this=inner, alias=exp.TableAlias(
                this=exp.to_identifier(table.alias_or_name, quoted=True))))
    return to_sql(shell)[len("SELECT 1 "):]


def _finite(name: str) -> exp.Expr:
    column = exp.column(exp.to_identifier(name, quoted=True))
    case = exp.Case(ifs=[exp.If(this=exp.Anonymous(this="isfinite", expressions=[column]), true=column.copy())])
    return exp.alias_(case, name, quoted=True)


def _keys(core: Core) -> list[str]:
    return [f"{to_sql(guarded(key.expression))} AS k{place}" for place, key in enumerate(core.keys)]


def _group(core: Core, more: int = 0) -> str:
    places = ", ".join(str(place + 1) for place in range(len(core.keys) + more))
    return f" GROUP BY {places}" if places else ""


def tally_sql(core: Core, *, finite: bool = False) -> str:
    """The groups' measures in one pass: keys ``k0``…, measures ``m0``…."""
    text = core.texts.get(finite)
    if text is None:  # each run of a query asks for it several times
        text = core.texts[finite] = grouped_sql(core, core.measures, finite=finite)
    return text


def grouped_sql(core: Core, measures: Sequence[str], *, finite: bool = False) -> str:
    """Any measures by group."""
    named = [f"{sql} AS m{place}" for place, sql in enumerate(measures)]
    return f"SELECT {', '.join([*_keys(core), *named])} {from_sql(core, finite)}{_group(core)}"


def bins_sql(core: Core, place: int) -> str:
    """Counts per group and bin of one state: keys, ``b``, ``n``."""
    return counted_sql(core, core.bins[place].bin)


def counted_sql(core: Core, value: str) -> str:
    """Counts per group and value of an expression: keys, ``b``, ``n``."""
    return f"SELECT {', '.join([*_keys(core), f'{value} AS b', 'count(*) AS n'])} {from_sql(core)}{_group(core, 1)}"


def ranks_sql(core: Core, place: int) -> str:
    """Counts per group and place in the grid of one state, in order: keys, then lists ``i`` and ``n``."""
    keys = ", ".join(f"k{number}" for number in range(len(core.keys)))
    inner = f"SELECT {', '.join([*_keys(core), f'{core.ranks[place].index} AS i', 'count(*) AS n'])} {from_sql(core)}{_group(core, 1)}"
    return (f"SELECT {keys + ', ' if keys else ''}list(i ORDER BY i) AS i, list(n ORDER BY i) AS n FROM ({inner}) "  # noqa: S608
            f"WHERE i IS NOT NULL{f' GROUP BY {keys}' if keys else ''}")
