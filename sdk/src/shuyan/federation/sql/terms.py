"""What a query may touch and what is known about it beforehand: the departments' declarations, made one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shuyan.federation.schema import Column, ColumnType, Schema
from shuyan.federation.sql import errors
from shuyan.federation.units import same_unit
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, PrivacyTerms


class ColumnTerms(BaseModel):
    """A column as all departments declare it together.

    Attributes:
        domain: the union of the departments' values, sorted.
        lower, upper: bounds that hold for all of them; None if any declares none. Dates count in days, timestamps in
            seconds, from 1970-01-01.
        resolution: the finest of theirs, where all have one.
        free: all departments declare it to be about no one.
        required: all departments declare every row to have a value.
        sole: each value belongs to one department only, so grouping by it never mixes departments.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    type: ColumnType
    domain: list[str] = Field(default=[], max_length=100_000)
    lower: float | None = Field(default=None, allow_inf_nan=False)
    upper: float | None = Field(default=None, allow_inf_nan=False)
    resolution: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    sole: bool = False
    free: bool = False
    required: bool = False


ResourceTerms = Mapping[str, ColumnTerms]
Catalogue = Mapping[str, ResourceTerms]
"""By resource name, then by column name."""


@dataclass(frozen=True)
class GrantTerms:
    """What of a grant decides how a query is answered.

    Attributes:
        columns: by resource, the columns granted at every department; empty: not restricted here.
        sole_values: by (resource, column), the values that are one department's own.
        privacy: terms of answers with noise. departments: how many take part, by which the noise is shared.
    """

    minimum_cohort: int = 10
    own_figures: bool = False
    release: Literal["exact", "dp"] = "exact"
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sole_values: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    max_output_values: int = 100_000
    privacy: PrivacyTerms | None = None
    departments: int = 3

    @classmethod
    def of(cls, grant: Grant) -> GrantTerms:
        """A grant's own."""
        columns: dict[str, frozenset[str]] = {}
        for entry in grant.resources:
            columns[entry.name] = columns.get(entry.name, frozenset(entry.columns)) & frozenset(entry.columns)
        sole = {(entry.resource, entry.column): frozenset(entry.values) for entry in grant.sole_values}
        return cls(grant.minimum_cohort, grant.own_figures, grant.release, columns, sole, grant.max_output_values, grant.privacy,
                   len(grant.nodes))


def sole_of(schemas: Mapping[str, Sequence[Schema]]) -> dict[tuple[str, str], frozenset[str]]:
    """By (resource, column), the declared values that only one of the departments has."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for resource, declared in schemas.items():
        seen: dict[str, dict[str, int]] = {}
        for schema in declared:
            for column in schema.values():
                for value in column.domain:
                    values = seen.setdefault(column.name, {})
                    values[value] = values.get(value, 0) + 1
        for name, values in seen.items():
            if alone := frozenset(value for value, count in values.items() if count == 1):
                found[resource, name] = alone
    return found


def combined(
    schemas: Mapping[str, Sequence[Schema]], sole: Mapping[tuple[str, str], frozenset[str]] | None = None,
) -> dict[str, dict[str, ColumnTerms]]:
    """The departments' schemas as one, without direct identifiers and without columns that differ.

    Args:
        schemas: by resource name, the schema at each department.
        sole: as the grant says it; by default as the schemas say it.
    """
    alone = sole_of(schemas) if sole is None else sole
    result: dict[str, dict[str, ColumnTerms]] = {}
    for resource, declared in schemas.items():
        names = [name for name in declared[0] if all(name in schema for schema in declared)] if declared else []
        result[resource] = {
            name: _column([schema[name] for schema in declared], alone.get((resource, name), frozenset()))
            for name in names if not any(schema[name].identifier for schema in declared) and differing(name, declared) is None}
    return result


def differing(name: str, declared: Sequence[Schema]) -> ProblemError | None:
    """Why departments' columns of one name cannot be used as one: ``columns_differ``, ``column_units_differ``."""
    columns = [schema[name] for schema in declared if name in schema]
    if {column.type for column in columns} not in ({column.type} for column in columns) and any(
            column.type not in ("integer", "number") for column in columns):
        return ProblemError(errors.COLUMNS_DIFFER, field="sql", column=name)
    if any(not same_unit(column.unit, columns[0].unit) for column in columns):
        return ProblemError(errors.COLUMN_UNITS_DIFFER, field="sql", column=name)
    return None


def _column(columns: Sequence[Column], alone: frozenset[str]) -> ColumnTerms:
    kinds = {column.type for column in columns}
    type_: ColumnType = columns[0].type if len(kinds) == 1 else "number"
    domain: set[str] = set().union(*(column.domain for column in columns)) if all(c.domain for c in columns) else set()
    lowers = [column.lower for column in columns if column.lower is not None]
    uppers = [column.upper for column in columns if column.upper is not None]
    steps = [column.resolution for column in columns if column.resolution]
    bounded = len(lowers) == len(uppers) == len(columns)
    return ColumnTerms(
        type=type_, domain=sorted(domain), lower=float(min(lowers)) if bounded else None,
        upper=float(max(uppers)) if bounded else None,
        resolution=_finest(steps) if len(steps) == len(columns) else None, sole=bool(domain) and domain <= alone,
        free=all(column.free for column in columns), required=all(column.required for column in columns))


def _finest(steps: Sequence[float]) -> float | None:
    """The smallest step, if all others are whole multiples of it."""
    least = min(steps)
    return float(least) if all(math.isclose(step / least, round(step / least), rel_tol=1e-9) for step in steps) else None
