"""The boosting app: one round about the target, six for the bins, one for each level of each tree, one evaluation.

Progress codes of its own: ``bins_chosen`` (features), ``round_loss`` (departments, loss, and validation_loss where rows are
kept apart: means over rows, to four digits), ``stopped_early`` (rounds).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shuyan.federation import audit, moments, problems, sketch
from shuyan.federation.apps.base import AppManifest, FederatedApp, Limits, Progress, Question
from shuyan.federation.apps.boosting import (
    _audit,  # noqa: F401  it answers one of the client app's questions
    _model,
    _noisy,
    _objectives,
)
from shuyan.federation.apps.boosting._client import SCORE_CELLS, client_app
from shuyan.federation.apps.boosting._content import BoostingContent
from shuyan.federation.apps.boosting._grow import LEVEL, Grower, Grown
from shuyan.federation.apps.boosting._params import BoostingParams, needs
from shuyan.federation.apps.boosting._rows import slots
from shuyan.federation.grid import SecureGrid
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError

PROFILE: Final = "query.profile"
CELLS: Final = "query.cells"
FIT: Final = "evaluate.fit"

_COUNT: Final = VectorSpec(limbs=1, fraction_bits=0, bound=2.0**48)
# Whole multiples of the quantum, which is chosen so that all rows' gradients together stay below 2^51 of them.
_STEPS: Final = VectorSpec(limbs=1, fraction_bits=0, bound=2.0**52)
_LOSS: Final = VectorSpec(limbs=2, fraction_bits=44, bound=2.0**70)
_VALUES: Final = 100_000  # what a grant allows by default
_VALUES_OF_A_NODE: Final = 10  # numbers that XGBoost's format says of it

manifest = AppManifest(
    name="boosting", version="1.1.0", title_zh="联邦梯度提升树", title_en="Federated gradient-boosted trees", output_form="model",
    actions={
        PROFILE: {"apart": _COUNT, "cells": _COUNT, "classes": _COUNT, "sum": moments.SUM, "square": moments.SQUARE},
        CELLS: {"counts": _COUNT},
        LEVEL: {"gradient": _STEPS, "hessian": _STEPS, "rows": _COUNT, "loss": _LOSS},
        FIT: {"loss": _LOSS, "hits": _COUNT, "scores": _COUNT},
        _noisy.LEAVES: {"gradient": _noisy.DERIVATIVE, "hessian": _noisy.DERIVATIVE},
        audit.ACTION: audit.STATES,
    },
    questions={
        CELLS: Question(config={"bits": "integer"}, arrays=("cells",)),
        LEVEL: Question(config={"round": "integer", "quantum": "number", "measure": "boolean"},
                        arrays=("cuts", "sizes", "base", "trees", "nodes")),
        FIT: Question(config={"rounds": "integer"}, arrays=("cuts", "sizes", "base", "trees")),
        _noisy.LEAVES: Question(config={"round": "integer"}, arrays=("cuts", "sizes", "base", "trees")),
        audit.ACTION: Question(config={"least": "integer"}, arrays=("cuts", "sizes", "base", "trees")),
    },
    limits=Limits(memory_mb=2048),
)


def arrays(params: BoostingParams, action: str) -> dict[str, int]:
    """The lengths of the arrays that come with an action."""
    numeric, groups = len(params.numeric()), params.groups()
    if action == CELLS:
        return {"cells": numeric * params.capacity()}
    if action not in (LEVEL, FIT, audit.ACTION, _noisy.LEAVES):
        return {}
    lengths = {"cuts": numeric * (params.bins - 1), "sizes": numeric, "base": groups,
               "trees": params.rounds * groups * params.tree_length()}
    if action == LEVEL:
        lengths["nodes"] = groups << (params.max_depth - 1)
    return lengths


def serve(grid: SecureGrid, params: BoostingParams, progress: Progress) -> dict[str, Any]:
    """Grow the trees and describe the model."""
    if grid.noisy:
        return _noisy.serve(grid, params)
    grid.plan(len(sketch.LEVELS) + 2 + params.rounds * params.max_depth + (params.audit is not None))
    limit = _limit(grid)
    least = max(grid.minimum_cohort, params.min_rows)
    profile = _profile(grid, params, least)
    bins = _sketched(grid, params, profile, limit)
    numeric = params.numeric()
    cuts = {name: bins.cuts(place, params.bins) for place, name in enumerate(numeric)}
    sizes = np.array([float(len(cuts[name])) for name in numeric])
    offsets = slots(params, sizes)
    varies = np.array([name in params.domains or len(cuts[name]) > 0 or _half_missing(bins, place, profile.trained)
                       for name, place in _places(params)])
    if not varies.any():
        raise ProblemError(problems.FEATURES_UNUSABLE, columns=list(params.features))
    grid.tell("bins_chosen", features=int(varies.sum()))
    table = np.zeros((len(numeric), params.bins - 1))
    for place, name in enumerate(numeric):
        table[place, : len(cuts[name])] = cuts[name]
    base_scores, base = profile.base
    given = {"cuts": table.ravel(), "sizes": sizes, "base": np.array(base)}
    watch = _Watch(grid, params.early_stopping_rounds)
    grower = Grower(grid, params, given, offsets, limit, least, _quantum(profile.scale, profile.trained), varies, watch.measured)
    grown = _boost(grid, params, grower)
    losses, best = watch.losses, watch.best
    fit = _evaluate(grid, params, grower, best if watch.stopped else len(grown), profile.variance)
    if not watch.stopped:
        losses.append(fit.loss)
        if params.early_stopping_rounds is not None and 0 < best < len(grown) and (
            _validation(fit.loss) >= _validation(losses[best - 1])
        ):
            fit = _evaluate(grid, params, grower, best, profile.variance)
    audited = audit.ask(grid, params.audit, {**grower.given, "trees": _kept(grower, fit.rounds)}, {"least": least})
    rounds = [one.trees for one in grown[: fit.rounds]]
    return {
        "kind": "model", "family": "boosted_trees", "objective": params.objective, "target": params.target,
        **({"classes": _classes(params)} if params.groups() > 1 else {}),
        "features": [
            {"name": name, "type": "category", "levels": params.domains[name]} if name in params.domains else
            {"name": name, "type": "number", "bins": len(cuts[name]) + 1, "rank_error": _model.short(bins.rank_error(place))}
            for name, place in _places(params)
        ],
        "rows": fit.cohort, "departments": fit.departments, "rounds": len(rounds), "converged": watch.stopped, "minimum_rows": least,
        "unused": [name for name, used in zip(params.features, varies, strict=True) if not used],
        "metrics": fit.metrics, "history": _history(losses[: len(rounds)]), "importance": _model.importance(params, rounds),
        "model": _model.xgboost_model(params, rounds, [cuts.get(name) for name in params.features], base_scores),
        **audited,
    }


def _limit(grid: SecureGrid) -> int:
    """How many values one answer may have."""
    return int(getattr(grid, "max_output_values", _VALUES))


def _places(params: BoostingParams) -> list[tuple[str, int]]:
    """Each feature with its place among the numeric ones, -1 for a category."""
    numeric = {name: place for place, name in enumerate(params.numeric())}
    return [(name, numeric.get(name, -1)) for name in params.features]


def _half_missing(bins: sketch.Sketch, place: int, trained: int) -> bool:
    """Whether a feature of a single value can still be told apart from its absence."""
    return bins.distinct(place) == 1 and bins.rows(place) < trained


def _classes(params: BoostingParams) -> list[str]:
    return params.domains.get(params.target) or [str(number) for number in range(params.groups())]


class _Profile:
    """What the first round says: rows to train on, the target's scale, and the score before the first tree."""

    def __init__(self, params: BoostingParams, cells: Floats, trained: int, classes: Floats | None,
                 target: moments.Moments | None, participants: tuple[str, ...]) -> None:
        self.cells, self.trained, self.participants = cells, trained, participants
        mean = target.mean or 0.0 if target else 0.0
        self.base = _objectives.base_margins(params, np.zeros(2) if classes is None else classes, mean)
        self.variance = target.centred / trained if target else 0.0
        self.scale = 1.0
        if params.objective == "reg:squarederror":
            self.scale = math.sqrt(self.variance + (mean - self.base[1][0]) ** 2) or 1.0
        elif params.objective == "count:poisson":
            self.scale = 8 * max(math.sqrt(self.variance + mean**2), math.exp(self.base[1][0]), 1e-6)


def _profile(grid: SecureGrid, params: BoostingParams, least: int) -> _Profile:
    numeric = len(params.numeric())
    expect = {"apart": 1, "cells": sketch.FIRST_CELLS * numeric}
    classed = params.objective in ("binary:logistic", "multi:softprob")
    expect |= {"classes": max(params.groups(), 2)} if classed else {"sum": 1, "square": 1}
    total = grid.secure_sum(PROFILE, expect=expect)
    apart = int(total["apart"][0])
    trained = total.cohort - apart
    if trained < 2 * least or (params.validation > 0 and apart < least):
        raise ProblemError(problems.TRAINING_TOO_SMALL, minimum=2 * least)
    classes = total["classes"] if classed else None
    if classes is not None and np.count_nonzero(classes) < 2:
        raise ProblemError(problems.TARGET_OF_ONE_CLASS, field="target", column=params.target)
    target = None if classed else moments.combine([trained], total.integers("sum"), total.integers("square"))[0]
    cells = total["cells"].reshape(numeric, sketch.FIRST_CELLS)
    return _Profile(params, cells, trained, classes, target, total.participants)


def _quantum(scale: float, rows: int) -> float:
    """The step of fixed-point gradients: a power of two, so fine that all rows together just stay below 2^51 of it.

    No sum of gradients exceeds rows times their root mean square (Cauchy and Schwarz), which boosting only lowers.
    """
    return 2.0 ** (math.ceil(math.log2(scale)) + math.ceil(math.log2(max(rows, 2))) - 51)


def _sketched(grid: SecureGrid, params: BoostingParams, profile: _Profile, limit: int) -> sketch.Sketch:
    found = sketch.Sketch(profile.cells, params.capacity(), grid.minimum_cohort)
    columns = len(profile.cells)
    for bits in sketch.LEVELS:
        answers = []
        for batch in found.batches(bits, limit):
            total = grid.secure_sum(CELLS, expect={"counts": batch.length}, config={"bits": bits},
                                    arrays={"cells": batch.array(columns, params.capacity())})
            if total.participants != profile.participants:
                return found  # a department was lost: the parts no longer make up the whole, and the bins stay coarser
            answers.append((batch, total["counts"]))
        found.take(bits, answers)
    return found


class _Watch:
    """Watches the losses, and says when to stop.

    Attributes:
        losses: after each round but the last.
        best: after how many rounds the validation loss was lowest.
        stopped: whether that ended the training.
    """

    def __init__(self, grid: SecureGrid, patience: int | None) -> None:
        self._grid, self._patience = grid, patience
        self.losses: list[Floats] = []
        self.best = 0
        self.stopped = False

    def measured(self, number: int, loss: Floats, departments: int) -> bool:
        """Take the losses before a round; whether to go on with it."""
        if number == 0:
            return True
        self.losses.append(loss)
        _tell(self._grid, loss, departments)
        if self._patience is None:
            return True
        if self.best == 0 or _validation(loss) < _validation(self.losses[self.best - 1]):
            self.best = number
        self.stopped = number - self.best >= self._patience
        if self.stopped:
            self._grid.tell("stopped_early", rounds=self.best)
        return not self.stopped


def _boost(grid: SecureGrid, params: BoostingParams, grower: Grower) -> list[Grown]:
    """The rounds' trees.

    Raises:
        ProblemError: ``output_too_large`` as soon as the model is larger than the grant allows a result to be.
    """
    grown: list[Grown] = []
    values, most = 0, getattr(grid, "max_output_values", None)
    for number in range(params.rounds):
        one = grower.round(number)
        if one is None:
            break
        grown.append(one)
        values += sum(_VALUES_OF_A_NODE * len(tree) for tree in one.trees)
        if most is not None and values > most:
            raise ProblemError(problems.OUTPUT_TOO_LARGE, maximum=most)
        sampled = params.subsample < 1 or params.colsample_bytree < 1
        if not sampled and all(len(tree) == 1 and abs(tree[0].value) < 1e-6 for tree in one.trees):
            break  # nothing was worth splitting, and the remaining rounds would only repeat this one
    return grown


def _validation(loss: Floats) -> float:
    return float(loss[2] / max(loss[3], 1.0))


def _rounded(value: float) -> float:
    # Before anybody has approved a result, people watch this; more digits would only say more of the data.
    return float(f"{value:.4g}")


def _tell(grid: SecureGrid, loss: Floats, departments: int) -> None:
    more = {"validation_loss": _rounded(_validation(loss))} if loss[3] else {}
    grid.tell("round_loss", departments=departments, loss=_rounded(loss[0] / max(loss[1], 1.0)), **more)


def _history(losses: Sequence[Floats]) -> list[dict[str, float]]:
    return [{"train": _rounded(loss[0] / max(loss[1], 1.0)), **({"validation": _rounded(_validation(loss))} if loss[3] else {})}
            for loss in losses]


@dataclass(frozen=True)
class _Fit:
    """How the first ``rounds`` rounds' model does."""

    rounds: int
    loss: Floats
    metrics: dict[str, Any]
    cohort: int
    departments: int


def _evaluate(grid: SecureGrid, params: BoostingParams, grower: Grower, rounds: int, variance: float) -> _Fit:
    expect = {"loss": 4}
    if params.objective in ("binary:logistic", "multi:softprob"):
        expect["hits"] = 2
    if params.objective == "binary:logistic":
        expect["scores"] = 4 * SCORE_CELLS
    total = grid.secure_sum(FIT, expect=expect, config={"rounds": rounds}, arrays={**grower.given, "trees": _kept(grower, rounds)})
    loss = total["loss"]
    _tell(grid, loss, len(total.participants))
    metrics: dict[str, Any] = {}
    for place, name in enumerate(("train", "validation")):
        rows = int(loss[2 * place + 1])
        if not rows:
            continue
        mean = float(loss[2 * place]) / rows
        measured: dict[str, Any] = {"rows": rows, _objectives.METRIC[params.objective]: mean}
        if "hits" in expect:
            measured["accuracy"] = float(total["hits"][place]) / rows
        if "scores" in expect:
            measured |= _ranked(total["scores"][2 * SCORE_CELLS * place : 2 * SCORE_CELLS * (place + 1)])
        if params.objective == "reg:squarederror":
            measured["rmse"] = math.sqrt(mean)
            if name == "train" and variance > 0:
                measured["r2"] = 1 - mean / variance
        metrics[name] = measured
    return _Fit(rounds, loss, metrics, total.cohort, len(total.participants))


def _kept(grower: Grower, rounds: int) -> Floats:
    """The trees of the first so many rounds, and noughts for the others."""
    trees = grower.trees.array.copy()
    trees[len(grower.trees.before(rounds)) :] = 0
    return trees


def _ranked(scores: Floats) -> dict[str, float]:
    """AUC with what the cells may hide of it, and the Kolmogorov-Smirnov distance of the classes' scores."""
    negative, positive = scores.reshape(2, SCORE_CELLS)
    pairs = negative.sum() * positive.sum()
    if not pairs:
        return {}
    below = negative.cumsum() - negative
    ks = np.abs(negative.cumsum() / negative.sum() - positive.cumsum() / positive.sum()).max()
    return {"auc": float((positive * (below + negative / 2)).sum() / pairs),
            "auc_error": float((positive * negative).sum() / 2 / pairs), "ks": float(ks)}


app = FederatedApp(
    manifest=manifest, client_app=client_app, serve=serve, params_model=BoostingParams, needs=needs, arrays=arrays,
    content_model=BoostingContent, privacy=_noisy.sensitivities,
)
