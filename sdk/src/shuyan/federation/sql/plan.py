"""What a query becomes: cores that departments answer together, and SQL that runs on their released results."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import duckdb
from sqlglot import exp

from shuyan.federation.schema import SQL_TYPES, quote
from shuyan.federation.sql import errors, grammar
from shuyan.federation.sql.aggregates import Splitter
from shuyan.federation.sql.apart import (
    CHOOSING,
    TUNABLE,
    NotToldError,
    conditions_within,
    levels,
    one_to_one,
    rows_apart,
)
from shuyan.federation.sql.cores import Core, Key
from shuyan.federation.sql.domains import Domain, Domains
from shuyan.federation.sql.errors import refuse
from shuyan.federation.sql.gate import parse, to_sql
from shuyan.federation.sql.planned import Plan
from shuyan.federation.sql.scopes import (
    PER_DEPARTMENT,
    Field,
    Scope,
    aggregates,
    behind,
    inline,
    is_aggregate,
    output_name,
)
from shuyan.federation.sql.terms import Catalogue, ColumnTerms
from shuyan.federation.sql.typed import Types, refuse_silent_casts
from shuyan.problems import ProblemError


@dataclass
class _Level:
    """One SELECT once it is understood.

    Attributes:
        rows: its rows are inside the departments; otherwise they are released.
    """

    select: exp.Select
    fields: dict[str, Field]
    rows: bool


def make_plan(sql: str, catalogue: Catalogue, *, own_figures: bool = True) -> Plan:
    """Understand a query.

    Args:
        catalogue: what the granted resources are declared to be.
        own_figures: whether a single department's own figures may show; only decides which of two readings of a query
            over local groups is taken.

    Raises:
        ProblemError: one of the codes of :mod:`shuyan.federation.sql.errors`.
    """
    try:
        return _Planner(sql, catalogue).plan()
    except RecursionError:
        raise errors.at(sql, 0, sql, errors.TOO_COMPLEX) from None


@lru_cache(maxsize=64)
def cached_plan(sql: str, frozen: str) -> Plan:
    """:func:`make_plan` for parameters as they crossed the link; ``frozen``: the catalogue as JSON."""
    import json

    raw = json.loads(frozen)
    return make_plan(sql, {resource: {name: ColumnTerms.model_validate(terms) for name, terms in columns.items()}
                           for resource, columns in raw.items()})


_held = threading.local()


def _empty_database() -> duckdb.DuckDBPyConnection:
    """This thread's database for planning, locked down; it never holds a row, and tables only while a query is planned."""
    connection: duckdb.DuckDBPyConnection | None = getattr(_held, "connection", None)
    if connection is None:
        connection = _held.connection = duckdb.connect(":memory:", config={
            "threads": 1, "memory_limit": "256MB", "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false", "allow_community_extensions": "false"})
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    return connection


class _Planner:
    def __init__(self, source: str, catalogue: Catalogue) -> None:
        self._source = source
        self._catalogue = {name.lower(): (name, terms) for name, terms in catalogue.items()}
        self._cores: list[Core] = []
        self._columns: dict[str, dict[str, None]] = {}
        self._aliases = 0
        self._inexact: ProblemError | None = None
        self._connection = _empty_database()
        for name, terms in catalogue.items():
            columns = ", ".join(f"{quote(column)} {SQL_TYPES[one.type]}" for column, one in terms.items())
            self._connection.execute(f"CREATE OR REPLACE TABLE {quote(name)} ({columns or 'one INTEGER'})")
        self._domains = Domains(self._connection)

    def plan(self) -> Plan:
        try:
            tree = parse(self._source)
            normal = to_sql(tree)
            level = self._level(inline(self._source, tree), within=False, stated=False)
            if level.rows:
                raise refuse(self._source, tree, errors.BARE_ROWS)
            if sum(core.cells for core in self._cores) > grammar.MAX_CELLS:
                raise refuse(self._source, tree, errors.TOO_MANY_CELLS, cells=sum(core.cells for core in self._cores),
                             maximum=grammar.MAX_CELLS)
            columns = {resource: sorted(names) for resource, names in self._columns.items()}
            return Plan(normal, self._cores, to_sql(level.select), level.select, columns,
                        [item.alias for item in level.select.expressions], self._inexact)
        finally:
            for name, _ in self._catalogue.values():
                self._connection.execute(f"DROP TABLE IF EXISTS {quote(name)}")

    # --- one SELECT ----------------------------------------------------------------------------------------------

    def _level(self, select: exp.Select, *, within: bool, stated: bool) -> _Level:
        """Understand a SELECT, those inside it first.

        Args:
            within: an aggregate above takes up its rows.
            stated: the developer says that it is worked out within each department.
        """
        outputs = [*select.expressions, *(select.args.get(name) for name in ("having", "order"))]
        grouped = select.args.get("group") is not None or any(
            True for item in outputs for _ in aggregates(item))
        scope, rows, tables = self._sources(select, within=within or grouped)
        self._resolve(select, scope)
        if rows:
            refuse_silent_casts(self._source, self._connection, select)
        if not grouped:
            if rows:
                self._refuse_clauses(select, ("having", "order", "limit", "offset"))
            return _Level(select, self._fields(select, scope), rows)
        if not rows:
            for node in select.find_all(exp.Anonymous):
                if node.name.lower() in grammar.NAMED_AGGREGATES:
                    raise refuse(self._source, node, errors.UNKNOWN_FUNCTION, name=node.name)
            return _Level(select, self._fields(select, scope), False)
        if within and (stated or self._sole(select, scope)):
            self._refuse_clauses(select, ("order", "limit", "offset"))
            for node in select.find_all(exp.Anonymous):
                if node.name.lower() in grammar.NAMED_AGGREGATES:
                    raise refuse(self._source, node, errors.UNKNOWN_FUNCTION, name=node.name)
            self._check_grouped(select)
            self._check_local(select, scope)
            return _Level(select, self._fields(select, scope), True)
        return self._core(select, scope, tables)

    def _sources(self, select: exp.Select, *, within: bool) -> tuple[Scope, bool, dict[str, list[tuple[str, str]]]]:
        scope, levels = Scope(self._source), []
        tables: dict[str, list[tuple[str, str]]] = {}
        for place in [select.args["from_"], *(select.args.get("joins") or [])]:
            node = place.this
            if isinstance(node, exp.Subquery):
                level = self._level(node.this, within=within, stated=bool(node.meta.get(PER_DEPARTMENT)))
                node.set("this", level.select)
                if not node.alias:
                    self._aliases += 1
                    node.set("alias", exp.TableAlias(this=exp.to_identifier(f"_q{self._aliases}", quoted=True)))
                fields = level.fields
                levels.append((node, level.rows))
            else:
                fields = self._resource(node)
                levels.append((node, True))
            if isinstance(place, exp.Join):
                self._merge(place, scope, fields, inside=all(rows for _, rows in levels))
            scope.add(node, fields)
            if isinstance(place, exp.Join) and place.args.get("on") is not None:
                self._refuse_aggregates(place.args["on"])
                place.set("on", self._resolved(place.args["on"], scope))
        if len({rows for _, rows in levels}) > 1:
            raise refuse(self._source, levels[-1][0], errors.MIXED_LEVELS)
        return scope, levels[0][1], tables

    def _resource(self, node: exp.Expr) -> dict[str, Field]:
        found = self._catalogue.get(node.name.lower())
        if found is None:
            looks_like_file = any(mark in node.name for mark in "./\\:*")
            raise refuse(self._source, node, errors.FILE if looks_like_file else errors.UNKNOWN_RELATION, name=node.name)
        name, terms = found
        meta = node.this.meta
        node.set("this", exp.to_identifier(name, quoted=True))
        node.this.meta.update(meta)
        self._columns.setdefault(name, {})
        return {column.lower(): Field(column, name, column, one) for column, one in terms.items()}

    def _merge(self, join: exp.Join, scope: Scope, fields: Mapping[str, Field], *, inside: bool) -> None:
        for identifier in join.args.get("using") or []:
            name = identifier.name.lower()
            homes = [known[name] for known in scope.relations.values() if name in known]
            if not homes or name not in fields:
                raise refuse(self._source, identifier, errors.UNKNOWN_COLUMN, name=identifier.name)
            kinds = {one.terms.type if one.terms is not None else "" for one in (homes[0], fields[name])}
            if inside and (len(kinds) > 1 or kinds == {""}) and not kinds <= {"integer", "number"}:  # ON, with a cast, says how they are compared
                raise refuse(self._source, identifier, errors.JOIN)
            for one in (homes[0], fields[name]):
                self._use(one)
            scope.merged.add(name)

    def _use(self, field_: Field) -> None:
        if field_.resource:
            self._columns[field_.resource][field_.column] = None

    def _resolved(self, tree: exp.Expr, scope: Scope, aliases: Mapping[str, exp.Expr] | None = None, *,
                  aliases_first: bool = False) -> exp.Expr:
        found = scope.resolve(tree, aliases or {}, aliases_first=aliases_first)
        for column in found.find_all(exp.Column):
            self._use(scope.field(column))
        return found

    def _resolve(self, select: exp.Select, scope: Scope) -> None:
        """Write out every name of a SELECT, in place."""
        aliases: dict[str, exp.Expr] = {}
        items, names = [], set()
        for item in select.expressions:
            bare = item.this if isinstance(item, exp.Alias) else item
            resolved = self._resolved(bare, scope, aliases)
            self._refuse_nested(resolved)
            name = base = item.alias if isinstance(item, exp.Alias) else output_name(bare)
            number = 0
            while name.lower() in names:
                number += 1
                name = f"{base}_{number}"
            names.add(name.lower())
            aliases.setdefault(name.lower(), resolved)
            items.append(exp.alias_(resolved, name, quoted=True))
        select.set("expressions", items)
        where = select.args.get("where")
        if where is not None:
            resolved = self._resolved(where.this, scope, aliases)
            self._refuse_aggregates(resolved)
            select.set("where", exp.Where(this=resolved))
        self._resolve_group(select, scope, aliases)
        having = select.args.get("having")
        if having is not None:
            resolved = self._resolved(having.this, scope, aliases, aliases_first=True)
            self._refuse_nested(resolved)
            select.set("having", exp.Having(this=resolved))
        order = select.args.get("order")
        if order is not None:
            for one in order.expressions:
                place = _ordinal(one.this)
                if place is not None:
                    one.set("this", self._at(select, place, one))
                else:
                    one.set("this", self._resolved(one.this, scope, aliases, aliases_first=True))
                self._refuse_nested(one.this)

    def _at(self, select: exp.Select, place: int, node: exp.Expr) -> exp.Expr:
        if not 1 <= place <= len(select.expressions):
            raise refuse(self._source, node, errors.UNKNOWN_COLUMN, name=str(place))
        result: exp.Expr = select.expressions[place - 1].this.copy()
        return result

    def _resolve_group(self, select: exp.Select, scope: Scope, aliases: Mapping[str, exp.Expr]) -> None:
        group = select.args.get("group")
        if group is None:
            return
        keys: list[exp.Expr] = []
        if group.args.get("all"):
            keys = [item.this.copy() for item in select.expressions if not any(True for _ in aggregates(item.this))]
        for one in group.expressions:
            place = _ordinal(one)
            resolved = self._at(select, place, one) if place is not None else self._resolved(one, scope, aliases)
            self._refuse_aggregates(resolved)
            keys.append(resolved)
        distinct: list[exp.Expr] = []
        for key in keys:
            while isinstance(key, exp.Paren):
                key = key.this
            if key not in distinct:
                distinct.append(key)
        if len(distinct) > grammar.MAX_KEYS:
            raise refuse(self._source, group, errors.TOO_COMPLEX)
        select.set("group", exp.Group(expressions=distinct))

    def _fields(self, select: exp.Select, scope: Scope) -> dict[str, Field]:
        fields = {}
        for item in select.expressions:
            tree = item.this
            if any(True for _ in aggregates(tree)):
                fields[item.alias.lower()] = Field(item.alias)
                continue
            behind = scope.field(tree) if isinstance(tree, exp.Column) else None
            if behind is not None and behind.resource:
                fields[item.alias.lower()] = Field(item.alias, behind.resource, behind.column, behind.terms, tree, scope)
            else:
                fields[item.alias.lower()] = Field(item.alias, expression=tree, scope=scope)
        return fields

    def _sole(self, select: exp.Select, scope: Scope) -> bool:
        """Whether it groups by a dimension whose every value is one department's own."""
        group = select.args.get("group")
        keys = group.expressions if group is not None else []
        found = [scope.field(key) for key in keys if isinstance(key, exp.Column)]
        return any(one.terms is not None and one.terms.sole for one in found)

    # --- what must not be ----------------------------------------------------------------------------------------

    def _refuse_clauses(self, select: exp.Select, names: tuple[str, ...]) -> None:
        for name in names:
            if select.args.get(name) is not None:
                raise refuse(self._source, select.args[name], errors.CLAUSE)

    def _refuse_aggregates(self, tree: exp.Expr) -> None:
        for node in aggregates(tree):
            raise refuse(self._source, node, errors.AGGREGATE_PLACE)

    def _refuse_nested(self, tree: exp.Expr) -> None:
        for outer in aggregates(tree):
            # FILTER and WITHIN GROUP are part of the aggregate they stand with.
            inner = [node for node in outer.walk() if is_aggregate(node)]
            if len(inner) > 1:
                raise refuse(self._source, outer, errors.NESTED_AGGREGATE)

    def _check_grouped(self, select: exp.Select) -> None:
        group = select.args.get("group")
        keys = list(group.expressions) if group is not None else []
        having = select.args.get("having")
        for tree in [*(item.this for item in select.expressions), *([having.this] if having is not None else [])]:
            self._over(tree, keys, lambda node: None)

    def _check_local(self, select: exp.Select, scope: Scope) -> None:
        """Aggregates within a department rest on all rows of their group: which others they picked could not be told.

        What is made of them is summed above as it is, so nothing in it may choose among groups either.
        """
        for item in select.expressions:
            made: list[exp.Expr] = list(item.this.walk()) if any(True for _ in aggregates(item.this)) else []
            for node in made:
                if isinstance(node, CHOOSING) or (isinstance(node, TUNABLE) and not (
                        is_aggregate(node.this) or isinstance(node.this, exp.Column))):
                    raise refuse(self._source, node, errors.MAY_ISOLATE)
        for tree in [*(item.this for item in select.expressions), *([select.args["having"].this] if select.args.get("having") else [])]:
            for node in (one for found in aggregates(tree) for one in found.walk()):
                if isinstance(node, (exp.Filter, exp.CountIf)):
                    raise refuse(self._source, node, errors.MAY_ISOLATE)
                if not is_aggregate(node) or isinstance(node.this, exp.Star):
                    continue
                first = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
                for argument in (first, node.args.get("expression")):
                    if argument is None or isinstance(argument, (exp.Literal, exp.Array)):
                        continue
                    try:
                        apart = bool(rows_apart(argument, scope, self._domains))
                    except NotToldError:
                        apart = True
                    if apart:
                        raise refuse(self._source, argument, errors.MAY_ISOLATE)

    def _over(self, tree: exp.Expr, keys: list[exp.Expr], found: object) -> None:
        if any(tree == key for key in keys) or is_aggregate(tree) or isinstance(tree, (exp.Filter, exp.WithinGroup)):
            return
        if isinstance(tree, exp.Column):
            raise refuse(self._source, tree, errors.NOT_GROUPED)
        for child in tree.iter_expressions():
            self._over(child, keys, found)

    # --- the aggregate that spans departments --------------------------------------------------------------------

    def _core(self, select: exp.Select, scope: Scope, _tables: object) -> _Level:
        relation = exp.Select(expressions=[], from_=select.args["from_"].copy(),
                              joins=[join.copy() for join in select.args.get("joins") or []])
        if select.args.get("where") is not None:
            relation.set("where", select.args["where"].copy())
        core = Core(relation, filtered=_filters(relation))
        types = Types(self._source, self._connection, relation)
        group = select.args.get("group")
        for tree in group.expressions if group is not None else []:
            domain = self._domains.of(tree, scope)
            title = tree.name if isinstance(tree, exp.Column) else tree.sql(dialect="duckdb")
            if domain is None:
                # With noise its values can be found. Which department has one cannot be told beforehand.
                self._inexact = self._inexact or refuse(self._source, tree, errors.NO_DOMAIN)
                core.told_apart |= {one for column in tree.find_all(exp.Column) for one in behind(column, scope)}
                core.keys.append(Key(tree, Domain(()), types(tree), title, open=True))
                continue
            if not domain.values:
                raise refuse(self._source, tree, errors.NO_DOMAIN)
            core.keys.append(Key(tree, domain, types(tree), title))
            if not (isinstance(tree, exp.Column) and scope.field(tree).resource) and not one_to_one(domain):
                few = levels(tree, scope, self._domains)
                core.groups += few
                try:
                    core.conditional += [] if few else conditions_within(tree, scope, self._domains)
                except NotToldError as found:
                    raise refuse(self._source, found.node, errors.MAY_ISOLATE) from None
        if core.cells > grammar.MAX_CELLS:
            raise refuse(self._source, group or select, errors.TOO_MANY_CELLS, cells=core.cells, maximum=grammar.MAX_CELLS)
        splitter = Splitter(self._source, core, scope, self._domains, types)
        rewriter = _Rewriter(self._source, [key.expression for key in core.keys], splitter)
        items = [exp.alias_(rewriter(item.this), item.alias, quoted=True) for item in select.expressions]
        result = exp.Select(expressions=items)
        if select.args.get("having") is not None:
            result.set("where", exp.Where(this=rewriter(select.args["having"].this)))
        if select.args.get("order") is not None:
            ordered = [exp.Ordered(this=rewriter(one.this), desc=one.args.get("desc"), nulls_first=one.args.get("nulls_first"))
                       for one in select.args["order"].expressions]
            result.set("order", exp.Order(expressions=ordered))
        for name in ("limit", "offset"):
            if select.args.get(name) is not None:
                result.set(name, select.args[name].copy())
        # A node keeps each condition's rows, for its guard against differencing.
        if (len(core.conditional) + len(core.groups) + 1) * sum(1 for _ in relation.find_all(exp.Table)) > grammar.MAX_ROW_SETS:
            raise refuse(self._source, select, errors.TOO_COMPLEX)
        number = self._register(core)
        for table in relation.find_all(exp.Table):
            core.tables[table.name] = [(name, self._catalogue[table.name.lower()][1][name].type)
                                       for name in sorted(self._columns[table.name])]
        result.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(f"core_{number}", quoted=True))))
        return _Level(result, {item.alias.lower(): Field(item.alias) for item in items}, False)

    def _register(self, core: Core) -> int:
        if len(self._cores) == grammar.MAX_CORES:
            raise refuse(self._source, core.relation, errors.TOO_COMPLEX)
        self._cores.append(core)
        return len(self._cores) - 1


def _ordinal(tree: exp.Expr) -> int | None:
    return int(tree.this) if isinstance(tree, exp.Literal) and not tree.is_string and tree.this.isdigit() else None


def _filters(relation: exp.Select) -> bool:
    """Whether rows may be left out: a WHERE or an inner join, here or below."""
    return any(True for _ in relation.find_all(exp.Where)) or any(
        str(join.args.get("side") or "") != "LEFT" for join in relation.find_all(exp.Join)) or any(
        True for _ in relation.find_all(exp.Having))


class _Rewriter:
    """Expressions over groups, as expressions over the columns of a released result: keys ``k0``…, aggregates ``a0``…."""

    def __init__(self, source: str, keys: list[exp.Expr], splitter: Splitter) -> None:
        self._source, self._keys, self._splitter = source, keys, splitter

    def __call__(self, tree: exp.Expr) -> exp.Expr:
        holder = exp.Paren(this=tree.copy())
        self._visit(holder.this)
        result: exp.Expr = holder.this
        result.pop()
        return result

    def _visit(self, node: exp.Expr) -> None:
        for place, key in enumerate(self._keys):
            if node == key:
                node.replace(exp.column(exp.to_identifier(f"k{place}", quoted=True)))
                return
        if is_aggregate(node) or isinstance(node, (exp.Filter, exp.WithinGroup)):
            node.replace(exp.column(exp.to_identifier(f"a{self._splitter.split(node)}", quoted=True)))
            return
        if isinstance(node, exp.Column):
            raise refuse(self._source, node, errors.NOT_GROUPED)
        for child in list(node.iter_expressions()):
            self._visit(child)


__all__ = ["Plan", "ProblemError", "cached_plan", "make_plan"]
