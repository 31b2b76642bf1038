"""How the values of single columns spread, for mock data: measured with noise, and sent only once the administrator approved it.

Counts of each column's cells carry discrete Laplace noise (Ghosh, Roughgarden, Sundararajan 2009); one row changes the cells of
a column by one, so that all columns together are ε-differentially private about rows. Noisy counts below
:data:`~node_agent.profile.SMALL_CELL` are left out, and shares are rounded to per mille. What is measured is charged to the resource's own
privacy budget: measuring again and again to average the noise away ends with it.
"""

from __future__ import annotations

import datetime as dt
import math
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from node_agent import errors
from node_agent.budget import Budgets
from node_agent.journal import Journal
from node_agent.profile import SMALL_CELL
from node_agent.resources import Registered, Resources
from node_agent.sources_reading import opened
from node_agent.state import State
from shuyan.federation.schema import SQL_TYPES, Column, dimension_sql, double_sql, quote
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    import duckdb

_BINS: Final = 10
_YEARS: Final = 10
_MOST_LABELS: Final = 200
_HIGHEST_EPSILON: Final = 10.0
_NANO: Final = 10**9


class Marginals:
    """The marginals of one node's resources."""

    def __init__(self, state: State, journal: Journal, resources: Resources, budgets: Budgets) -> None:
        self._state = state
        self._journal = journal
        self._resources = resources
        self._budgets = budgets

    def measure(self, name: str, epsilon: float, columns: Sequence[str] = ()) -> local_pb2.ResourceMarginals:
        """Measure a resource's columns, charge its budget, and keep what was measured until the administrator decides.

        Args:
            epsilon: of all columns together, about one row.
            columns: those to measure; by default every one that can be.

        Raises:
            ProblemError: ``resource_not_found``, ``marginals_epsilon``, ``marginals_column``, ``budget_exhausted``, ``source_…``.
        """
        item = self._item(name)
        if not 0 < epsilon <= _HIGHEST_EPSILON:
            raise ProblemError(errors.MARGINALS_EPSILON, field="epsilon")
        able = {column.name: column for column in item.schema.values() if _cells(column) is not None}
        for wanted in columns:
            if wanted not in able:
                raise ProblemError(errors.MARGINALS_COLUMN, field="columns", column=wanted)
        chosen = [able[wanted] for wanted in dict.fromkeys(columns)] or list(able.values())
        if not chosen:
            raise ProblemError(errors.MARGINALS_COLUMN, field="columns", column="*")
        each = epsilon / len(chosen)
        counted = _counted(item, chosen)
        # Pure ε-DP is ε²/2-zCDP (Bun and Steinke 2016, proposition 1.4); columns add up.
        rho = max(1, math.ceil(len(chosen) * each * each / 2 * _NANO))
        self._budgets.charge_own(f"marginals:{uuid.uuid4().hex}", name, rho, "marginals")
        made = link_pb2.Marginals(method="measured", epsilon=epsilon, measured_at_ms=time.time_ns() // 1_000_000)
        for column, counts in zip(chosen, counted, strict=True):
            noisy = [count if count >= SMALL_CELL else 0 for count in _noised(counts, each)]
            if any(noisy):
                labels, edges, days = _cells(column) or ((), (), ())
                made.columns.add(name=column.name, labels=labels, edges=edges, days=days,
                                 weights=[round(1000 * count / sum(noisy)) for count in noisy])
        with self._state.transaction():
            self._state.execute("INSERT INTO marginals VALUES (?, ?, NULL) ON CONFLICT (name) DO UPDATE SET measured = excluded.measured",
                                (name, made.SerializeToString()))
            self._journal.append("marginals:measured", name=name, epsilon=epsilon, columns=[column.name for column in made.columns])
        return self.show(name)

    def show(self, name: str) -> local_pb2.ResourceMarginals:
        """What waits for the administrator, and what was approved. Raises ``resource_not_found``."""
        self._item(name)
        row = self._state.one("SELECT measured, approved FROM marginals WHERE name = ?", (name,))
        found = local_pb2.ResourceMarginals(name=name)
        if row is not None and row["measured"] is not None:
            found.measured.ParseFromString(row["measured"])
        if row is not None and row["approved"] is not None:
            found.approved.ParseFromString(row["approved"])
        return found

    def approve(self, name: str, declared: link_pb2.Marginals | None = None) -> local_pb2.ResourceMarginals:
        """Have the market told from now on: what was measured, or what the administrator wrote by hand.

        Raises:
            ProblemError: ``resource_not_found``, ``marginals_none``, ``marginals_unfit``.
        """
        item, waiting = self._item(name), self.show(name)
        if declared is None:
            if not waiting.HasField("measured"):
                raise ProblemError(errors.MARGINALS_NONE, name=name)
            chosen = waiting.measured
        else:
            chosen = link_pb2.Marginals(method="declared", measured_at_ms=time.time_ns() // 1_000_000, columns=declared.columns)
        _check(item, chosen)
        with self._state.transaction():
            self._state.execute("INSERT INTO marginals VALUES (?, NULL, ?) ON CONFLICT (name) DO UPDATE SET measured = NULL,"
                                " approved = excluded.approved", (name, chosen.SerializeToString()))
            self._journal.append("marginals:approved", name=name, method=chosen.method, columns=[column.name for column in chosen.columns])
        return self.show(name)

    def withdraw(self, name: str) -> local_pb2.ResourceMarginals:
        """Have the market told nothing any more; what waits is dropped as well. Raises ``resource_not_found``, ``marginals_none``."""
        found = self.show(name)
        if not found.HasField("measured") and not found.HasField("approved"):
            raise ProblemError(errors.MARGINALS_NONE, name=name)
        with self._state.transaction():
            self._state.execute("DELETE FROM marginals WHERE name = ?", (name,))
            self._journal.append("marginals:withdrawn", name=name)
        return self.show(name)

    def _item(self, name: str) -> Registered:
        found = self._resources.find(name)
        if found is None:
            raise ProblemError(errors.RESOURCE_NOT_FOUND, field="name", name=name)
        return found


Cells = tuple[tuple[str, ...], tuple[float, ...], tuple[str, ...]]
"""Labels, edges of numbers, or days: one of them."""


def _cells(column: Column) -> Cells | None:
    """A column's cells, by what is declared of it alone; ``None`` if it can have none."""
    if column.identifier:
        return None
    if column.domain:
        return (column.domain, (), ()) if len(column.domain) <= _MOST_LABELS else None
    if column.type == "boolean":
        return ("true", "false"), (), ()
    if column.type in ("date", "timestamp"):
        year = dt.datetime.now(dt.UTC).year
        return (), (), tuple(f"{one}-01-01" for one in range(year - _YEARS + 1, year + 2))
    if column.type in ("integer", "number") and column.lower is not None and column.upper is not None:
        width = (column.upper - column.lower) / _BINS
        return (), tuple([column.lower + place * width for place in range(_BINS)] + [column.upper]), ()
    return None


def _counted(item: Registered, columns: Sequence[Column]) -> list[list[int]]:
    with opened(item.kind, item.location) as (connection, table):
        return [_count(connection, table, column) for column in columns]


def _count(connection: duckdb.DuckDBPyConnection, table: str, column: Column) -> list[int]:
    labels, edges, days = _cells(column) or ((), (), ())
    name = quote(column.name)
    value = f"TRY_CAST({name} AS {SQL_TYPES[column.type]})"
    if labels:
        text = dimension_sql(column).replace(name, value)
        counts = dict(connection.execute(f"SELECT {text} AS v, count(*) FROM {table} GROUP BY v").fetchall())  # noqa: S608
        return [int(counts.get(label, 0)) for label in labels]
    limits = [double_sql(edge) for edge in edges] or [f"DATE '{day}'" for day in days]
    last = len(limits) - 2
    asked = [f"count(*) FILTER ({value} >= {limits[place]} AND {value} {'<=' if edges and place == last else '<'} {limits[place + 1]})"
             for place in range(len(limits) - 1)]
    row = connection.execute(f"SELECT {', '.join(asked)} FROM {table}").fetchone()  # noqa: S608
    return [int(count) for count in row or ()]


def _noised(counts: Sequence[int], epsilon: float) -> list[int]:
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    noise = make_laplace(vector_domain(atom_domain(T="i64")), l1_distance(T="i64"), 1 / epsilon)
    return [int(count) for count in noise(list(counts))]


def _check(item: Registered, marginals: link_pb2.Marginals) -> None:
    from shuyan.mockdata import MadeColumn, Marginal

    for one in marginals.columns:
        column = item.schema.get(one.name)
        try:
            marginal = Marginal(labels=tuple(one.labels), edges=tuple(one.edges), days=tuple(one.days), weights=tuple(one.weights))
            fits = column is not None and marginal.fits(MadeColumn(
                name=column.name, type=column.type, identifier=column.identifier, domain=column.domain, lower=column.lower,
                upper=column.upper))
        except (ValidationError, ValueError):
            fits = False
        if not fits:
            raise ProblemError(errors.MARGINALS_UNFIT, field="columns", column=one.name)
    if not marginals.columns:
        raise ProblemError(errors.MARGINALS_NONE, name=item.resource.name)
