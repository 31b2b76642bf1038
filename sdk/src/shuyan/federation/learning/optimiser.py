"""One fit's Newton iterations: what to ask next, from the sums that came back. Coordinator side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shuyan.federation.learning import quadratic
from shuyan.federation.ring import Floats

_MAX_HALVINGS = 30
_RUNAWAY = 3


@dataclass(frozen=True)
class Penalty:
    """``Σ l1|w| + Σ l2 w²/2`` over all weights, shape (size,) each; nought for intercepts."""

    l1: Floats
    l2: Floats

    def of(self, weights: Floats) -> float:
        """The penalty at ``weights``."""
        return float(self.l1 @ np.abs(weights) + 0.5 * (self.l2 @ weights**2))

    def any(self) -> bool:
        """Whether anything is penalised."""
        return bool(self.l1.any() or self.l2.any())


class Optimiser:
    """Newton's method with step halving; proximal (by coordinate descent on the summed quadratic) where l1 is used.

    Args:
        start: weights to begin with, block after block of ``terms`` and an intercept.
        active: which weights may move, shape (size,).
        penalty: on every weight.
        tolerance: largest change of a weight in a last step.
        quadratic: the loss is quadratic, so that one step is exact.

    Attributes:
        weights: to ask about next; the result once ``converged``.
        converged: whether the last step was within the tolerance.
        runaway: whether the steps stay as large as they were although the loss hardly falls: there is no minimum.
        rounds: answers taken.
        aliased: terms that are linear combinations of others, with those others, as places in a block. Without a penalty
            their weights stay at nought.
        step: the last full step.
        hessian: of the loss, from the last answer.
    """

    def __init__(self, start: Floats, active: np.ndarray, penalty: Penalty, *, blocks: int, tolerance: float,
                 quadratic: bool) -> None:
        self.weights = start.copy()
        self.active = active.copy()
        self.penalty = penalty
        self._blocks, self._tolerance, self._quadratic = blocks, tolerance, quadratic
        self._accepted: tuple[float, int, Floats] | None = None  # objective, departments, weights
        self._halvings = self._steady = 0
        self.rounds = 0
        self.converged = self.runaway = False
        self.aliased: dict[int, list[int]] = {}
        self.step = np.zeros_like(start)
        self.hessian = np.zeros((len(start), len(start)))

    @property
    def done(self) -> bool:
        """Whether there is nothing left to ask."""
        return self.converged or self.runaway

    def take(self, gradient: Floats, hessian: Floats, loss: float, departments: int) -> None:
        """Take the sums at :attr:`weights` and choose the next."""
        self.rounds += 1
        objective = loss + self.penalty.of(self.weights)
        fell = None
        if self._accepted is not None and self._accepted[1] == departments:
            before, _, start = self._accepted
            fell = before - objective
            if not objective <= before + 1e-9 * abs(before) and self._halvings < _MAX_HALVINGS:
                self._halvings += 1
                self._steady = 0
                self.weights = (start + self.weights) / 2
                return
        else:
            self._find_aliased(hessian)
        self._halvings = 0
        self._accepted = (objective, departments, self.weights)
        self.hessian = hessian
        step = self._next(gradient, hessian)
        largest, before_it = float(np.abs(step).max(initial=0.0)), float(np.abs(self.step).max(initial=0.0))
        self.step = step
        self.converged = self._quadratic or largest <= self._tolerance
        # Where classes can be separated every step adds about as much as the last, and the loss falls by e each time.
        steady = fell is not None and before_it > 0 and 0.5 <= largest / before_it <= 2.0 and fell <= 1e-3 * max(abs(objective), 1.0)
        self._steady = self._steady + 1 if steady else 0
        self.runaway = not self.converged and not self.penalty.any() and self._steady >= _RUNAWAY
        self.weights = self.weights - step

    def _next(self, gradient: Floats, hessian: Floats) -> Floats:
        """The step to subtract."""
        free = np.flatnonzero(self.active)
        step = np.zeros_like(self.weights)
        here, matrix, slope = self.weights[free], hessian[np.ix_(free, free)], gradient[free]
        l1, l2 = self.penalty.l1[free], self.penalty.l2[free]
        if l1.any():
            step[free] = here - quadratic.elastic_net(slope - matrix @ here, matrix, here, l1, l2)
        else:
            step[free] = quadratic.newton_step(slope + l2 * here, matrix + np.diag(l2))
        return step

    def _find_aliased(self, hessian: Floats) -> None:
        """Without a penalty, terms that say what others say have no estimate of their own."""
        size = len(self.weights) // self._blocks
        for block in range(self._blocks):
            place = slice(block * size, (block + 1) * size)
            free = self.active[place]
            if not free[size - 1]:
                continue
            order = [size - 1, *(term for term in range(size - 1) if free[term])]
            for term, others in quadratic.dependent(hessian[place, place], order).items():
                self.aliased.setdefault(term, [other for other in others if other != size - 1])
                if not self.penalty.any():
                    self.active[place.start + term] = False
                    self.weights[place.start + term] = 0.0
