"""Which rows of each resource a query's answers rest on, for the node's differencing guard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sqlglot import exp

from shuyan.federation import rowsets
from shuyan.federation.inputs import FILE_BITS, Inputs
from shuyan.federation.rowsets import RowSet
from shuyan.federation.schema import quote
from shuyan.federation.sql.compile import AGGREGATED, guard_rows
from shuyan.federation.sql.cores import Core
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.passing import labelled, passing
from shuyan.federation.sql.plan import Plan


def encoded(inputs: Inputs, plan: Plan) -> bytes:
    """The row sets of all cores, as they cross to the agent; worked out once a run."""
    if "rows" not in inputs.cache:
        sets: dict[str, dict[str, RowSet]] = {}
        for number, core in enumerate(plan.cores):
            for resource, label, rows in _of_core(inputs, core):
                name = label if number == 0 else f"{label}.{number}"
                labelled = sets.setdefault(resource, {})
                while name in labelled:
                    name += "'"
                labelled[name] = rows
        everything = all(rows.whole for labelled in sets.values() for rows in labelled.values())
        inputs.cache["rows"] = b"" if everything else rowsets.encode(sets)
    result: bytes = inputs.cache["rows"]
    return result


def _of_core(inputs: Inputs, core: Core) -> list[tuple[str, str, RowSet]]:
    whole = core.relation.args["from_"].this
    if isinstance(whole, exp.Table) and not (core.relation.args.get("where") or core.relation.args.get("joins") or labelled(core)):
        return [(whole.name, rowsets.BASE, RowSet.everything())]
    relation = guard_rows(core.relation)
    tables = [place.this for place in [relation.args["from_"], *(relation.args.get("joins") or [])]]
    if len(tables) == 1 and isinstance(tables[0], exp.Table):
        return _of_table(inputs, core, relation, tables[0])
    found: list[tuple[str, str, RowSet]] = []
    numbered = _Numbered(inputs)
    numbers = numbered.select(relation)
    shell = exp.Select(expressions=[], from_=relation.args["from_"], joins=relation.args.get("joins"))
    source = to_sql(shell)[len("SELECT "):]
    where = [to_sql(relation.args["where"].this)] if relation.args.get("where") is not None else []
    for label, condition in {rowsets.BASE: "", **labelled(core)}.items():
        conditions = [*where, *([condition] if condition else [])]
        filtered = f" WHERE {' AND '.join(f'({one})' for one in conditions)}" if conditions else ""
        for resource, number, listed in numbers:
            expression = f"unnest({number})" if listed else number
            sql = f"SELECT DISTINCT {expression} AS r {source}{filtered}"
            rows = rowsets.numbers(inputs.connection, f"SELECT r FROM ({sql}) WHERE r IS NOT NULL")["r"]  # noqa: S608
            found.append((resource, label, _set(inputs, resource, np.asarray(rows, dtype=np.int64))))
    return found


def _of_table(inputs: Inputs, core: Core, relation: exp.Select, table: exp.Expr) -> list[tuple[str, str, RowSet]]:
    """One resource: its rows are read in their order."""
    where = to_sql(relation.args["where"].this) if relation.args.get("where") is not None else ""
    if (told := passing(inputs, core)) is not None:
        return [(table.name, label, _set(inputs, table.name, numbers)) for label, numbers in told.items()]
    conditions = {rowsets.BASE: where}
    for label, condition in labelled(core).items():
        conditions[label] = f"({where}) AND ({condition})" if where else condition
    found = rowsets.collect(inputs, table.name, conditions, alias=table.alias_or_name)
    return [(table.name, label, rows) for label, rows in found.items()]


class _Numbered:
    """Hands row numbers up through subqueries."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._made = 0

    def select(self, select: exp.Select) -> list[tuple[str, str, bool]]:
        """For each resource in FROM and JOIN: its name, SQL for its row number there, and whether that is a list."""
        numbers = []
        for place in [select.args["from_"], *(select.args.get("joins") or [])]:
            node = place.this
            alias = quote(node.alias_or_name)
            if isinstance(node, exp.Table):
                numbers.append((node.name, f"{alias}.{self._inputs.row_number(node.name)}", False))
                continue
            inner = node.this
            grouped = bool(inner.meta.get(AGGREGATED))
            for resource, number, listed in self.select(inner):
                self._made += 1
                name = f"__r{self._made}"
                value = number if not grouped else f"flatten(list({number}))" if listed else f"list({number})"
                inner.append("expressions", exp.alias_(exp.Var(this=value), name, quoted=True))
                numbers.append((resource, f"{alias}.{quote(name)}", listed or grouped))
        return numbers


def _set(inputs: Inputs, resource: str, numbers: npt.NDArray[np.int64]) -> RowSet:
    """The set of given row numbers, as places in the order of reading."""
    offsets, universe = _offsets(inputs, resource)
    if len(offsets) > 1:
        numbers = offsets[numbers >> FILE_BITS] + (numbers & ((1 << FILE_BITS) - 1))
    return RowSet.of(numbers, universe)


def _offsets(inputs: Inputs, resource: str) -> tuple[Any, int]:
    """Where each file's rows begin, and how many rows there are."""
    counts = np.array(inputs.counts(resource), dtype=np.int64)
    return np.concatenate([[0], np.cumsum(counts)[:-1]]), int(counts.sum())
