"""k-means with differential privacy, coordinator side: a start, the rounds, and the result.

Everything here works on noisy sums, and draws by lot from the job's seed, so that a run that is taken up again puts the same questions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shuyan.federation import problems
from shuyan.federation.apps.clustering._noisy import ASSIGN, LAST, MOMENTS, SURVEY, lengths, surveyed
from shuyan.federation.apps.clustering._params import ClusteringParams
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.learning import bounded
from shuyan.federation.learning.content import spent
from shuyan.federation.learning.notices import notice
from shuyan.federation.privacy.bounding import STEP_BITS, Scale
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError

_SEEN: Final = 3.0
"""Standard deviations of noise that a cluster's rows must exceed for its centre to move where they are."""
_SURE: Final = 4.0
"""The same for what the result divides by, and for how far noise alone moves a centre."""
_VARIES: Final = 2.0
"""The same for a column's variance, which only says how much the column counts beside others."""
_SWEEPS: Final = 30


@dataclass(frozen=True)
class Columns:
    """The scaled columns as noisy sums give them.

    Attributes:
        rows: how many.
        deviation: of the noise on each sum.
        variance: divisor n; noise may make it negative.
        sd: what distances are told in: of a column whose variance cannot be told from noise, that of as much noise.
        unsure: the names of these columns.
    """

    rows: float
    deviation: float
    mean: Floats
    variance: Floats
    sd: Floats
    unsure: list[str]

    @classmethod
    def of(cls, total: Sum, names: list[str]) -> Columns:
        """Raises ``rows_below_noise``."""
        size, found, deviation = len(names), total["moments"], total.deviation("moments")
        rows = float(found[-1])
        if rows <= _SURE * deviation:
            raise ProblemError(problems.ROWS_BELOW_NOISE, field="params.rho_nano")
        mean, second = found[:size] / rows, found[size : 2 * size] / rows
        variance = second - mean**2
        off = deviation / rows * np.sqrt(1 + 4 * mean**2 + (2 * mean**2 - second) ** 2)
        least = _VARIES * off
        return cls(rows, deviation, mean, variance, np.sqrt(np.maximum(variance, least)),
                   [name for name, sure in zip(names, variance > least, strict=True) if not sure])


class _Totals:
    """A round's sums: rows by centre and their means, which are nowhere but between the bounds."""

    def __init__(self, total: Sum, size: int) -> None:
        found = total["totals"].reshape(-1, size + 1)
        self.deviation = total.deviation("totals")
        self.rows: Floats = found[:, -1]
        self.seen = self.rows > _SEEN * self.deviation
        self.means: Floats = np.clip(found[:, :-1] / np.maximum(self.rows, 1.0)[:, None], -1.0, 1.0)

    @property
    def off(self) -> Floats:
        """The standard deviations of the means."""
        return np.asarray(self.deviation / np.maximum(self.rows, 1.0)[:, None] * np.sqrt(1 + self.means**2))


def serve(grid: SecureGrid, params: ClusteringParams) -> dict[str, Any]:
    """Two questions to start from, then the rounds.

    Raises:
        ProblemError: ``bounds_missing``, ``rows_below_noise``, and what charging the budget raises.
    """
    scales = bounded.scales(params.features, params.bounds)
    grid.plan(params.noisy_rounds + 2)
    size, random = len(scales), np.random.Generator(np.random.PCG64(params.seed))
    columns = Columns.of(grid.secure_sum(MOMENTS, expect=lengths(params, MOMENTS)), params.features)
    weights = 1 / columns.sd**2

    def ask(action: str, places: Floats) -> tuple[Sum, _Totals]:
        total = grid.secure_sum(action, expect=lengths(params, action), arrays={"centres": places.ravel(), "weights": weights})
        return total, _Totals(total, size)

    drawn = columns.mean + columns.sd * random.standard_normal((surveyed(params), size))
    _, found = ask(SURVEY, _rounded(drawn))
    centres = _start(params, columns, found, random)
    moved = off = np.zeros((params.clusters, size))
    for round_ in range(params.noisy_rounds):
        last = round_ == params.noisy_rounds - 1
        total, found = ask(LAST if last else ASSIGN, centres)
        reached = np.where(found.seen[:, None], found.means, centres)
        moved, off = reached - centres, np.hypot(off, found.off) if last else found.off
        centres = reached if last else _rounded(_restarted(reached, found, columns, random))
    return _content(grid, params, scales, columns, total, found, settled=np.abs(moved) <= _SURE * off)


def _rounded(places: Floats) -> Floats:
    """Between the bounds, and in whole steps: a rounding error of another machine's is no other question."""
    return np.ldexp(np.rint(np.ldexp(np.clip(places, -1.0, 1.0), STEP_BITS)), -STEP_BITS)


def _start(params: ClusteringParams, columns: Columns, found: _Totals, random: np.random.Generator) -> Floats:
    """The centres of the best of several k-means over the surveyed means, weighted by their rows."""
    points, rows = (found.means[found.seen] - columns.mean) / columns.sd, found.rows[found.seen]
    if len(points) < params.clusters:  # little more than noise: one place is as good as another
        return _rounded(columns.mean + columns.sd * random.standard_normal((params.clusters, len(columns.mean))))
    fits = [_lloyd(points, rows, _spread_out(points, rows, params.clusters, random)) for _ in range(params.starts)]
    best = min(fits, key=lambda places: float(rows @ _squares(points, places).min(axis=1)))
    return _rounded(columns.mean + columns.sd * best)


def _spread_out(points: Floats, rows: Floats, clusters: int, random: np.random.Generator) -> Floats:
    """First centres among the points, each with the chance of its distance from those before (k-means++; Arthur & Vassilvitskii, SODA 2007)."""
    chosen = [int(random.choice(len(points), p=rows / rows.sum()))]
    while len(chosen) < clusters:
        chance = rows * _squares(points, points[chosen]).min(axis=1)
        if not chance.any():  # fewer places than clusters
            chance = rows
        chosen.append(int(random.choice(len(points), p=chance / chance.sum())))
    return points[chosen]


def _lloyd(points: Floats, rows: Floats, places: Floats) -> Floats:
    places = places.copy()
    for _ in range(_SWEEPS):
        nearest = _squares(points, places).argmin(axis=1)
        for at in range(len(places)):
            own = nearest == at
            if own.any():
                places[at] = np.average(points[own], axis=0, weights=rows[own])
    return places


def _squares(points: Floats, places: Floats) -> Floats:
    return np.asarray(((points[:, None] - places[None]) ** 2).sum(axis=2))


def _restarted(centres: Floats, found: _Totals, columns: Columns, random: np.random.Generator) -> Floats:
    """With each cluster that has no more rows than noise put beside the largest one, which it then divides."""
    drawn = random.standard_normal(centres.shape)
    beside = centres[int(np.argmax(found.rows))] + 0.5 * columns.sd * drawn
    return np.where(found.seen[:, None], centres, beside) if found.seen.any() else centres


def _content(
    grid: SecureGrid, params: ClusteringParams, scales: list[Scale], columns: Columns, total: Sum, found: _Totals, *, settled: np.ndarray,
) -> dict[str, Any]:
    half, middle = np.array([scale.half for scale in scales]), np.array([scale.middle for scale in scales])
    shown = [at for at in np.argsort(-found.rows, kind="stable").tolist() if found.rows[at] > _SURE * found.deviation]
    if not shown:
        raise ProblemError(problems.ROWS_BELOW_NOISE, field="params.rho_nano")
    inertia, off = _inertia(columns, found, shown)
    mean, sd = middle + half * np.clip(columns.mean, -1.0, 1.0), half * columns.sd
    return {
        "kind": "model", "family": "clusters",
        "features": [{"name": name, "type": "number", "mean": float(mean[at]), "sd": float(sd[at])}
                     for at, name in enumerate(params.features)],
        "clusters": [{"rows": max(round(found.rows[at]), 1), "centre": (middle + half * found.means[at]).tolist()} for at in shown],
        "suppressed": params.clusters - len(shown), "rows": round(columns.rows), "departments": len(total.participants),
        "rounds": params.noisy_rounds, "converged": bool(settled[shown].all()), "metrics": {"inertia": inertia},
        "noise": {"centres": (half * found.off[shown]).tolist(), "rows": found.deviation, "inertia": off},
        "privacy": spent(grid), "warnings": [notice("variance_below_noise", columns.unsure)] if columns.unsure else [],
    }


def _inertia(columns: Columns, found: _Totals, shown: list[int]) -> tuple[float, float]:
    """The mean squared distance to the cluster's mean, in standard deviations, and what noise makes it err by.

    All squared distances from the mean, less the clusters' own: what is known already, so that nothing is asked for it.
    """
    count, rows, mean = columns.rows, found.rows[shown], columns.mean
    off = (found.means[shown] - mean) / columns.sd
    # A noisy centre is further away, by its variance.
    between = float((rows[:, None] * (off**2 - (found.off[shown] / columns.sd) ** 2)).sum())
    inertia = max(float((columns.variance / columns.sd**2).sum()) - between / count, 0.0)
    # To first order: of the sums of squares, sums and the count of all, then of each cluster's sums and count.
    squares, ratio = 1 / columns.sd**2, mean / columns.sd
    of_all = columns.deviation**2 * float((squares**2).sum() + (2 * mean * squares) @ (2 * mean * squares)
                                          + (float(ratio @ ratio) - inertia) ** 2)
    of_clusters = found.deviation**2 * float(((2 * off / columns.sd) ** 2).sum()
                                             + ((2 * off @ ratio + (off**2).sum(axis=1)) ** 2).sum())
    return inertia, math.sqrt(of_all + of_clusters) / count
