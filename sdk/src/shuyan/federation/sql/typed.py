"""Types of expressions, as an empty database of the same tables has them, and what may be compared with what."""

from __future__ import annotations

import duckdb
from sqlglot import exp

from shuyan.federation.sql import errors
from shuyan.federation.sql.errors import refuse
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.scopes import aggregates


class Types:
    """Types of expressions over a relation, as an empty database of the same tables has them."""

    def __init__(self, source: str, connection: duckdb.DuckDBPyConnection, relation: exp.Select) -> None:
        self._source, self._connection = source, connection
        self._from = relation
        self._check(relation)

    def __call__(self, tree: exp.Expr) -> str:
        shell = self._from.copy()
        shell.set("expressions", [tree.copy()])
        return self._describe(shell, tree)

    def _check(self, relation: exp.Select) -> None:
        shell = relation.copy()
        shell.set("expressions", [exp.Literal.number(1)])
        self._describe(shell, relation.args.get("where") or relation)

    def _describe(self, shell: exp.Select, blamed: exp.Expr) -> str:
        try:
            rows = self._connection.execute(f"DESCRIBE {to_sql(shell)}").fetchall()
        except duckdb.Error as error:
            first = str(error).split("\n")[0][:200]
            raise refuse(self._source, blamed, errors.TYPES, reason=first) from None
        return str(rows[0][1])


def refuse_silent_casts(source: str, connection: duckdb.DuckDBPyConnection, select: exp.Select) -> None:
    """Text is compared with text only: a cast that nobody wrote would fail on some row, and tell about it."""
    trees: list[exp.Expr] = [item.this for item in select.expressions]
    trees += [join.args["on"] for join in select.args.get("joins") or [] if join.args.get("on") is not None]
    trees += [select.args[name].this for name in ("where", "having") if select.args.get(name) is not None]
    trees += select.args["group"].expressions if select.args.get("group") is not None else []
    pairs: list[tuple[exp.Expr, exp.Expr, exp.Expr | None]] = []
    for tree in trees:
        for node in tree.walk():
            pairs += [(node, one, other) for one, other in _compared(node)]
    pairs += [(tree, tree, None) for tree in (join.args.get("on") for join in select.args.get("joins") or [])
              if tree is not None]
    if select.args.get("where") is not None:
        pairs.append((select.args["where"].this, select.args["where"].this, None))
    types = _types_of(source, connection, select, [side for _, *sides in pairs for side in sides if side is not None])
    for node, one, other in pairs:
        if other is None:
            if types[id(one)] not in ("BOOLEAN", '"NULL"'):
                raise refuse(source, node, errors.TYPES, reason=f"{types[id(one)]}, BOOLEAN")
            continue
        kinds = [types[id(one)], types[id(other)]]
        if kinds.count("VARCHAR") != 1 or '"NULL"' in kinds:
            continue
        text, kind = (one, kinds[1]) if kinds[0] == "VARCHAR" else (other, kinds[0])
        if not (isinstance(text, exp.Literal) and _reads_as(connection, text.this, kind)):
            raise refuse(source, node, errors.TYPES, reason=" = ".join(kinds))


def _reads_as(connection: duckdb.DuckDBPyConnection, text: str, type_: str) -> bool:
    row = connection.execute(f"SELECT TRY_CAST(? AS {type_}) IS NOT NULL", [text]).fetchone()
    return bool(row and row[0])


def _types_of(
    source: str, connection: duckdb.DuckDBPyConnection, select: exp.Select, trees: list[exp.Expr],
) -> dict[int, str]:
    found: dict[int, str] = {}
    for grouped in (False, True):
        mine = [tree for tree in trees if (next(aggregates(tree), None) is not None) == grouped]
        if not mine:
            continue
        shell = exp.Select(expressions=[exp.alias_(tree.copy(), f"c{place}", quoted=True) for place, tree in enumerate(mine)],
                           from_=select.args["from_"].copy(), joins=[join.copy() for join in select.args.get("joins") or []])
        if grouped and select.args.get("group") is not None:
            shell.set("group", select.args["group"].copy())
        try:
            rows = connection.execute(f"DESCRIBE {to_sql(shell)}").fetchall()
        except duckdb.Error as error:
            raise refuse(source, select, errors.TYPES, reason=str(error).split("\n")[0][:200]) from None
        found |= {id(tree): str(row[1]) for tree, row in zip(mine, rows, strict=True)}
    return found


def _compared(node: exp.Expr) -> list[tuple[exp.Expr, exp.Expr | None]]:
    """Pairs of what is compared by a node; alone: what must be true or false."""
    if isinstance(node, (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Nullif)):
        return [(node.this, node.expression)]
    if isinstance(node, exp.In):
        return [(node.this, one) for one in node.expressions]
    if isinstance(node, exp.Between):
        return [(node.this, node.args["low"]), (node.this, node.args["high"])]
    if isinstance(node, exp.Case):
        branches = [branch.this for branch in node.args["ifs"]]
        return [(node.this, one) for one in branches] if node.this is not None else [(one, None) for one in branches]
    if isinstance(node, (exp.And, exp.Or)):
        return [(node.this, None), (node.expression, None)]
    if isinstance(node, exp.If) and not isinstance(node.parent, exp.Case):
        return [(node.this, None)]
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean):
        return [(node.this, None)]
    return [(node.this, None)] if isinstance(node, (exp.Not, exp.Where)) else []
