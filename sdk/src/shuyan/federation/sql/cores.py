"""The one part of a query that spans departments: a grouped aggregate over rows, as sums of exact states.

Every aggregate is split into states that add up over departments: counts, sums, sums of products, counts per bin, and
order statistics found by asking how many values lie at or below a threshold. Each state names its *support*: the count
of the rows it rests on, by which it is suppressed.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from sqlglot import exp

from shuyan.federation.schema import double_sql
from shuyan.federation.sql.domains import Domain, step_of
from shuyan.federation.sql.terms import ColumnTerms

CONTINUOUS: Final = 1 << 40
"""Steps between the bounds where a column declares no resolution."""
_EPOCH: Final = datetime.date(1970, 1, 1)


@dataclass(frozen=True)
class Key:
    """One thing that is grouped by.

    Attributes:
        expression: over the local relation.
        domain: its values.
        type: DuckDB's name of their type.
        title: as it is named in messages.
        open: nobody declared its values; they have to be found (:mod:`shuyan.federation.sql.discovery`), with noise only.
    """

    expression: exp.Expr
    domain: Domain
    type: str
    title: str
    open: bool = False


@dataclass(frozen=True)
class Grid:
    """Ordered values that an order statistic is looked for among: ``first``, ``first + step``, … or given ones.

    Attributes:
        count: how many.
        type: ``integer``, ``number``, ``date``, ``timestamp``, or that of ``values``.
    """

    count: int
    type: str
    offset: int = 0
    step: Fraction = Fraction(1)
    lower: float = 0.0
    values: tuple[Any, ...] = ()

    @classmethod
    def of_column(cls, terms: ColumnTerms) -> Grid | None:
        """A column's own, if it declares bounds."""
        if terms.type in ("string", "boolean") or terms.lower is None or terms.upper is None or terms.upper < terms.lower:
            return None
        step = step_of(terms) or (1.0 if terms.type == "timestamp" else None)
        if step is None or (terms.upper - terms.lower) / step > 2**50:
            width = Fraction(repr(terms.upper)) - Fraction(repr(terms.lower))
            return cls(CONTINUOUS + 1 if width else 1, terms.type, 0, width / CONTINUOUS or Fraction(1), terms.lower)
        exact = Fraction(repr(step))
        first = math.ceil(Fraction(repr(terms.lower)) / exact)
        last = math.floor(Fraction(repr(terms.upper)) / exact)
        return cls(last - first + 1, terms.type, first, exact, 0.0) if last >= first else None

    def value(self, index: int) -> Any:
        """The value at a place."""
        if self.values:
            return self.values[index]
        exact = Fraction(repr(self.lower)) + (self.offset + index) * self.step
        if self.type == "integer":
            return int(exact)
        if self.type == "date":
            return _EPOCH + datetime.timedelta(days=int(exact))
        if self.type == "timestamp":
            return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=int(exact * 1_000_000))
        return float(exact)

    def index_sql(self, value: str) -> str:
        """SQL for the place of a value; one beyond the bounds counts at the bound."""
        if self.values:
            listed = ", ".join(literal(one) for one in self.values)
            return f"nullif(list_position([{listed}], {value}), 0) - 1"
        if self.type == "date":
            number = f"datediff('day', DATE '1970-01-01', {value})"
        elif self.type == "timestamp":
            number = f"epoch({value})"
        else:
            number = f"CAST({value} AS DOUBLE)"
        place = f"(round(({number} - {double_sql(self.lower)}) / {double_sql(float(self.step))}) - {self.offset})"
        # Not least and greatest, which take no notice of nulls.
        return f"CAST(CASE WHEN {place} < 0 THEN 0 WHEN {place} > {self.count - 1} THEN {self.count - 1} ELSE {place} END AS BIGINT)"


def literal(value: Any) -> str:
    """A value of a domain, as SQL."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (datetime.date, datetime.datetime)):
        kind = "TIMESTAMP" if isinstance(value, datetime.datetime) else "DATE"
        return f"{kind} '{value.isoformat(' ') if isinstance(value, datetime.datetime) else value.isoformat()}'"
    return double_sql(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class SumState:
    """Σ of a measure.

    Attributes:
        value, where: SQL of what is summed, and for which rows.
        bounds: what the values lie between, where that is declared; answers with noise need it.
    """

    measure: int
    support: int
    value: str
    where: str
    bounds: tuple[float, float] | None


@dataclass(frozen=True)
class Promise:
    """A column declared to have a value in every row: both measures, of its values and of the rows, are the same."""

    values: int
    rows: int


@dataclass(frozen=True)
class ProductState:
    """Σxy, from the pairs' count, both sums, and n times a centred (co)variance."""

    x: int
    y: int
    centred: int
    support: int


@dataclass(frozen=True)
class BinState:
    """Counts per bin: ``bin`` is SQL for the bin's number, null for none.

    Attributes:
        presence: a department says only whether it has rows in a bin, as 1 or 0.
    """

    bin: str
    width: int
    support: int
    presence: bool = False


@dataclass(frozen=True)
class RankState:
    """Order statistics of ``index`` (SQL for a place in the grid, null for no observation).

    Attributes:
        ranks: how many are looked for in each cell.
        free: single values may show.
    """

    index: str
    grid: Grid
    support: int
    ranks: int
    free: bool = False


@dataclass(frozen=True)
class Aggregate:
    """An aggregate of the query.

    Attributes:
        kind: which; :mod:`shuyan.federation.sql.merge` works it out.
        type: DuckDB's name of its value's type.
        states: places among the core's states that it is worked out from.
        options: constants it was called with.
        text: as it stands in the query.
    """

    kind: str
    type: str
    support: int
    states: tuple[int, ...] = ()
    options: tuple[Any, ...] = ()
    text: str = ""


@dataclass
class Core:
    """A grouped aggregate over all departments' rows.

    Attributes:
        relation: a SELECT of which FROM, JOIN and WHERE count.
        keys: what is grouped by; none: one group of all rows.
        measures: SQL aggregates each node works out per group.
        supports: places among the measures of the counts that states rest on; the first counts the rows.
        conditional: expressions with conditions in aggregates' arguments, for the differencing guard.
        tables: the resources it reads, each with the columns and their types.
        groups: conditions of groups by something else than a column, for the guard too.
        told_apart: granted columns that conditions inside aggregates look at.
        filtered: whether a WHERE or an inner join leaves rows out.
        texts: SQL that was made of all this, for :func:`~shuyan.federation.sql.compile.tally_sql`.
    """

    relation: exp.Select
    keys: list[Key] = field(default_factory=list)
    measures: list[str] = field(default_factory=lambda: ["count(*)"])
    supports: list[int] = field(default_factory=lambda: [0])
    sums: list[SumState] = field(default_factory=list)
    products: list[ProductState] = field(default_factory=list)
    bins: list[BinState] = field(default_factory=list)
    ranks: list[RankState] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    aggregates: list[Aggregate] = field(default_factory=list)
    conditional: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    told_apart: set[tuple[str, str]] = field(default_factory=set)
    tables: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    filtered: bool = False
    texts: dict[bool, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def cells(self) -> int:
        """How many groups there can be."""
        return math.prod(len(key.domain.values) for key in self.keys)

    def measure(self, sql: str) -> int:
        """The place of a measure, added if it is new."""
        return _place(self.measures, sql)

    def support(self, sql: str) -> int:
        """The place of a support, by the SQL that counts it."""
        return _place(self.supports, self.measure(sql))

    def add(self, states: list[Any], state: Any) -> int:
        """The place of a state."""
        return _place(states, state)

    def bin_width(self) -> int:
        """Bins of a cell, over all states."""
        return sum(state.width for state in self.bins)

    def rank_width(self) -> int:
        """Order statistics of a cell, over all states."""
        return sum(state.ranks for state in self.ranks)


def _place(items: list[Any], item: Any) -> int:
    if item not in items:
        items.append(item)
    return items.index(item)


def terms_of(value: Any, count: int) -> Sequence[float]:
    """An exact number (int, Decimal, float or Fraction) as ``count`` floats that add up to it, the large ones first."""
    if isinstance(value, float):
        return [value, *[0.0] * (count - 1)]
    parts, rest = [], value if isinstance(value, int) else Fraction(value)
    for _ in range(count):
        part = float(rest)
        parts.append(part)
        rest -= int(part) if isinstance(rest, int) else Fraction(part)
    return parts
