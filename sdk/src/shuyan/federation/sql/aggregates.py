"""Aggregate functions of a query, taken apart into the states of a :class:`~shuyan.federation.sql.cores.Core`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

from sqlglot import exp

from shuyan.federation.schema import double_sql
from shuyan.federation.sql import errors, grammar
from shuyan.federation.sql.apart import NotToldError, left_out, rows_apart
from shuyan.federation.sql.compile import guarded
from shuyan.federation.sql.cores import (
    Aggregate,
    BinState,
    Core,
    Grid,
    ProductState,
    Promise,
    RankState,
    SumState,
)
from shuyan.federation.sql.domains import Domains
from shuyan.federation.sql.errors import refuse
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.scopes import Scope, behind

MAX_BINS: Final = 1_000
MAX_DISTINCT: Final = 20_000
MAX_MATRIX: Final = 16
_WHOLE: Final = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_CONDITIONS: Final = (*grammar.COMPARISONS, *grammar.LOGIC, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Least,
                      exp.Greatest, exp.IsNan, exp.Floor, exp.Ceil, exp.Round, exp.Sign, exp.IntDiv, exp.Mod, exp.Cast, exp.TryCast,
                      exp.Exp, exp.Pow)
_MOMENTS: Final = {
    exp.Variance: "var_samp", exp.VariancePop: "var_pop", exp.Stddev: "stddev_samp", exp.StddevSamp: "stddev_samp",
    exp.StddevPop: "stddev_pop",
}
SUMMED: Final = (exp.Sum, exp.Avg, *_MOMENTS, exp.CovarPop, exp.CovarSamp, exp.Corr)
_MATRICES: Final = ("covariance_matrix", "correlation_matrix")
_PAIRS: Final = {exp.CovarPop: "covar_pop", exp.CovarSamp: "covar_samp", exp.Corr: "corr"}


def _is_number(type_: str) -> bool:
    return type_ in _WHOLE or type_ in ("DOUBLE", "FLOAT") or type_.startswith("DECIMAL")


@dataclass
class Splitter:
    """Takes the aggregates of one core apart.

    Args:
        types: gives the types of expressions over the core's relation.
    """

    source: str
    core: Core
    scope: Scope
    domains: Domains
    types: Callable[[exp.Expr], str]

    def split(self, node: exp.Expr) -> int:
        """Add an aggregate's states to the core; returns its place among the core's aggregates.

        Raises:
            ProblemError: it cannot be had over departments.
        """
        whole, where = node, ""
        if isinstance(node, exp.Filter):
            condition = node.expression.this
            where = f"({self._sql(condition)})"
            self._condition(condition, self._sql(condition))
            node = node.this
        order = None
        if isinstance(node, exp.WithinGroup):
            order, node = node.expression.expressions[0].this, node.this
        for place, known in enumerate(self.core.aggregates):
            if known.text == to_sql(whole):
                return place
        if isinstance(node, SUMMED) or (isinstance(node, exp.Anonymous) and node.name.lower() in _MATRICES):
            self._apart(node, where)
        found = self._aggregate(node, where, order)
        return self.core.add(self.core.aggregates, Aggregate(
            found.kind, found.type, found.support, found.states, found.options, to_sql(whole)))

    def _apart(self, node: exp.Expr, where: str) -> None:
        """Remember which rows the summed expressions tell apart, and hide groups in which those, or the others, are few."""
        each: list[list[str]] = []
        arguments = node.expressions if isinstance(node, exp.Anonymous) else [
            part for part in (node.this, node.args.get("expression")) if part is not None]
        for argument in arguments:
            try:
                each.append(rows_apart(argument, self.scope, self.domains))
            except NotToldError as found:
                raise refuse(self.source, found.node, errors.MAY_ISOLATE) from None
            out = left_out(argument, self.scope)
            if out and out not in self.core.conditional:
                self.core.conditional.append(f"{where} AND {out}" if where else out)
            if each[-1]:
                self.core.told_apart |= {one for column in argument.find_all(exp.Column) for one in behind(column, self.scope)}
        both = [f"({one}) AND ({other})" for place, first in enumerate(each) for second in each[place + 1:]
                for one in first for other in second]
        for condition in dict.fromkeys([*(one for found in each for one in found), *both]):
            told = f"{where} AND ({condition})" if where else condition
            if told not in self.core.conditional:
                self.core.conditional.append(told)
            kept = f"{where} AND " if where else ""
            self.core.support(f"count(*) FILTER (WHERE {told})")
            self.core.support(f"count(*) FILTER (WHERE {kept}coalesce(NOT ({condition}), true))")

    def _aggregate(self, node: exp.Expr, where: str, order: exp.Expr | None) -> Aggregate:
        if isinstance(node, exp.Anonymous):
            return self._named(node, where)
        kind = type(node)
        if isinstance(node, exp.Count):
            return self._count(node, where)
        if isinstance(node, exp.CountIf):
            condition = self._sql(node.this)
            self._type(node.this, ("BOOLEAN",), node)
            self._condition(node.this, condition)
            if where:
                condition = f"{where} AND {condition}"
            return Aggregate("count", "BIGINT", self.core.support(f"count(*) FILTER (WHERE {condition})"))
        if kind in _MOMENTS:
            return self._moment(node, _MOMENTS[kind], where)
        if kind in _PAIRS:
            return self._pairs(node, [node.this, node.expression], _PAIRS[kind], where)
        if isinstance(node, (exp.Sum, exp.Avg)):
            return self._sum(node, where)
        if isinstance(node, (exp.Min, exp.Max)):
            return self._ranked(node, node.this, "min" if isinstance(node, exp.Min) else "max", (), where)
        if isinstance(node, exp.Median):
            return self._ranked(node, node.this, "quantile_cont", (0.5,), where)
        if order is not None:
            return self._quantile(node, order, node.this, where)
        return self._quantile(node, node.this, node.expression, where)

    # --- counts, sums, moments -----------------------------------------------------------------------------------

    def _count(self, node: exp.Count, where: str) -> Aggregate:
        if isinstance(node.this, exp.Star):
            return Aggregate("count", "BIGINT", self.core.support(f"count(*){_filter(where)}"))
        if isinstance(node.this, exp.Distinct):
            return self._distinct(node, node.this.expressions[0], where)
        self._note_condition(node.this)
        return Aggregate("count", "BIGINT", self._present(node.this, self._sql(node.this), where))

    def _sum(self, node: exp.Expr, where: str) -> Aggregate:
        type_ = self._number(node.this, node)
        value = self._value(node.this)
        count = self._present(node.this, value, where)
        support = self._support(node.this, value, where, count)
        place = self.core.add(self.core.sums, self._summed(node.this, value, where, support))
        # The count is kept for the mean even where the support is narrower.
        if isinstance(node, exp.Avg):
            return Aggregate("avg", "DOUBLE", support, (place,), (count,))
        return Aggregate("sum", "HUGEINT" if type_ in _WHOLE else "DOUBLE", support, (place,), (count,))

    def _summed(self, argument: exp.Expr, value: str, where: str, support: int) -> SumState:
        return SumState(self.core.measure(f"sum({value}){_filter(where)}"), support, value, where, self._bounds(argument))

    def _bounds(self, argument: exp.Expr) -> tuple[float, float] | None:
        """What a column, or a truth value, lies between."""
        tree = _bare(argument)
        if not isinstance(tree, exp.Column):
            return (0.0, 1.0) if _is_small(tree) else None
        terms = self.scope.field(tree).terms
        if terms is None or terms.type not in ("integer", "number") or terms.lower is None or terms.upper is None:
            return None
        return terms.lower, terms.upper

    def _moment(self, node: exp.Expr, kind: str, where: str) -> Aggregate:
        self._number(node.this, node)
        value = self._value(node.this)
        count = self._present(node.this, value, where)
        support = self._support(node.this, value, where, count)
        state = self._summed(node.this, value, where, support)
        total, sum_ = state.measure, self.core.add(self.core.sums, state)
        centred = self.core.measure(f"var_pop({value}){_filter(where)}")
        product = self.core.add(self.core.products, ProductState(total, total, centred, count))
        return Aggregate(kind, "DOUBLE", support, (sum_, product), (count,))

    def _pairs(self, node: exp.Expr, columns: Sequence[exp.Expr], kind: str, where: str) -> Aggregate:
        """Moments over the rows where none of the columns is null; the states are all sums, then all products."""
        values = []
        for column in columns:
            self._number(column, node)
            values.append(self._value(column))
            self._note_condition(column)
        complete = [f"{value} IS NOT NULL" for column, value in zip(columns, values, strict=True)
                    if not self._promised(column, value, where)]
        present = _filter(" AND ".join([*([where] if where else []), *complete]))
        support = self.core.support(f"count(*){present}")
        totals = [self.core.measure(f"sum({value}){present}") for value in values]
        together = " AND ".join([*([where] if where else []), *(f"isfinite(CAST({value} AS DOUBLE))" for value in values)])
        sums = [self.core.add(self.core.sums, SumState(total, support, value, together, self._bounds(column)))
                for total, value, column in zip(totals, values, columns, strict=True)]
        products = []
        for i, j in combinations_with_replacement(range(len(values)), 2):
            centred = f"var_pop({values[i]})" if i == j else f"covar_pop({values[i]}, {values[j]})"
            products.append(self.core.add(self.core.products, ProductState(
                totals[i], totals[j], self.core.measure(f"{centred}{present}"), support)))
        type_ = "DOUBLE" if kind in ("covar_pop", "covar_samp", "corr") else "DOUBLE[][]"
        return Aggregate(kind, type_, support, (*sums, *products), (len(values),))

    def _named(self, node: exp.Anonymous, where: str) -> Aggregate:
        name, arguments = node.name.lower(), node.expressions
        if name == "histogram":
            return self._histogram(node, arguments, where)
        if name == "chi_square":
            return self._chi_square(node, arguments, where)
        if not 2 <= len(arguments) <= MAX_MATRIX:
            raise refuse(self.source, node, errors.ARGUMENT, reason=f"2 … {MAX_MATRIX}")
        return self._pairs(node, arguments, name, where)

    # --- bins ----------------------------------------------------------------------------------------------------

    def _histogram(self, node: exp.Expr, arguments: Sequence[exp.Expr], where: str) -> Aggregate:
        numbers = [_constant(argument) for argument in arguments[1:]]
        if len(arguments) != 4 or any(number is None for number in numbers):
            raise refuse(self.source, node, errors.ARGUMENT, reason="histogram(x, lower, upper, bins)")
        lower, upper, bins = (float(number or 0) for number in numbers)
        if not lower < upper or bins != int(bins) or not 1 <= bins <= MAX_BINS:
            raise refuse(self.source, node, errors.ARGUMENT, reason=f"lower < upper, 1 ≤ bins ≤ {MAX_BINS}")
        self._number(arguments[0], node)
        count, value = int(bins), f"CAST({self._sql(arguments[0])} AS DOUBLE)"
        self._note_condition(arguments[0])
        edges = [*(lower + (upper - lower) / count * place for place in range(count)), upper]
        listed = "[" + ", ".join(double_sql(edge) for edge in edges) + "]"
        # A value belongs to the bin whose published edges hold it, whatever a division rounds to.
        first = (f"least(greatest(CAST(floor(({value} - {double_sql(lower)}) / ({double_sql(upper)} - {double_sql(lower)}) "
                 f"* {count}) AS INTEGER), 0), {count - 1})")
        bin_ = (f"CASE WHEN {value} BETWEEN {double_sql(lower)} AND {double_sql(upper)} THEN {first} "
                f"- CAST({value} < {listed}[{first} + 1] AS INTEGER) "
                f"+ CAST({first} < {count - 1} AND {value} >= {listed}[{first} + 2] AS INTEGER) END")
        return self._binned("histogram", "BIGINT[]", bin_, count, where, (tuple(edges),))

    def _distinct(self, node: exp.Expr, argument: exp.Expr, where: str) -> Aggregate:
        found = self.domains.of(argument, self.scope)
        if found is None:
            grid = self._grid(argument)
            if grid is None or grid.count > MAX_DISTINCT:
                raise refuse(self.source, node, errors.DISTINCT)
        else:
            grid = Grid(len(found.values), "", values=found.values)
        if grid.count > MAX_DISTINCT:
            raise refuse(self.source, node, errors.DISTINCT)
        self._note_condition(argument)
        return self._binned("distinct", "BIGINT", grid.index_sql(self._sql(argument)), max(grid.count, 1), where, (),
                            presence=True)

    def _chi_square(self, node: exp.Expr, arguments: Sequence[exp.Expr], where: str) -> Aggregate:
        if len(arguments) != 2:
            raise refuse(self.source, node, errors.ARGUMENT, reason="chi_square(a, b)")
        grids = []
        for argument in arguments:
            found = self.domains.of(argument, self.scope)
            if found is None:
                raise refuse(self.source, argument, errors.NO_DOMAIN)
            grids.append(Grid(len(found.values), "", values=found.values))
            self._note_condition(argument)
        rows, columns = grids[0].count, grids[1].count
        bin_ = (f"({grids[0].index_sql(self._sql(arguments[0]))}) * {columns} "
                f"+ {grids[1].index_sql(self._sql(arguments[1]))}")
        return self._binned("chi_square", "STRUCT(statistic DOUBLE, dof BIGINT, p DOUBLE, cramers_v DOUBLE)", bin_,
                            max(rows * columns, 1), where, (rows, columns))

    def _binned(self, kind: str, type_: str, bin_: str, width: int, where: str, options: tuple[object, ...], *,
                presence: bool = False) -> Aggregate:
        if where:
            bin_ = f"CASE WHEN {where} THEN {bin_} END"
        support = self.core.support(f"count({bin_})")
        place = self.core.add(self.core.bins, BinState(bin_, width, support, presence))
        return Aggregate(kind, type_, support, (place,), options)

    # --- order statistics ----------------------------------------------------------------------------------------

    def _quantile(self, node: exp.Expr, value: exp.Expr, at: exp.Expr, where: str) -> Aggregate:
        listed = at.expressions if isinstance(at, exp.Array) else [at]
        numbers = [_constant(one) for one in listed]
        if not numbers or len(numbers) > 32 or any(number is None or not 0 <= number <= 1 for number in numbers):
            raise refuse(self.source, node, errors.ARGUMENT, reason="0 ≤ q ≤ 1")
        kind = "quantile_cont" if isinstance(node, exp.PercentileCont) else "quantile_disc"
        return self._ranked(node, value, kind, tuple(float(number or 0) for number in numbers), where,
                            many=isinstance(at, exp.Array))

    def _ranked(self, node: exp.Expr, argument: exp.Expr, kind: str, at: tuple[float, ...], where: str, *,
                many: bool = False) -> Aggregate:
        grid = self._grid(argument)
        if grid is None:
            found = self.domains.of(argument, self.scope)
            if found is None or not found.values:
                raise refuse(self.source, node, errors.NO_BOUNDS)
            grid = Grid(len(found.values), "", values=found.values)
        type_ = self.types(argument)
        if kind == "quantile_cont":
            if not _is_number(type_) or type_ == "BOOLEAN":
                raise refuse(self.source, argument, errors.TYPES, reason=type_)
            type_ = "DOUBLE"
        self._note_condition(argument)
        value = self._sql(argument)
        index = grid.index_sql(value)
        index = f"CASE WHEN {where} THEN {index} END" if where else index
        support = self._present(argument, value, where)
        ranks = 1 if kind in ("min", "max") else len(at) * (2 if kind == "quantile_cont" else 1)
        self.core.ranks.append(RankState(index, grid, support, ranks, self._free(argument)))
        place = len(self.core.ranks) - 1
        return Aggregate(kind, f"{type_}[]" if many else type_, support, (place,), (at, many))

    def _free(self, argument: exp.Expr) -> bool:
        tree = _bare(argument)
        terms = self.scope.field(tree).terms if isinstance(tree, exp.Column) else None
        return terms is not None and terms.free

    def _grid(self, argument: exp.Expr) -> Grid | None:
        argument = _bare(argument)
        if not isinstance(argument, exp.Column):
            return None
        field = self.scope.field(argument)
        return Grid.of_column(field.terms) if field.terms is not None else None

    # --- common --------------------------------------------------------------------------------------------------

    def _present(self, argument: exp.Expr, value: str, where: str) -> int:
        """The count of the rows with a value: of all rows where they are declared to have one."""
        counted = "count(*)" if self._promised(argument, value, where) else f"count({value})"
        return self.core.support(f"{counted}{_filter(where)}")

    def _promised(self, argument: exp.Expr, value: str, where: str) -> bool:
        """Whether an argument is a column that has a value in every row by declaration; each department then looks that it has."""
        tree, relation = _bare(argument), self.core.relation
        if not isinstance(tree, exp.Column) or relation.args.get("joins") or not isinstance(relation.args["from_"].this, exp.Table):
            return False
        terms = self.scope.field(tree).terms
        if terms is None or not terms.required:
            return False
        found = Promise(self.core.measure(f"count({value}){_filter(where)}"), self.core.measure(f"count(*){_filter(where)}"))
        self.core.add(self.core.promises, found)
        return True

    def _support(self, argument: exp.Expr, value: str, where: str, count: int) -> int:
        """What a sum rests on: where its argument has a condition, the rows it gives something other than nought for."""
        if not any(isinstance(node, _CONDITIONS) for node in argument.walk()):
            return count
        self._condition(argument, f"({value}) <> 0")
        inner = f"{where} AND " if where else ""
        return self.core.support(f"count(*) FILTER (WHERE {inner}({value}) <> 0)")

    def _note_condition(self, argument: exp.Expr) -> None:
        tree = _bare(argument)
        if not (isinstance(tree, exp.Column) and self.scope.field(tree).resource):
            self._condition(argument, f"({self._sql(argument)}) IS NOT NULL")

    def _condition(self, tree: exp.Expr, sql: str) -> None:
        """Remember a condition inside an aggregate, and those it is made of: the rows each picks are told apart."""
        for one in dict.fromkeys([sql, *(self._sql(part) for part in _comparisons(tree))]):
            if one not in self.core.conditional:
                self.core.conditional.append(one)
        self.core.told_apart |= {found for column in tree.find_all(exp.Column) for found in behind(column, self.scope)}

    def _number(self, argument: exp.Expr, node: exp.Expr) -> str:
        type_ = self.types(argument)
        if not _is_number(type_):
            raise refuse(self.source, node, errors.TYPES, reason=type_)
        return type_

    def _type(self, argument: exp.Expr, allowed: Sequence[str], node: exp.Expr) -> None:
        type_ = self.types(argument)
        if type_ not in allowed:
            raise refuse(self.source, node, errors.TYPES, reason=type_)

    def _value(self, argument: exp.Expr) -> str:
        """A number to sum. One that is worked out must not be able to make a sum overflow: that would be told."""
        sql, tree = self._sql(argument), _bare(argument)
        granted = isinstance(tree, exp.Column) and bool(self.scope.field(tree).resource)
        if granted or self.types(argument) == "BOOLEAN" or _is_small(tree):
            return sql
        return f"CASE WHEN abs({sql}) <= 1e15 THEN {sql} END"

    def _sql(self, tree: exp.Expr) -> str:
        return to_sql(guarded(tree))


def _bare(tree: exp.Expr) -> exp.Expr:
    while isinstance(tree, exp.Paren):
        tree = tree.this
    return tree


def _comparisons(tree: exp.Expr) -> Iterator[exp.Expr]:
    """The conditions an expression looks at: comparisons, and what ``CASE x WHEN y`` compares."""
    if isinstance(tree, grammar.COMPARISONS):
        yield tree
        return
    if isinstance(tree, exp.Case) and tree.this is not None:
        for branch in tree.args["ifs"]:
            yield exp.EQ(this=tree.this.copy(), expression=branch.this.copy())
    for child in tree.iter_expressions():
        yield from _comparisons(child)


def _is_small(tree: exp.Expr) -> bool:
    """A truth value as a number."""
    return isinstance(tree, exp.Cast) and isinstance(_bare(tree.this), (*grammar.COMPARISONS, *grammar.LOGIC))


def _filter(condition: str) -> str:
    return f" FILTER (WHERE {condition})" if condition else ""


def _constant(tree: exp.Expr) -> float | None:
    sign = 1.0
    while isinstance(tree, (exp.Paren, exp.Neg)):
        sign = -sign if isinstance(tree, exp.Neg) else sign
        tree = tree.this
    try:
        return sign * float(tree.this) if isinstance(tree, exp.Literal) and not tree.is_string else None
    except ValueError:
        return None

