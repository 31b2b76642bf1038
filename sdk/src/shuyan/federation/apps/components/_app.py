"""Principal component analysis (Jolliffe, Principal Component Analysis, 2002) in two rounds.

The first round gives pooled means and standard deviations, the second the sums of products of centred values, which are
all that principal components depend on.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from flwr.clientapp import ClientApp
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shuyan.federation import moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Need, Progress, Question
from shuyan.federation.grid import SecureGrid
from shuyan.federation.learning import plain
from shuyan.federation.learning.quadratic import symmetric
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError

MOMENTS = "query.moments"
PRODUCTS = "query.products"

client_app = ClientApp()


class ComponentsParams(BaseModel):
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


class ComponentsContent(BaseModel):
    """Content of a result."""

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


manifest = AppManifest(
    name="components", version="1.0.0", title_zh="联邦主成分分析", title_en="Federated principal components",
    output_form="model",
    actions={MOMENTS: {"sum": moments.SUM, "square": moments.SQUARE}, PRODUCTS: {"products": plain.PRODUCT}},
    questions={PRODUCTS: Question(arrays=("mean", "sd"))},
)


client_app.query("moments")(plain.answer_moments)
client_app.query("products")(plain.answer_products)


def serve(grid: SecureGrid, params: ComponentsParams, progress: Progress) -> dict[str, Any]:
    """Two rounds and an eigenvalue problem.

    Raises:
        ProblemError: ``column_constant``: a feature does not vary, so it cannot be standardised.
    """
    grid.plan(2)
    size = len(params.features)
    mean, sd = plain.pooled(grid.secure_sum(MOMENTS, expect={"sum": size, "square": size}), size)
    if not sd.all():
        raise ProblemError(problems.COLUMN_CONSTANT, field="params.features",
                           column=params.features[int(np.argmin(sd))])
    total = grid.secure_sum(PRODUCTS, expect={"products": size * (size + 1) // 2}, arrays={"mean": mean, "sd": sd})
    # In standardised units whatever is asked for, so that the sums are well within the ring; scaled back afterwards.
    covariance = symmetric(total["products"], size) / max(total.cohort - 1, 1)
    if not params.standardise:
        covariance *= np.outer(sd, sd)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][: params.components or size]
    whole = float(np.trace(covariance))
    scale = sd if params.standardise else np.ones(size)
    return {
        "kind": "model", "family": "components",
        "features": [{"name": name, "type": "number", "mean": float(mean[at]), "sd": float(scale[at])}
                     for at, name in enumerate(params.features)],
        "components": [_component(max(float(values[at]), 0.0), vectors[:, at], whole) for at in order.tolist()],
        "total_variance": whole, "rows": total.cohort, "departments": len(total.participants), "rounds": 2,
        "converged": True, "metrics": {"explained": float(min(values[order].sum() / whole, 1.0))},
    }


def _component(variance: float, loadings: Floats, whole: float) -> dict[str, Any]:
    if loadings[int(np.argmax(np.abs(loadings)))] < 0:
        loadings = -loadings
    return {"variance": variance, "share": min(variance / whole, 1.0), "loadings": loadings.tolist()}


def needs(params: ComponentsParams) -> list[tuple[str, Need]]:
    """The columns a job touches."""
    return [(name, "number") for name in params.features]


def arrays(params: ComponentsParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    return {} if action == MOMENTS else {"mean": len(params.features), "sd": len(params.features)}


app = FederatedApp(manifest=manifest, client_app=client_app, serve=serve, params_model=ComponentsParams, needs=needs,
                   arrays=arrays, content_model=ComponentsContent)
