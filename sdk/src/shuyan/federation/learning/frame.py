"""The usable rows of one department, as typed columns. Node side.

A row is usable if target, offset and split are there, and every feature whose missing values are not filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from shuyan.federation import rowsets
from shuyan.federation.inputs import Inputs
from shuyan.federation.learning import split as splits
from shuyan.federation.learning.columns import LearningParams
from shuyan.federation.own import OwnFigures
from shuyan.federation.ring import Floats
from shuyan.federation.rowsets import RowSet
from shuyan.federation.schema import dimension_sql, quote

Codes = npt.NDArray[np.int64]

MISSING: Final = -1
_CACHE: Final = "learning.frame"


@dataclass(frozen=True)
class Frame:
    """Usable rows, n of them.

    Attributes:
        numbers: by numeric feature, shape (n,); NaN where missing.
        codes: by category, the level's place, shape (n,); ``MISSING`` where missing.
        target: numbers, or the places of classes.
        offset: the numeric column that goes with the target (an offset or exposure), where the job names one.
        part: each row's part.
        row: each row's number at the department.
        observed: of all rows, usable or not, how many have a value: by feature, then the target, then the offset.
        total: rows of the resource.
    """

    numbers: dict[str, Floats] = field(repr=False)
    codes: dict[str, Codes] = field(repr=False)
    target: Floats = field(repr=False)
    offset: Floats | None = field(repr=False)
    part: Codes = field(repr=False)
    row: Codes = field(repr=False)
    observed: Floats = field(repr=False)
    total: int

    def __len__(self) -> int:
        return len(self.target)

    def among(self, parts: list[int]) -> npt.NDArray[np.bool_]:
        """Which rows belong to these parts, shape (n,)."""
        return np.isin(self.part, parts)

    def among_all(self, inputs: Inputs, resource: str, parts: list[int] | None = None) -> bytes:
        """Which of the resource's rows these are (all usable ones by default), for the differencing guard.

        A row left out for a missing value is left out as by a condition. Folds are cells of a partition, as groups of a
        table are: every answer is about all of them.
        """
        key = f"{_CACHE}.rows.{parts}"
        if key not in inputs.cache:
            chosen = self.row if parts is None else self.row[self.among(parts)]
            inputs.cache[key] = rowsets.encode({resource: {rowsets.BASE: RowSet.of(chosen, self.total)}})
        found: bytes = inputs.cache[key]
        return found


def read(
    inputs: Inputs, params: LearningParams, own: OwnFigures, *, target: Literal["number", "class"], offset: str | None = None
) -> Frame:
    """Read the usable rows, once a run.

    Args:
        own: what the grant says of single departments' figures. Unless it allows them, values that one department alone
            declares are taken for undeclared ones: a coefficient of such a level would be that department's own.
        target: ``class``: the target is one of the values of ``params.domains[params.target]``.
        offset: a further numeric column that has to be there.
    """
    cached = inputs.cache.get(_CACHE)
    if isinstance(cached, Frame):
        return cached
    made = _read(inputs, params, own, target, offset)
    inputs.cache[_CACHE] = made
    return made


def _read(inputs: Inputs, params: LearningParams, own: OwnFigures, target: str, offset: str | None) -> Frame:
    query = _Query(inputs, params, {} if own.allowed else {
        column: values for (resource, column), values in own.sole.items() if resource == params.resource})
    places = {name: f"f{place}" for place, name in enumerate(params.features)}
    for name, alias in places.items():
        required = params.method(name) == "drop"
        if params.is_category(name):
            query.category(alias, name, required=required)
        else:
            query.number(alias, name, required=required)
    if target == "class":
        query.category("t", params.target, required=True, unknown="drop")
    else:
        query.number("t", params.target, required=True)
    if offset is not None:
        query.number("o", offset, required=True)
    split = params.split
    if split is not None and split.column is not None:
        query.part("p", split)
    found, observed, total = query.run()
    row = found["r"].astype(np.int64)
    part = np.zeros(len(row), dtype=np.int64)
    if split is not None:
        part = found["p"].astype(np.int64) if split.column is not None else splits.hashed_parts(split, params.resource, row)
    return Frame(
        numbers={name: found[places[name]] for name in params.numbers()},
        codes={name: _codes(found[places[name]]) for name in params.levelled()},
        target=found["t"] - 1 if target == "class" else found["t"], offset=found.get("o"), part=part, row=row,
        observed=observed, total=total,
    )


class _Query:
    """One SELECT over ``data``; values are bound, never spelt into it."""

    def __init__(self, inputs: Inputs, params: LearningParams, sole: Mapping[str, frozenset[str]]) -> None:
        self._inputs, self._params, self._sole = inputs, params, sole
        self._selected: list[str] = []
        self._arguments: list[list[str | None]] = []
        self._complete: list[str] = []
        self._seen: list[str] = []

    def number(self, alias: str, name: str, *, required: bool) -> None:
        value = f"CAST({quote(name)} AS DOUBLE)"
        self._selected.append(f"CASE WHEN isfinite({value}) THEN {value} END AS {alias}")
        self._seen.append(f"{alias} IS NOT NULL")
        if required:
            self._complete.append(f"{alias} IS NOT NULL")

    def category(self, alias: str, name: str, *, required: bool, unknown: str = "") -> None:
        # 1-based place among the levels; 0 for a value that is not declared, -1 for none at all.
        place = f"list_position(?, {dimension_sql(self._inputs.column(name))})"
        taken = {"drop": 0, "reference": 1, "missing": -1}[unknown or self._params.unknown_levels]
        self._selected.append(
            f"CASE WHEN {quote(name)} IS NULL THEN -1 ELSE coalesce(nullif({place}, 0), {taken}) END AS {alias}")
        sole = self._sole.get(name, frozenset())
        self._arguments.append([None if level in sole else level for level in self._params.domains[name]])
        self._seen.append(f"{alias} > 0")
        self._complete.append(f"{alias} {'>' if required else '<>'} 0")

    def part(self, alias: str, split: splits.Split) -> None:
        value = dimension_sql(self._inputs.column(split.column or ""))
        training = f"list_contains(?, {value})" if split.train else f"{quote(split.column or '')} IS NOT NULL"
        sole = f"WHEN list_contains(?, {value}) THEN NULL" if split.column in self._sole else ""
        self._selected.append(f"CASE {sole} WHEN list_contains(?, {value}) THEN 1 WHEN {training} THEN 0 END AS {alias}")
        if sole:
            self._arguments.append([*sorted(self._sole[split.column or ""])])
        self._arguments.append([*split.test])
        if split.train:
            self._arguments.append([*split.train])
        self._complete.append(f"{alias} IS NOT NULL")

    def run(self) -> tuple[dict[str, Floats], Floats, int]:
        """The columns of the usable rows, the observations in all rows, and how many rows there are."""
        connection = self._inputs.connection
        inner = f"SELECT {', '.join([*self._selected, self._inputs.row_number('data') + ' AS r'])} FROM data"  # noqa: S608
        counts = ", ".join(f"count(*) FILTER ({seen})" for seen in self._seen)
        record = connection.execute(f"SELECT {counts}, count(*) FROM ({inner})", self._arguments).fetchone()  # noqa: S608
        usable = " AND ".join(self._complete)
        found = connection.execute(f"SELECT * FROM ({inner}) WHERE {usable}", self._arguments).fetchnumpy()  # noqa: S608
        *observed, total = record or [0]
        columns = {name: _filled(values) for name, values in found.items()}
        return columns, np.array(observed, dtype=np.float64), int(total)


def _codes(values: Floats) -> Codes:
    """0-based places."""
    return np.asarray(np.where(values > 0, values - 1, MISSING), dtype=np.int64)


def _filled(values: np.ndarray) -> Floats:
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    return np.asarray(values, dtype=np.float64)
