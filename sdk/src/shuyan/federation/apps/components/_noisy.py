"""Principal components with differential privacy: one noisy matrix of products, and what its noise does to them.

Inputs are scaled to [-1, 1] by the columns' declared bounds and clamped. The sums of products of all pairs of inputs, a constant 1
among them, are one vector, from which means and covariances follow; its noise is the same on every element. (Dwork, Talwar, Thakurta &
Zhang, "Analyze Gauss: optimal bounds for privacy-preserving principal component analysis", STOC 2014.)

What noise N on the products does to variances and directions is known to first order. With a covariance C of mean m and n rows,
and a = (v, -v·m), the noise moves v'Cw by (a'N b - v'Cw·N_nn)/n, where N_nn is that on n; for correlations, that of the
variances they are divided by counts as well. An eigenvalue then moves by what v'Cv does, and its vector towards another by what
v'Cw does, divided by the distance of the two eigenvalues. (Stewart & Sun, Matrix Perturbation Theory, 1990, chapter V.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from flwr.app import Context, Message

from shuyan.federation import _flower, problems
from shuyan.federation.apps.components._params import ComponentsParams
from shuyan.federation.grid import SecureGrid
from shuyan.federation.learning import bounded
from shuyan.federation.learning.content import spent
from shuyan.federation.learning.quadratic import symmetric
from shuyan.federation.privacy import Sensitivity
from shuyan.federation.privacy.noise import half_width
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

NOISY_PRODUCTS: Final = "query.noisy_products"
_SURE: Final = 4.0
"""Standard deviations of noise that must be exceeded before anything is divided by a figure."""
_VARIES: Final = 3.0
"""The same for a variance that correlations are divided by."""
_APART: Final = 5.0
"""How far two variances must be apart, in standard deviations of what turns one direction into the other. Noise alone moves equal ones
twice as far apart as that turns them, and further than five times in one of twenty cases."""


def sensitivities(params: ComponentsParams, action: str, terms: PrivacyTerms) -> Mapping[str, Sensitivity]:
    """How far one unit moves the sums of products.

    Raises:
        ProblemError: ``bounds_missing``; the exact actions have no answer with noise.
    """
    bounded.scales(params.features, params.bounds)
    if action != NOISY_PRODUCTS:
        return {}
    return {"products": Sensitivity(terms.max_rows_per_unit * bounded.gram_norm(len(params.features)), integral=True)}


def answer(message: Message, context: Context) -> Message:
    """A handler's answer: sums of products of bounded inputs and 1, the upper triangle by rows, for the node to add its noise to."""
    inputs, params = context.inputs, context.params
    if not inputs.bounded:  # an exact answer is another question's
        raise ProblemError(problems.UNKNOWN_ACTION, action=NOISY_PRODUCTS)
    matrix = bounded.steps(inputs, params.features, params.bounds)
    return _flower.reply(message, {"products": bounded.gram(matrix)}, len(matrix))


# --- at the coordinator --------------------------------------------------------------------------------------------------


def serve(grid: SecureGrid, params: ComponentsParams) -> dict[str, Any]:
    """One question and an eigenvalue problem.

    Raises:
        ProblemError: ``bounds_missing``, ``rows_below_noise``, ``variance_below_noise`` naming a column that cannot be standardised,
            and what charging the budget raises.
    """
    scales = bounded.scales(params.features, params.bounds)
    grid.plan(1)
    size = len(scales)
    total = grid.secure_sum(NOISY_PRODUCTS, expect={"products": (size + 1) * (size + 2) // 2})
    seen = Seen(symmetric(total["products"], size + 1), total.deviation("products"))
    half = np.array([scale.half for scale in scales])
    if params.standardise:
        seen.check_variances(params.features)
        units = 1 / seen.sd
    else:
        units = half
    matrix = seen.covariance * np.outer(units, units)
    values, vectors = np.linalg.eigh(matrix)
    kept = np.argsort(values)[::-1][: params.components or size].tolist()
    moved = seen.moved(values, vectors, units, kept, correlation=params.standardise)
    # As in the exact model, whose variances are those of a sample.
    sample = seen.rows / max(seen.rows - 1, 1.0)
    whole = float(np.maximum(values, 0.0).sum())
    sd = half * seen.sd if params.standardise else np.ones(size)
    mean = [scale.middle + scale.half * float(np.clip(value, -1, 1)) for scale, value in zip(scales, seen.mean, strict=True)]
    components = [_component(max(float(values[at]), 0.0), vectors[:, at], whole, sample) for at in kept]
    return {
        "kind": "model", "family": "components",
        "features": [{"name": name, "type": "number", "mean": mean[at], "sd": float(sd[at])} for at, name in enumerate(params.features)],
        "components": components, "total_variance": whole * sample, "rows": round(seen.rows),
        "departments": len(total.participants), "rounds": 1, "converged": True,
        "metrics": {"explained": float(min(sum(one["share"] for one in components), 1.0))},
        "noise": {
            "components": [_told(values, vectors, at, row, sample) for at, row in zip(kept, moved, strict=True)],
            "features": [{"mean": float(mean_off), "sd": float(sd_off) if params.standardise else 0.0}
                         for mean_off, sd_off in zip(half * seen.mean_off, half * seen.sd_off, strict=True)],
            "rows": seen.deviation},
        "privacy": spent(grid),
    }


class Seen:
    """Means and covariances as noisy products give them, and how far off they are.

    Attributes:
        rows: how many.
        deviation: of the noise on each product.
        mean, covariance: of the scaled inputs; divisor n.
        sd: nought where noise leaves nothing of a variance.
    """

    def __init__(self, gram: Floats, deviation: float) -> None:
        """Raises ``rows_below_noise``."""
        self.rows, self.deviation = float(gram[-1, -1]), deviation
        if self.rows <= _SURE * deviation:
            raise ProblemError(problems.ROWS_BELOW_NOISE, field="params.rho_nano")
        self.mean: Floats = gram[:-1, -1] / self.rows
        self.covariance: Floats = gram[:-1, :-1] / self.rows - np.outer(self.mean, self.mean)
        self.sd: Floats = np.sqrt(np.maximum(np.diag(self.covariance), 0.0))
        self._centred = np.hstack([np.eye(len(self.mean)), -self.mean[:, None]])

    @property
    def mean_off(self) -> Floats:
        """The standard deviations of the means."""
        return np.asarray(self.deviation / self.rows * np.sqrt(1 + self.mean**2))

    @property
    def variance_off(self) -> Floats:
        """The standard deviations of the variances."""
        return np.array([self._spread(np.outer(row, row), float(variance))
                         for row, variance in zip(self._centred, np.diag(self.covariance), strict=True)])

    @property
    def sd_off(self) -> Floats:
        """The standard deviations of the standard deviations."""
        return np.asarray(self.variance_off / (2 * np.maximum(self.sd, 1e-300)))

    def check_variances(self, names: list[str]) -> None:
        """Raises ``variance_below_noise``, naming the column where a variance is least beside its noise."""
        sure = np.diag(self.covariance) / (_VARIES * self.variance_off)
        worst = int(np.argmin(sure))
        if sure[worst] <= 1:
            raise ProblemError(problems.VARIANCE_BELOW_NOISE, field="params.features", column=names[worst])

    def moved(self, values: Floats, vectors: Floats, units: Floats, kept: list[int], *, correlation: bool) -> Floats:
        """By kept component and component, the standard deviation of what noise adds to v'Mw: shape (kept, p).

        Args:
            values, vectors: of M, the covariance in ``units``.
            correlation: the units are the standard deviations themselves, with their own noise.
        """
        lifted = self._centred.T @ (units[:, None] * vectors)
        found = np.empty((len(kept), len(values)))
        for row, one in enumerate(kept):
            for other in range(len(values)):
                weights = (np.outer(lifted[:, one], lifted[:, other]) + np.outer(lifted[:, other], lifted[:, one])) / 2
                if correlation:
                    part = vectors[:, one] * vectors[:, other] / np.diag(self.covariance)
                    weights = weights - (values[one] + values[other]) / 2 * (self._centred.T * part) @ self._centred
                found[row, other] = self._spread(weights, 0.0 if correlation or one != other else float(values[one]))
        return found

    def _spread(self, weights: Floats, of_rows: float) -> float:
        """The standard deviation of (Σ weights·N - of_rows·N_nn)/n, for a symmetric N of independent noise."""
        weights = weights.copy()
        weights[-1, -1] -= of_rows
        return self.deviation / self.rows * math.sqrt(max(2 * float((weights**2).sum()) - float((np.diag(weights) ** 2).sum()), 0.0))


def _told(values: Floats, vectors: Floats, at: int, moved: Floats, sample: float) -> dict[str, Any]:
    """What noise does to one component.

    Its variance is also moved away from the others', on the average by the square of what turns it divided by the distance.
    """
    others = np.arange(len(values)) != at
    gap, turned = values[at] - values[others], moved[others]
    shift = float(np.sum(np.sign(gap) * turned**2 / np.maximum(np.abs(gap), turned)))
    sd = sample * math.hypot(float(moved[at]), shift)
    apart = bool(np.all(np.abs(gap) > _APART * turned))
    share = turned / np.abs(gap) if apart else turned
    return {"sd": sd, "half_width": half_width(sd), "apart": apart,
            "angle": math.degrees(math.asin(min(float(np.linalg.norm(share)), 1.0))) if apart else None,
            "loadings": np.sqrt(vectors[:, others] ** 2 @ share**2).tolist() if apart else None}


def _component(variance: float, loadings: Floats, whole: float, sample: float) -> dict[str, Any]:
    if loadings[int(np.argmax(np.abs(loadings)))] < 0:
        loadings = -loadings
    return {"variance": variance * sample, "share": min(variance / whole, 1.0) if whole else 0.0, "loadings": loadings.tolist()}
