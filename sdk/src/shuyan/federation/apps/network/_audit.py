"""The department's part of a membership audit: networks of the same shape trained on halves of its own rows."""

from __future__ import annotations

from typing import Final

import numpy as np
from flwr.app import Context, Message

from shuyan.federation import _flower, audit
from shuyan.federation.apps.network import _rows
from shuyan.federation.apps.network._client import client_app, network, trained
from shuyan.federation.apps.network._layers import softmax
from shuyan.federation.apps.network._params import NetworkParams
from shuyan.federation.audit.lira import MOST_ROWS, Mask
from shuyan.federation.ring import Floats

_WORK: Final = 2e11
"""Multiplications that all shadow networks together may take."""


@client_app.evaluate("membership")  # type: ignore[untyped-decorator,unused-ignore]
def evaluate_membership(message: Message, context: Context) -> Message:
    """Whether this department's rows can be told to have been trained on."""
    params: NetworkParams = context.params
    if params.audit is None:
        raise ValueError("no audit was asked for")
    arrays = _flower.arrays_of(message)
    rows = _rows.scaled(context.inputs, params, arrays)
    passes = params.audit.models * params.rounds * (params.local_epochs if params.update == "weights" else 1)
    most = min(max(int(_WORK / (6 * passes * params.weights())), 500), MOST_ROWS)
    tried = audit.sample(np.arange(len(rows.target)) < rows.trained, params.audit, most)
    local = _Local(params, rows.inputs[tried.places], rows.target[tried.places])
    verdict = audit.audited(local.scores(arrays["weights"]), tried.members, params.audit, local.shadow)
    return _flower.reply(message, audit.states(verdict), len(rows.target), rows.sets)


class _Local:
    """Networks of the job's shape on some of a department's rows, standardised."""

    def __init__(self, params: NetworkParams, inputs: Floats, target: Floats) -> None:
        self._params, self._inputs, self._target = params, inputs, target
        self._shape = network(params)

    def shadow(self, chosen: Mask) -> Floats:
        """The scores of all rows under a network trained on those marked, as a department trains by itself."""
        params, shape = self._params, self._shape
        rows = _rows.Rows(self._inputs[chosen], self._target[chosen], int(chosen.sum()), b"")
        weights = shape.first(params.seed)
        for number in range(params.rounds):
            if params.update == "weights":
                weights = weights + trained(shape, weights, rows, params, number)
            else:
                mean = shape.gradient(weights, rows.inputs, rows.target, params.row_clip) / max(rows.trained, 1)
                weights = weights - params.learning_rate * (mean + params.weight_decay * weights)
        return self.scores(weights)

    def scores(self, weights: Floats) -> Floats:
        """How sure a network is of each row's true answer."""
        outputs = self._shape.outputs(weights, self._inputs)
        if self._params.task == "number":
            return np.asarray(-np.abs(self._target - outputs[:, 0]))
        if self._params.task == "binary":
            return np.asarray(np.where(self._target > 0, outputs[:, 0], -outputs[:, 0]))
        return audit.odds_of_truth(softmax(outputs), self._target)
