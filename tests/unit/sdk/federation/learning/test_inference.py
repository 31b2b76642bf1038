"""Distribution functions against SciPy's, and solvers against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from shuyan.federation.learning.inference import Reference, covariance, incomplete_beta, to_original
from shuyan.federation.learning.quadratic import dependent, elastic_net, newton_step, symmetric


@given(t=st.one_of(st.floats(0, 60), st.floats(0, 1e-3)), degrees=st.one_of(st.integers(1, 50), st.integers(51, 10**7)))
@example(t=6.2e-5, degrees=9_000_000)  # 1 - degrees/(degrees + t²) has few digits
def test_students_tails(t: float, degrees: int) -> None:
    assert Reference(float(degrees)).p_value(-t) == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-6, abs=1e-290)


@given(confidence=st.floats(0.01, 0.9999), degrees=st.one_of(st.none(), st.integers(1, 10**6)))
def test_quantiles(confidence: float, degrees: int | None) -> None:
    expected = stats.norm.ppf(0.5 + confidence / 2) if degrees is None else stats.t.ppf(0.5 + confidence / 2, degrees)
    assert Reference(None if degrees is None else float(degrees)).quantile(confidence) == pytest.approx(expected, rel=1e-6)


@given(z=st.floats(-30, 30))
def test_normal_tails(z: float) -> None:
    assert Reference(None).p_value(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)


def test_the_ends_of_the_incomplete_beta_function() -> None:
    assert (incomplete_beta(2.0, 3.0, 0.0), incomplete_beta(2.0, 3.0, 1.0)) == (0.0, 1.0)


def test_covariance_leaves_out_what_was_not_estimated() -> None:
    hessian = np.diag([4.0, 1e-9, 9.0])
    found = covariance(hessian, np.array([True, False, True]), 2.0)
    np.testing.assert_allclose(found, np.diag([0.5, 0.0, 2 / 9]))


def test_back_to_the_original_scale() -> None:
    mean, sd, weights = np.array([3.0, -1.0]), np.array([2.0, 5.0]), np.array([0.5, -2.0, 7.0])
    x = np.array([1.3, 0.4])
    original = to_original(mean, sd) @ weights
    assert original[:-1] @ x + original[-1] == pytest.approx(weights[:-1] @ ((x - mean) / sd) + weights[-1])


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 12), copies=st.integers(0, 3))
def test_dependent_columns_are_found_and_independent_ones_are_not(seed: int, size: int, copies: int) -> None:
    random = np.random.default_rng(seed)
    columns = random.normal(size=(60, size)) * 10.0 ** random.integers(-4, 5, size)
    mixed = [columns @ (random.integers(0, 2, size) / columns.std(axis=0)) for _ in range(copies)]
    matrix = np.column_stack([columns, *mixed])
    found = dependent(matrix.T @ matrix, list(range(matrix.shape[1])))
    assert set(found) == set(range(size, size + copies))


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 15), l1=st.floats(0, 50), l2=st.floats(0, 50), twins=st.booleans())
@example(seed=0, size=15, l1=0.03125, l2=0.0, twins=True)  # twins were left with opposite signs
def test_the_elastic_net_is_optimal(seed: int, size: int, l1: float, l2: float, twins: bool) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(40, size)) + random.normal(size=(40, 1))
    matrix[:, 0] = 1.0  # an intercept
    if twins and size > 2:
        matrix[:, -1] = matrix[:, 1]
    hessian, linear = matrix.T @ matrix, -matrix.T @ random.normal(0, 3, 40)  # as of a regression: bounded below
    one, two = np.full(size, l1), np.full(size, l2)
    one[0] = 0.0
    found = elastic_net(linear, hessian, np.zeros(size), one, two)
    slope = linear + hessian @ found + two * found
    bound = 1e-6 * (1 + np.abs(linear).max())
    used = found != 0
    np.testing.assert_allclose(slope[used], -one[used] * np.sign(found[used]), atol=bound)
    assert np.all(np.abs(slope[~used]) <= one[~used] + bound)


@given(seed=st.integers(0, 10**6), size=st.integers(1, 8))
def test_a_singular_hessian_gets_a_step_that_still_solves_it(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    half = random.normal(size=(max(size - 1, 1), size))
    hessian = half.T @ half
    gradient = hessian @ random.normal(size=size)
    np.testing.assert_allclose(hessian @ newton_step(gradient, hessian), gradient, atol=1e-6 * (1 + np.abs(gradient).max()))


def test_symmetric_from_its_triangle() -> None:
    assert symmetric(np.array([1.0, 2.0, 3.0]), 2).tolist() == [[1.0, 2.0], [2.0, 3.0]]
