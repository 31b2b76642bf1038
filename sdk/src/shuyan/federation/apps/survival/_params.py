"""A survival job's parameters and the shape of its result."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shuyan.federation.apps.base import Need
from shuyan.federation.learning import plain

MAX_STEPS = 2_000


class TimeGrid(BaseModel):
    """Where times may lie: above ``lower``, up to ``upper``; a time belongs to the end of its step.

    With a step as fine as the times themselves (days, where times are days), the fit is that of the times.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    lower: float = Field(default=0.0, allow_inf_nan=False)
    upper: float = Field(allow_inf_nan=False)
    step: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _finite(self) -> TimeGrid:
        if not self.lower < self.upper or (self.upper - self.lower) / self.step > MAX_STEPS:
            raise ValueError(f"the grid has between 1 and {MAX_STEPS} steps")
        return self

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return math.ceil((self.upper - self.lower) / self.step - 1e-9)

    def end(self, place: int) -> float:
        """The end of the step at ``place``, counted from 0."""
        return min(self.lower + (place + 1) * self.step, self.upper)


class SurvivalParams(BaseModel):
    """Parameters.

    Attributes:
        time: numeric column, from the beginning of observation to the event or to its end.
        event: column of 1 where the event was seen and 0 where observation ended without it.
        ties: how events of one time are treated: ``efron`` (the better approximation) or ``breslow``.
        l2: ridge penalty on coefficients of standardised inputs; with one there are no standard errors.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    resource: str = Field(min_length=1)
    time: str = Field(min_length=1)
    event: str = Field(min_length=1)
    features: list[str] = Field(min_length=1, max_length=50)
    times: TimeGrid
    ties: Literal["efron", "breslow"] = "efron"
    l2: float = Field(default=0.0, ge=0, le=1e12, allow_inf_nan=False)
    max_rounds: int = Field(default=25, ge=1, le=100)
    tolerance: float = Field(default=1e-8, gt=0, le=1, allow_inf_nan=False)
    confidence: float = Field(default=0.95, gt=0, lt=1, allow_inf_nan=False)
    domains: dict[str, list[str]] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> SurvivalParams:
        if len({*self.features, self.time, self.event}) != len(self.features) + 2:
            raise ValueError("features, time and event must be distinct columns")
        if any(not values or len(set(values)) != len(values) for values in self.domains.values()):
            raise ValueError("a domain is empty or names a value twice")
        return self

    def size(self) -> int:
        """Model terms."""
        return len(plain.terms(self.features, self.domains))


def needs(params: SurvivalParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    features: list[tuple[str, Need]] = [
        (name, "category" if name in params.domains else "number") for name in params.features]
    return [(params.time, "number"), (params.event, "number"), *features]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class SurvivalFeature(_Shape):
    """What scoring needs: a mean and deviation per number, one per level but the first of a category."""

    name: str
    type: Literal["number", "category"]
    levels: list[str] = []
    mean: float | list[float]
    sd: float | list[float]


class Effect(_Shape):
    """One term: a log hazard ratio per unit of the input as it is, and the ratio itself."""

    term: str
    estimate: float
    hazard_ratio: float | None
    standard_error: float | None
    statistic: float | None
    p_value: float | None
    lower: float | None
    upper: float | None


class Baseline(_Shape):
    """The cumulative baseline hazard (Breslow's estimate, for average inputs) at the end of a time."""

    time: float
    hazard: float = Field(ge=0)


class SurvivalContent(_Shape):
    """Content of a result. The baseline has a point only after each further ``minimum_cohort`` events."""

    kind: Literal["model"]
    family: Literal["cox"]
    target: str
    event: str
    features: list[SurvivalFeature]
    terms: list[str]
    coefficients: list[float]
    effects: list[Effect]
    baseline: list[Baseline]
    ties: str
    l2: float
    rows: int = Field(ge=0)
    events: int = Field(ge=0)
    departments: int = Field(ge=0)
    rounds: int = Field(ge=0)
    converged: bool
    metrics: dict[str, float]
    warnings: list[dict[str, Any]]
