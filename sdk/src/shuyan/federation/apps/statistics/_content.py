"""The content of a statistics result, in both release modes, as a strict model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

Number = float | int


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Noise(_Strict):
    """How far a figure is from the exact one: standard deviation, and half of a 95 % interval."""

    sd: Number = Field(ge=0)
    half_width: Number = Field(ge=0)


class Described(_Strict):
    """A column in one cell; ``None`` where there are no or too few observations.

    Attributes:
        noise: by figure; that of a mean or variance is worked out from the noisy figures and holds for large counts.
    """

    count: Number | None
    sum: Number | None
    mean: Number | None
    variance: Number | None
    sd: Number | None
    noise: dict[str, Noise] | None = None


class Cell(_Strict):
    group: dict[str, str | int | float | bool]
    rows: int = Field(ge=0)
    columns: dict[str, Described]
    noise: Noise | None = None


class Table(_Strict):
    group_by: list[str]
    cells: list[Cell]
    suppressed: int = Field(ge=0)


class Histogram(_Strict):
    column: str
    edges: list[Number]
    counts: list[int | None]
    suppressed: int = Field(ge=0)
    noise: Noise | None = None


class Privacy(_Strict):
    """What was spent on an answer with noise, and what that protects."""

    unit: str
    rho_nano: int = Field(ge=1)
    epsilon: Number = Field(ge=0)
    delta: float = Field(gt=0, lt=1)
    max_rows_per_unit: int = Field(ge=1)
    honest_fraction: float = Field(gt=0, le=1)
    bounds: dict[str, tuple[Number, Number]]
    rows_noise: Noise


class StatisticsContent(_Strict):
    kind: str = Field(pattern="^statistics$")
    resource: str
    rows: int = Field(ge=0)
    departments: int = Field(ge=0)
    tables: list[Table]
    histograms: list[Histogram]
    minimum_cohort: int = Field(ge=1)
    privacy: Privacy | None = None
