"""The regression app: pooled standardisation, Newton rounds, one evaluation.

Progress codes of its own: ``standardised``, ``round_loss`` (departments, loss: the mean over all rows, to four digits),
``converged`` or ``not_converged`` (rounds).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord

from shuyan.federation import moments
from shuyan.federation.apps.base import AppManifest, FederatedApp, Progress, Question
from shuyan.federation.apps.regression._client import client_app, scale
from shuyan.federation.apps.regression._params import RegressionParams, needs
from shuyan.federation.apps.regression._strategy import NEWTON, Newton
from shuyan.federation.grid import SecureGrid
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec

MOMENTS = "query.moments"
FIT = "evaluate.fit"

# 2^-44 is finer than any gradient that matters to a tolerance of 1e-8; 2^70 holds a squared error over 10^8 rows of money.
_DERIVATIVE = VectorSpec(limbs=2, fraction_bits=44, bound=2.0**70)

manifest = AppManifest(
    name="regression", version="1.0.0", title_zh="联邦回归", title_en="Federated regression", output_form="model",
    actions={
        MOMENTS: {"sum": moments.SUM, "square": moments.SQUARE},
        NEWTON: {"gradient": _DERIVATIVE, "hessian": _DERIVATIVE, "loss": _DERIVATIVE},
        FIT: {"fit": _DERIVATIVE},
    },
    questions={NEWTON: Question(arrays=("weights", "mean", "sd")), FIT: Question(arrays=("weights", "mean", "sd", "centre"))},
)


def arrays(params: RegressionParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    if action == MOMENTS:
        return {}
    terms = len(params.terms())
    lengths = {"weights": terms + 1}
    if params.standardise == "pooled":  # a department's own standardisation does not read them
        lengths |= {"mean": terms, "sd": terms}
    if action == FIT and params.family == "linear":
        lengths["centre"] = 1
    return lengths


def serve(grid: SecureGrid, params: RegressionParams, progress: Progress) -> dict[str, Any]:
    """Fit and describe a model."""
    terms = params.terms()
    grid.plan(params.max_rounds + 2)
    first = grid.secure_sum(MOMENTS, expect={"sum": len(terms), "square": len(terms)})
    pooled = moments.combine([first.cohort] * len(terms), first.integers("sum"), first.integers("square"))
    mean = np.array([found.mean or 0.0 for found in pooled])
    sd = scale(np.array([found.centred / found.count if found.count else 0.0 for found in pooled]))
    grid.tell("standardised")

    scaling = {"mean": mean, "sd": sd} if params.standardise == "pooled" else {}
    strategy = Newton(scaling, len(terms), l2=params.l2, tolerance=params.tolerance,
                      quadratic=params.family == "linear", tell=grid.tell)
    start = ArrayRecord({"weights": Array(np.zeros(len(terms) + 1))})
    weights = strategy.start(grid, start, num_rounds=params.max_rounds).arrays["weights"].numpy()
    grid.plan(grid.round + 1)
    grid.tell("converged" if strategy.converged else "not_converged", rounds=strategy.rounds)
    metrics, cohort, departments = _evaluate(grid, params, weights, scaling)
    return {
        "kind": "model", "family": params.family, "target": params.target, "features": _features(params, mean, sd),
        "terms": [term.name for term in terms], "coefficients": weights[:-1].tolist(), "intercept": float(weights[-1]),
        "l2": params.l2, "standardise": params.standardise, "rows": cohort, "departments": departments,
        "rounds": strategy.rounds, "converged": strategy.converged, "metrics": metrics,
    }


def _evaluate(
    grid: SecureGrid, params: RegressionParams, weights: Floats, scaling: dict[str, Floats]
) -> tuple[dict[str, float], int, int]:
    """In-sample metrics, rows and departments."""
    linear = params.family == "linear"
    given = {"weights": weights, **scaling}
    if linear:
        # The intercept is the mean of the target where inputs are centred, so it keeps the target's variance exact.
        given["centre"] = weights[-1:]
    total = grid.secure_sum(FIT, expect={"fit": 3 if linear else 2}, arrays=given)
    fit, rows = total["fit"].tolist(), total.cohort
    if linear:
        spread = fit[2] - fit[1] ** 2 / rows
        metrics = {"rmse": (fit[0] / rows) ** 0.5, "r2": 1 - fit[0] / spread if spread > 0 else 0.0}
    else:
        metrics = {"log_loss": fit[0] / rows, "accuracy": fit[1] / rows}
    return metrics, rows, len(total.participants)


def _features(params: RegressionParams, mean: Floats, sd: Floats) -> list[dict[str, Any]]:
    """What scoring needs: per number its mean and standard deviation, per category those of each level but the first."""
    features: list[dict[str, Any]] = []
    at = 0
    for name in params.features:
        if name in params.domains:
            levels = params.domains[name]
            end = at + len(levels) - 1
            features.append({"name": name, "type": "category", "levels": levels, "mean": mean[at:end].tolist(),
                             "sd": sd[at:end].tolist()})
            at = end
        else:
            features.append({"name": name, "type": "number", "mean": float(mean[at]), "sd": float(sd[at])})
            at += 1
    return features


app = FederatedApp(
    manifest=manifest, client_app=client_app, serve=serve, params_model=RegressionParams, needs=needs, arrays=arrays,
)
