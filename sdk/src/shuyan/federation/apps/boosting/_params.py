"""A boosting job's parameters, and the shapes both sides derive from them."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from shuyan.federation import problems
from shuyan.federation.apps.base import Need
from shuyan.federation.audit.params import MembershipAudit
from shuyan.federation.privacy import EXACT_ONLY, NoisyParams, under
from shuyan.problems import ProblemError

Objective = Literal["binary:logistic", "reg:squarederror", "multi:softprob", "count:poisson"]

MAX_CATEGORIES: Final = 255
WORD_BITS: Final = 48
"""Categories of a split that one element of the trees' array says; a float64 holds 53 bits exactly."""
_MAX_STATE: Final = 1 << 18


class BoostingParams(NoisyParams):
    """Parameters of a boosting job; names and meaning are XGBoost's unless said otherwise.

    With differential privacy splits are drawn by lot, and some parameters are refused (:mod:`._noisy`).

    Attributes:
        target: 0 and 1 for ``binary:logistic``, any number for ``reg:squarederror``, counts for ``count:poisson``; for
            ``multi:softprob`` a dimension, or the numbers 0 to ``classes`` - 1. Rows without it are left out.
        features: numeric columns and dimensions; one with an entry in ``domains`` is a category. Nulls, NaN and infinite
            numbers are missing values, as is a value of a category that is not declared.
        rounds: boosting rounds; each gives one tree, or one a class.
        bins: at most this many for a numeric feature, ``max_bin``.
        categories: ``partition`` splits a category with at least ``max_cat_to_onehot`` values into two sets of them; the
            others, and all with ``onehot``, are split into one value and the rest.
        monotone: 1 where the score must not fall as the feature grows, -1 where it must not rise.
        min_rows: no leaf is about fewer rows, nor than the grant's minimum cohort. (Not XGBoost's.)
        validation: the share of rows kept apart to measure on, chosen by a hash of their number in the source.
        early_stopping_rounds: stop once the validation loss has not fallen for so many rounds, and keep the best.
        seed: of row and column samples, and of the validation rows.
        audit: every department attacks the model with its own rows, of which a share is kept apart where ``validation`` keeps
            none.
        domains: the values of each category.
    """

    resource: str = Field(min_length=1)
    target: str = Field(min_length=1)
    features: list[str] = Field(min_length=1, max_length=200)
    objective: Objective = Field(default="binary:logistic", json_schema_extra=under(dp={"enum": ["binary:logistic", "reg:squarederror"]}))
    classes: int | None = Field(default=None, ge=2, le=64, json_schema_extra=EXACT_ONLY)
    rounds: int = Field(default=100, ge=1, le=2000)
    max_depth: int = Field(default=4, ge=1, le=10)
    eta: float = Field(default=0.1, gt=0, le=1, allow_inf_nan=False)
    bins: int = Field(default=64, ge=2, le=255)
    min_child_weight: float = Field(default=1.0, ge=0, le=1e12, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    gamma: float = Field(default=0.0, ge=0, le=1e12, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    reg_lambda: float = Field(default=1.0, ge=0, le=1e12, allow_inf_nan=False)
    reg_alpha: float = Field(default=0.0, ge=0, le=1e12, allow_inf_nan=False)
    max_delta_step: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    subsample: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    colsample_bytree: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    categories: Literal["partition", "onehot"] = Field(default="partition", json_schema_extra=EXACT_ONLY)
    max_cat_to_onehot: int = Field(default=4, ge=1, le=256, json_schema_extra=EXACT_ONLY)
    monotone: dict[str, Literal[-1, 1]] = Field(default={}, json_schema_extra=EXACT_ONLY)
    min_rows: int = Field(default=1, ge=1, json_schema_extra=EXACT_ONLY)
    base_score: float | None = Field(default=None, allow_inf_nan=False)
    validation: float = Field(default=0.0, ge=0, le=0.5, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    early_stopping_rounds: int | None = Field(default=None, ge=1, json_schema_extra=EXACT_ONLY)
    seed: int = Field(default=0, ge=0, lt=2**53)
    audit: MembershipAudit | None = Field(default=None, json_schema_extra=EXACT_ONLY)
    domains: dict[str, list[str]] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> BoostingParams:
        if len(set(self.features)) != len(self.features) or self.target in self.features:
            raise ValueError("features must be distinct and must not hold the target")
        if any(not values or len(set(values)) != len(values) for values in self.domains.values()):
            raise ValueError("a domain is empty or names a value twice")
        for name in self.features:
            if len(self.domains.get(name, ())) > MAX_CATEGORIES:
                raise ProblemError(problems.CATEGORIES_TOO_MANY, field=name, column=name, maximum=MAX_CATEGORIES)
        if any(name not in self.features or name in self.domains for name in self.monotone):
            raise ValueError("a monotone feature must be one of the numeric features")
        if (self.objective == "multi:softprob") != (self.groups() > 1):
            raise ValueError("classes are for multi:softprob, which needs at least two")
        if self.audit is not None and self.validation == 0:
            object.__setattr__(self, "validation", self.audit.holdout)
        if self.early_stopping_rounds is not None and self.validation == 0:
            raise ValueError("early stopping needs validation rows")
        if self.base_score is not None and not self._base_fits(self.base_score):
            raise ValueError("a base score must be a possible prediction")
        if self.rounds * self.groups() * self.tree_length() > _MAX_STATE:
            raise ValueError("rounds x classes x 2^max_depth is too large")
        return self

    def _base_fits(self, value: float) -> bool:
        return {"binary:logistic": 0 < value < 1, "count:poisson": value > 0}.get(self.objective, True)

    def groups(self) -> int:
        """Trees of one round: one, or one for each class."""
        if self.objective != "multi:softprob":
            return self.classes or 1
        return len(self.domains[self.target]) if self.target in self.domains else self.classes or 1

    def numeric(self) -> list[str]:
        """The numeric features in order."""
        return [name for name in self.features if name not in self.domains]

    def words(self) -> int:
        """Elements that the set of a categorical split takes."""
        largest = max((len(self.domains[name]) for name in self.features if name in self.domains), default=0)
        return -(-largest // WORD_BITS)

    def inner(self) -> int:
        """Places for splits in one tree."""
        return (1 << self.max_depth) - 1

    def tree_length(self) -> int:
        """Elements of one tree in the array that says the trees: codes and sets of splits, and values of leaves."""
        return self.inner() * (1 + self.words()) + (1 << self.max_depth)

    def capacity(self) -> int:
        """Cells of a column that the quantile sketch splits in one round, at most."""
        return max(512, 4 * self.bins)

    def delta_step(self) -> float:
        """The largest leaf before shrinkage, 0 for any; XGBoost's default."""
        if self.max_delta_step is not None:
            return self.max_delta_step
        return 0.7 if self.objective == "count:poisson" else 0.0


def needs(params: BoostingParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    named = params.objective == "multi:softprob" and params.target in params.domains
    features: list[tuple[str, Need]] = [
        (name, "category" if name in params.domains else "number") for name in params.features
    ]
    return [(params.target, "category" if named else "number"), *features]
