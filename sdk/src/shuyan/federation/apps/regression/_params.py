"""A regression job's parameters and the model terms both sides derive from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shuyan.federation.apps.base import Need


@dataclass(frozen=True, slots=True)
class Term:
    """One model input: a numeric feature, or a category being at one ``level``."""

    feature: str
    level: str | None

    @property
    def name(self) -> str:
        return self.feature if self.level is None else f"{self.feature}={self.level}"


class RegressionParams(BaseModel):
    """Parameters of a regression job.

    Attributes:
        target: for ``logistic`` a column of 0 and 1, for ``linear`` any number.
        features: numeric columns and dimensions; one with an entry in ``domains`` is a category.
        l2: ridge penalty; the fit minimises (sum of losses) + l2/2·|w|² over standardised inputs, intercept unpenalised.
            A linear loss is half the squared error, so l2 is scikit-learn's ``Ridge(alpha)`` and ``LogisticRegression(1/C)``.
        tolerance: the fit has converged when no coefficient moves further in a Newton step.
        standardise: ``pooled`` by the mean and standard deviation (divisor n) of all departments, or ``department``, each
            by its own, as where departments measure on different scales; the pooled values are then used for scoring.
        domains: the levels of each category, the first being the reference.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    resource: str = Field(min_length=1)
    family: Literal["logistic", "linear"]
    target: str = Field(min_length=1)
    features: list[str] = Field(min_length=1, max_length=200)
    l2: float = Field(default=1.0, ge=0, le=1e12, allow_inf_nan=False)
    max_rounds: int = Field(default=25, ge=1, le=200)
    tolerance: float = Field(default=1e-8, gt=0, le=1, allow_inf_nan=False)
    standardise: Literal["pooled", "department"] = "pooled"
    domains: dict[str, list[str]] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> RegressionParams:
        if len(set(self.features)) != len(self.features) or self.target in self.features:
            raise ValueError("features must be distinct and must not hold the target")
        if any(not values or len(set(values)) != len(values) for values in self.domains.values()):
            raise ValueError("a domain is empty or names a value twice")
        return self

    def terms(self) -> list[Term]:
        """The model's inputs in order; a category gives one per level but the first."""
        terms: list[Term] = []
        for name in self.features:
            if name in self.domains:
                terms += [Term(name, level) for level in self.domains[name][1:]]
            else:
                terms.append(Term(name, None))
        return terms


def needs(params: RegressionParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    features: list[tuple[str, Need]] = [
        (name, "category" if name in params.domains else "number") for name in params.features
    ]
    return [(params.target, "number"), *features]
