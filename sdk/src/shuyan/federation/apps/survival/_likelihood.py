"""Cox's partial likelihood from sums by time step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shuyan.federation.grid import Sum
from shuyan.federation.ring import Floats


@dataclass(frozen=True)
class StepSums:
    """Sums over rows by the time step in which they leave observation.

    Attributes:
        risk, risk_x, risk_xx: of the hazards, of hazards times inputs and their products, shape (steps,), (steps, p) and
            (steps, p, p).
        event, event_x, event_xx: the same over rows with an event; noughts where ties are Breslow's.
    """

    risk: Floats = field(repr=False)
    risk_x: Floats = field(repr=False)
    risk_xx: Floats = field(repr=False)
    event: Floats = field(repr=False)
    event_x: Floats = field(repr=False)
    event_xx: Floats = field(repr=False)

    @classmethod
    def empty(cls, steps: int, size: int) -> StepSums:
        """Noughts."""
        one = (np.zeros(steps), np.zeros((steps, size)), np.zeros((steps, size, size)))
        return cls(*one, *one)

    @classmethod
    def of(cls, total: Sum, steps: int, size: int, *, efron: bool) -> StepSums:
        """From a round's sums."""
        none = cls.empty(steps, size)
        risk = (total["risk"], total["risk_x"].reshape(steps, size), _square(total["risk_xx"], steps, size))
        if not efron:
            return cls(*risk, none.event, none.event_x, none.event_xx)
        return cls(*risk, total["event"], total["event_x"].reshape(steps, size), _square(total["event_xx"], steps, size))


def _square(triangles: Floats, steps: int, size: int) -> Floats:
    upper = np.triu_indices(size)
    matrices = np.zeros((steps, size, size))
    matrices[:, upper[0], upper[1]] = triangles.reshape(steps, -1)
    matrices[:, upper[1], upper[0]] = triangles.reshape(steps, -1)
    return matrices


def likelihood(sums: StepSums, events: np.ndarray, seen: Floats, weights: Floats) -> tuple[float, Floats, Floats]:
    """The log partial likelihood, its gradient and its negative second derivative.

    Args:
        events: events by step.
        seen: the sum of the (standardised) inputs of all rows with an event, shape (p,).
    """
    # At risk in a step is who leaves in it or later.
    risk, risk_x, risk_xx = (np.cumsum(part[::-1], axis=0)[::-1] for part in (sums.risk, sums.risk_x, sums.risk_xx))
    value, gradient = float(seen @ weights), seen.astype(np.float64).copy()
    hessian = np.zeros((len(seen), len(seen)))
    for step in np.flatnonzero(events):
        ties = int(events[step])
        # Efron: of those who leave with an event, a growing share no longer counts as being at risk.
        share = np.arange(ties) / ties if sums.event[step] > 0 else np.zeros(1)
        times = 1.0 if sums.event[step] > 0 else float(ties)
        bottom = risk[step] - share * sums.event[step]
        first = (risk_x[step] - share[:, None] * sums.event_x[step]) / bottom[:, None]
        value -= times * float(np.log(bottom).sum())
        gradient -= times * first.sum(axis=0)
        inverse = 1 / bottom
        hessian += times * (risk_xx[step] * inverse.sum() - sums.event_xx[step] * float(share @ inverse) - first.T @ first)
    return value, gradient, hessian
