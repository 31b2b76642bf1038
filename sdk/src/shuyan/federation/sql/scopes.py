"""Names: each identifier of a query is traced to the column of a granted resource, and written out in full.

The query is brought into one form first: WITH is written into the places that use it, so what is left are SELECTs inside
FROM and JOIN; ordinals, aliases and GROUP BY ALL are written out as what they stand for. Identifiers compare as DuckDB
compares them, without regard to case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from shuyan.federation.sql import errors, grammar
from shuyan.federation.sql.errors import refuse
from shuyan.federation.sql.gate import parse
from shuyan.federation.sql.terms import ColumnTerms

PER_DEPARTMENT = "per_department"
"""Mark on a subquery that came from WITH … AS MATERIALIZED: it is worked out within each department."""


def inline(source: str, tree: exp.Select) -> exp.Select:
    """The query without WITH.

    Raises:
        ProblemError: ``sql_too_complex``.
    """
    return _Inliner(source).select(tree, {})


def tables_of(sql: str) -> list[str]:
    """The resources a query names, as it spells them, without resolving anything else.

    Raises:
        ProblemError: as :func:`~shuyan.federation.sql.gate.parse`.
    """
    tree = inline(sql, parse(sql))
    return list(dict.fromkeys(table.name for table in tree.find_all(exp.Table)))


class _Inliner:
    def __init__(self, source: str) -> None:
        self._source = source
        self._nodes = 0

    def select(self, tree: exp.Select, known: Mapping[str, tuple[exp.Select, bool]]) -> exp.Select:
        tree = tree.copy()
        known = dict(known)
        with_ = tree.args.get("with_")
        if with_ is not None:
            tree.set("with_", None)
            for cte in with_.expressions:
                if cte.args["alias"].args.get("columns"):
                    raise refuse(self._source, cte, errors.CLAUSE)
                known[cte.alias.lower()] = (self.select(cte.this, known), bool(cte.args.get("materialized")))
        for place in [tree.args["from_"], *(tree.args.get("joins") or [])]:
            place.set("this", self._relation(place.this, known))
        return tree

    def _relation(self, node: exp.Expr, known: Mapping[str, tuple[exp.Select, bool]]) -> exp.Expr:
        if isinstance(node, exp.Subquery):
            return exp.Subquery(this=self.select(node.this, known), alias=node.args.get("alias"))
        found = known.get(node.name.lower())
        if found is None:
            return node.copy()
        body = found[0].copy()
        self._nodes += sum(1 for _ in body.walk())
        if self._nodes > grammar.MAX_NODES:
            raise refuse(self._source, node, errors.TOO_COMPLEX)
        made = exp.Subquery(this=body, alias=node.args.get("alias") or exp.TableAlias(this=node.this.copy()))
        if found[1]:
            made.meta[PER_DEPARTMENT] = True
        return made


@dataclass(frozen=True)
class Field:
    """A column of a relation.

    Attributes:
        resource, column: the granted column it is, unchanged, if it is one.
        terms: that column's.
        expression, scope: how else it comes about, over the relations below.
    """

    name: str
    resource: str = ""
    column: str = ""
    terms: ColumnTerms | None = None
    expression: exp.Expr | None = None
    scope: Scope | None = None


@dataclass
class Scope:
    """What names mean inside one SELECT: by relation (its alias, lower case), then by column (lower case)."""

    source: str
    relations: dict[str, dict[str, Field]] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)

    def add(self, node: exp.Expr, fields: Mapping[str, Field]) -> None:
        alias = node.alias_or_name.lower()
        if alias in self.relations:
            raise refuse(self.source, node, errors.AMBIGUOUS, name=node.alias_or_name)
        self.relations[alias] = dict(fields)

    def field(self, column: exp.Column) -> Field:
        """What a resolved column is."""
        return self.relations[column.table.lower()][column.name.lower()]

    def find(self, column: exp.Column) -> exp.Column | None:
        """The column in full, or None if there is none of that name.

        Raises:
            ProblemError: ``sql_ambiguous_column``, ``sql_unknown_relation``.
        """
        name = column.name.lower()
        if column.table:
            fields = self.relations.get(column.table.lower())
            if fields is None:
                raise refuse(self.source, column, errors.UNKNOWN_RELATION, name=column.table)
            homes = [column.table.lower()] if name in fields else []
        else:
            homes = [alias for alias, fields in self.relations.items() if name in fields]
        if not homes:
            return None
        if len(homes) > 1 and name not in self.merged:
            raise refuse(self.source, column, errors.AMBIGUOUS, name=column.name)
        found = self.relations[homes[0]][name]
        identifier = exp.to_identifier(found.name, quoted=True)
        identifier.meta.update(column.this.meta)
        return exp.column(identifier, table=exp.to_identifier(homes[0], quoted=True))

    def resolve(self, tree: exp.Expr, aliases: Mapping[str, exp.Expr], *, aliases_first: bool = False) -> exp.Expr:
        """``tree`` with every column in full; names that are no column may be aliases of the select list.

        Raises:
            ProblemError: ``sql_unknown_column`` and the like.
        """
        def replace(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Column):
                return node
            alias = aliases.get(node.name.lower()) if not node.table else None
            if alias is not None and aliases_first and not inside_aggregate(node):
                return parenthesised(alias)
            found = self.find(node)
            if found is not None:
                return found
            if alias is not None:
                return parenthesised(alias)
            raise refuse(self.source, node, errors.UNKNOWN_COLUMN, name=node.name)

        holder = exp.Paren(this=tree.copy())
        for column in list(holder.find_all(exp.Column)):
            column.replace(replace(column))
        result: exp.Expr = holder.this
        result.pop()
        return result


def behind(column: exp.Column, scope: Scope) -> set[tuple[str, str]]:
    """The granted columns that a column comes from, as (resource, column)."""
    found = scope.field(column)
    if found.resource:
        return {(found.resource, found.column)}
    if found.expression is None or found.scope is None:
        return set()
    return {one for inner in found.expression.find_all(exp.Column) for one in behind(inner, found.scope)}


def parenthesised(tree: exp.Expr) -> exp.Expr:
    """A copy that may stand anywhere in an expression."""
    copied = tree.copy()
    return copied if isinstance(copied, (exp.Column, exp.Literal, exp.Func, exp.Paren)) else exp.Paren(this=copied)


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a node is an aggregate function, not what is around it."""
    return type(node) in grammar.AGGREGATES or (
        isinstance(node, exp.Anonymous) and node.name.lower() in grammar.NAMED_AGGREGATES)


def inside_aggregate(node: exp.Expr) -> bool:
    """Whether a node stands in an aggregate's arguments or FILTER."""
    while node.parent is not None:
        if is_aggregate(node.parent) or isinstance(node.parent, (exp.Filter, exp.WithinGroup)):
            return True
        node = node.parent
    return False


def aggregates(tree: exp.Expr | None) -> Iterator[exp.Expr]:
    """The outermost aggregates of an expression, with FILTER and WITHIN GROUP where they have them."""
    if tree is None:
        return
    if is_aggregate(tree) or isinstance(tree, (exp.Filter, exp.WithinGroup)):
        yield tree
        return
    for child in tree.iter_expressions():
        if not isinstance(child, exp.Select):
            yield from aggregates(child)


def output_name(item: exp.Expr) -> str:
    """What a select item without alias is called."""
    if isinstance(item, exp.Column):
        return item.name
    if isinstance(item, exp.Count) and isinstance(item.this, exp.Star):
        return "count_star()"
    return item.sql(dialect="duckdb").lower()
