"""A job's parameters, and the shape of its result."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shuyan.federation.apps.base import Need
from shuyan.federation.learning.content import Notice, Number, Shape, Spent
from shuyan.federation.privacy import EXACT_ONLY, NOISY_ONLY, NoisyParams


class ClusteringParams(NoisyParams):
    """Parameters.

    Attributes:
        features: numeric columns; rows in which one is missing are left out.
        clusters: how many to look for.
        starts: how many sets of first centres are tried.
        max_rounds: of exact answers.
        tolerance: a start has settled when no centre moves further, in standard deviations; for exact answers.
        noisy_rounds: rounds with differential privacy.
        seed: of the first centres.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    resource: str = Field(min_length=1)
    features: list[str] = Field(min_length=1, max_length=200)
    clusters: int = Field(ge=2, le=100)
    starts: int = Field(default=8, ge=1, le=50)
    max_rounds: int = Field(default=100, ge=1, le=500, json_schema_extra=EXACT_ONLY)
    tolerance: float = Field(default=1e-6, gt=0, le=1, allow_inf_nan=False, json_schema_extra=EXACT_ONLY)
    noisy_rounds: int = Field(default=5, ge=2, le=30, json_schema_extra=NOISY_ONLY)
    seed: int = Field(default=0, ge=0, le=2**31)
    domains: dict[str, list[str]] = Field(default={}, max_length=0)

    @model_validator(mode="after")
    def _consistent(self) -> ClusteringParams:
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is named twice")
        return self


class ClusteringFeature(BaseModel):
    """How a feature was standardised."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    type: Literal["number"]
    mean: float
    sd: float


class Cluster(BaseModel):
    """One cluster: its centre in the features' own units."""

    model_config = ConfigDict(strict=True, extra="forbid")

    rows: int = Field(ge=1)
    centre: list[float]


class ClusteringNoise(Shape):
    """What differential privacy adds to a result, as standard deviations.

    Attributes:
        centres: of each cluster's centre, in the features' own units: how far it is from the mean of the rows that were nearest to the
            centres of the round before.
        rows: of the number of rows of each cluster.
        inertia: of ``metrics.inertia``.
    """

    centres: list[list[Number]]
    rows: Number
    inertia: Number


class ClusteringContent(BaseModel):
    """Content of a result; ``suppressed`` counts clusters that were kept back.

    With differential privacy (``noise`` and ``privacy``) these are the ones that cannot be told from noise, and ``converged`` says
    that in the last round no centre moved further than noise moves it.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    kind: Literal["model"]
    family: Literal["clusters"]
    features: list[ClusteringFeature]
    clusters: list[Cluster]
    suppressed: int = Field(ge=0)
    rows: int = Field(ge=0)
    departments: int = Field(ge=0)
    rounds: int = Field(ge=0)
    converged: bool
    metrics: dict[str, float]
    noise: ClusteringNoise | None = None
    privacy: Spent | None = None
    warnings: list[Notice] = []


def needs(params: ClusteringParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    return [(name, "number") for name in params.features]
