"""A regression job's parameters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from shuyan.federation import problems
from shuyan.federation.apps.base import Need
from shuyan.federation.audit.params import MembershipAudit
from shuyan.federation.learning.columns import LearningParams, Term
from shuyan.federation.learning.split import Split
from shuyan.federation.privacy import EXACT_ONLY, NOISY_ONLY, NoisyParams, under
from shuyan.problems import ProblemError

__all__ = ["RegressionParams", "Term", "needs"]


class RegressionParams(LearningParams, NoisyParams):
    """Parameters of a regression job.

    Attributes:
        target: for ``logistic`` a column of 0 and 1, for ``linear`` any number, for ``poisson`` numbers not below 0, for
            ``multinomial`` a column with declared values.
        offset: for ``poisson``, a column added to the linear predictor.
        exposure: for ``poisson``, a column of positive numbers whose logarithm is added; the model then gives rates.
        l1: lasso penalty; the fit minimises (sum of losses) + l1·Σ|w| + l2/2·Σw², intercepts unpenalised.
        l2: ridge penalty. A linear loss is half the squared error and a Poisson loss half the deviance, so l2 is
            scikit-learn's ``Ridge(alpha)``, ``LogisticRegression(1/C)`` and, divided by the rows, ``PoissonRegressor(alpha)``;
            l1 divided by the rows is ``Lasso(alpha)``. Without penalties there are standard errors.
        tolerance: the fit has converged when no coefficient moves further in a Newton step.
        standardise: penalties are on inputs standardised ``pooled`` by the mean and standard deviation (divisor n) of all
            departments, or by each ``department`` with its own, as where departments measure on different scales (the
            pooled values are then used for scoring), or on inputs as they are (``none``). With differential privacy inputs are
            scaled by their declared ``bounds``, and only then.
        noisy_rounds: questions of a training with differential privacy; by default 2 for ``linear``, else 6.
        confidence: of the intervals.
        threshold: probability from which a row counts as class 1 in the evaluation.
        audit: every department attacks the model with its own rows, of which a share is held out where ``split`` holds out
            none.
    """

    family: Literal["logistic", "linear", "multinomial", "poisson"]
    offset: str | None = Field(default=None, min_length=1)
    exposure: str | None = Field(default=None, min_length=1)
    l1: float = Field(default=0.0, ge=0, le=1e12, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    l2: float = Field(default=1.0, ge=0, le=1e12, allow_inf_nan=False)
    max_rounds: int = Field(default=25, ge=1, le=200, json_schema_extra=EXACT_ONLY)
    tolerance: float = Field(default=1e-8, gt=0, le=1, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    standardise: Literal["pooled", "department", "none", "bounds"] = Field(
        default="pooled", json_schema_extra=under(exact={"enum": ["pooled", "department", "none"]}, dp={"const": "bounds"}))
    noisy_rounds: int | None = Field(default=None, ge=2, le=50, json_schema_extra=NOISY_ONLY)
    confidence: float = Field(default=0.95, gt=0, lt=1, json_schema_extra=EXACT_ONLY)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    audit: MembershipAudit | None = Field(default=None, json_schema_extra=EXACT_ONLY)

    @model_validator(mode="after")
    def _regression_consistent(self) -> RegressionParams:
        if self.family != "poisson" and (self.offset or self.exposure):
            raise ValueError("only models of counts take an offset or an exposure")
        if self.offset and self.exposure:
            raise ValueError("an offset or an exposure, not both")
        if self.offset_column in {*self.features, self.target}:
            raise ValueError("the offset or exposure cannot be a feature or the target as well")
        if self.audit is not None and self.split is None:
            object.__setattr__(self, "split", Split(fraction=self.audit.holdout))
        if self.audit is not None and self.split is not None and self.split.folds:
            raise ValueError("an audit needs rows that the model is not trained on, and folds leave none")
        return self

    @property
    def offset_column(self) -> str | None:
        """The column of the offset or exposure."""
        return self.offset or self.exposure

    @property
    def penalised(self) -> bool:
        """Whether there is any penalty."""
        return self.l1 > 0 or self.l2 > 0

    def classes(self) -> list[str]:
        """The target's classes; none for a number.

        Raises:
            ProblemError: ``not_a_dimension`` where a multinomial target has no declared values.
        """
        if self.family == "logistic":
            return ["0", "1"]
        if self.family != "multinomial":
            return []
        values = self.domains.get(self.target, [])
        if len(values) < 2:
            raise ProblemError(problems.NOT_A_DIMENSION, column=self.target)
        return values

    def blocks(self) -> int:
        """How many linear predictors there are. An unpenalised multinomial model has one a class but the first."""
        if self.family != "multinomial":
            return 1
        return len(self.classes()) - (0 if self.penalised else 1)

    def size(self) -> int:
        """The number of weights of one fit: block after block, the intercept last."""
        return self.blocks() * (len(self.terms()) + 1)


def needs(params: RegressionParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    found: list[tuple[str, Need]] = [(params.target, "category" if params.family == "multinomial" else "number")]
    found += params.feature_needs()
    if params.offset_column is not None:
        found.append((params.offset_column, "number"))
    return found
