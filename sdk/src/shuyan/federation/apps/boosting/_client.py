"""The department's part of boosting: counts for the sketch, histograms of gradients, and how the model does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, moments, sketch
from shuyan.federation.apps.boosting import _objectives
from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.apps.boosting._state import State, rows_of, state_of
from shuyan.federation.apps.boosting._trees import TreeArray
from shuyan.federation.ring import Floats

client_app = ClientApp()

SCORE_CELLS: Final = 1024
"""Predicted probabilities are counted in this many cells of equal width, by class."""


@client_app.query("profile")  # type: ignore[untyped-decorator,unused-ignore]
def query_profile(message: Message, context: Context) -> Message:
    """Rows kept apart, what the target is like, and the first cells of the sketch."""
    params: BoostingParams = context.params
    rows = rows_of(context.inputs, params)
    target = rows.target[: rows.trained].astype(np.float64)
    cells = [sketch.first_counts(rows.ordered(params.features.index(name))) for name in params.numeric()]
    vectors = {
        "apart": np.array([float(len(rows.target) - rows.trained)]),
        "cells": np.concatenate(cells) if cells else np.zeros(0),
    }
    if params.objective in ("binary:logistic", "multi:softprob"):
        vectors["classes"] = np.bincount(target.astype(np.intp), minlength=max(params.groups(), 2)).astype(np.float64)
    else:
        count = np.array([float(len(target))])
        shift = np.array([moments.shift_of(float(target.mean()) if len(target) else None)])
        rest = np.array([float((target - shift).sum())])
        centred = np.array([float(((target - target.mean()) ** 2).sum()) if len(target) else 0.0])
        vectors["sum"] = moments.sum_terms(count, shift, rest)
        vectors["square"] = moments.square_terms(count, shift, rest, centred)
    return _flower.reply(message, vectors, len(rows.target), rows.sets)


@client_app.query("cells")  # type: ignore[untyped-decorator,unused-ignore]
def query_cells(message: Message, context: Context) -> Message:
    """Rows in the parts of cells."""
    params: BoostingParams = context.params
    rows = rows_of(context.inputs, params)
    names, bits = params.numeric(), int(message.content[_flower.CONFIG]["bits"])
    if bits not in sketch.LEVELS:
        raise ValueError("not a level")
    asked = sketch.sketch_arguments(_flower.arrays_of(message)["cells"], len(names))
    counts = [sketch.child_counts(rows.ordered(params.features.index(names[place])), cells, bits)
              for place, cells in asked.items()]
    return _flower.reply(message, {"counts": np.concatenate(counts)}, len(rows.target), rows.sets)


@client_app.train("level")  # type: ignore[untyped-decorator,unused-ignore]
def train_level(message: Message, context: Context) -> Message:
    """Histograms at places of the growing trees; at the root also the losses of what the trees before it say."""
    params: BoostingParams = context.params
    config, arrays = message.content[_flower.CONFIG], _flower.arrays_of(message)
    state = state_of(context.inputs, params, arrays["cuts"], arrays["sizes"], arrays["base"])
    return _flower.reply(message, train_answer(params, state, config, arrays), len(state.rows.target), state.rows.sets)


def train_answer(
    params: BoostingParams, state: State, config: Mapping[str, Any], arrays: Mapping[str, Floats]
) -> dict[str, Floats]:
    """The vectors of one answer about a level of the growing trees."""
    round_, quantum = int(config["round"]), float(config["quantum"])
    if not 0 <= round_ < params.rounds or not quantum > 0:
        raise ValueError("not a round")
    trees = TreeArray(params, arrays["trees"])
    state.finish(trees, round_)
    state.grow(trees, round_, quantum)
    asked = [divmod(int(code), 1 << params.max_depth) for code in arrays["nodes"] if code >= 0]
    found = [state.histograms(group, place) for group, place in asked]
    vectors = {"gradient": _joined([item[0] for item in found]), "rows": _joined([item[2] for item in found])}
    if params.objective != "reg:squarederror":
        vectors["hessian"] = _joined([item[1] for item in found])
    if bool(config["measure"]):
        vectors["loss"] = state.losses()
    return vectors


@client_app.evaluate("fit")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_fit(message: Message, context: Context) -> Message:
    """Losses, hits, and for two classes the counts of scores, of the first ``rounds`` rounds' model."""
    params: BoostingParams = context.params
    arrays, rounds = _flower.arrays_of(message), int(message.content[_flower.CONFIG]["rounds"])
    if not 0 <= rounds <= params.rounds:
        raise ValueError("not a round")
    state = state_of(context.inputs, params, arrays["cuts"], arrays["sizes"], arrays["base"])
    state.finish(TreeArray(params, arrays["trees"]), rounds)
    vectors = {"loss": state.losses()}
    targets = (state.rows.target[: state.rows.trained], state.rows.target[state.rows.trained :])
    parts = list(zip(state.predicted(), targets, strict=True))
    if params.objective in ("binary:logistic", "multi:softprob"):
        vectors["hits"] = np.array([_objectives.hits(params.objective, *part) for part in parts])
    if params.objective == "binary:logistic":
        vectors["scores"] = np.concatenate([_scores(predicted[0], target) for predicted, target in parts])
    return _flower.reply(message, vectors, len(state.rows.target), state.rows.sets)


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)


def _scores(predicted: np.ndarray, target: np.ndarray) -> Floats:
    """Rows by class and cell of predicted probability, shape (2 · cells,)."""
    cells = np.minimum((predicted * SCORE_CELLS).astype(np.intp), SCORE_CELLS - 1)
    return np.bincount(cells + SCORE_CELLS * target.astype(np.intp), minlength=2 * SCORE_CELLS).astype(np.float64)
