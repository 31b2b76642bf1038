"""Fixed point in the ring Z modulo 2^(64·L): exact encoding, carrying addition, decoding of sums.

A vector of n ring elements is a ``uint64`` array of shape (L, n), the least significant limb first, in two's
complement. Sums of encoded numbers are exact, whatever their order: the only rounding is one of each input to a
multiple of 2^-fraction_bits (to nearest, ties to even), done in float64 where scaling by a power of two is exact.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

MAX_LIMBS: Final = 4
_TWO_64: Final = 2.0**64
_WORD: Final = 2**64 - 1
_FEW: Final = 32


class RingOverflow(ValueError):
    """A number, or the largest possible sum of such numbers, does not fit the ring."""


def check_capacity(bound: float, parties: int, limbs: int, fraction_bits: int) -> None:
    """Refuse a combination whose largest sum, ``parties`` numbers of size ``bound``, would wrap around.

    Raises:
        RingOverflow: |sum| could reach 2^(64·limbs - 1).
    """
    if not 1 <= limbs <= MAX_LIMBS:
        raise RingOverflow(f"{limbs} limbs")
    if not (math.isfinite(bound) and bound > 0 and parties >= 1 and fraction_bits >= 0):
        raise RingOverflow("no capacity")
    largest = math.ceil(math.ldexp(bound, fraction_bits)) + 1  # one more for the rounding
    if largest * parties >= 1 << (64 * limbs - 1):
        raise RingOverflow(f"{parties} numbers of {bound} in {limbs} limbs")


def encode(values: Floats, limbs: int, fraction_bits: int) -> Words:
    """Encode float64 ``values`` as ring elements of shape (limbs, n).

    Args:
        values: shape (n,), or (terms, n) where an element is the sum of its terms, each rounded by itself.

    Raises:
        RingOverflow: a value is not finite or does not fit.
    """
    rows = values if values.ndim == 2 else values.reshape(1, -1)
    if rows.size <= _FEW:
        return _encode_few(rows, limbs, fraction_bits)
    words = _encode_many(rows[0], limbs, fraction_bits)
    for row in rows[1:]:
        add(words, _encode_many(row, limbs, fraction_bits))
    return words


def _encode_few(rows: Floats, limbs: int, fraction_bits: int) -> Words:
    """With Python's integers: a few numbers take less time than NumPy's operations on them."""
    limit = math.ldexp(1.0, 64 * limbs - 1)
    numbers = [0] * rows.shape[1]
    for row in rows.tolist():
        for place, value in enumerate(row):
            try:
                scaled = math.ldexp(value, fraction_bits)
            except OverflowError:
                scaled = math.inf
            if not abs(scaled) <= limit or abs(whole := round(scaled)) >= limit:
                raise RingOverflow(f"a value does not fit {limbs} limbs with {fraction_bits} fraction bits")
            numbers[place] += whole
    return np.array([[number >> shift & _WORD for number in numbers] for shift in range(0, 64 * limbs, 64)], dtype=np.uint64)


def _encode_many(values: Floats, limbs: int, fraction_bits: int) -> Words:
    with np.errstate(over="ignore"):
        magnitude = np.ldexp(np.abs(values), fraction_bits)
    np.rint(magnitude, out=magnitude)
    # NaN fails the comparison as well, so one test covers everything that cannot be encoded.
    if values.size and not bool(magnitude.max() < math.ldexp(1.0, 64 * limbs - 1)):
        raise RingOverflow(f"a value does not fit {limbs} limbs with {fraction_bits} fraction bits")
    negative = values < 0
    if limbs == 1:
        words = magnitude.astype(np.uint64)
        np.negative(words, out=words, where=negative)
        return words.reshape(1, -1)
    result = np.empty((limbs, values.size), dtype=np.uint64)
    for limb in range(limbs - 1, -1, -1):
        # Each limb holds a run of the mantissa's bits: division by a power of two, floor and remainder are exact.
        scale = _TWO_64**limb
        part = np.floor(magnitude / scale)
        result[limb] = part.astype(np.uint64)
        magnitude -= part * scale
    _negate(result, negative)
    return result


def _negate(words: Words, where: npt.NDArray[np.bool_]) -> None:
    """Two's complement of the chosen elements, in place."""
    if not where.any():
        return
    carry = where.astype(np.uint64)
    flip = np.where(where, np.uint64(0xFFFF_FFFF_FFFF_FFFF), np.uint64(0))
    for limb in words:
        limb ^= flip
        limb += carry
        carry = ((limb == 0) & (carry == 1)).astype(np.uint64)


def add(total: Words, term: Words) -> None:
    """``total += term`` in the ring, in place; both of shape (L, n)."""
    limbs = total.shape[0]
    if limbs == 1:
        np.add(total, term, out=total)
        return
    carry: Words | None = None
    for limb in range(limbs):
        row = total[limb]
        row += term[limb]
        if limb == limbs - 1:
            if carry is not None:
                row += carry
            return
        overflow = (row < term[limb]).astype(np.uint64)
        if carry is not None:
            row += carry
            overflow |= ((row == 0) & (carry == 1)).astype(np.uint64)
        carry = overflow


def subtract(total: Words, term: Words) -> None:
    """``total -= term`` in the ring, in place; both of shape (L, n)."""
    limbs = total.shape[0]
    if limbs == 1:
        np.subtract(total, term, out=total)
        return
    borrow: Words | None = None
    for limb in range(limbs):
        row = total[limb]
        before = row.copy() if limb < limbs - 1 else row
        row -= term[limb]
        if limb == limbs - 1:
            if borrow is not None:
                row -= borrow
            return
        underflow = (before < term[limb]).astype(np.uint64)
        if borrow is not None:
            underflow |= ((row == 0) & (borrow == 1)).astype(np.uint64)
            row -= borrow
        borrow = underflow


def integers(words: Words) -> list[int]:
    """The signed integers behind ring elements of shape (L, n): exact, for arithmetic that must not round."""
    limbs = words.shape[0]
    half, modulus = 1 << (64 * limbs - 1), 1 << (64 * limbs)
    columns = [row.tolist() for row in words]
    result = []
    for parts in zip(*columns, strict=True):
        value = 0
        for part in reversed(parts):
            value = (value << 64) | part
        result.append(value - modulus if value >= half else value)
    return result


def decode(words: Words, fraction_bits: int) -> Floats:
    """float64 of shape (n,) from ring elements of shape (L, n); within one unit in the last place of the exact sum."""
    limbs = words.shape[0]
    if limbs == 1:
        signed: Floats = words[0].view(np.int64).astype(np.float64)
        np.ldexp(signed, -fraction_bits, out=signed)
        return signed
    magnitude = words.copy()
    negative = words[-1] >= np.uint64(1 << 63)
    _negate(magnitude, negative)
    value: Floats = magnitude[0].astype(np.float64)
    for limb in range(1, limbs):
        value += magnitude[limb].astype(np.float64) * _TWO_64**limb
    np.negative(value, out=value, where=negative)
    np.ldexp(value, -fraction_bits, out=value)
    return value
