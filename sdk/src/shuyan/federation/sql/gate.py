"""The gate: text in, one SELECT made of nothing but what :mod:`shuyan.federation.sql.grammar` lists out.

It looks at the text alone. Names are resolved afterwards (:mod:`shuyan.federation.sql.scopes`); what reaches a database
is only ever written anew from the tree, with every identifier quoted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final, cast

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError, SqlglotError

from shuyan.federation.sql import errors, grammar
from shuyan.federation.sql.errors import at, refuse

DIALECT: Final = "duckdb"
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of statements that are refused anyway
_NUMBER: Final = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?")
_NO_STATEMENTS: Final = (exp.Command, exp.DDL, exp.DML, exp.Pragma, exp.Set, exp.Copy)


def parse(source: str) -> exp.Select:
    """The query as a tree.

    Raises:
        ProblemError: one of the codes of :mod:`shuyan.federation.sql.errors`, with the clause and its position.
    """
    if len(source) > grammar.MAX_CHARACTERS:
        raise at(source, grammar.MAX_CHARACTERS, source[grammar.MAX_CHARACTERS :], errors.TOO_COMPLEX)
    if "\x00" in source:
        raise at(source, source.index("\x00"), "\\0", errors.SYNTAX)
    try:
        tree = _parsed(source)
        _check_size(source, tree)
        _check(source, tree)
    except RecursionError:
        raise at(source, 0, source, errors.TOO_COMPLEX) from None
    return tree


def _parsed(source: str) -> exp.Select:
    try:
        tokens = sqlglot.tokenize(source, dialect=DIALECT)
    except SqlglotError:
        raise at(source, 0, source, errors.SYNTAX) from None
    depth = 0
    for number, token in enumerate(tokens):
        depth += {TokenType.L_PAREN: 1, TokenType.L_BRACKET: 1, TokenType.CASE: 1,
                  TokenType.R_PAREN: -1, TokenType.R_BRACKET: -1, TokenType.END: -1}.get(token.token_type, 0)
        if depth > grammar.MAX_NESTING or number >= grammar.MAX_TOKENS:
            raise at(source, token.start, source[token.start :], errors.TOO_COMPLEX)
        if token.token_type in (TokenType.PLACEHOLDER, TokenType.PARAMETER, TokenType.SESSION_PARAMETER):
            raise at(source, token.start, source[token.start : token.end + 2], errors.PARAMETER)
    try:
        trees = list(sqlglot.parse(source, dialect=DIALECT))
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        place = _offset(source, first.get("line"), first.get("col"), str(first.get("highlight") or ""))
        raise at(source, place, source[place : place + 60], errors.SYNTAX) from None
    except (SqlglotError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise at(source, 0, source, errors.SYNTAX) from None
    semicolons = [token for token in tokens if token.token_type == TokenType.SEMICOLON]
    trees = [tree for tree in trees if tree is not None]
    if not trees:
        raise at(source, 0, source or " ", errors.SYNTAX)
    if len(trees) > 1:
        raise at(source, semicolons[0].start, source[semicolons[0].start :], errors.SEVERAL)
    tree = trees[0]
    if isinstance(tree, exp.SetOperation):
        raise refuse(source, tree, errors.SET_OPERATION)
    if isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.unnest()
    if not isinstance(tree, exp.Select):
        raise at(source, tokens[0].start if tokens else 0, source, errors.NOT_SELECT)
    return tree


def _offset(source: str, line: object, column: object, highlight: str) -> int:
    if not isinstance(line, int) or not isinstance(column, int):
        return 0
    lines = source.split("\n")
    # The parser tells where its token ends.
    return max(0, min(len(source), sum(len(text) + 1 for text in lines[: line - 1]) + column - max(1, len(highlight))))


def _check_size(source: str, tree: exp.Expr) -> None:
    level, depth, nodes = [tree], 0, 0
    while level:
        depth, nodes = depth + 1, nodes + len(level)
        if depth > grammar.MAX_DEPTH or nodes > grammar.MAX_NODES:
            raise at(source, 0, source, errors.TOO_COMPLEX)
        level = [child for node in level for child in node.iter_expressions()]


def _check(source: str, tree: exp.Expr) -> None:
    # In the order of the text as far as it goes, so that the first thing that is wrong is told.
    for node in tree.dfs():
        _check_node(source, node)


def _check_node(source: str, node: exp.Expr) -> None:
    kind = type(node)
    if kind in grammar.ARGUMENTS:
        allowed = grammar.ARGUMENTS[kind]
        for name, value in node.args.items():
            if name not in allowed and value not in (None, False, [], ""):
                raise _clause(source, node, name, value)
    if isinstance(node, exp.Func) and kind not in grammar.LOGIC:
        _check_function(source, node)
    elif kind not in grammar.SCALARS and kind not in grammar.STRUCTURE:
        raise _unavailable(source, node)
    check = _SPECIAL.get(kind)
    if check is not None:
        check(source, node)


def _clause(source: str, node: exp.Expr, name: str, value: object) -> Exception:
    part = value[0] if isinstance(value, list) and value else value
    part = part if isinstance(part, exp.Expr) else node
    if isinstance(node, exp.Table) and name in ("db", "catalog"):
        return refuse(source, node, errors.FILE)
    if name == "laterals" or isinstance(part, exp.Lateral):
        return refuse(source, part, errors.LATERAL)
    if name in ("windows", "qualify"):
        return refuse(source, part, errors.WINDOW)
    if name == "recursive":
        return refuse(source, node, errors.RECURSIVE)
    if isinstance(node, exp.Column) and name in ("db", "catalog"):
        return refuse(source, node, errors.UNKNOWN_COLUMN, name=node.name)
    if isinstance(node, exp.In) and name in ("query", "unnest"):
        return refuse(source, node, errors.SUBQUERY)
    if isinstance(node, exp.Join):
        return refuse(source, node, errors.JOIN)
    return refuse(source, part, errors.CLAUSE)


def _unavailable(source: str, node: exp.Expr) -> Exception:
    if isinstance(node, (exp.Window, exp.WindowSpec)):
        return refuse(source, node, errors.WINDOW)
    if isinstance(node, exp.SetOperation):
        return refuse(source, node, errors.SET_OPERATION)
    if isinstance(node, exp.Lateral):
        return refuse(source, node, errors.LATERAL)
    if isinstance(node, (exp.Placeholder, exp.Parameter, exp.SessionParameter)):
        return refuse(source, node, errors.PARAMETER)
    if isinstance(node, (exp.Exists, exp.SubqueryPredicate)):
        return refuse(source, node, errors.SUBQUERY)
    if isinstance(node, (exp.IgnoreNulls, exp.RespectNulls)) and isinstance(node.this, exp.Func):
        return refuse(source, node, errors.UNKNOWN_FUNCTION, name=_name(node.this))
    if isinstance(node, (exp.Rollup, exp.Cube, exp.GroupingSets)):
        return refuse(source, node, errors.CLAUSE)
    if isinstance(node, _NO_STATEMENTS):
        return refuse(source, node, errors.NOT_SELECT)
    if isinstance(node, (exp.Unnest, exp.Values, exp.UDTF)):
        return refuse(source, node, errors.TABLE_FUNCTION)
    return refuse(source, node, errors.EXPRESSION)


def _name(node: exp.Func) -> str:
    return node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()


def _check_function(source: str, node: exp.Func) -> None:
    kind, name = type(node), _name(node)
    if isinstance(node, exp.Anonymous):
        known = name in grammar.NAMED_SCALARS or name in grammar.NAMED_AGGREGATES
    else:
        known = kind in grammar.SCALARS or kind in grammar.AGGREGATES or kind in grammar.STRUCTURE
    if isinstance(node.parent, exp.Table):
        raise refuse(source, node.parent, errors.TABLE_FUNCTION)
    if known:
        return
    if isinstance(node, exp.Exists):
        raise refuse(source, node, errors.SUBQUERY)
    if name in grammar.NONDETERMINISTIC or name.replace("_", "") in grammar.NONDETERMINISTIC:
        raise refuse(source, node, errors.NONDETERMINISTIC)
    if name in grammar.TABLE_FUNCTIONS:
        raise refuse(source, node, errors.TABLE_FUNCTION)
    if isinstance(node, exp.UDTF):
        raise refuse(source, node, errors.TABLE_FUNCTION)
    raise refuse(source, node, errors.UNKNOWN_FUNCTION, name=name)


# --- what needs a closer look --------------------------------------------------------------------------------------


def _check_table(source: str, node: exp.Expr) -> None:
    if not isinstance(node.this, exp.Identifier):
        raise refuse(source, node, errors.TABLE_FUNCTION)


def _check_star(source: str, node: exp.Expr) -> None:
    if not isinstance(node.parent, exp.Count) or any(node.args.values()):
        raise refuse(source, node.parent if isinstance(node.parent, exp.Column) else node, errors.STAR)


def _check_column(source: str, node: exp.Expr) -> None:
    if isinstance(node.this, exp.Star):
        raise refuse(source, node, errors.STAR)
    if not isinstance(node.this, exp.Identifier):
        raise refuse(source, node, errors.EXPRESSION)


def _check_subquery(source: str, node: exp.Expr) -> None:
    if not isinstance(node.parent, (exp.From, exp.Join)):
        raise refuse(source, node, errors.SUBQUERY)
    if isinstance(node.this, exp.SetOperation):
        raise refuse(source, node, errors.SET_OPERATION)
    if not isinstance(node.this, exp.Select):
        raise refuse(source, node, errors.CLAUSE)


def _check_select(source: str, node: exp.Expr) -> None:
    if node.parent is not None and not isinstance(node.parent, (exp.Subquery, exp.CTE)):
        raise refuse(source, node, errors.SUBQUERY)
    if node.args.get("from_") is None:
        raise refuse(source, node, errors.CLAUSE)
    for item in node.expressions:
        if isinstance(item, exp.Star):
            raise refuse(source, item, errors.STAR)


def _check_with(source: str, node: exp.Expr) -> None:
    if node.args.get("recursive"):
        raise refuse(source, node, errors.RECURSIVE)


def _check_cte(source: str, node: exp.Expr) -> None:
    if isinstance(node.this, exp.SetOperation):
        raise refuse(source, node.this, errors.SET_OPERATION)
    if not isinstance(node.this, exp.Select):
        raise refuse(source, node.this, errors.NOT_SELECT)


def _check_join(source: str, node: exp.Expr) -> None:
    if isinstance(node.this, exp.Lateral):
        raise refuse(source, node.this, errors.LATERAL)
    side, kind = str(node.args.get("side") or ""), str(node.args.get("kind") or "")
    if side not in ("", "LEFT") or kind not in ("", "INNER", "OUTER") or (kind == "OUTER" and side != "LEFT"):
        raise refuse(source, node, errors.JOIN)
    if not node.args.get("on") and not node.args.get("using"):
        raise refuse(source, node, errors.JOIN)


def _check_distinct(source: str, node: exp.Expr) -> None:
    if not isinstance(node.parent, exp.Count) or len(node.expressions) != 1 or node.args.get("on"):
        raise refuse(source, node.parent or node, errors.DISTINCT)


def _check_type(source: str, node: exp.Expr) -> None:
    name = node.this.value if isinstance(node.this, exp.DType) else str(node.this)
    if name not in grammar.TYPES or node.args.get("nested"):
        raise refuse(source, node.parent or node, errors.TYPE)


def _check_pattern(source: str, node: exp.Expr) -> None:
    pattern = node.expression
    if not (isinstance(pattern, exp.Literal) and pattern.is_string and len(pattern.this) <= grammar.MAX_PATTERN):
        raise refuse(source, node, errors.PATTERN, maximum=grammar.MAX_PATTERN)


def _check_unit(source: str, node: exp.Expr) -> None:
    part = node.this if isinstance(node, exp.Extract) else node.args.get("unit")
    if isinstance(node, exp.Interval) and not (isinstance(node.this, exp.Literal) and part is not None):
        raise refuse(source, node, errors.EXPRESSION)
    if part is not None and part.name.upper() not in grammar.UNITS:
        raise refuse(source, node, errors.EXPRESSION)


def _check_name(source: str, node: exp.Expr) -> None:
    # Two underscores begin what a node adds by itself, such as row numbers; nobody else may call anything so.
    if node.name.startswith("__"):
        raise refuse(source, node, errors.UNKNOWN_COLUMN, name=node.name)


def _check_word(source: str, node: exp.Expr) -> None:
    # A word is written out as it is; nothing may hide in one that was quoted.
    if not (node.name.isascii() and node.name.isalpha()):
        raise refuse(source, node.parent or node, errors.EXPRESSION)


def _check_size_of_type(source: str, node: exp.Expr) -> None:
    if not (isinstance(node.this, exp.Literal) and not node.this.is_string and node.this.this.isdigit()):
        raise refuse(source, node, errors.TYPE)


def _check_number(source: str, node: exp.Expr) -> None:
    if not node.args.get("is_string") and not _NUMBER.fullmatch(node.this):
        raise refuse(source, node, errors.EXPRESSION)


def _check_limit(source: str, node: exp.Expr) -> None:
    if not (isinstance(node.expression, exp.Literal) and not node.expression.is_string and node.expression.this.isdigit()):
        raise refuse(source, node, errors.CLAUSE)


def _check_array(source: str, node: exp.Expr) -> None:
    if not isinstance(node.parent, (exp.PercentileCont, exp.PercentileDisc)):
        raise refuse(source, node, errors.EXPRESSION)


def _check_within(source: str, node: exp.Expr) -> None:
    order = node.expression
    if not isinstance(node.this, (exp.PercentileCont, exp.PercentileDisc)) or not isinstance(order, exp.Order) or (
            len(order.expressions) != 1 or order.expressions[0].args.get("desc")):
        raise refuse(source, node, errors.CLAUSE)


_SPECIAL: Final[dict[type[exp.Expr], Callable[[str, Any], None]]] = {
    exp.Table: _check_table, exp.Star: _check_star, exp.Column: _check_column, exp.Subquery: _check_subquery,
    exp.Select: _check_select, exp.With: _check_with, exp.CTE: _check_cte, exp.Join: _check_join,
    exp.Distinct: _check_distinct, exp.DataType: _check_type, exp.RegexpLike: _check_pattern, exp.Like: _check_pattern,
    exp.ILike: _check_pattern, exp.Extract: _check_unit, exp.TimestampTrunc: _check_unit, exp.DateTrunc: _check_unit,
    exp.DateDiff: _check_unit, exp.Interval: _check_unit, exp.Limit: _check_limit, exp.Offset: _check_limit,
    exp.Array: _check_array, exp.WithinGroup: _check_within, exp.Var: _check_word, exp.Identifier: _check_name, exp.DataTypeParam: _check_size_of_type,
    exp.Literal: _check_number,
}


def to_sql(tree: exp.Expr) -> str:
    """A tree as DuckDB reads it, every identifier quoted."""
    return tree.sql(dialect=DIALECT, identify=True, comments=False)


def normalised(source: str) -> str:
    """The query in one spelling: without comments, on one line.

    Raises:
        ProblemError: as :func:`parse`.
    """
    return to_sql(cast(exp.Expr, parse(source)))
