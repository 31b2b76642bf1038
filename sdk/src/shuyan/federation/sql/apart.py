"""Which rows a summed expression tells apart from others: what the differencing guard and suppression have to know of it.

A sum of a function of a row is as good as a filter if the function can be made to differ at one person's values only:
``sum(cost * (abs(age - 36) + abs(age - 38) - 2 * abs(age - 37)))`` adds up the costs of those who are 37. So a summed
expression is a polynomial of degree two at most (which says no more than means and covariances do), of

* granted columns, and functions of one column as it is (``sqrt(x)``, ``round(x, 1)``), which no constant can be tuned in;
* parts that treat some rows otherwise than others (``CASE``, ``abs``, ``least`` and the like). The rows each of them picks
  are told, and so are those of an expression with few values, whatever it is made of.

Anything else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from shuyan.federation.sql import grammar
from shuyan.federation.sql.compile import guarded
from shuyan.federation.sql.cores import literal
from shuyan.federation.sql.domains import Domain, Domains
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.scopes import Scope

MAX_LEVELS: Final = 32
"""Values of an expression that are told one by one."""

_TRUTH: Final = (*grammar.COMPARISONS, *grammar.LOGIC, exp.IsNan, exp.IsInf)
_PLAIN: Final = (exp.Sqrt, exp.Ln, exp.Log, exp.Exp, exp.Pow, exp.Round, exp.Floor, exp.Ceil, exp.Length, exp.Extract, exp.Year,
                 exp.Quarter, exp.Month, exp.Week, exp.WeekOfYear, exp.Day, exp.DayOfMonth, exp.DayOfWeek, exp.DayOfWeekIso,
                 exp.DayOfYear, exp.Hour, exp.Minute, exp.Second, exp.Cast, exp.TryCast)


CHOOSING: Final = (*_TRUTH, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Least, exp.Greatest, exp.Abs, exp.Sign)
TUNABLE: Final = (exp.Sqrt, exp.Ln, exp.Log, exp.Exp, exp.Pow, exp.Floor, exp.Ceil, exp.Round, exp.IntDiv, exp.Mod)


class NotToldError(Exception):
    """A part of an expression whose rows cannot be told.

    Attributes:
        node: that part.
    """

    def __init__(self, node: exp.Expr) -> None:
        super().__init__(type(node).__name__)
        self.node = node


def left_out(tree: exp.Expr, scope: Scope) -> str:
    """The condition, as SQL, that a sum takes no notice of a row although the columns have values; empty for a column.

    A root of less than nought is null, and so is what grows too large for a sum: either could be made to leave rows out.
    """
    bare = _bare(tree)
    if isinstance(bare, exp.Column) and scope.field(bare).resource:
        return ""
    columns = dict.fromkeys(to_sql(column) for column in tree.find_all(exp.Column))
    kept = f"coalesce(abs(TRY_CAST({_sql(tree)} AS DOUBLE)) <= 1e15, false)"
    return " AND ".join([f"NOT {kept}", *(f"{name} IS NOT NULL" for name in columns)]) if columns else ""


def rows_apart(tree: exp.Expr, scope: Scope, domains: Domains) -> list[str]:
    """Conditions, as SQL over the relation, on which a summed expression depends; none for a plain polynomial.

    Raises:
        NotToldError: they cannot be told.
    """
    found = _Walk(scope, domains)
    if found.degree(tree, []) > 2:
        raise NotToldError(tree)
    return list(dict.fromkeys(found.conditions))


def levels(tree: exp.Expr, scope: Scope, domains: Domains) -> list[str]:
    """The conditions that an expression has each of its values, if those are known and few."""
    known = domains.of(tree, scope)
    if known is None or len(known.values) > MAX_LEVELS:
        return []
    return [f"({to_sql(guarded(tree))}) = {literal(value)}" for value in known.values]


def conditions_within(tree: exp.Expr, scope: Scope, domains: Domains) -> list[str]:
    """The conditions inside a key that has too many values to tell one by one.

    Raises:
        NotToldError: they cannot be told.
    """
    return rows_apart(tree, scope, domains) if _has_conditions(tree, scope) else []


def _has_conditions(tree: exp.Expr, scope: Scope) -> bool:
    for node in tree.walk():
        if isinstance(node, CHOOSING):
            return True
        if isinstance(node, exp.Column):
            field = scope.field(node)
            if not field.resource and field.expression is not None and field.scope is not None and _has_conditions(
                    field.expression, field.scope):
                return True
    return False


def one_to_one(domain: Domain) -> bool:
    """Whether values only stand for those of one column: grouping by them is grouping by it."""
    return bool(domain.values) and all(
        [len(values) for values in domain.origins.get(value, {}).values()] == [1] for value in domain.values)


class _Walk:
    def __init__(self, scope: Scope, domains: Domains) -> None:
        self._scope, self._domains = scope, domains
        self.conditions: list[str] = []

    def degree(self, tree: exp.Expr, path: list[str]) -> int:
        """The degree of an expression as a polynomial; notes its conditions, under those of ``path``."""
        tree = _bare(tree)
        before = len(self.conditions)
        try:
            return self._degree(tree, path)
        except NotToldError:
            del self.conditions[before:]
            few = levels(tree, self._scope, self._domains)
            if not few:
                raise
            self._tell(few, path)
            return 1

    def _degree(self, tree: exp.Expr, path: list[str]) -> int:
        if isinstance(tree, exp.Column):
            return self._column(tree)
        if isinstance(tree, (exp.Literal, exp.Null, exp.Boolean, exp.Interval)):
            return 0
        if isinstance(tree, exp.Neg):
            return self.degree(tree.this, path)
        if isinstance(tree, (exp.Add, exp.Sub)):
            return max(self.degree(tree.this, path), self.degree(tree.expression, path))
        if isinstance(tree, exp.Mul):
            return self._product(tree, path)
        if isinstance(tree, exp.Div) and (_number(tree.expression) or self._granted(tree.expression)):
            return self.degree(tree.this, path) + (0 if _number(tree.expression) else 1)
        if isinstance(tree, exp.Pow) and _number(tree.expression) and _bare(tree.expression).name in ("1", "2"):
            return self.degree(tree.this, path) * int(_bare(tree.expression).name)
        if isinstance(tree, (exp.Cast, exp.TryCast)) and tree.to.this in (exp.DType.DOUBLE, exp.DType.FLOAT):
            inner = _bare(tree.this)
            return self.degree(inner, path)
        if isinstance(tree, (exp.Cast, exp.TryCast)) and isinstance(_bare(tree.this), _TRUTH):
            return self.degree(tree.this, path)
        if isinstance(tree, exp.DateDiff) and all(
                self._granted(side) or _constant(side) for side in (tree.this, tree.expression)):
            return 1
        if isinstance(tree, _PLAIN) and self._of_one_column(tree):
            return 1
        return self._piecewise(tree, path)

    def _column(self, tree: exp.Column) -> int:
        field = self._scope.field(tree)
        if field.resource or field.expression is None or field.scope is None:
            return 1
        inner = _Walk(field.scope, self._domains)
        degree = inner.degree(field.expression, [])
        if inner.conditions:  # told over the relation below; here only by its values
            raise NotToldError(tree)
        return degree

    def _product(self, tree: exp.Mul, path: list[str]) -> int:
        before = len(self.conditions)
        left = self.degree(tree.this, path)
        between = len(self.conditions)
        right = self.degree(tree.expression, path)
        if before < between < len(self.conditions) or left + right > 2:
            raise NotToldError(tree)
        return left + right

    def _piecewise(self, tree: exp.Expr, path: list[str]) -> int:
        if isinstance(tree, _TRUTH):
            self._tell([_sql(tree), *(_sql(one) for one in _comparisons(tree))], path)
            return 1
        if isinstance(tree, (exp.Case, exp.If)):
            return self._branches(tree, path)
        if isinstance(tree, exp.Abs):
            self._tell([_sql(exp.LT(this=exp.Paren(this=tree.this.copy()), expression=exp.Literal.number(0)))], path)
            return self.degree(tree.this, path)
        if isinstance(tree, exp.Sign):
            for kind in (exp.LT, exp.GT):
                self._tell([_sql(kind(this=exp.Paren(this=tree.this.copy()), expression=exp.Literal.number(0)))], path)
            return min(self.degree(tree.this, path), 1)
        if isinstance(tree, (exp.Least, exp.Greatest)):
            parts = [tree.this, *tree.expressions]
            for place, one in enumerate(parts):
                for other in parts[place + 1:]:
                    self._tell([_sql(exp.LT(this=exp.Paren(this=one.copy()), expression=exp.Paren(this=other.copy())))], path)
                self._tell([f"({_sql(one)}) IS NULL"] if not _number(one) else [], path)
            return max(self.degree(one, path) for one in parts)
        if isinstance(tree, exp.Coalesce):
            parts = [tree.this, *tree.expressions]
            self._tell([f"({_sql(one)}) IS NULL" for one in parts[:-1]], path)
            return max(self.degree(one, path) for one in parts)
        if isinstance(tree, exp.Nullif):
            self._tell([_sql(exp.EQ(this=exp.Paren(this=tree.this.copy()), expression=exp.Paren(this=tree.expression.copy())))], path)
            return self.degree(tree.this, path)
        raise NotToldError(tree)

    def _branches(self, tree: exp.Expr, path: list[str]) -> int:
        cases = tree.args["ifs"] if isinstance(tree, exp.Case) else [tree]
        subject = tree.this if isinstance(tree, exp.Case) else None
        otherwise = tree.args.get("default") if isinstance(tree, exp.Case) else tree.args.get("false")
        passed: list[str] = []
        degrees = [0]
        for case in cases:
            condition = case.this if subject is None else exp.EQ(
                this=exp.Paren(this=subject.copy()), expression=exp.Paren(this=case.this.copy()))
            sql = _sql(condition)
            self._tell([sql, *(_sql(one) for one in _comparisons(condition) if one is not condition)], [*path, *passed])
            degrees.append(self.degree(case.args["true"], [*path, *passed, sql]))
            passed.append(f"coalesce(NOT ({sql}), true)")
        if otherwise is not None:
            degrees.append(self.degree(otherwise, [*path, *passed]))
        return max(max(degrees), 1)

    def _tell(self, conditions: list[str], path: list[str]) -> None:
        self.conditions += [" AND ".join(f"({one})" for one in (*path, condition)) for condition in conditions]

    def _of_one_column(self, tree: exp.Expr) -> bool:
        """Whether it is a function of a granted column as it is."""
        parts = [part for part in tree.iter_expressions() if not isinstance(part, (exp.DataType, exp.Var, exp.Literal))]
        return len(parts) == 1 and self._granted(parts[0])

    def _granted(self, tree: exp.Expr) -> bool:
        tree = _bare(tree)
        return isinstance(tree, exp.Column) and bool(self._scope.field(tree).resource)


def _bare(tree: exp.Expr) -> exp.Expr:
    while isinstance(tree, exp.Paren):
        tree = tree.this
    return tree


def _sql(tree: exp.Expr) -> str:
    return to_sql(guarded(tree))


def _number(tree: exp.Expr) -> bool:
    tree = _bare(tree)
    return isinstance(tree, exp.Literal) or (isinstance(tree, exp.Neg) and _number(tree.this))


def _constant(tree: exp.Expr) -> bool:
    return tree.find(exp.Column) is None


def _comparisons(tree: exp.Expr) -> Iterator[exp.Expr]:
    for node in tree.walk():
        if isinstance(node, grammar.COMPARISONS):
            yield node


