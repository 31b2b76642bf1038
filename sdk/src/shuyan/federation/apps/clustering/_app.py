"""k-means by Lloyd's rounds on secure sums (Lloyd, IEEE Trans. Inf. Theory 28, 1982), several starts in each round.

A start is drawn from a normal distribution with the pooled mean and covariance, since no department may show a row to
start from. The starts move together, one question a round; the one with the smallest inertia is kept.

A cluster is kept back if it is about fewer rows than the minimum cohort, or, unless the grant allows a department's own
figures, about rows of a single department: its centre would be that department's mean.

With differential privacy the rounds and their start are others (:mod:`._noisy`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Progress, Question
from shuyan.federation.apps.clustering import _noisy, _noisy_fit
from shuyan.federation.apps.clustering._params import ClusteringContent, ClusteringParams, needs
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.learning import plain
from shuyan.federation.learning.quadratic import symmetric
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError

MOMENTS = "query.moments"
PRODUCTS = "query.products"
ASSIGN = "train.assign"

client_app = ClientApp()

manifest = AppManifest(
    name="clustering", version="1.1.0", title_zh="联邦聚类", title_en="Federated clustering", output_form="model",
    actions={
        MOMENTS: {"sum": moments.SUM, "square": moments.SQUARE}, PRODUCTS: {"products": plain.PRODUCT},
        ASSIGN: {"rows": moments.COUNT, "present": moments.COUNT, "sum": plain.PRODUCT, "inertia": plain.PRODUCT},
        **_noisy.ACTIONS,
    },
    questions={**_noisy.QUESTIONS, PRODUCTS: Question(arrays=("mean", "sd")), ASSIGN: Question(arrays=("mean", "sd", "centres"))},
)


# --- on a node ---------------------------------------------------------------------------------------------------


client_app.query("moments")(plain.answer_moments)
client_app.query("products")(plain.answer_products)
client_app.query("noisy_moments")(_noisy.answer_moments)
client_app.train("noisy_survey")(_noisy.answer_survey)
client_app.train("noisy_assign")(_noisy.answer_assign)
client_app.train("noisy_last")(_noisy.answer_last)


@client_app.train("assign")  # type: ignore[untyped-decorator,unused-ignore]
def train_assign(message: Message, context: Context) -> Message:
    """For every centre of every start: the rows nearest to it and their sum; for every start its inertia."""
    params, given = context.params, _flower.arrays_of(message)
    matrix = _standardised(context, given)
    size = len(params.features)
    centres = given["centres"].reshape(params.starts, params.clusters, size)
    rows, sums = np.zeros(centres.shape[:2]), np.zeros(centres.shape)
    inertia = np.zeros(params.starts)
    squares = np.einsum("ij,ij->i", matrix, matrix)
    for start, own in enumerate(centres):
        # Without the row's own square, which is the same for every centre; ties go to the first.
        nearest = np.argmin(np.einsum("kj,kj->k", own, own) - 2 * (matrix @ own.T), axis=1) if len(matrix) else []
        rows[start] = np.bincount(nearest, minlength=params.clusters)
        for column in range(size):
            sums[start, :, column] = np.bincount(nearest, weights=matrix[:, column], minlength=params.clusters)
        inertia[start] = float(squares.sum() - 2 * np.sum(sums[start] * own)
                               + rows[start] @ np.einsum("kj,kj->k", own, own))
    vectors = {"rows": rows.ravel(), "present": (rows > 0).ravel().astype(np.float64), "sum": sums.ravel(), "inertia": inertia}
    return _flower.reply(message, vectors, len(matrix), plain.read(context.inputs, params.features, {}).sets)


def _standardised(context: Context, given: dict[str, Floats]) -> Floats:
    cached = context.inputs.cache.get("clustering")
    key = given["mean"].tobytes() + given["sd"].tobytes()
    if cached is None or cached[0] != key:
        cached = (key, plain.scaled(plain.read(context.inputs, context.params.features, {}).matrix, given))
        context.inputs.cache["clustering"] = cached
    matrix: Floats = cached[1]
    return matrix


# --- on the coordinator ------------------------------------------------------------------------------------------


def serve(grid: SecureGrid, params: ClusteringParams, progress: Progress) -> dict[str, Any]:
    """Two rounds to standardise and start from, then Lloyd's rounds until every start has settled.

    Raises:
        ProblemError: ``column_constant``: a feature does not vary.
    """
    if grid.noisy:
        return _noisy_fit.serve(grid, params)
    grid.plan(params.max_rounds + 2)
    size = len(params.features)
    mean, sd = plain.pooled(grid.secure_sum(MOMENTS, expect={"sum": size, "square": size}), size)
    if not sd.all():
        raise ProblemError(problems.COLUMN_CONSTANT, field="params.features",
                           column=params.features[int(np.argmin(sd))])
    scaling = {"mean": mean, "sd": sd}
    triangle = grid.secure_sum(PRODUCTS, expect={"products": size * (size + 1) // 2}, arrays=scaling)
    centres = first_centres(params, triangle["products"] / triangle.cohort)
    expect = {"rows": params.starts * params.clusters, "present": params.starts * params.clusters,
              "sum": params.starts * params.clusters * size, "inertia": params.starts}
    best = 0
    for round_ in range(1, params.max_rounds + 1):
        total = grid.secure_sum(ASSIGN, expect=expect, arrays={"centres": centres.ravel(), **scaling})
        rows = total["rows"].reshape(centres.shape[:2])
        moved = np.where(rows[..., None] > 0, total["sum"].reshape(centres.shape) / np.maximum(rows, 1)[..., None], centres)
        inertia = total["inertia"]
        best = int(np.argmin(inertia))
        grid.tell("round_loss", departments=len(total.participants), loss=float(f"{inertia[best] / total.cohort:.4g}"))
        settled = float(np.abs(moved - centres).max()) <= params.tolerance
        if settled or round_ == params.max_rounds:
            break
        centres = moved
    grid.plan(grid.round)
    grid.tell("converged" if settled else "not_converged", rounds=round_)
    return _content(params, total, best, mean, sd, round_, settled, grid)


def first_centres(params: ClusteringParams, correlation: Floats) -> Floats:
    """Centres to start from, in standardised units: shape (starts, clusters, p).

    Args:
        correlation: upper triangle by rows of the features' correlation matrix.
    """
    size = len(params.features)
    values, vectors = np.linalg.eigh(symmetric(correlation, size))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = np.random.default_rng(params.seed).standard_normal((params.starts, params.clusters, size))
    return np.asarray(drawn @ root.T)


def _content(params: ClusteringParams, total: Sum, best: int, mean: Floats, sd: Floats, rounds: int, settled: bool,
             grid: SecureGrid) -> dict[str, Any]:
    size, own = len(params.features), slice(best * params.clusters, (best + 1) * params.clusters)
    rows, present = total.integers("rows")[own], total.integers("present")[own]
    sums = total["sum"].reshape(-1, size)[own]
    shown = [at for at, count in enumerate(rows)
             if count >= grid.minimum_cohort and (present[at] > 1 or grid.own_figures)]
    hidden = [at for at, count in enumerate(rows) if count and at not in shown]
    if shown and (len(hidden) == 1 or 0 < sum(rows[at] for at in hidden) < grid.minimum_cohort):
        # The pooled means less the shown centres would give it away: the smallest of these goes as well.
        hidden.append(min(shown, key=lambda at: (rows[at], at)))
        shown.remove(hidden[-1])
    shown.sort(key=lambda at: (-rows[at], at))
    return {
        "kind": "model", "family": "clusters",
        "features": [{"name": name, "type": "number", "mean": float(mean[at]), "sd": float(sd[at])}
                     for at, name in enumerate(params.features)],
        "clusters": [{"rows": rows[at], "centre": (sums[at] / rows[at] * sd + mean).tolist()} for at in shown],
        "suppressed": len(hidden), "rows": total.cohort,
        "departments": len(total.participants), "rounds": rounds, "converged": settled,
        "metrics": {"inertia": float(total["inertia"][best]) / total.cohort},
    }


def arrays(params: ClusteringParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    if action in _noisy.ACTIONS:
        return _noisy.arrays(params, action)
    size = len(params.features)
    lengths = {} if action == MOMENTS else {"mean": size, "sd": size}
    if action == ASSIGN:
        lengths["centres"] = params.starts * params.clusters * size
    return lengths


app = FederatedApp(manifest=manifest, client_app=client_app, serve=serve, params_model=ClusteringParams, needs=needs,
                   arrays=arrays, content_model=ClusteringContent, privacy=_noisy.sensitivities,
                   noisy_questions=_noisy.questions)
