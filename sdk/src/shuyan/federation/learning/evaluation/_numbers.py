"""Numbers predicted: errors, and for counts deviances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shuyan.federation.learning.evaluation._tally import Tally
from shuyan.federation.ring import Floats


@dataclass(frozen=True)
class Numbers:
    """Metrics of a predicted number.

    ``counts``: rows. ``sums``: squared and absolute error; the target's first two moments about a centre; Poisson's
    deviance of the model and of the centre alone (noughts unless ``poisson``).

    Args:
        poisson: targets are counts, predictions their means.
    """

    poisson: bool = False

    @property
    def counts(self) -> int:
        return 1

    @property
    def sums(self) -> int:
        return 6

    def tally(self, predicted: Floats, target: Floats, centre: Floats | float) -> Tally:
        """A department's tally.

        Args:
            predicted, target: shape (n,).
            centre: what a model without features predicts: a number near the mean, or one for each row.
        """
        error, about = target - predicted, target - centre
        sums = [float(error @ error), float(np.abs(error).sum()), float(about.sum()), float(about @ about), 0.0, 0.0]
        if self.poisson:
            sums[4] = poisson_deviance(target, predicted)
            sums[5] = poisson_deviance(target, np.broadcast_to(np.asarray(centre, dtype=np.float64), target.shape))
        return Tally(np.array([float(len(target))]), np.array(sums))

    def metrics(self, counts: Sequence[int], sums: Sequence[float], *, minimum: int) -> dict[str, Any] | None:
        """``rows``, ``rmse``, ``mae``; ``r2`` (about the rows' own mean), or ``deviance`` and ``d2`` for counts."""
        rows = counts[0]
        if rows < max(minimum, 1):
            return None
        found: dict[str, Any] = {"rows": rows, "rmse": (sums[0] / rows) ** 0.5, "mae": sums[1] / rows}
        if self.poisson:
            # The share of the deviance of a model without features that this one explains.
            return found | {"deviance": sums[4], "d2": 1 - sums[4] / sums[5] if sums[5] > 0 else 0.0}
        spread = sums[3] - sums[2] ** 2 / rows
        return found | {"r2": 1 - sums[0] / spread if spread > 0 else 0.0}


def poisson_deviance(target: Floats, predicted: Floats) -> float:
    """Twice the log-likelihood lost against predicting every count itself."""
    mean = np.maximum(predicted, np.finfo(np.float64).tiny)
    counted = target > 0
    log_ratio = np.log1p((np.where(counted, target, mean) - mean) / mean)  # exact where they are close
    return float(2 * np.sum(np.where(counted, target * log_ratio, 0.0) - (target - mean)))
