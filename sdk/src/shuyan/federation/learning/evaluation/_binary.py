"""Two classes: discrimination, calibration, decisions at a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shuyan.federation.learning.evaluation import _curves
from shuyan.federation.learning.evaluation._tally import Tally
from shuyan.federation.ring import Floats

_CALIBRATION = 20


@dataclass(frozen=True)
class Binary:
    """Metrics of a probability of class 1.

    ``counts``: score histogram of class 1, then of class 0; true and false positives, false and true negatives; rows and
    class 1 by interval of probability. ``sums``: probability by interval; log-loss; Brier's score.

    Args:
        bins: of the score histograms.
        threshold: probability from which a row is taken for class 1.
        confidence: of the interval of the AUC.
    """

    bins: int
    threshold: float = 0.5
    confidence: float = 0.95

    @property
    def counts(self) -> int:
        return 2 * self.bins + 4 + 2 * _CALIBRATION

    @property
    def sums(self) -> int:
        return _CALIBRATION + 2

    def tally(self, margin: Floats, target: Floats) -> Tally:
        """A department's tally.

        Args:
            margin: log-odds of class 1, shape (n,).
            target: 0 or 1, shape (n,).
        """
        one = target == 1
        probability = 0.5 * (1 + np.tanh(0.5 * margin))
        place = _curves.place(margin, self.bins)
        # Where the threshold is one half, the sign of the log-odds says it without rounding.
        chosen = margin >= 0 if self.threshold == 0.5 else probability >= self.threshold
        interval = np.minimum((probability * _CALIBRATION).astype(np.int64), _CALIBRATION - 1)
        counts = np.concatenate([
            np.bincount(place[one], minlength=self.bins), np.bincount(place[~one], minlength=self.bins),
            [np.sum(chosen & one), np.sum(chosen & ~one), np.sum(~chosen & one), np.sum(~chosen & ~one)],
            np.bincount(interval, minlength=_CALIBRATION), np.bincount(interval[one], minlength=_CALIBRATION),
        ]).astype(np.float64)
        loss = float(np.sum(np.logaddexp(0, margin) - target * margin))
        sums = np.concatenate([
            np.bincount(interval, weights=probability, minlength=_CALIBRATION), [loss, float(np.sum((probability - target) ** 2))],
        ])
        return Tally(counts, sums)

    def metrics(self, counts: Sequence[int], sums: Sequence[float], *, minimum: int) -> dict[str, Any] | None:
        """``rows``, ``auc``, ``ks``, ``log_loss``, ``brier``, ``accuracy``, ``confusion`` and ``calibration``.

        The confusion matrix is None if a cell has fewer than ``minimum`` rows; neighbouring intervals of the calibration
        table are joined until each has as many.
        """
        positive, rest = list(counts[: self.bins]), list(counts[self.bins :])
        negative, rest = rest[: self.bins], rest[self.bins :]
        cells, rest = rest[:4], rest[4:]
        rows = sum(cells)
        if rows < max(minimum, 1):
            return None
        return {
            "rows": rows, "auc": _curves.auc(positive, negative, confidence=self.confidence),
            "ks": _curves.ks(positive, negative), "log_loss": sums[_CALIBRATION] / rows, "brier": sums[_CALIBRATION + 1] / rows,
            "accuracy": (cells[0] + cells[3]) / rows,
            "confusion": self._confusion(*cells) if min(cells) >= minimum else None,
            "calibration": _calibration(rest[:_CALIBRATION], rest[_CALIBRATION:], sums[:_CALIBRATION], minimum),
        }

    def _confusion(self, hits: int, alarms: int, misses: int, rejected: int) -> dict[str, float | None]:
        return {
            "threshold": self.threshold, "true_positive": hits, "false_positive": alarms, "false_negative": misses,
            "true_negative": rejected, "sensitivity": hits / (hits + misses) if hits + misses else None,
            "specificity": rejected / (rejected + alarms) if rejected + alarms else None,
            "precision": hits / (hits + alarms) if hits + alarms else None,
            "f1": 2 * hits / (2 * hits + alarms + misses) if hits + alarms + misses else None,
        }


def _calibration(rows: Sequence[int], ones: Sequence[int], summed: Sequence[float], minimum: int) -> list[dict[str, Any]]:
    """Rows, mean prediction and observed share by interval of probability."""
    joined: list[list[float]] = []
    open_ = [0.0, 0.0, 0.0, 0.0]  # lower end, rows, ones, probability
    for place, (count, hits, total) in enumerate(zip(rows, ones, summed, strict=True)):
        open_ = [open_[0], open_[1] + count, open_[2] + hits, open_[3] + total]
        if open_[1] >= max(minimum, 1):
            joined.append([open_[0], (place + 1) / _CALIBRATION, *open_[1:]])
            open_ = [(place + 1) / _CALIBRATION, 0.0, 0.0, 0.0]
    if joined:
        joined[-1] = [joined[-1][0], 1.0, *(a + b for a, b in zip(joined[-1][2:], open_[1:], strict=True))]
    return [
        {"lower": lower, "upper": upper, "rows": int(count), "predicted": total / count, "observed": hits / count}
        for lower, upper, count, hits, total in joined
    ]
