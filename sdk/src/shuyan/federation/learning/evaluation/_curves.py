"""AUC and Kolmogorov-Smirnov's distance from histograms of scores, with what binning can have changed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.ring import Floats

REACH: Final = 16.0
"""Log-odds beyond ±16 (a probability of 1e-7) share the outermost bins."""


def place(margin: Floats, bins: int) -> npt.NDArray[np.int64]:
    """The bin of each log-odds: ``bins`` equal intervals of [-16, 16], what lies outside in the outermost."""
    clipped = np.clip(np.nan_to_num(margin, nan=0.0, posinf=REACH, neginf=-REACH), -REACH, REACH)
    return np.minimum(np.floor((clipped + REACH) * (bins / (2 * REACH))), bins - 1).astype(np.int64)


def auc(positive: Sequence[int], negative: Sequence[int], *, confidence: float = 0.95) -> dict[str, Any] | None:
    """The area under the ROC curve, of scores known up to their bin; None if a class is missing.

    Pairs within a bin count one half, as ties do. ``error_bound`` is half the share of such pairs: the area of the exact
    scores is no further away. The interval is DeLong's (DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988) for the
    binned scores, None where a class has one row.

    Args:
        positive, negative: rows by bin, lowest score first.
    """
    pos, neg = np.array(positive, dtype=np.float64), np.array(negative, dtype=np.float64)
    many, few = pos.sum(), neg.sum()
    if not many or not few:
        return None
    below = (np.cumsum(neg) - neg / 2) / few  # for a positive in this bin, the share of negatives it beats
    above = 1 - (np.cumsum(pos) - pos / 2) / many  # for a negative, the share of positives that beat it
    area = float(pos @ below / many)
    found: dict[str, Any] = {"value": area, "error_bound": float(pos @ neg / (2 * many * few)), "standard_error": None,
                             "lower": None, "upper": None}
    if many > 1 and few > 1:
        variance = (float(pos @ (below - area) ** 2) / (many - 1) / many + float(neg @ (above - area) ** 2) / (few - 1) / few)
        reach = NormalDist().inv_cdf(0.5 + confidence / 2) * float(variance) ** 0.5
        found |= {"standard_error": float(variance) ** 0.5, "lower": max(0.0, area - reach), "upper": min(1.0, area + reach)}
    return found


def ks(positive: Sequence[int], negative: Sequence[int]) -> dict[str, float] | None:
    """The largest distance between the two classes' distributions of scores; None if a class is missing.

    Taken at the bins' edges; inside a bin it can only be larger, by at most ``error_bound``.
    """
    pos, neg = np.array(positive, dtype=np.float64), np.array(negative, dtype=np.float64)
    if not pos.sum() or not neg.sum():
        return None
    pos, neg = pos / pos.sum(), neg / neg.sum()
    distance = np.abs(np.cumsum(neg) - np.cumsum(pos))
    found = float(distance.max())
    before = np.concatenate([[0.0], distance[:-1]])
    inside = np.maximum(distance, before) + np.maximum(pos, neg)
    return {"value": found, "error_bound": max(0.0, float(min(inside.max(), 1.0)) - found)}
