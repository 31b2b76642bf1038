"""Complete rows as a plain matrix, for apps without a target to predict: no filling in, first levels left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Context, Message

from shuyan.federation import _flower, moments, rowsets
from shuyan.federation.grid import Sum
from shuyan.federation.inputs import Inputs
from shuyan.federation.ring import Floats
from shuyan.federation.rowsets import RowSet
from shuyan.federation.schema import dimension_sql, quote
from shuyan.federation.vectors import VectorSpec

_CACHE = "learning.plain"

PRODUCT = VectorSpec(limbs=2, fraction_bits=44, bound=2.0**70)
"""Sums of products of standardised values: 2^-44 apart, room for 10^12 rows of values up to 10^4."""


@dataclass(frozen=True)
class Rows:
    """Complete rows of a department, n of them.

    Attributes:
        matrix: shape (n, p): each numeric feature a column, each category one a level but the first.
        extra: further numeric columns by name, shape (n,) each.
        sets: which rows of the resource these are, for the differencing guard: a row left out for a missing value is left
            out as by a condition.
    """

    matrix: Floats = field(repr=False)
    extra: Mapping[str, Floats] = field(repr=False)
    sets: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.matrix)


def terms(features: Sequence[str], domains: Mapping[str, Sequence[str]]) -> list[tuple[str, str | None]]:
    """The columns of the matrix: feature and level, which is None for a number."""
    return [(name, level) for name in features for level in (domains[name][1:] if name in domains else (None,))]


def term_names(features: Sequence[str], domains: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns' names."""
    return [name if level is None else f"{name}={level}" for name, level in terms(features, domains)]


def read(inputs: Inputs, features: Sequence[str], domains: Mapping[str, Sequence[str]], extra: Sequence[str] = ()) -> Rows:
    """The rows in which every feature has a finite number or a declared level and every extra column a finite number.

    They are read once a run.
    """
    cached = inputs.cache.get(_CACHE)
    if isinstance(cached, Rows):
        return cached
    selected, complete = [f"{inputs.row_number('data')} AS r"], []
    arguments: list[list[str]] = []
    for place, name in enumerate([*features, *extra]):
        if name in domains:
            selected.append(f"list_position(?, {dimension_sql(inputs.column(name))}) AS f{place}")
            arguments.append(list(domains[name]))
            complete.append(f"f{place} > 0")  # 0 for a value that is not declared
        else:
            selected.append(f"CAST({quote(name)} AS DOUBLE) AS f{place}")
            complete.append(f"isfinite(f{place})")
    sql = f"SELECT * FROM (SELECT {', '.join(selected)} FROM data) WHERE {' AND '.join(complete)}"  # noqa: S608
    numbers, *found = [_plain(column) for column in inputs.connection.execute(sql, arguments).fetchnumpy().values()]
    place_of = {name: place for place, name in enumerate([*features, *extra])}
    named = terms(features, domains)
    matrix = np.empty((len(found[0]), len(named)))
    for at, (name, level) in enumerate(named):
        values = found[place_of[name]]
        matrix[:, at] = values if level is None else values == 1 + list(domains[name]).index(level)
    universe = max(inputs.row_count(), int(numbers.max(initial=-1)) + 1)
    (resource,) = inputs.schemas
    sets = rowsets.encode({resource: {rowsets.BASE: RowSet.of(numbers, universe)}})
    rows = Rows(matrix, {name: found[place_of[name]] for name in extra}, sets)
    inputs.cache[_CACHE] = rows
    return rows


def describe(matrix: Floats) -> dict[str, Floats]:
    """A department's exact sums and sums of squares by column, as vectors ``sum`` and ``square``."""
    count = np.full(matrix.shape[1], float(len(matrix)))
    mean = matrix.mean(axis=0) if len(matrix) else np.zeros(matrix.shape[1])
    shift = np.array([moments.shift_of(value) for value in mean.tolist()])
    deviation = matrix - shift
    rest = deviation.sum(axis=0)
    deviation -= rest / max(len(matrix), 1)
    centred = np.einsum("ij,ij->j", deviation, deviation)
    return {"sum": moments.sum_terms(count, shift, rest), "square": moments.square_terms(count, shift, rest, centred)}


def pooled(total: Sum, size: int) -> tuple[Floats, Floats]:
    """Means and standard deviations (divisor n) of all departments' rows, shape (size,) each.

    A column that does not vary has the standard deviation 0.
    """
    found = moments.combine([total.cohort] * size, total.integers("sum"), total.integers("square"))
    mean = np.array([one.mean or 0.0 for one in found])
    return mean, np.sqrt(np.array([one.centred / one.count if one.count else 0.0 for one in found]))


def scaled(matrix: Floats, arrays: Mapping[str, Floats]) -> Floats:
    """Standardised by the ``mean`` and ``sd`` that came with the question."""
    return np.asarray((matrix - arrays["mean"]) / arrays["sd"])


def answer_moments(message: Message, context: Context) -> Message:
    """A handler's answer: sums and squares of every feature over complete rows."""
    rows = read(context.inputs, context.params.features, {})
    return _flower.reply(message, describe(rows.matrix), len(rows), rows.sets)


def answer_products(message: Message, context: Context) -> Message:
    """A handler's answer: sums of products of standardised values, the upper triangle by rows."""
    rows = read(context.inputs, context.params.features, {})
    matrix = scaled(rows.matrix, _flower.arrays_of(message))
    products = matrix.T @ matrix
    return _flower.reply(message, {"products": products[np.triu_indices(len(products))]}, len(rows), rows.sets)


def _plain(values: np.ndarray) -> Floats:
    return np.asarray(values.data if isinstance(values, np.ma.MaskedArray) else values, dtype=np.float64)
