"""Exact pooled means and variances from one round of sums.

Each department sends count, sum and sum of squares. Subtracting n·mean² from a sum of squares ruins a variance in
float64, so the subtraction is done on integers: sums and squares are carried beyond float64 (as unevaluated sums, after
Dekker, Numer. Math. 18, 1971) and added up exactly in the ring. One round instead of two also means that all of a table
is always about the same departments.

A department computes around a *shift* near its own mean, which it never sends: with x = shift + y, a sum is
n·shift + Σy and a sum of squares n·shift² + 2·shift·Σy + Σy², where the large parts are exact products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec

COUNT: Final = VectorSpec(limbs=1, fraction_bits=0, bound=2.0**48)
SUM: Final = VectorSpec(limbs=3, fraction_bits=80, bound=2.0**96, terms=2)
SQUARE: Final = VectorSpec(limbs=4, fraction_bits=100, bound=2.0**140, terms=3)
"""Room for 4,000 departments; a value may be as small as 1e-12 or a table's sum of squares as large as 1e42."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of one column in one group. ``mean`` is None without observations, ``variance`` (sample) below two.

    Attributes:
        centred: the sum of squared deviations from the mean.
    """

    count: int
    sum: float
    mean: float | None
    centred: float
    variance: float | None


def shift_of(mean: float | None) -> float:
    """A shift near ``mean`` with 24 significant bits, so that products with counts stay exact."""
    if mean is None or not abs(mean) < 3e38:
        return 0.0
    return float(np.float32(mean))


def sum_terms(count: Floats, shift: Floats, rest: Floats) -> Floats:
    """Sums as shape (2, n).

    Args:
        count: observations, shape (n,).
        shift: the columns' shifts.
        rest: the sums of what exceeds the shift.
    """
    return np.stack([count * shift, rest])


def square_terms(count: Floats, shift: Floats, rest: Floats, centred: Floats) -> Floats:
    """Sums of squares as shape (3, n).

    Args:
        count, shift, rest: as for :func:`sum_terms`.
        centred: sums of squared deviations from the department's own means.
    """
    shifted, shifted_error = _product(shift * shift, count)
    mixed, mixed_error = _product(2.0 * shift, rest)
    small = rest * rest / np.where(count > 0, count, 1.0) + centred
    return np.stack([shifted, mixed, small + shifted_error + mixed_error])


def _product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """``a·b`` as rounded product and exact error (Dekker's product with Veltkamp's splitting)."""
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _split(a: Floats) -> tuple[Floats, Floats]:
    scaled = 134217729.0 * a  # 2^27 + 1
    high = scaled - (scaled - a)
    return high, a - high


def combine(counts: Sequence[int], sums: Sequence[int], squares: Sequence[int]) -> list[Moments]:
    """Pooled moments from exact ring sums (:meth:`~shuyan.federation.grid.Sum.integers` of COUNT, SUM, SQUARE vectors).

    Every division is one of Python integers, which rounds once and correctly.
    """
    result = []
    one_sum, one_square = 1 << SUM.fraction_bits, 1 << SQUARE.fraction_bits
    for count, total, square in zip(counts, sums, squares, strict=True):
        if count <= 0:
            result.append(Moments(0, 0.0, None, 0.0, None))
            continue
        # square/2^100 - (total/2^80)²/count over the common denominator
        numerator = square * one_sum * one_sum * count - total * total * one_square
        denominator = one_square * one_sum * one_sum * count
        centred = max(numerator, 0) / denominator
        variance = max(numerator, 0) / (denominator * (count - 1)) if count > 1 else None
        result.append(Moments(count, total / one_sum, total / (one_sum * count), centred, variance))
    return result
