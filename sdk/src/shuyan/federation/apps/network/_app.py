"""The network app: one round about the columns, one for each of the strategy's, one evaluation.

Progress codes of its own: ``standardised``, ``round_loss`` (departments, loss, and validation_loss where rows are kept apart:
means over rows, to four digits).

Under differential privacy every round is one clipped gradient with noise (Abadi et al., "Deep Learning with Differential
Privacy", CCS 2016, with all rows in each step), and nothing else is asked: no moments, no losses, no evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord

from shuyan.federation import audit, moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Limits, Progress, Question
from shuyan.federation.apps.network import (
    _audit,  # noqa: F401  it answers one of the client app's questions
    _rows,
)
from shuyan.federation.apps.network._client import STEP_BITS, client_app, evaluator, network
from shuyan.federation.apps.network._content import NetworkContent
from shuyan.federation.apps.network._params import NetworkParams, needs
from shuyan.federation.apps.network._strategies import MeanGrid, strategy
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.learning import evaluation
from shuyan.federation.learning.content import spent
from shuyan.federation.privacy import Sensitivity
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

MOMENTS: Final = "query.moments"
STEP: Final = "train.step"
FIT: Final = "evaluate.fit"

_COUNT: Final = VectorSpec(limbs=1, fraction_bits=0, bound=2.0**48)
# A change is at most 1e4 long and is multiplied by the rows of a department, of which there may be 2^40.
_UPDATE: Final = VectorSpec(limbs=2, fraction_bits=44, bound=2.0**54)
_LOSS: Final = VectorSpec(limbs=2, fraction_bits=44, bound=2.0**70)

manifest = AppManifest(
    name="network", version="1.0.0", title_zh="联邦神经网络", title_en="Federated neural network", output_form="model",
    actions={
        MOMENTS: {"sum": moments.SUM, "square": moments.SQUARE, "apart": _COUNT, "classes": _COUNT},
        STEP: {"update": _UPDATE, "loss": _LOSS},
        FIT: {"counts": evaluation.COUNTS, "sums": evaluation.SUMS, "loss": _LOSS},
        audit.ACTION: audit.STATES,
    },
    questions={
        STEP: Question(config={"round": "integer", "measure": "boolean"}, arrays=("weights", "mean", "sd")),
        FIT: Question(arrays=("weights", "mean", "sd")),
        audit.ACTION: Question(arrays=("weights", "mean", "sd")),
    },
    limits=Limits(memory_mb=2048),
)


def arrays(params: NetworkParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    if action == MOMENTS:
        return {}
    columns = len(params.scaled())
    return {"weights": params.weights(), **({"mean": columns, "sd": columns} if params.standardise == "pooled" else {})}


def sensitivities(params: NetworkParams, action: str, terms: PrivacyTerms) -> Mapping[str, Sensitivity]:
    """A unit moves a sum of clipped gradients by at most the clip for each of its rows.

    Raises:
        ProblemError: ``bad_params`` where the job asks for more than such sums.
    """
    if action != STEP:
        raise ProblemError(problems.BAD_PARAMS, field="standardise", where="standardise")
    for field, fits in (("update", params.update == "gradient"), ("row_clip", params.row_clip is not None),
                        ("standardise", params.standardise == "bounds"), ("audit", params.audit is None), ("validation", params.validation == 0)):
        if not fits:
            raise ProblemError(problems.BAD_PARAMS, field=field, where=field)
    rounding = math.sqrt(params.weights()) * 2.0 ** -(STEP_BITS + 1)
    longest = ((params.row_clip or 0.0) * (1 + 1e-9) + rounding) * terms.max_rows_per_unit
    return {"update": Sensitivity(longest, share=Fraction(1, params.rounds), integral=True)}


class _Training:
    """One run: the rounds' questions, their answers, and the losses told."""

    def __init__(self, grid: SecureGrid, params: NetworkParams, given: dict[str, Floats]) -> None:
        self.grid, self.params, self.given = grid, params, given
        self.losses: list[Floats] = []
        self.rows = self.departments = self.number = 0

    def step(self, weights: Floats) -> tuple[Floats, int]:
        """The departments' mean weights after a round that began at ``weights``, and how many rows they rest on."""
        params, measure = self.params, not self.grid.noisy
        expect = {"update": params.weights()} | ({"loss": 4} if measure else {})
        total = self.grid.secure_sum(STEP, expect=expect, config={"round": self.number, "measure": measure},
                                     arrays={"weights": weights, **self.given})
        self.number += 1
        self.rows, self.departments = max(total.cohort, 1), len(total.participants)
        trained = self._measured(total) if measure else self.rows
        mean = total["update"] / trained
        if params.update == "gradient":
            mean = -params.learning_rate * (mean + params.weight_decay * weights)
        # No mean of clipped changes is longer than the clip; if it is, a department sent something else.
        length = float(np.linalg.norm(mean))
        if params.update == "weights" and length > params.clip * (1 + 1e-6):
            raise ProblemError(problems.TRAINING_DIVERGED)
        if params.update == "gradient":
            mean *= min(1.0, params.clip / max(length, 1e-300))
        return weights + mean, trained

    def _measured(self, total: Sum) -> int:
        loss = total["loss"]
        if self.number > 1:
            self._told(loss)
        return max(int(loss[1]), 1)

    def _told(self, loss: Floats) -> None:
        self.losses.append(loss)
        self.grid.tell("round_loss", departments=self.departments, **_means(loss, "loss", "validation_loss"))

    def evaluate(self, weights: Floats) -> dict[str, Any]:
        """Metrics by part of the rows."""
        one = evaluator(self.params)
        total = self.grid.secure_sum(FIT, expect={"counts": 2 * one.counts, "sums": 2 * one.sums, "loss": 4},
                                     arrays={"weights": weights, **self.given})
        self.rows, self.departments = total.cohort, len(total.participants)
        self._told(total["loss"])
        parts = zip(("train", "validation"), evaluation.split_groups(total.integers("counts"), one.counts),
                    evaluation.split_groups(total["sums"].tolist(), one.sums), strict=True)
        found = {name: one.metrics(counts, sums, minimum=self.grid.minimum_cohort) for name, counts, sums in parts}
        return {name: metrics for name, metrics in found.items() if metrics is not None}


def serve(grid: SecureGrid, params: NetworkParams, progress: Progress) -> dict[str, Any]:
    """Train and describe a network."""
    if grid.noisy and grid.privacy is not None:
        sensitivities(params, STEP, grid.privacy)  # says what does not fit before anything is spent
    grid.plan(params.rounds + (0 if grid.noisy else 2) + (params.audit is not None))
    training = _Training(grid, params, {} if grid.noisy else _prepared(grid, params))
    shape = network(params)
    start = ArrayRecord({"weights": Array(shape.first(params.seed))})
    result = strategy(params).start(MeanGrid(grid, training.step), start, num_rounds=params.rounds)
    weights = result.arrays["weights"].numpy()
    if not np.isfinite(weights).all():
        raise ProblemError(problems.TRAINING_DIVERGED)
    metrics = {} if grid.noisy else training.evaluate(weights)
    audited = audit.ask(grid, params.audit, {"weights": weights, **training.given})
    mean, sd = _rows.scaling(params, training.given)
    return {
        "kind": "model", "family": "neural_network", "task": params.task, "target": params.target,
        **({"classes": [str(place) for place in range(params.outputs())]} if params.task == "classes" else {}),
        "features": _features(params, mean, sd), "activation": params.activation,
        "layers": [{"weights": matrix.tolist(), "biases": biases.tolist()} for matrix, biases in shape.layers(weights)],
        **({"scale": {"mean": float(mean[-1]), "sd": float(sd[-1])}} if params.task == "number" else {}),
        "strategy": params.strategy, "rows": training.rows, "departments": training.departments, "rounds": params.rounds,
        "converged": False, "metrics": metrics, "history": [_means(loss, "train", "validation") for loss in training.losses],
        **({"privacy": spent(grid)} if grid.noisy else {}), **audited,
    }


def _prepared(grid: SecureGrid, params: NetworkParams) -> dict[str, Floats]:
    """The arrays that every question brings: what the columns are standardised by."""
    size = len(params.scaled())
    expect = {"sum": size, "square": size, "apart": 1} | (
        {} if params.task == "number" else {"classes": max(params.outputs(), 2)})
    total = grid.secure_sum(MOMENTS, expect=expect)
    apart, least = int(total["apart"][0]), grid.minimum_cohort
    trained = total.cohort - apart
    if trained < least or (params.validation > 0 and apart < least):
        raise ProblemError(problems.TRAINING_TOO_SMALL, minimum=least)
    if params.task != "number" and np.count_nonzero(total["classes"]) < 2:
        raise ProblemError(problems.TARGET_OF_ONE_CLASS, field="target", column=params.target)
    if params.standardise == "bounds":
        return {}
    found = moments.combine([trained] * size, total.integers("sum"), total.integers("square"))
    mean = np.array([one.mean or 0.0 for one in found])
    sd = np.sqrt(np.array([one.centred / max(one.count, 1) for one in found]))
    numbers = size - (params.task == "number")
    if not (sd[:numbers] > 0).any() and not any(name in params.domains for name in params.features):
        raise ProblemError(problems.FEATURES_UNUSABLE, columns=list(params.features))
    grid.tell("standardised")
    return {"mean": mean, "sd": np.where(sd > 0, sd, 1.0)}


def _features(params: NetworkParams, mean: Floats, sd: Floats) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = []
    for name in params.features:
        if name in params.domains:
            features.append({"name": name, "type": "category", "levels": params.domains[name]})
            continue
        place = params.scaled().index(name)
        features.append({"name": name, "type": "number", "mean": float(mean[place]), "sd": float(sd[place])})
        if params.standardise == "bounds":
            features[-1] |= {"lower": params.bounds[name][0], "upper": params.bounds[name][1]}
    return features


def _means(loss: Floats, train: str, validation: str) -> dict[str, float]:
    """Mean losses, to four digits: before anybody has approved a result, more would only say more of the data."""
    means = {train: float(f"{loss[0] / max(loss[1], 1.0):.4g}")}
    return means | ({validation: float(f"{loss[2] / loss[3]:.4g}")} if loss[3] else {})


app = FederatedApp(
    manifest=manifest, client_app=client_app, serve=serve, params_model=NetworkParams, needs=needs, arrays=arrays,
    content_model=NetworkContent, privacy=sensitivities,
)

