"""A statistics job's parameters, and the order of the cells both sides derive from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shuyan.federation import problems
from shuyan.federation.apps.base import Need
from shuyan.federation.privacy import NoisyParams
from shuyan.problems import ProblemError


class Histogram(BaseModel):
    """Counts of a column in ``bins`` equal intervals from ``lower`` to ``upper``; only the last is closed above."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    column: str = Field(min_length=1)
    lower: float = Field(allow_inf_nan=False)
    upper: float = Field(allow_inf_nan=False)
    bins: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _ordered(self) -> Histogram:
        if not self.lower < self.upper:
            raise ValueError("lower must be below upper")
        return self

    def edges(self) -> list[float]:
        """The bins + 1 boundaries."""
        width = (self.upper - self.lower) / self.bins
        return [*(self.lower + width * index for index in range(self.bins)), self.upper]


class StatisticsParams(NoisyParams):
    """Parameters of a statistics job.

    Attributes:
        columns: numeric columns to describe.
        group_by: one table per entry, grouped by its dimensions; an empty entry is the overall table, and no entry at
            all means only that.
        domains: the values of every dimension; the marketplace fills them in from the departments' declarations.
    """

    resource: str = Field(min_length=1)
    columns: list[str] = Field(max_length=64)
    group_by: list[list[str]] = Field(default=[], max_length=16)
    histograms: list[Histogram] = Field(default=[], max_length=16)
    domains: dict[str, list[str]] = Field(default={})

    @field_validator("columns")
    @classmethod
    def _distinct(cls, columns: list[str]) -> list[str]:
        if len(set(columns)) != len(columns):
            raise ValueError("a column is named twice")
        return columns

    @field_validator("group_by")
    @classmethod
    def _groupings(cls, group_by: list[list[str]]) -> list[list[str]]:
        if any(len(dims) > 4 or len(set(dims)) != len(dims) for dims in group_by):
            raise ValueError("a grouping has at most four distinct dimensions")
        if len({frozenset(dims) for dims in group_by}) != len(group_by):
            raise ValueError("a grouping is named twice")
        return group_by

    @field_validator("domains")
    @classmethod
    def _values(cls, domains: dict[str, list[str]]) -> dict[str, list[str]]:
        if any(len(set(values)) != len(values) for values in domains.values()):
            raise ValueError("a value is named twice")
        return domains

    def groupings(self) -> list[list[str]]:
        """The tables' dimensions."""
        return self.group_by or [[]]

    @property
    def split(self) -> bool:
        """Whether any figure is about a part of the rows: a group or a bin."""
        return any(self.groupings()) or bool(self.histograms)

    def dimensions(self) -> list[str]:
        """All dimensions, each once, in order of appearance."""
        return list(dict.fromkeys(name for dims in self.groupings() for name in dims))

    def cells(self, dims: Sequence[str]) -> list[tuple[str, ...]]:
        """The groups of one table in order: every combination of its dimensions' values."""
        return list(product(*(self._domain(name) for name in dims)))

    def cell_count(self) -> int:
        """Cells of all tables; cheap, to be asked before building any."""
        return sum(prod(len(self._domain(name)) for name in dims) for dims in self.groupings())

    def _domain(self, name: str) -> list[str]:
        values = self.domains.get(name)
        if not values:
            raise ProblemError(problems.NOT_A_DIMENSION, column=name)
        return values


def needs(params: StatisticsParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    numbers = dict.fromkeys([*params.columns, *(histogram.column for histogram in params.histograms)])
    return [*((name, "number") for name in numbers), *((name, "dimension") for name in params.dimensions())]
