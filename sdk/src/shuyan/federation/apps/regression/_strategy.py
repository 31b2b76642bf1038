"""Newton's method as a Flower strategy over a grid that answers with sums; all fits of a run share its rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from shuyan.federation import _flower
from shuyan.federation.learning.optimiser import Optimiser
from shuyan.federation.learning.quadratic import symmetric
from shuyan.federation.ring import Floats

NEWTON = "train.newton"


class Newton(Strategy):  # type: ignore[misc]
    """Newton steps with step halving; iteratively reweighted least squares where the loss is not quadratic.

    Once all fits are done it configures no further rounds, so the remaining ones of ``start`` send nothing.

    Args:
        optimisers: one for each fit.
        constant: arrays that go with every question besides ``weights``.
        tell: told ``round_loss`` after each round.

    Attributes:
        rounds: rounds with an answer.
    """

    def __init__(self, optimisers: Sequence[Optimiser], constant: Mapping[str, Floats], tell: Callable[..., object]) -> None:
        self._optimisers, self._constant, self._tell = list(optimisers), dict(constant), tell
        self._size = len(optimisers[0].weights)
        self.rounds = 0

    def weights(self) -> Floats:
        """All fits' weights, one fit after the other."""
        return np.concatenate([fit.weights for fit in self._optimisers])

    def expect(self) -> dict[str, int]:
        """The lengths of a round's vectors."""
        fits = len(self._optimisers)
        return {"gradient": fits * self._size, "hessian": fits * self._size * (self._size + 1) // 2, "loss": fits}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One question for all: what are gradient and Hessian at these weights?"""
        if all(fit.done for fit in self._optimisers):
            return []
        # Flower's config stays here: what the departments do not read must not make a question look new.
        content = _flower.question_content(None, {"weights": self.weights(), **self._constant}, self.expect())
        first = next(iter(grid.get_node_ids()))
        return [grid.create_message(content, NEWTON, first, str(server_round))]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The next weights, from the sums."""
        reply = next(iter(replies), None)
        if reply is None:
            return None, None
        self.rounds = server_round
        sums, metrics = _flower.sums_of(reply), reply.content["metrics"]
        departments, cohort = int(metrics["participants"]), max(int(metrics["cohort"]), 1)
        # Before anybody has approved a result, people watch this; more digits would only say more of the data.
        self._tell("round_loss", departments=departments, loss=float(f"{float(sums['loss'][0]) / cohort:.4g}"))
        gradients = sums["gradient"].reshape(len(self._optimisers), -1)
        hessians = sums["hessian"].reshape(len(self._optimisers), -1)
        for fit, gradient, hessian, loss in zip(self._optimisers, gradients, hessians, sums["loss"].tolist(), strict=True):
            if not fit.done:
                fit.take(gradient, symmetric(hessian, self._size), loss, departments)
        return ArrayRecord({"weights": Array(self.weights())}), None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: the fit is evaluated once, at the end."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing was asked."""
        return None

    def summary(self) -> None:
        """Nothing for a log."""
