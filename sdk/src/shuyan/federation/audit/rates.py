"""Exact binomial bounds on the rates of an attack (Clopper & Pearson, Biometrika 1934)."""

from __future__ import annotations

from collections.abc import Callable

from shuyan.federation.learning.inference import incomplete_beta


def upper_bound(hits: int, trials: int, confidence: float) -> float:
    """The largest rate that so few hits are still credible with."""
    if hits >= trials:
        return 1.0
    # P(X <= hits) falls as the rate grows.
    return _root(lambda rate: 1 - incomplete_beta(hits + 1, trials - hits, rate) > 1 - confidence)


def lower_bound(hits: int, trials: int, confidence: float) -> float:
    """The smallest rate that so many hits are still credible with."""
    if hits <= 0:
        return 0.0
    return _root(lambda rate: incomplete_beta(hits, trials - hits + 1, rate) < 1 - confidence)


def threshold_place(trials: int, rate: float, confidence: float) -> int | None:
    """The place k of a threshold, so that a k-th largest of so many scores is exceeded at least at ``rate``, surely enough.

    The share of a population above the k-th largest of m draws is a Beta(k, m - k + 1).

    Returns:
        1 for the largest; None where even the smallest score would not do.
    """
    for place in range(1, trials + 1):
        if incomplete_beta(place, trials - place + 1, rate) <= 1 - confidence:
            return place
    return None


def exceeded_at_most(place: int, trials: int, confidence: float) -> float:
    """The rate at which the k-th largest of so many scores is exceeded at most, surely enough."""
    return _root(lambda rate: incomplete_beta(place, trials - place + 1, rate) < confidence)


def _root(below: Callable[[float], bool]) -> float:
    """Where a monotone condition on a rate stops to hold."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if below(middle):
            low = middle
        else:
            high = middle
    return high
