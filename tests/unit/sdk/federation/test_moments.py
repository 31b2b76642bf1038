from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation import moments, ring
from shuyan.federation.ring import Words
from shuyan.federation.vectors import VectorSpec


def words(spec: VectorSpec, vector: np.ndarray) -> Words:
    rows = np.atleast_2d(vector)
    total = ring.encode(rows[0], spec.limbs, spec.fraction_bits)
    for row in rows[1:]:
        ring.add(total, ring.encode(row, spec.limbs, spec.fraction_bits))
    return total


def pool(parts: list[np.ndarray]) -> moments.Moments:
    """What the coordinator makes of departments' numbers."""
    totals = {spec: words(spec, np.zeros(1)) for spec in (moments.COUNT, moments.SUM, moments.SQUARE)}
    for part in parts:
        count = np.array([float(len(part))])
        shift = np.array([moments.shift_of(part.mean() if len(part) else None)])
        rest = np.array([math.fsum(part - shift)])
        centred = np.array([((part - part.mean()) ** 2).sum()]) if len(part) else np.zeros(1)
        ring.add(totals[moments.COUNT], words(moments.COUNT, count))
        ring.add(totals[moments.SUM], words(moments.SUM, moments.sum_terms(count, shift, rest)))
        ring.add(totals[moments.SQUARE], words(moments.SQUARE, moments.square_terms(count, shift, rest, centred)))
    (found,) = moments.combine(*(ring.integers(total) for total in totals.values()))
    return found


@pytest.mark.parametrize("centre", [0.0, 1.0, 1e6, -1e9])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e5])
def test_variance_keeps_its_digits_however_large_the_mean(centre: float, spread: float) -> None:
    random = np.random.default_rng(1)
    parts = [centre + spread * (shift + random.normal(size=size)) for shift, size in ((0, 100), (1, 3), (-2, 1000))]
    values = [Fraction(value) for value in np.concatenate(parts).tolist()]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)

    found = pool(parts)

    assert found.count == 1103
    assert found.mean == pytest.approx(float(mean), rel=1e-15, abs=1e-15 * spread)
    assert found.variance == pytest.approx(float(variance), rel=1e-13)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-1000, 1000), max_size=20), min_size=1, max_size=5))
def test_pooling_equals_the_pooled_numbers(parts: list[list[int]]) -> None:
    values = np.array([value for part in parts for value in part], dtype=float)

    found = pool([np.array(part, dtype=float) for part in parts])

    assert found.count == len(values)
    assert found.mean == (pytest.approx(values.mean(), rel=1e-14, abs=1e-14) if len(values) else None)
    expected = pytest.approx(values.var(ddof=1), rel=1e-12, abs=1e-12) if len(values) > 1 else None
    assert found.variance == expected


def test_a_constant_column_has_variance_nought() -> None:
    assert pool([np.full(7, 0.1), np.full(5, 0.1)]).variance == pytest.approx(0.0, abs=1e-17)


def test_tiny_values_keep_their_digits() -> None:
    values = np.random.default_rng(2).normal(5e-7, 1e-7, 300)

    assert pool([values[:100], values[100:]]).variance == pytest.approx(values.var(ddof=1), rel=1e-9)
