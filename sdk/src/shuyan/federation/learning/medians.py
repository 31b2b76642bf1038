"""Pooled medians by bounded refinement: how many values are at most each of a few edges, then finer edges.

A median lies within one standard deviation of the mean, so the search starts from there and ends after a fixed number of
rounds, at 2^-33 of that range; what is left is rounded to the shortest decimal in it, which for data with a
resolution is the value itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log2

import numpy as np

from shuyan.federation.learning import split as splits
from shuyan.federation.learning.columns import LearningParams
from shuyan.federation.learning.frame import Frame
from shuyan.federation.learning.preprocess import Described
from shuyan.federation.ring import Floats

_VALUES = 32_768
_BITS = 33


def names(params: LearningParams) -> list[str]:
    """The features filled in with their median."""
    return [name for name in params.imputed() if params.method(name) == "median"]


def edges(params: LearningParams) -> int:
    """How many edges a search has in one round."""
    searches = 2 * splits.fits(params.split) * len(names(params))
    return max(7, min(255, _VALUES // max(searches, 1)))


def length(params: LearningParams) -> int:
    """The length of the question's ``edges`` and of the answer: fits × features × two middle ranks × edges."""
    return 2 * splits.fits(params.split) * len(names(params)) * edges(params)


def rounds(params: LearningParams) -> int:
    """How many rounds the search takes."""
    return ceil(_BITS / log2(edges(params) + 1)) if names(params) else 0


def at_most(frame: Frame, params: LearningParams, asked: Floats) -> Floats:
    """A department's counts of values that are at most each edge. Node side."""
    shape = (splits.fits(params.split), len(names(params)), 2 * edges(params))
    found = np.empty(shape)
    for fit, training in enumerate(splits.training(params.split)):
        rows = frame.among(training)
        for place, name in enumerate(names(params)):
            values = frame.numbers[name][rows]
            ordered = np.sort(values[~np.isnan(values)])
            found[fit, place] = np.searchsorted(ordered, asked.reshape(shape)[fit, place], side="right")
    return found.ravel()


def search(
    params: LearningParams, described: Sequence[Described], ask: Callable[[Floats], Sequence[int]]
) -> list[dict[str, float]]:
    """By fit, the median of each feature that is filled in with its own. Coordinator side.

    Args:
        described: what each fit is trained on.
        ask: gives the summed counts for edges.
    """
    wanted = names(params)
    if not wanted:
        return [{} for _ in described]
    low, high, rank = [], [], []
    for fit in described:
        for name in wanted:
            found = fit.numbers[name]
            mean, count = found.mean or 0.0, found.count
            sd = (found.centred / max(count, 1)) ** 0.5
            reach = sd * (1 + 1e-6) + abs(mean) * 1e-12
            for middle in ((count + 1) // 2, count // 2 + 1):
                low.append(mean - reach)
                high.append(mean + reach)
                rank.append(middle)
    bottom, top = np.array(low), np.array(high)
    steps = np.arange(1, edges(params) + 1) / (edges(params) + 1)
    for _ in range(rounds(params)):
        inner = bottom[:, None] + (top - bottom)[:, None] * steps
        counts = np.array(ask(inner.ravel())).reshape(inner.shape)
        # The value of a rank lies above the last edge that fewer values are at most, and at most the next.
        place = (counts < np.array(rank)[:, None]).sum(axis=1)
        grid = np.concatenate([bottom[:, None], inner, top[:, None]], axis=1)
        bottom, top = grid[np.arange(len(place)), place], grid[np.arange(len(place)), place + 1]
    values = [shortest(a, b) for a, b in zip(bottom.tolist(), top.tolist(), strict=True)]
    pairs = iter(zip(values[::2], values[1::2], strict=True))
    return [{name: sum(next(pairs)) / 2 for name in wanted} for _ in described]


def shortest(low: float, high: float) -> float:
    """The decimal with the fewest digits in (low, high]; their middle where there is none."""
    middle = (low + high) / 2
    for digits in range(-15, 17):
        rounded = round(middle, digits)
        if low < rounded <= high:
            return rounded
    return middle
