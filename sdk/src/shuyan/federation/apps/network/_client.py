"""The department's part: moments of its columns, a change of the weights, and how the network does."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower
from shuyan.federation.apps.network import _rows
from shuyan.federation.apps.network._layers import Network, softmax
from shuyan.federation.apps.network._params import NetworkParams
from shuyan.federation.learning import evaluation, plain
from shuyan.federation.ring import Floats

client_app = ClientApp()

STEP_BITS: Final = 20
"""Clipped gradients of rows are counted in steps of 2^-20, so that their sums are exact whatever the order."""
_CHUNK: Final = 1 << 22


def network(params: NetworkParams) -> Network:
    """The shape of the job's network."""
    return Network(params.widths(), params.activation, params.task)


def evaluator(params: NetworkParams) -> evaluation.Binary | evaluation.Classes | evaluation.Numbers:
    """What measures the job's network."""
    if params.task == "number":
        return evaluation.Numbers()
    if params.task == "binary":
        return evaluation.Binary(evaluation.bins_for(2))
    names = tuple(str(place) for place in range(params.outputs()))
    return evaluation.Classes(names, evaluation.bins_for(2, len(names)))


@client_app.query("moments")  # type: ignore[untyped-decorator,unused-ignore]
def query_moments(message: Message, context: Context) -> Message:
    """Sums and squares of the columns to be standardised, and how many rows are kept apart."""
    params: NetworkParams = context.params
    rows = _rows.rows_of(context.inputs, params)
    vectors = plain.describe(_rows.raw(rows, params))
    vectors["apart"] = np.array([float(len(rows.target) - rows.trained)])
    if params.task != "number":
        classes = rows.target[: rows.trained].astype(np.intp)
        vectors["classes"] = np.bincount(classes, minlength=max(params.outputs(), 2)).astype(np.float64)
    return _flower.reply(message, vectors, len(rows.target), rows.sets)


@client_app.train("step")  # type: ignore[untyped-decorator,unused-ignore]
def train_step(message: Message, context: Context) -> Message:
    """The change of the weights times the rows it rests on, or the sum of the rows' gradients; and the losses before."""
    params: NetworkParams = context.params
    config, arrays = message.content[_flower.CONFIG], _flower.arrays_of(message)
    rows = _rows.scaled(context.inputs, params, arrays)
    shape, weights = network(params), arrays["weights"]
    if params.update == "gradient":
        update = _gradient(shape, weights, rows, params)
    else:
        update = trained(shape, weights, rows, params, int(config["round"])) * rows.trained
    vectors = {"update": update}
    if bool(config["measure"]):
        vectors["loss"] = _losses(shape, weights, rows)
    return _flower.reply(message, vectors, len(rows.target), rows.sets)


@client_app.evaluate("fit")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_fit(message: Message, context: Context) -> Message:
    """Tallies of the rows trained on, and of those kept apart; losses of both."""
    params: NetworkParams = context.params
    arrays = _flower.arrays_of(message)
    rows = _rows.scaled(context.inputs, params, arrays)
    shape = network(params)
    parts = (slice(0, rows.trained), slice(rows.trained, None))
    tally = evaluation.Tally.joined([_tally(shape, arrays, rows, part, params) for part in parts])
    vectors = {"counts": tally.counts, "sums": tally.sums, "loss": _losses(shape, arrays["weights"], rows)}
    return _flower.reply(message, vectors, len(rows.target), rows.sets)


def _gradient(shape: Network, weights: Floats, rows: _rows.Rows, params: NetworkParams) -> Floats:
    if params.row_clip is None:
        return shape.gradient(weights, rows.inputs[: rows.trained], rows.target[: rows.trained])
    total = np.zeros(shape.size)
    step = max(1, _CHUNK // shape.size)
    for start in range(0, rows.trained, step):
        part = slice(start, min(start + step, rows.trained))
        each = shape.row_gradients(weights, rows.inputs[part], rows.target[part], params.row_clip)
        total += np.rint(np.ldexp(each, STEP_BITS)).sum(axis=0)
    return np.ldexp(total, -STEP_BITS)


def trained(shape: Network, start: Floats, rows: _rows.Rows, params: NetworkParams, round_: int) -> Floats:
    """By how much the weights change in a department's own training, clipped."""
    weights, velocity = start.copy(), np.zeros(shape.size)
    inputs, target = rows.inputs[: rows.trained], rows.target[: rows.trained]
    random = np.random.Generator(np.random.PCG64([params.seed, round_]))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(params.local_epochs):
            order = random.permutation(rows.trained)
            for at in range(0, rows.trained, params.batch_size):
                batch = order[at : at + params.batch_size]
                gradient = shape.gradient(weights, inputs[batch], target[batch], params.row_clip) / len(batch)
                gradient += params.weight_decay * weights
                if params.strategy == "fedprox":
                    gradient += params.proximal_mu * (weights - start)
                velocity = params.momentum * velocity + gradient
                weights -= params.learning_rate * velocity
        change = weights - start
        length = float(np.linalg.norm(change))
    if not np.isfinite(length):
        return np.zeros(shape.size)  # it ran away: no change is better than any
    return change * min(1.0, params.clip / max(length, 1e-300))


def _losses(shape: Network, weights: Floats, rows: _rows.Rows) -> Floats:
    """Sum of losses and number of rows: of those trained on, and of those kept apart."""
    found: list[float] = []
    for part in (slice(0, rows.trained), slice(rows.trained, None)):
        target = rows.target[part]
        found += [shape.loss(shape.outputs(weights, rows.inputs[part]), target), float(len(target))]
    return np.array(found)


def _tally(shape: Network, arrays: dict[str, Floats], rows: _rows.Rows, part: slice, params: NetworkParams) -> Any:
    outputs, target = shape.outputs(arrays["weights"], rows.inputs[part]), rows.target[part]
    one = evaluator(params)
    if isinstance(one, evaluation.Binary):
        return one.tally(outputs[:, 0], target)
    if isinstance(one, evaluation.Classes):
        return one.tally(softmax(outputs), target)
    mean, sd = _rows.scaling(params, arrays)
    return one.tally(outputs[:, 0] * sd[-1] + mean[-1], target * sd[-1] + mean[-1], float(mean[-1]))
