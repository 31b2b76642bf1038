"""The regression app: a profile of the columns, Newton rounds, one evaluation.

Progress codes of its own: ``standardised``, ``round_loss`` (departments, loss: the mean over all rows, to four digits),
``converged`` or ``not_converged`` (rounds).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord

from shuyan.federation import audit, moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Progress, Question
from shuyan.federation.apps.regression import (
    _audit,  # noqa: F401  it answers one of the client app's questions
    _noisy,
    _noisy_fit,
    _result,
    _setup,
)
from shuyan.federation.apps.regression._client import client_app, layout
from shuyan.federation.apps.regression._content import RegressionContent
from shuyan.federation.apps.regression._evaluators import evaluator
from shuyan.federation.apps.regression._params import RegressionParams, needs
from shuyan.federation.apps.regression._strategy import NEWTON, Newton
from shuyan.federation.grid import SecureGrid
from shuyan.federation.learning import evaluation, medians, preprocess, profile
from shuyan.federation.learning import split as splits
from shuyan.federation.learning.design import scaling_lengths
from shuyan.federation.learning.preprocess import Described, Fitted
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError

PROFILE = "query.profile"
MEDIANS = "query.medians"
FIT = "evaluate.fit"
OWN = "evaluate.own"

# 2^-44 is finer than any gradient that matters to a tolerance of 1e-8; 2^70 holds a squared error over 10^8 rows of money.
_DERIVATIVE = VectorSpec(limbs=2, fraction_bits=44, bound=2.0**70)
_FEWEST = 2
"""Departments that must have rows among those a figure is about, where the grant lets no single one's show."""
_SCALING = ("fill", "mean", "sd")
_TALLIES = {"counts": evaluation.COUNTS, "sums": evaluation.SUMS}

manifest = AppManifest(
    name="regression", version="2.2.0", title_zh="联邦回归", title_en="Federated regression", output_form="model",
    actions={
        PROFILE: profile.SPECS,
        MEDIANS: {"below": moments.COUNT},
        NEWTON: {"gradient": _DERIVATIVE, "hessian": _DERIVATIVE, "loss": _DERIVATIVE},
        FIT: {**_TALLIES, "present": evaluation.COUNTS},
        OWN: _TALLIES,
        audit.ACTION: audit.STATES,
        _noisy.STEP: {"gradient": _noisy.DERIVATIVE, "hessian": _noisy.DERIVATIVE},
        _noisy.LAST: {"gradient": _noisy.DERIVATIVE},
    },
    questions={
        _noisy.STEP: Question(arrays=("weights",)), _noisy.LAST: Question(arrays=("weights",)),
        MEDIANS: Question(arrays=("edges",)),
        NEWTON: Question(arrays=("weights", "classes", *_SCALING)),
        FIT: Question(arrays=("weights", "classes", "centre", *_SCALING)),
        OWN: Question(config={"departments": "integer"}, arrays=("weights", "classes", "centre", *_SCALING)),
        audit.ACTION: Question(arrays=("weights", "classes", *_SCALING)),
    },
)


def arrays(params: RegressionParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    if action == PROFILE:
        return {}
    if action in (_noisy.STEP, _noisy.LAST):
        return {"weights": params.size()}
    if action == MEDIANS:
        return {"edges": medians.length(params)}
    fits = splits.fits(params.split)
    # A department's own standardisation does not read the pooled one.
    lengths = scaling_lengths(params, pooled=params.standardise != "department") | {"weights": fits * params.size()}
    if params.family == "multinomial":
        lengths["classes"] = fits * len(params.classes())
    if action not in (NEWTON, audit.ACTION) and params.family in ("linear", "poisson"):
        lengths["centre"] = 1
    return lengths


def serve(grid: SecureGrid, params: RegressionParams, progress: Progress) -> dict[str, Any]:
    """Fit, evaluate and describe a model."""
    if grid.noisy:
        return _noisy_fit.serve(grid, params)
    if params.standardise == "bounds":
        raise ProblemError(problems.BAD_PARAMS, field="standardise", where="standardise")
    grid.plan(params.max_rounds + 2 + medians.rounds(params))
    described, fitted = _preprocess(grid, params)
    grid.tell("standardised")

    scaling = preprocess.scaling(params, fitted, pooled=params.standardise != "department")
    allowed = _setup.allowed(params, described)
    constant = scaling.arrays() | ({"classes": allowed} if allowed.size else {})
    optimisers = [_setup.optimiser(params, rows, own, fitted[0]) for rows, own in zip(described, fitted, strict=True)]
    strategy = Newton(optimisers, constant, grid.tell)
    start = ArrayRecord({"weights": Array(strategy.weights())})
    strategy.start(grid, start, num_rounds=params.max_rounds)
    grid.plan(grid.round + 1 + grid.own_figures + (params.audit is not None))
    grid.tell("converged" if optimisers[0].converged else "not_converged", rounds=strategy.rounds)

    centre = _setup.centre(params, described[0])
    given = {"weights": strategy.weights(), **constant} | ({"centre": centre} if centre.size else {})
    found = _evaluate(grid, params, given)
    found["departments"] = _departments(grid, params, given) if grid.own_figures else None
    sole = {} if grid.own_figures else grid.sole_values(params.resource)
    audited = audit.ask(grid, params.audit, {name: array for name, array in given.items() if name != "centre"})
    return _result.content(params, described[0], fitted[0], optimisers, found, strategy.rounds, sole) | audited


def _preprocess(grid: SecureGrid, params: RegressionParams) -> tuple[list[Described], list[Fitted]]:
    """What each fit is trained on, and its preprocessing."""
    shape = layout(params)
    described = preprocess.describe(grid.secure_sum(PROFILE, expect=shape.lengths()), shape)
    for rows in described:
        _setup.check(params, rows, grid.minimum_cohort)

    def ask(edges: Floats) -> list[int]:
        return grid.secure_sum(MEDIANS, expect={"below": len(edges)}, arrays={"edges": edges}).integers("below")

    middles = medians.search(params, described, ask)
    return described, [preprocess.fit(params, rows, middle) for rows, middle in zip(described, middles, strict=True)]


def _evaluate(grid: SecureGrid, params: RegressionParams, given: dict[str, Floats]) -> dict[str, Any]:
    """Metrics in sample, held out and by fold; sums in sample and the departments they are about besides."""
    groups = splits.groups(params.split)
    one = evaluator(params, len(groups))
    expect = {"counts": len(groups) * one.counts, "sums": len(groups) * one.sums, "present": len(groups)}
    total = grid.secure_sum(FIT, expect=expect, arrays=given)
    counts = evaluation.split_groups(total.integers("counts"), one.counts)
    sums = evaluation.split_groups(total["sums"].tolist(), one.sums)
    minimum = grid.minimum_cohort
    # Figures of rows that one department alone has are its own.
    shown = [grid.own_figures or departments >= _FEWEST for departments in total.integers("present")]
    folds = [one.metrics(count, summed, minimum=minimum) if may else None
             for count, summed, may in zip(counts[1:], sums[1:], shown[1:], strict=True)]
    held_out = None
    if all(shown[1:]) and folds:
        merged = np.sum(np.array(counts[1:]), axis=0).tolist(), np.sum(np.array(sums[1:]), axis=0).tolist()
        held_out = one.metrics(*merged, minimum=minimum)
    return {
        "in_sample": one.metrics(counts[0], sums[0], minimum=1), "held_out": held_out,
        "folds": folds if params.split is not None and params.split.folds else [], "participants": len(total.participants),
    }


def _departments(grid: SecureGrid, params: RegressionParams, given: dict[str, Floats]) -> list[dict[str, Any]]:
    """Each department's own metrics; none for one with fewer rows than the minimum cohort."""
    slots = len(grid.participants)
    one = evaluator(params, slots)
    total = grid.secure_sum(OWN, expect={"counts": slots * one.counts, "sums": slots * one.sums},
                            config={"departments": slots}, arrays=given)
    counts = evaluation.split_groups(total.integers("counts"), one.counts)
    sums = evaluation.split_groups(total["sums"].tolist(), one.sums)
    return [
        {"node": node, "metrics": one.metrics(counts[slot], sums[slot], minimum=grid.minimum_cohort)}
        for slot, node in enumerate(total.participants)
    ]


app = FederatedApp(
    manifest=manifest, client_app=client_app, serve=serve, params_model=RegressionParams, needs=needs, arrays=arrays,
    content_model=RegressionContent, privacy=_noisy.sensitivities, noisy_questions=_noisy.questions,
)
