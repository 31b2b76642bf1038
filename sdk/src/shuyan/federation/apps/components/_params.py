"""A job's parameters, and the shape of its result."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shuyan.federation.apps.base import Need
from shuyan.federation.learning.content import Number, Shape, Spent
from shuyan.federation.privacy import NoisyParams


class ComponentsParams(NoisyParams):
    """Parameters.

    Attributes:
        features: numeric columns; rows in which one is missing are left out.
        components: how many to keep; by default all.
        standardise: divide by the standard deviation, so that units of measurement do not matter.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    resource: str = Field(min_length=1)
    features: list[str] = Field(min_length=2, max_length=200)
    components: int | None = Field(default=None, ge=1, le=200)
    standardise: bool = True
    domains: dict[str, list[str]] = Field(default={}, max_length=0)

    @model_validator(mode="after")
    def _consistent(self) -> ComponentsParams:
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is named twice")
        if self.components is not None and self.components > len(self.features):
            raise ValueError("there are no more components than features")
        return self


class Component(BaseModel):
    """One component: its loadings have unit length, and the largest of them is positive."""

    model_config = ConfigDict(strict=True, extra="forbid")

    variance: float = Field(ge=0, allow_inf_nan=False)
    share: float = Field(ge=0, le=1, allow_inf_nan=False)
    loadings: list[float]


class ComponentFeature(BaseModel):
    """What projecting a case needs of a feature."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    type: Literal["number"]
    mean: float
    sd: float


class ComponentNoise(Shape):
    """How far noise moves a component.

    Attributes:
        sd: of its variance, what it errs by as a root mean square; ``half_width`` is of a 95 % interval.
        apart: whether it can be told from the others: its variance differs from each of theirs by far more than noise turns the one
            into the other. If not, only the plane or space that such components span together means something.
        angle: by how many degrees it is turned, as a root mean square.
        loadings: the standard deviations of its loadings.
    """

    sd: Number
    half_width: Number
    apart: bool
    angle: Number | None
    loadings: list[Number] | None


class FeatureNoise(Shape):
    """The standard deviations of a feature's mean and standard deviation, in its own units."""

    mean: Number
    sd: Number


class ComponentsNoise(Shape):
    """What differential privacy adds to a result."""

    components: list[ComponentNoise]
    features: list[FeatureNoise]
    rows: Number


class ComponentsContent(BaseModel):
    """Content of a result; ``noise`` and ``privacy`` where it was trained with differential privacy."""

    model_config = ConfigDict(strict=True, extra="forbid")

    kind: Literal["model"]
    family: Literal["components"]
    features: list[ComponentFeature]
    components: list[Component]
    total_variance: float
    rows: int = Field(ge=0)
    departments: int = Field(ge=0)
    rounds: int = Field(ge=0)
    converged: bool
    metrics: dict[str, float]
    noise: ComponentsNoise | None = None
    privacy: Spent | None = None


def needs(params: ComponentsParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    return [(name, "number") for name in params.features]
