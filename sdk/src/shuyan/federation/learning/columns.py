"""A learning job's columns: parameters, and the model terms both sides derive from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shuyan.federation import problems
from shuyan.federation.apps.base import Need
from shuyan.federation.learning.split import Split
from shuyan.federation.privacy import EXACT_ONLY
from shuyan.problems import ProblemError

Method = Literal["drop", "mean", "median", "constant", "most_frequent", "level"]

_OF_NUMBERS: Final = frozenset({"drop", "mean", "median", "constant"})
_OF_CATEGORIES: Final = frozenset({"drop", "most_frequent", "constant", "level"})


@dataclass(frozen=True, slots=True)
class Term:
    """One model input.

    Attributes:
        level: the category's level it stands for; None for a number itself, or for ``missing``.
        missing: 1 where the feature's value is missing, 0 elsewhere.
    """

    feature: str
    level: str | None = None
    missing: bool = False

    @property
    def name(self) -> str:
        if self.missing:
            return f"{self.feature}:missing"
        return self.feature if self.level is None else f"{self.feature}={self.level}"


class Impute(BaseModel):
    """What happens to a row in which a feature's value is missing (null, NaN or infinite).

    Attributes:
        numbers: for numbers: ``drop`` the row, or fill in the ``mean`` or ``median`` of all departments, or a ``constant``.
        categories: ``drop``, the ``most_frequent`` level, a ``constant`` level, or a ``level`` of its own, "missing".
        columns: a method of its own by feature.
        constants: the value filled in where the method is ``constant``, by feature.
        indicators: every feature filled in also gets a term that is 1 where it was missing.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    numbers: Literal["drop", "mean", "median", "constant"] = "drop"
    categories: Literal["drop", "most_frequent", "constant", "level"] = "drop"
    columns: dict[str, Method] = Field(default={}, max_length=200)
    constants: dict[str, float | str] = Field(default={}, max_length=200)
    indicators: bool = True


class LearningParams(BaseModel):
    """Parameters that learning jobs share.

    Attributes:
        features: numeric columns and dimensions; one with an entry in ``domains`` is a category.
        categories: features to be taken as categories although they are numbers.
        unknown_levels: what a value is taken for that no department declares: ``drop`` its row (and refuse it when
            scoring), the ``reference`` level, or ``missing``.
        split: rows held out to evaluate the model on.
        domains: the levels of each category, the first being the reference; the union over the departments.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    resource: str = Field(min_length=1)
    target: str = Field(min_length=1)
    features: list[str] = Field(min_length=1, max_length=200)
    categories: list[str] = Field(default=[], max_length=200)
    impute: Impute = Field(default=Impute(), json_schema_extra=EXACT_ONLY)
    unknown_levels: Literal["drop", "reference", "missing"] = Field(default="drop", json_schema_extra=EXACT_ONLY)
    split: Split | None = Field(default=None, json_schema_extra=EXACT_ONLY)
    domains: dict[str, list[str]] = Field(default={})

    @model_validator(mode="after")
    def _columns_consistent(self) -> LearningParams:
        if len(set(self.features)) != len(self.features) or self.target in self.features:
            raise ValueError("features must be distinct and must not hold the target")
        if not set(self.categories) <= set(self.features):
            raise ValueError("a category must be a feature")
        if not {*self.impute.columns, *self.impute.constants} <= set(self.features):
            raise ValueError("only features are filled in")
        if any(not values or len(set(values)) != len(values) for values in self.domains.values()):
            raise ValueError("a domain is empty or names a value twice")
        if self.split is not None and self.split.column in {*self.features, self.target}:
            raise ValueError("the rows cannot be split by a feature or the target")
        return self

    def is_category(self, name: str) -> bool:
        """Whether a feature is a category."""
        return name in self.domains

    def numbers(self) -> list[str]:
        """The numeric features in order."""
        return [name for name in self.features if name not in self.domains]

    def levelled(self) -> list[str]:
        """The categorical features in order."""
        return [name for name in self.features if name in self.domains]

    def method(self, name: str) -> Method:
        """How missing values of a feature are dealt with.

        Raises:
            ProblemError: ``bad_params``: not a method for that kind of feature, or a constant that is none of its values.
        """
        category = self.is_category(name)
        method: Method = self.impute.columns.get(name) or (
            self.impute.categories if category else self.impute.numbers)
        if method not in (_OF_CATEGORIES if category else _OF_NUMBERS):
            raise ProblemError(problems.BAD_PARAMS, field="impute", where=f"impute.columns.{name}")
        if method == "constant":
            value = self.impute.constants.get(name)
            fits = value in self.domains[name] if category else isinstance(value, float)
            if not fits:
                raise ProblemError(problems.BAD_PARAMS, field="impute", where=f"impute.constants.{name}")
        return method

    def imputed(self) -> list[str]:
        """The features whose missing values are filled in, in order."""
        return [name for name in self.features if self.method(name) != "drop"]

    def has_indicator(self, name: str) -> bool:
        """Whether a feature has a term for being missing."""
        method = self.method(name)
        return method == "level" or (method != "drop" and self.impute.indicators)

    def terms(self) -> list[Term]:
        """The model's inputs in order; a category gives one per level but the first."""
        terms: list[Term] = []
        for name in self.features:
            if self.is_category(name):
                terms += [Term(name, level) for level in self.domains[name][1:]]
            else:
                terms.append(Term(name))
            if self.has_indicator(name):
                terms.append(Term(name, missing=True))
        return terms

    def feature_needs(self) -> list[tuple[str, Need]]:
        """The columns of features and split, and how they are used."""
        needs: list[tuple[str, Need]] = [
            (name, "category" if name in self.domains or name in self.categories else "number") for name in self.features
        ]
        if self.split is not None and self.split.column is not None:
            needs.append((self.split.column, "category" if self.split.column in self.domains else "any"))
        return needs


def slices(params: LearningParams) -> dict[str, slice]:
    """Where each feature's terms stand among :meth:`LearningParams.terms`."""
    found: dict[str, slice] = {}
    at = 0
    for name in params.features:
        size = len(params.domains[name]) - 1 if params.is_category(name) else 1
        size += params.has_indicator(name)
        found[name] = slice(at, at + size)
        at += size
    return found


def term_names(terms: Sequence[Term]) -> list[str]:
    """The terms' names."""
    return [term.name for term in terms]
