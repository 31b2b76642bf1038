"""The strict model of a regression's result: what an egress check lets through."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from shuyan.federation.audit import AuditContent
from shuyan.federation.learning.content import (
    BinaryMetrics,
    ClassesMetrics,
    Feature,
    Notice,
    Number,
    NumbersMetrics,
    Shape,
    Spent,
    SplitDescribed,
)


class InferenceRow(Shape):
    """One weight's inference; ``class`` names the class in multinomial models."""

    term: str
    class_: str | None = Field(alias="class")
    estimate: Number
    standard_error: Number | None
    statistic: Number | None
    p_value: Number | None
    lower: Number | None
    upper: Number | None


class Inference(Shape):
    """Standard errors, tests and intervals on both scales, or the reason why there are none."""

    available: bool
    reason: Notice | None
    confidence: Number
    distribution: Literal["normal", "t"]
    degrees: int | None
    dispersion: Number | None
    standardised: list[InferenceRow] | None
    original: list[InferenceRow] | None


class Original(Shape):
    """Weights for inputs as they are, not standardised."""

    coefficients: list[Number]
    intercept: Number | None
    intercepts: list[Number] | None


Metrics = BinaryMetrics | ClassesMetrics | NumbersMetrics


class Department(Shape):
    """One department's own figures."""

    node: str
    metrics: Metrics | None


class Evaluation(Shape):
    """Metrics in sample and on rows held out; ``departments`` only where the grant allows own figures."""

    split: SplitDescribed | None
    in_sample: Metrics
    held_out: Metrics | None
    folds: list[Metrics | None]
    departments: list[Department] | None


class WeightNoise(Shape):
    """How far noise moves a weight, in standard deviations and half of a 95 % interval, to first order.

    Attributes:
        original_sd: of the weight for inputs as they are.
    """

    term: str
    sd: Number
    half_width: Number
    original_sd: Number


class RegressionContent(Shape):
    """The content of a regression's result.

    Attributes:
        evaluation: None with differential privacy.
        noise, privacy: with differential privacy only.
    """

    kind: Literal["model"]
    family: Literal["logistic", "linear", "multinomial", "poisson"]
    target: str
    features: list[Feature]
    terms: list[str]
    coefficients: list[Number]
    intercept: Number | None
    intercepts: list[Number] | None
    classes: list[str] | None
    original: Original | None
    l1: Number = Field(ge=0)
    l2: Number = Field(ge=0)
    standardise: Literal["pooled", "department", "none", "bounds"]
    offset: str | None
    exposure: str | None
    threshold: Number | None
    rows: int = Field(ge=0)
    departments: int = Field(ge=0)
    rounds: int = Field(ge=0)
    converged: bool
    metrics: dict[str, Number]
    inference: Inference
    evaluation: Evaluation | None
    warnings: list[Notice]
    noise: list[WeightNoise] | None = None
    privacy: Spent | None = None
    audit: AuditContent | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RegressionContent:
        if len(self.coefficients) != len(self.terms):
            raise ValueError("as many coefficients as terms")
        if (self.intercept is None) == (self.intercepts is None):
            raise ValueError("one intercept, or one for each class")
        return self
