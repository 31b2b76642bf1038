"""Mock tables from a description.

Every value comes of uniform numbers of a PCG64 stream, whose numbers NumPy keeps from version to version; the stream is
named by seed, department, resource and column, so that a column does not depend on what else is there.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np

from shuyan.mockdata.description import Described, Description, MadeColumn
from shuyan.mockdata.identities import KINDS

Values = np.ndarray[Any, Any]
_YEARS: Final = 5
_WIDE: Final = 100.0
_TEXTS: Final = 6_000
"""How many different texts a column can have, the same at every department: some persons and enterprises appear again."""


def table(description: Description, resource: Described, rows: int) -> dict[str, Values]:
    """A department's mock table: by column, ``rows`` objects; ``None`` where a value is missing, dates in ISO 8601."""
    until = dt.date.fromisoformat(description.until)
    return {column.name: column_values(column, (description.seed, resource.node_id, resource.name, column.name), rows, until)
            for column in resource.columns}


def preview(description: Description, resource: Described, rows: int = 8) -> list[dict[str, Any]]:
    """The first rows of a department's mock table, granted columns only."""
    made = table(description, resource, rows)
    shown = [column.name for column in resource.columns if column.granted]
    return [{name: made[name][place] for name in shown} for place in range(rows)]


def column_values(column: MadeColumn, stream: Sequence[str], rows: int, until: dt.date) -> Values:
    """The values of one column.

    Args:
        stream: what names its random numbers.
        until: the last day of dates that nothing else is known of.
    """
    # A row's numbers stand together, so that a longer table begins with the shorter one.
    seed = int.from_bytes(sha256("\0".join(stream).encode()).digest()[:16], "big")
    numbers = np.random.Generator(np.random.PCG64(seed)).random((rows, 3))
    which, within = numbers[:, 0], numbers[:, 1]
    made = _values(column, which, within, until)
    made[numbers[:, 2] * 100 < column.missing] = None
    return made


def _values(column: MadeColumn, which: Values, within: Values, until: dt.date) -> Values:
    if column.domain or column.type == "boolean":
        return _of_domain(column, which)
    if column.type in ("integer", "number"):
        return _numbers(column, which, within)
    if column.type in ("date", "timestamp"):
        return _days(column, which, within, until)
    return _texts(column, which)


def _choose(weights: Sequence[float], which: Values) -> Values:
    """Places 0 to ``len(weights) - 1``, as often as the weights say."""
    limits = np.cumsum(np.asarray(weights, dtype=float))
    places: Values = np.searchsorted(limits, which * limits[-1], side="right")
    return places


def _of_domain(column: MadeColumn, which: Values) -> Values:
    marginal = column.marginal
    labels = list(marginal.labels if marginal is not None else column.domain or ("true", "false"))
    weights = list(marginal.weights) if marginal is not None else [1] * len(labels)
    typed = np.empty(len(labels), dtype=object)
    typed[:] = [_typed(label, column.type) for label in labels]
    chosen: Values = typed[_choose(weights, which)]
    return chosen


def _typed(label: str, type_: str) -> Any:
    if type_ == "integer":
        return int(label)
    if type_ == "number":
        return float(label)
    return label == "true" if type_ == "boolean" else label


def _numbers(column: MadeColumn, which: Values, within: Values) -> Values:
    low, high = _bounds(column)
    edges, weights = np.array([low, high]), [1]
    if column.marginal is not None:
        edges, weights = np.array(column.marginal.edges), list(column.marginal.weights)
    place = _choose(weights, which)
    values = edges[place] + within * (edges[place + 1] - edges[place])
    step = column.resolution or (1.0 if column.type == "integer" else 0.0)
    if column.type == "integer":
        step = max(1.0, float(round(step)))
    if step:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if first > last:  # nothing lies between its bounds
            return np.full(len(which), None, dtype=object)
        values = np.clip(np.round(values / step), first, last) * step
    values = np.clip(values, low, high)
    made = np.empty(len(which), dtype=object)
    made[:] = [round(value) for value in values] if column.type == "integer" else values.tolist()
    return made


def _bounds(column: MadeColumn) -> tuple[float, float]:
    width = _WIDE * (column.resolution or 1.0)
    if column.lower is None and column.upper is None and column.marginal is not None:
        return column.marginal.edges[0], column.marginal.edges[-1]
    if column.lower is not None:
        return column.lower, column.upper if column.upper is not None else max(
            column.lower + width, column.marginal.edges[-1] if column.marginal else column.lower)
    if column.upper is not None:
        return min(column.upper - width, column.marginal.edges[0] if column.marginal else column.upper), column.upper
    return 0.0, width


def _days(column: MadeColumn, which: Values, within: Values, until: dt.date) -> Values:
    edges, weights = np.array([until.toordinal() - 365 * _YEARS, until.toordinal() + 1]), [1]
    if column.marginal is not None:
        edges = np.array([dt.date.fromisoformat(day).toordinal() for day in column.marginal.days])
        weights = list(column.marginal.weights)
    place = _choose(weights, which)
    exact = edges[place] + within * (edges[place + 1] - edges[place])
    made = np.empty(len(which), dtype=object)
    made[:] = [_day(value, column.type == "timestamp") for value in exact]
    return made


def _day(value: float, to_the_second: bool) -> str:
    day = dt.date.fromordinal(int(value))
    if not to_the_second:
        return day.isoformat()
    seconds = min(int((value % 1) * 86_400), 86_399)
    return f"{day.isoformat()} {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _texts(column: MadeColumn, which: Values) -> Values:
    made = np.empty(len(which), dtype=object)
    numbers = [int(value * _TEXTS) for value in which]
    make = KINDS.get(column.kind)
    made[:] = [f"{column.name}-{number:05d}" if make is None else make(number) for number in numbers]
    return made
