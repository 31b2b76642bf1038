"""Principal component analysis (Jolliffe, Principal Component Analysis, 2002) in two rounds.

The first round gives pooled means and standard deviations, the second the sums of products of centred values, which are
all that principal components depend on. With differential privacy one round suffices (:mod:`._noisy`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.clientapp import ClientApp

from shuyan.federation import moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Progress, Question
from shuyan.federation.apps.components import _noisy
from shuyan.federation.apps.components._params import ComponentsContent, ComponentsParams, needs
from shuyan.federation.grid import SecureGrid
from shuyan.federation.learning import bounded, plain
from shuyan.federation.learning.quadratic import symmetric
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError

MOMENTS = "query.moments"
PRODUCTS = "query.products"

client_app = ClientApp()

manifest = AppManifest(
    name="components", version="1.1.0", title_zh="联邦主成分分析", title_en="Federated principal components",
    output_form="model",
    actions={MOMENTS: {"sum": moments.SUM, "square": moments.SQUARE}, PRODUCTS: {"products": plain.PRODUCT},
             _noisy.NOISY_PRODUCTS: {"products": bounded.PRODUCTS}},
    questions={PRODUCTS: Question(arrays=("mean", "sd"))},
)


client_app.query("moments")(plain.answer_moments)
client_app.query("products")(plain.answer_products)
client_app.query("noisy_products")(_noisy.answer)


def serve(grid: SecureGrid, params: ComponentsParams, progress: Progress) -> dict[str, Any]:
    """Two rounds and an eigenvalue problem.

    Raises:
        ProblemError: ``column_constant``: a feature does not vary, so it cannot be standardised.
    """
    if grid.noisy:
        return _noisy.serve(grid, params)
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


def arrays(params: ComponentsParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    return {} if action != PRODUCTS else {"mean": len(params.features), "sd": len(params.features)}


app = FederatedApp(manifest=manifest, client_app=client_app, serve=serve, params_model=ComponentsParams, needs=needs,
                   arrays=arrays, content_model=ComponentsContent, privacy=_noisy.sensitivities)
