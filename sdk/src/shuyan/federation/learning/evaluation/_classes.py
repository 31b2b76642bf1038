"""Several classes: losses, the confusion matrix, and each class against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shuyan.federation.learning.evaluation import _curves
from shuyan.federation.learning.evaluation._tally import Tally
from shuyan.federation.ring import Floats


@dataclass(frozen=True)
class Classes:
    """Metrics of probabilities of several classes.

    ``counts``: the confusion matrix by row (true class); for every class the score histograms of its rows and of the rest.
    ``sums``: log-loss, Brier's score (the sum over classes).

    Args:
        names: the classes.
        bins: of the score histograms.
        confidence: of the intervals of the AUC.
    """

    names: tuple[str, ...]
    bins: int
    confidence: float = 0.95

    @property
    def counts(self) -> int:
        size = len(self.names)
        return size * size + 2 * size * self.bins

    @property
    def sums(self) -> int:
        return 2

    def tally(self, probability: Floats, target: Floats) -> Tally:
        """A department's tally.

        Args:
            probability: shape (n, classes).
            target: the places of the true classes, shape (n,).
        """
        size = len(self.names)
        true = target.astype(np.int64)
        counts = [np.bincount(true * size + probability.argmax(axis=1), minlength=size * size)]
        tiny = np.finfo(np.float64).tiny
        for place in range(size):
            own = probability[:, place]
            margin = np.log(np.maximum(own, tiny)) - np.log(np.maximum(1 - own, tiny))
            bins = _curves.place(margin, self.bins)
            counts += [np.bincount(bins[true == place], minlength=self.bins), np.bincount(bins[true != place], minlength=self.bins)]
        wanted = np.zeros_like(probability)
        wanted[np.arange(len(true)), true] = 1.0
        loss = -float(np.sum(np.log(np.maximum(probability[np.arange(len(true)), true], tiny))))
        return Tally(np.concatenate(counts).astype(np.float64), np.array([loss, float(np.sum((probability - wanted) ** 2))]))

    def metrics(self, counts: Sequence[int], sums: Sequence[float], *, minimum: int) -> dict[str, Any] | None:
        """``rows``, ``log_loss``, ``brier``, ``accuracy``, ``confusion`` and, by class, its ``auc`` against the rest.

        The confusion matrix is None if a cell has fewer than ``minimum`` rows.
        """
        size = len(self.names)
        matrix = np.array(counts[: size * size]).reshape(size, size)
        rows = int(matrix.sum())
        if rows < max(minimum, 1):
            return None
        found = {}
        for place, name in enumerate(self.names):
            start = size * size + 2 * place * self.bins
            middle = start + self.bins
            found[name] = _curves.auc(counts[start:middle], counts[middle : middle + self.bins], confidence=self.confidence)
        return {
            "rows": rows, "log_loss": sums[0] / rows, "brier": sums[1] / rows, "accuracy": float(np.trace(matrix)) / rows,
            "confusion": {"classes": list(self.names), "counts": matrix.tolist()} if matrix.min() >= minimum else None,
            "auc": found,
        }
