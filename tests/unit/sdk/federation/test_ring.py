from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation import ring

LIMBS = st.integers(1, 4)


def fixed(value: float, fraction_bits: int) -> int:
    """The nearest multiple of 2^-fraction_bits, ties to even, in exact arithmetic."""
    return round(Fraction(value) * (1 << fraction_bits))


@settings(deadline=None)
@given(LIMBS, st.integers(0, 60), st.lists(st.floats(-4.0, 4.0), max_size=20))
def test_encoding_is_the_nearest_multiple_and_reads_back(limbs: int, fraction_bits: int, values: list[float]) -> None:
    words = ring.encode(np.array(values), limbs, fraction_bits)

    assert words.shape == (limbs, len(values))
    # many numbers are encoded in another way than few
    assert (ring.encode(np.array([*values, *[0.0] * 40]), limbs, fraction_bits)[:, : len(values)] == words).all()
    assert ring.integers(words) == [fixed(value, fraction_bits) for value in values]
    decoded = ring.decode(words, fraction_bits)
    np.testing.assert_allclose(decoded, values, rtol=2**-52, atol=math.ldexp(0.5, -fraction_bits))


@settings(deadline=None)
@given(st.integers(2, 4), st.lists(st.floats(-1e15, 1e15), min_size=2, max_size=30))
def test_sums_are_exact(limbs: int, values: list[float]) -> None:
    total = ring.encode(np.array([0.0]), limbs, 60)
    for value in values:
        ring.add(total, ring.encode(np.array([value]), limbs, 60))

    assert ring.integers(total) == [sum(fixed(value, 60) for value in values)]


@settings(deadline=None)
@given(st.sampled_from([2, 20]), st.lists(st.floats(-1e15, 1e15), min_size=3, max_size=3))
def test_terms_of_an_element_add_up(length: int, terms: list[float]) -> None:
    words = ring.encode(np.repeat(np.array(terms)[:, None], length, axis=1), 3, 60)

    assert ring.integers(words) == [sum(fixed(term, 60) for term in terms)] * length


@settings(deadline=None)
@given(LIMBS, st.data())
def test_addition_and_subtraction_are_those_of_the_ring(limbs: int, data: st.DataObject) -> None:
    words = st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**64 - 1]), min_size=limbs, max_size=limbs)
    left = np.array(data.draw(st.lists(words, min_size=3, max_size=3)), dtype=np.uint64).T.copy()
    right = np.array(data.draw(st.lists(words, min_size=3, max_size=3)), dtype=np.uint64).T.copy()
    modulus = 2 ** (64 * limbs)
    plain = [(a % modulus, b % modulus) for a, b in zip(ring.integers(left), ring.integers(right), strict=True)]

    added, taken = left.copy(), left.copy()
    ring.add(added, right)
    ring.subtract(taken, right)

    assert [value % modulus for value in ring.integers(added)] == [(a + b) % modulus for a, b in plain]
    assert [value % modulus for value in ring.integers(taken)] == [(a - b) % modulus for a, b in plain]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**63, -(2.0**63), 1e308])
def test_what_does_not_fit_is_refused(value: float) -> None:
    for others in (1, 40):
        with pytest.raises(ring.RingOverflow):
            ring.encode(np.array([*[0.0] * others, value]), 1, 0)


@settings(deadline=None)
@given(LIMBS, st.integers(0, 100), st.integers(-40, 200), st.integers(1, 5000))
def test_capacity_is_refused_exactly_where_a_sum_could_wrap(limbs: int, bits: int, exponent: int, parties: int) -> None:
    bound = 2.0**exponent
    largest = (math.ceil(Fraction(bound) * 2**bits) + 1) * parties
    if largest < 2 ** (64 * limbs - 1):
        ring.check_capacity(bound, parties, limbs, bits)
    else:
        with pytest.raises(ring.RingOverflow):
            ring.check_capacity(bound, parties, limbs, bits)


@pytest.mark.parametrize("arguments", [(1.0, 3, 0, 0), (1.0, 3, 5, 0), (math.nan, 3, 1, 0), (0.0, 3, 1, 0), (1.0, 0, 1, 0)])
def test_nonsense_has_no_capacity(arguments: tuple[float, int, int, int]) -> None:
    with pytest.raises(ring.RingOverflow):
        ring.check_capacity(*arguments)
