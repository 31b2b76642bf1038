"""What SQL a view may hold, decided on DuckDB's own parse of it: what is checked is what is executed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from node_agent import errors
from node_agent.sources_reading import connect
from node_agent.views_functions import functions
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    import duckdb

_TABLE_FUNCTIONS: Final = frozenset({"unnest", "range", "generate_series"})
_NOT_READ: Final = frozenset({
    "SHOW_REF", "PIVOT", "BOUND_TABLE_REF", "COLUMN_DATA", "COLUMN_DATA_REF", "DELIM_GET", "CTE"})
# Consistent by their declaration, and yet about the session, the clock or the machine.
_REFUSED: Final = frozenset({
    "age", "ago", "current_localtime", "current_localtimestamp", "current_setting", "getvariable", "getenv", "version",
    "json_execute_serialized_sql", "json_serialize_sql", "json_deserialize_sql", "json_serialize_plan", "make_type",
    "parse_duckdb_log_message", "user", "session_user", "get_block_size", "query", "query_table", "create_sort_key",
    "any_value", "arbitrary", "approx_quantile", "reservoir_quantile", "approx_top_k"})
_REFUSED_PREFIXES: Final = ("pg_", "current_", "has_", "inet_", "__internal", "duckdb_", "map_to_pg", "read_")
# Bare words that DuckDB turns into calls.
_WORDS: Final = frozenset({
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "current_user", "current_role",
    "current_catalog", "current_schema", "current_database", "session_user", "user"})


@dataclass(frozen=True)
class Checked:
    """A view's SQL that may be kept.

    Attributes:
        sql: the one statement, without what stood around it.
        tables: the sources it reads.
        functions: the helper functions it calls.
        unordered: whether the order of its rows hangs on how it is executed.
    """

    sql: str
    tables: tuple[str, ...]
    functions: tuple[str, ...]
    unordered: bool


def check(sql: str, known: frozenset[str]) -> Checked:
    """Check a view's SQL.

    Args:
        known: the names of the sources.

    Raises:
        ProblemError: ``view_not_select``, ``view_syntax``, ``view_table_unknown``, ``view_function``, ``view_clause``.
    """
    import duckdb

    with connect() as connection:
        try:
            statements = connection.extract_statements(sql)
        except duckdb.Error as error:
            raise ProblemError(errors.VIEW_SYNTAX, field="sql", reason=str(error).splitlines()[0]) from None
        if len(statements) != 1 or statements[0].type.name not in ("SELECT", "SELECT_STATEMENT"):
            raise ProblemError(errors.VIEW_NOT_SELECT, field="sql")
        text = _unterminated(connection, statements[0].query)
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchone()
        tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
        if tree["error"] or len(tree["statements"]) != 1:
            raise ProblemError(errors.VIEW_NOT_SELECT, field="sql")
        allowed = {name for (name,) in connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('aggregate', 'macro')"
            " OR (function_type = 'scalar' AND stability = 'CONSISTENT')").fetchall()}
    allowed = {name for name in allowed if name not in _REFUSED and not name.startswith(_REFUSED_PREFIXES)}
    walk = _Walk(known, frozenset(allowed))
    walk.node(tree["statements"][0], frozenset())
    return Checked(text, tuple(dict.fromkeys(walk.tables)), tuple(dict.fromkeys(walk.functions)), walk.unordered)


def _unterminated(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """One statement without its semicolon and what follows it, so that it can stand inside another."""
    import duckdb

    end = len(text)
    while (end := text.rfind(";", 0, end)) >= 0:
        try:
            if not connection.extract_statements(text[end + 1:]):
                return text[:end].strip()
        except duckdb.Error:
            continue  # this one stands in a comment
    return text.strip()


class _Walk:
    def __init__(self, known: frozenset[str], allowed: frozenset[str]) -> None:
        self._known = known
        self._allowed = allowed
        self.tables: list[str] = []
        self.functions: list[str] = []
        self.unordered = False

    def node(self, node: Any, ctes: frozenset[str]) -> None:
        """One node of DuckDB's tree and all below it; ``ctes`` are the names defined around it."""
        if isinstance(node, list):
            for item in node:
                self.node(item, ctes)
            return
        if not isinstance(node, dict):
            return
        defined = ctes | {entry["key"] for entry in (node.get("cte_map") or {}).get("map", [])}
        if node.get("type") == "RECURSIVE_CTE_NODE":
            defined |= {node.get("cte_name", "")}
        self._look(node, defined)
        for item in _children(node):
            self.node(item, defined)

    def _look(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        kind, form = str(node.get("type", "")), str(node.get("class", ""))
        if node.get("sample"):
            raise ProblemError(errors.VIEW_CLAUSE, field="sql", clause="SAMPLE")
        if form == "PARAMETER":
            raise ProblemError(errors.VIEW_CLAUSE, field="sql", clause="?")
        if kind == "BASE_TABLE":
            self._table(node, ctes)
        elif kind == "TABLE_FUNCTION":
            called = node["function"]["function_name"]
            if called not in _TABLE_FUNCTIONS:
                raise ProblemError(errors.VIEW_FUNCTION, field="sql", function=called)
        elif kind in _NOT_READ:
            raise ProblemError(errors.VIEW_CLAUSE, field="sql", clause=kind)
        if form in ("FUNCTION", "WINDOW") and node.get("function_name"):
            self._function(str(node["function_name"]).lower(), node)
        if form == "COLUMN_REF" and len(node["column_names"]) == 1 and node["column_names"][0].lower() in _WORDS:
            raise ProblemError(errors.VIEW_FUNCTION, field="sql", function=node["column_names"][0])
        if kind in ("JOIN", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE") or form == "WINDOW" or node.get("group_expressions"):
            self.unordered = True
        if kind in ("DISTINCT_MODIFIER", "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER") and (
                kind != "ORDER_MODIFIER" or node.get("orders")):
            self.unordered = True

    def _table(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        name = node["table_name"]
        if not node["schema_name"] and not node["catalog_name"] and name in ctes:
            return
        if node["schema_name"] or node["catalog_name"] or name not in self._known:
            full = ".".join(filter(None, (node["catalog_name"], node["schema_name"], name)))
            raise ProblemError(errors.VIEW_TABLE_UNKNOWN, field="sql", table=full)
        self.tables.append(name)

    def _function(self, name: str, node: dict[str, Any]) -> None:
        if name in functions():
            self.functions.append(name)
        elif name not in self._allowed and name not in _TABLE_FUNCTIONS and name not in _WINDOW:
            raise ProblemError(errors.VIEW_FUNCTION, field="sql", function=name)


_WINDOW: Final = frozenset({
    "row_number", "rank", "dense_rank", "rank_dense", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
    "last_value", "nth_value"})


def _children(node: dict[str, Any]) -> Iterator[Any]:
    for value in node.values():
        if isinstance(value, (dict, list)):
            yield value
