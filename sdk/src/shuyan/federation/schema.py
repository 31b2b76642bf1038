"""A resource's schema as far as computations need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

ColumnType = Literal["integer", "number", "string", "boolean", "date", "timestamp"]

SQL_TYPES: Final[Mapping[ColumnType, str]] = {
    "integer": "BIGINT", "number": "DOUBLE", "string": "VARCHAR", "boolean": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP",
}
"""As what a column of each type is read."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a resource.

    Attributes:
        identifier: a direct identifier, which is never granted.
        domain: the declared values of a dimension, as canonical strings; empty if it is none.
        lower, upper: declared bounds of a numeric column.
        resolution: the step between neighbouring values of a numeric column, where it has one.
        unit: as declared, ``µg/m³`` for instance.
        free: the department declares it to be about no one (classified as ``free``), so an extreme may show as it is.
        required: the department declares every row to have a value (Table Schema, ``constraints.required``).
    """

    name: str
    type: ColumnType
    identifier: bool = False
    domain: tuple[str, ...] = ()
    lower: float | None = None
    upper: float | None = None
    resolution: float | None = None
    unit: str = ""
    free: bool = False
    required: bool = False


Schema = Mapping[str, Column]


def quote(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def cast_sql(column: Column) -> str:
    """A column as a computation reads it, under its own name."""
    return f"CAST({quote(column.name)} AS {SQL_TYPES[column.type]}) AS {quote(column.name)}"


def double_sql(value: float) -> str:
    """An SQL expression for exactly this float64; a bare literal would be read as a decimal first, and rounded twice."""
    return f"CAST('{value!r}' AS DOUBLE)"


def dimension_sql(column: Column) -> str:
    """An SQL expression giving a column's canonical string: numbers without a trailing ``.0``, ``true``/``false``."""
    name = quote(column.name)
    if column.type == "number":
        whole = f"{name} = trunc({name}) AND abs({name}) < 1e15"
        return f"CASE WHEN {whole} THEN CAST(CAST({name} AS BIGINT) AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
    return f"CAST({name} AS VARCHAR)"
