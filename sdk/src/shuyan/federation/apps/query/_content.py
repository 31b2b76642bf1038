"""The content of a query's result, as a strict model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ResultColumn(_Strict):
    """A column: its name, and DuckDB's name of its type."""

    name: str
    type: str


class ColumnNoise(_Strict):
    """How far a column's figures may be off, by row: standard deviation, and half of a 95 % interval; null where unknown."""

    column: str
    sd: list[float | int | None]
    half_width: list[float | int | None]


class Privacy(_Strict):
    """What was spent on an answer with noise, and what that protects."""

    unit: str
    rho_nano: int = Field(ge=1)
    epsilon: float | int = Field(ge=0)
    delta: float = Field(gt=0, lt=1)
    max_rows_per_unit: int = Field(ge=1)
    honest_fraction: float | int = Field(gt=0, le=1)


class FoundKeys(_Strict):
    """How the values of a key that nobody declared were found.

    Attributes:
        title: the key, as the query has it.
        found: how many. unread: how many more places held enough units, in which no value prevailed.
        threshold: the noisy number of distinct units that a value needed at least.
        delta: with this probability at most a value of a single unit passes it.
        max_keys, key_bytes: how many were looked for, and how long they could be.
    """

    title: str
    found: int = Field(ge=0)
    unread: int = Field(ge=0)
    threshold: float | int = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    max_keys: int = Field(ge=1)
    key_bytes: int = Field(ge=1)


class TableContent(_Strict):
    """A table.

    Attributes:
        sql: the query in its one spelling.
        rows: by row, one value a column: numbers, text, booleans, null, lists of these, or objects (``chi_square``).
        suppressed: groups that exist and are not shown.
        cells: groups there could have been.
        rows_used: rows read.
        notes: codes of what a reader should know.
    """

    kind: Literal["table"]
    sql: str
    columns: list[ResultColumn]
    rows: list[list[Any]]
    suppressed: int = Field(ge=0)
    cells: int = Field(ge=0)
    rows_used: int = Field(ge=0)
    departments: int = Field(ge=0)
    minimum_cohort: int = Field(ge=1)
    release: Literal["exact", "dp"]
    notes: list[str]
    noise: list[ColumnNoise] | None = None
    privacy: Privacy | None = None
    keys: FoundKeys | None = None
