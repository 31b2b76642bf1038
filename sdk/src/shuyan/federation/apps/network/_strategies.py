"""Flower's own strategies on a grid that answers with sums.

To a strategy the sum looks like one node's reply: the mean of the departments' weights by rows, and the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx, Strategy

from shuyan.federation import _flower
from shuyan.federation.apps.network._params import NetworkParams
from shuyan.federation.grid import SecureGrid
from shuyan.federation.ring import Floats

_ONE = 1
_KEY = "arrays"


def strategy(params: NetworkParams) -> Strategy:
    """The strategy of a job."""
    common: dict[str, Any] = {"min_train_nodes": _ONE, "min_available_nodes": _ONE}
    made: FedAvg
    if params.strategy == "fedprox":
        made = FedProx(**common, proximal_mu=params.proximal_mu)
    elif params.strategy == "fedadam":
        made = FedAdam(**common, eta=params.server_learning_rate, eta_l=params.learning_rate, beta_1=params.beta_1,
                       beta_2=params.beta_2, tau=params.tau)
    else:
        made = FedAvg(**common)
    made.fraction_evaluate = 0.0  # losses come with the training rounds
    return made


class MeanGrid(Grid):  # type: ignore[misc]
    """A grid of one node, whose reply is all departments' mean.

    Args:
        step: ``step(weights) -> (weights, rows)``: one secure round.
    """

    def __init__(self, grid: SecureGrid, step: Callable[[Floats], tuple[Floats, int]]) -> None:
        self._grid, self._step = grid, step
        self._number = 0
        self._replies: dict[str, Message] = {}

    def set_run(self, run: _flower.Run) -> None:
        """Set the Flower run shown by :attr:`run`."""
        self._grid.set_run(run)

    @property
    def run(self) -> _flower.Run:
        """The Flower run."""
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to the one node."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        """The one node."""
        return [_ONE]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run each message as a secure round."""
        keys: list[str] = []
        for message in messages:
            weights, rows = self._step(message.content[_KEY]["weights"].numpy())
            content = RecordDict({
                _KEY: ArrayRecord({"weights": Array(weights)}), "metrics": MetricRecord({"num-examples": max(rows, 1)}),
            })
            self._number += 1
            keys.append(str(self._number))
            self._replies[keys[-1]] = Message(content, reply_to=message)
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to pushed messages; each is given out once."""
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Put questions and return the replies."""
        return self.pull_messages(self.push_messages(messages))
