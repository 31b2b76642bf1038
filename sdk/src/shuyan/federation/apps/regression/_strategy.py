"""Newton's method as a Flower strategy over a grid that answers with sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from shuyan.federation import _flower
from shuyan.federation.ring import Floats

NEWTON = "train.newton"
_MAX_HALVINGS = 30


class Newton(Strategy):  # type: ignore[misc]
    """Newton steps with step halving; iteratively reweighted least squares where the loss is logistic.

    Once converged it configures no further rounds, so the remaining ones of ``start`` send nothing.

    Args:
        scaling: ``mean`` and ``sd``, shape (p,) each, or nothing where each department standardises by its own.
        terms: p.
        l2: ridge penalty on all weights but the last, the intercept.
        tolerance: largest change of a weight in a last step.
        quadratic: the loss is quadratic, so that one step is exact.
        tell: told ``round_loss`` after each round.

    Attributes:
        rounds: rounds with an answer.
        converged: whether the last step was within the tolerance.
    """

    def __init__(self, scaling: Mapping[str, Floats], terms: int, *, l2: float, tolerance: float, quadratic: bool,
                 tell: Callable[..., object]) -> None:
        self._scaling = dict(scaling)
        self._size = terms + 1
        self._penalty = np.full(self._size, l2)
        self._penalty[-1] = 0.0
        self._tolerance, self._quadratic, self._tell = tolerance, quadratic, tell
        self._accepted: tuple[float, int, Floats] | None = None  # objective, departments, weights
        self._weights = np.zeros(self._size)
        self._halvings = 0
        self.rounds = 0
        self.converged = False

    def expect(self) -> dict[str, int]:
        """The lengths of a round's vectors."""
        return {"gradient": self._size, "hessian": self._size * (self._size + 1) // 2, "loss": 1}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One question for all: what are gradient and Hessian at these weights?"""
        if self.converged:
            return []
        self._weights = arrays["weights"].numpy()
        # Flower's config stays here: what the departments do not read must not make a question look new.
        content = _flower.question_content(None, {"weights": self._weights, **self._scaling}, self.expect())
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
        departments, weights, loss = int(metrics["participants"]), self._weights, float(sums["loss"][0])
        # Before anybody has approved a result, people watch this; more digits would only say more of the data.
        self._tell("round_loss", departments=departments, loss=float(f"{loss / max(int(metrics['cohort']), 1):.4g}"))
        objective = loss + 0.5 * float(self._penalty @ weights**2)
        if self._accepted is not None and self._accepted[1] == departments:
            before, _, start = self._accepted
            if not objective <= before + 1e-9 * abs(before) and self._halvings < _MAX_HALVINGS:
                self._halvings += 1
                return self._record((start + weights) / 2), None
        self._halvings = 0
        self._accepted = (objective, departments, weights)
        step = self._step(sums["gradient"] + self._penalty * weights, sums["hessian"])
        self.converged = self._quadratic or float(np.abs(step).max()) <= self._tolerance
        return self._record(weights - step), None

    def _step(self, gradient: Floats, triangle: Floats) -> Floats:
        hessian = np.zeros((self._size, self._size))
        upper = np.triu_indices(self._size)
        hessian[upper] = triangle
        hessian.T[upper] = triangle
        hessian[np.diag_indices(self._size)] += self._penalty
        try:
            return np.asarray(np.linalg.solve(hessian, gradient))
        except np.linalg.LinAlgError:  # collinear inputs without a penalty: the shortest step
            return np.asarray(np.linalg.lstsq(hessian, gradient, rcond=None)[0])

    def _record(self, weights: Floats) -> ArrayRecord:
        return ArrayRecord({"weights": Array(weights)})

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
