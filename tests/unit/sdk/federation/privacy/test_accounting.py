"""ρ in whole numbers, its ε, and the noise it asks for; checked against two other implementations."""

from __future__ import annotations

import math

import dp_accounting
import opendp.prelude as dp
import pytest
from dp_accounting import rdp
from hypothesis import given
from hypothesis import strategies as st

from shuyan.federation.privacy import accounting

NANOS = st.integers(1, 10**12)
DELTAS = st.floats(1e-12, 0.009)


@pytest.mark.parametrize("rho", [1, 1000, 10**6, 5 * 10**7, 5 * 10**8, 10**9, 3 * 10**10])
@pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-3])
def test_epsilon_is_that_of_googles_accountant(rho: int, delta: float) -> None:
    accountant = rdp.RdpAccountant(orders=[1 + math.exp(step / 50) for step in range(-500, 1001)])
    accountant.compose(dp_accounting.ZCDpEvent(rho / accounting.NANO))
    assert accounting.epsilon(rho, delta) == pytest.approx(accountant.get_epsilon(delta), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("rho", [10**6, 5 * 10**7, 10**9])
def test_epsilon_and_noise_are_those_of_opendp(rho: int) -> None:
    dp.enable_features("contrib")
    sigma = math.sqrt(accounting.variance_for(rho, 3.0))
    measurement = dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64"), sigma)
    assert measurement.map(3.0) == pytest.approx(rho / accounting.NANO, rel=1e-9)
    curve = dp.c.make_zCDP_to_approxDP(measurement).map(3.0)
    assert accounting.epsilon(rho, 1e-6) == pytest.approx(curve.epsilon(1e-6), rel=1e-6)


@given(NANOS, DELTAS)
def test_there_and_back(rho: int, delta: float) -> None:
    found = accounting.rho_for(accounting.epsilon(rho, delta), delta)
    assert found >= rho * (1 - 1e-4) - 1
    assert accounting.epsilon(found, delta) <= accounting.epsilon(rho, delta)


@given(NANOS, NANOS, DELTAS)
def test_more_rho_is_more_epsilon(one: int, other: int, delta: float) -> None:
    low, high = sorted((one, other))
    assert accounting.epsilon(low, delta) <= accounting.epsilon(high, delta) * (1 + 1e-9)
    assert accounting.epsilon(low, delta) <= accounting.epsilon(low, delta / 2)


@given(st.integers(10**3, 10**10), st.integers(1, 40), st.floats(0.5, 1e6), st.integers(1, 10_000))
def test_shares_of_the_honest_suffice(rho: int, honest: int, l2: float, length: int) -> None:
    share = accounting.share_for(rho, honest, l2, length)
    assert accounting.rho_of_shares(share, honest, l2, length) <= rho / accounting.NANO
    needed = math.sqrt(accounting.variance_for(rho, l2) / honest)
    assert share >= max(needed, 0.5)
    if needed > 3:  # far from the integers' own grain, nothing is added for there being several
        assert share == pytest.approx(needed, rel=1e-6)


def test_a_small_discrete_gaussian_varies_less() -> None:
    assert accounting.discrete_variance(0.5) == pytest.approx(0.2150, abs=1e-4)
    assert accounting.discrete_variance(2.9) == pytest.approx(2.9**2, rel=1e-9)


def test_a_threshold_hides_what_is_one_units_own() -> None:
    sigma, groups, delta = 10.0, 4, 1e-6
    found = accounting.threshold(sigma, groups, delta)
    assert math.erfc((found - 2) / sigma / math.sqrt(2)) / 2 * groups <= delta * (1 + 1e-9)
    assert accounting.threshold(sigma, groups, delta / 10) > found


@pytest.mark.parametrize(("rho", "delta"), [(-1, 1e-6), (1, 0.0), (1, 1.0)])
def test_what_makes_no_sense_is_refused(rho: int, delta: float) -> None:
    with pytest.raises(ValueError, match="δ"):
        accounting.epsilon(rho, delta)


def test_nothing_spent_is_nothing() -> None:
    assert accounting.epsilon(0, 1e-6) == 0
    assert accounting.rho_for(0.0, 1e-6) == 0
    with pytest.raises(ValueError, match="above nought"):
        accounting.variance_for(0, 1.0)
