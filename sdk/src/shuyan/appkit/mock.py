"""Mock data: what a project says its departments' tables look like, and the tables, the same at every run."""

from __future__ import annotations

import zlib
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shuyan.federation.schema import Column, Schema


class MockColumn(BaseModel):
    """One column.

    Attributes:
        domain: declared values; the column is a dimension then.
        lower, upper: range of numbers and integers.
        nulls: share of rows without a value.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    type: Literal["integer", "number", "string", "boolean"]
    domain: list[str] = []
    lower: float = 0.0
    upper: float = 100.0
    nulls: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _range(self) -> MockColumn:
        if not self.lower < self.upper:
            raise ValueError("lower must be below upper")
        return self


class MockResource(BaseModel):
    """One table, of every department."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rows: int = Field(default=200, ge=1, le=100_000)
    columns: dict[str, MockColumn] = Field(min_length=1)


class MockCase(BaseModel):
    """One job to try."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    params: dict[str, Any]


class Mock(BaseModel):
    """The file ``mock.toml``."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    departments: int = Field(default=3, ge=3, le=20)
    minimum_cohort: int = Field(default=5, ge=1)
    resources: dict[str, MockResource] = Field(min_length=1)
    cases: list[MockCase] = Field(min_length=1, max_length=20)


def schema_of(resource: MockResource) -> Schema:
    """The declaration that a node would have of it."""
    return {name: Column(name, column.type, domain=tuple(column.domain)) for name, column in resource.columns.items()}


def arrays_of(name: str, resource: MockResource, department: int) -> dict[str, np.ndarray[Any, Any]]:
    """A department's table, by column; ``None`` is a null."""
    made = {}
    for column_name, column in resource.columns.items():
        random = np.random.default_rng([department, zlib.crc32(f"{name}.{column_name}".encode())])
        values = _values(column, random, resource.rows).astype(object)
        values[random.random(resource.rows) < column.nulls] = None
        made[column_name] = values
    return made


def _values(column: MockColumn, random: np.random.Generator, rows: int) -> np.ndarray[Any, Any]:
    if column.domain:
        chosen = random.choice(column.domain, rows)
        return chosen.astype(float if column.type == "number" else int) if column.type in ("number", "integer") else chosen
    if column.type == "integer":
        return random.integers(int(column.lower), int(column.upper) + 1, rows)
    if column.type == "boolean":
        return random.random(rows) < 0.5
    if column.type == "string":
        return np.array([f"text {number}" for number in random.integers(0, rows, rows)])
    return random.uniform(column.lower, column.upper, rows)
