"""Complete rows scaled to [-1, 1] by declared bounds, in whole steps, and exact sums of them, for answers with noise.

What a row adds to a sum must not depend on the other rows, not even in the last bit: the noise is made for one unit's rows, and
not for all others' being rounded anew once it leaves. So values are whole steps of 2^-20 (Casacuberta et al., "Widespread
Underestimation of Sensitivity in Differentially Private Libraries", CCS 2022), sums of them and of their products are of integers, and
no matrix product is used where its result is rounded: libraries round a row by where it stands among the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from shuyan.federation.inputs import Inputs
from shuyan.federation.learning import plain
from shuyan.federation.privacy import need_bounds
from shuyan.federation.privacy.bounding import STEP_BITS, Scale
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec

PRODUCTS: Final = VectorSpec(limbs=2, fraction_bits=2 * STEP_BITS, bound=2.0**34, terms=2)
"""Sums of products of two values in steps, exact for up to 8 billion rows a department."""

_CACHE: Final = "learning.bounded"
_BLOCK: Final = 1 << (53 - 2 * STEP_BITS - 1)
"""Rows whose products a float64 adds up exactly, whatever the order."""

Bounds = Mapping[str, tuple[float, float]]


def scales(features: Sequence[str], bounds: Bounds) -> list[Scale]:
    """How the features are scaled.

    Raises:
        ProblemError: ``bounds_missing``.
    """
    need_bounds(features, bounds)
    return [Scale(*bounds[name]) for name in features]


def steps(inputs: Inputs, features: Sequence[str], bounds: Bounds) -> Floats:
    """The complete rows in steps: whole numbers from -2^20 to 2^20, shape (n, p). They are read once a run."""
    found = inputs.cache.get(_CACHE)
    if found is None:
        matrix = plain.read(inputs, features, {}).matrix
        found = np.empty_like(matrix)
        for at, scale in enumerate(scales(features, bounds)):
            value = np.clip(matrix[:, at], scale.lower, scale.upper)
            found[:, at] = np.rint(np.ldexp(np.clip((value - scale.middle) / scale.half, -1.0, 1.0), STEP_BITS))
        inputs.cache[_CACHE] = found
    return np.asarray(found)


def gram(matrix: Floats) -> Floats:
    """Sums of products of all pairs of (row, 1), upper triangle by rows: shape (2, (p + 1)(p + 2)/2), two terms to each.

    The last column are the sums, and its last element is the number of rows.

    Args:
        matrix: in steps, shape (n, p).
    """
    upper = np.triu_indices(matrix.shape[1] + 1)
    # Below 2^53 in all intermediate sums, so exact.
    return _added(len(upper[0]), ((rows.T @ rows)[upper] for rows in _with_ones(matrix)))


def gram_norm(size: int) -> float:
    """The largest norm of what one row of ``size`` features adds to :func:`gram`: every product is one at most."""
    return math.sqrt((size + 1) * (size + 2) / 2)


def moments(matrix: Floats) -> Floats:
    """Sums, sums of squares, and last the number of rows: shape (2, 2p + 1), two terms to each.

    Args:
        matrix: in steps, shape (n, p).
    """
    def pieces() -> Iterator[Floats]:
        for rows in _with_ones(matrix):
            own = rows[:, :-1]
            yield np.concatenate([np.ldexp(own.sum(axis=0), STEP_BITS), (own * own).sum(axis=0), [np.ldexp(float(len(rows)), 2 * STEP_BITS)]])

    return _added(2 * matrix.shape[1] + 1, pieces())


def moments_norm(size: int) -> float:
    """The largest norm of what one row of ``size`` features adds to :func:`moments`."""
    return math.sqrt(2 * size + 1)


def times(rows: Floats, matrix: Floats) -> Floats:
    """``rows @ matrix``, shape (n, k), each row's the same whatever other rows there are.

    Args:
        rows: shape (n, p).
        matrix: shape (p, k).
    """
    found = np.zeros((len(rows), matrix.shape[1]))
    for at in range(rows.shape[1]):
        found += rows[:, at, None] * matrix[at]
    return found


def _with_ones(matrix: Floats) -> Iterator[Floats]:
    """The rows in blocks, a column of 1, in steps, after the others."""
    one = np.full((min(_BLOCK, len(matrix)), 1), 2.0**STEP_BITS)
    for start in range(0, len(matrix), _BLOCK):
        rows = matrix[start : start + _BLOCK]
        yield np.hstack([rows, one[: len(rows)]])


def _added(length: int, pieces: Iterable[Floats]) -> Floats:
    """The sum of whole multiples of 2^-40, each given as a whole number below 2^53: two terms, shape (2, length)."""
    high, low = np.zeros(length), np.zeros(length)
    for piece in pieces:
        parts = np.floor(np.ldexp(piece, -STEP_BITS))
        high += parts
        low += piece - np.ldexp(parts, STEP_BITS)
    return np.stack([np.ldexp(high, -STEP_BITS), np.ldexp(low, -2 * STEP_BITS)])
