"""Strict models of the parts that learning results have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shuyan.federation.privacy import accounting

if TYPE_CHECKING:
    from shuyan.federation.grid import SecureGrid

Number = float | int


class Shape(BaseModel):
    """Strict, finite, nothing besides."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Notice(Shape):
    """Something a person should know."""

    code: str = Field(pattern=r"^[a-z_]+$")
    terms: list[str]
    zh: str
    en: str


class Indicator(Shape):
    """The standardisation of a term that says whether a value is missing."""

    mean: Number
    sd: Number


class Missing(Shape):
    """What is filled in for a missing value."""

    method: Literal["mean", "median", "constant", "most_frequent", "level"]
    fill: Number | str
    indicator: Indicator | None


class Feature(Shape):
    """How scoring turns a feature into terms; see :func:`shuyan.federation.learning.preprocess.features`."""

    name: str
    type: Literal["number", "category"]
    levels: list[str] | None = None
    mean: Number | list[Number]
    sd: Number | list[Number]
    unknown: Literal["reference", "missing"] | None = None
    missing: Missing | None = None


class Spent(Shape):
    """Differential privacy of the training, at each department.

    Attributes:
        rho_nano: spent by the run, in 1e-9 of zCDP's ρ.
        epsilon: what that means at ``delta``.
    """

    unit: str
    rho_nano: int = Field(ge=0)
    epsilon: Number
    delta: Number


def spent(grid: SecureGrid) -> dict[str, Any]:
    """What a run on a noisy grid has spent, as :class:`Spent`."""
    terms = grid.privacy
    if terms is None:
        raise ValueError("nothing is spent on exact sums")
    return {"unit": terms.unit, "rho_nano": grid.spent_nano, "delta": terms.delta,
            "epsilon": accounting.epsilon(grid.spent_nano, terms.delta)}


class SplitDescribed(Shape):
    """The split that was asked for."""

    column: str | None
    test: list[str]
    train: list[str]
    fraction: Number | None
    folds: int | None
    seed: int


class Area(Shape):
    """An AUC."""

    value: Number
    error_bound: Number
    standard_error: Number | None
    lower: Number | None
    upper: Number | None


class Distance(Shape):
    """A Kolmogorov-Smirnov distance."""

    value: Number
    error_bound: Number


class Confusion(Shape):
    """Decisions at a threshold."""

    threshold: Number
    true_positive: int = Field(ge=0)
    false_positive: int = Field(ge=0)
    false_negative: int = Field(ge=0)
    true_negative: int = Field(ge=0)
    sensitivity: Number | None
    specificity: Number | None
    precision: Number | None
    f1: Number | None


class CalibrationRow(Shape):
    """Predicted and observed share in an interval of probability."""

    lower: Number
    upper: Number
    rows: int = Field(ge=1)
    predicted: Number
    observed: Number


class BinaryMetrics(Shape):
    """Of :class:`shuyan.federation.learning.evaluation.Binary`."""

    rows: int = Field(ge=1)
    auc: Area | None
    ks: Distance | None
    log_loss: Number
    brier: Number
    accuracy: Number
    confusion: Confusion | None
    calibration: list[CalibrationRow]


class ConfusionMatrix(Shape):
    """Rows by true class (rows) and predicted class (columns)."""

    classes: list[str]
    counts: list[list[int]]


class ClassesMetrics(Shape):
    """Of :class:`shuyan.federation.learning.evaluation.Classes`."""

    rows: int = Field(ge=1)
    log_loss: Number
    brier: Number
    accuracy: Number
    confusion: ConfusionMatrix | None
    auc: dict[str, Area | None]


class NumbersMetrics(Shape):
    """Of :class:`shuyan.federation.learning.evaluation.Numbers`."""

    rows: int = Field(ge=1)
    rmse: Number
    mae: Number
    r2: Number | None = None
    deviance: Number | None = None
    d2: Number | None = None
