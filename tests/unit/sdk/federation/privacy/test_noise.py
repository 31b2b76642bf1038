"""Noise as shares: the right spread, on the right grain, in the ring."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shuyan.federation import moments, ring
from shuyan.federation.privacy import Sensitivity, accounting, divide, noise
from shuyan.federation.vectors import COHORT, VectorSpec
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

SPECS = {"rows": moments.COUNT, "sum": moments.SUM, "other": VectorSpec(limbs=2, fraction_bits=70, bound=2.0**20)}


def terms(**changes: object) -> PrivacyTerms:
    return PrivacyTerms.model_validate({
        "unit": "person", "unit_columns": {"visits": "pid"}, "max_rows_per_unit": 2, "max_groups_per_unit": 1, "delta": 1e-6,
        "rho_nano": 10**9, "honest_fraction": 0.5, **changes})


def test_the_sampler_draws_discrete_gaussians() -> None:
    for sigma in (0.7, 5.0, 3e4, 1e12):
        drawn = noise.sample(sigma, 4000).astype(float)
        assert stats.norm.cdf(abs(drawn.mean()) / sigma * math.sqrt(4000)) < 1 - 1e-7
        spread = (drawn**2).sum() / accounting.discrete_variance(sigma)
        assert 1e-7 < stats.chi2.cdf(spread, 4000) < 1 - 1e-7


@pytest.mark.parametrize("name", ["rows", "sum", "other"])
def test_a_sum_of_shares_has_the_announced_deviation(name: str) -> None:
    planned = noise.plan({name: Sensitivity(3.0, integral=name == "rows")}, SPECS, {name: 500}, terms(), participants=6,
                         rho_nano=10**7)
    total = ring.encode(np.full(500, 1000.0), SPECS[name].limbs, SPECS[name].fraction_bits)
    cohort = np.array([[7]], dtype=np.uint64)
    for _ in range(6):
        words = {name: np.zeros_like(total), COHORT: np.zeros_like(cohort)}
        noise.add_noise(words, planned)
        ring.add(total, words[name])
    found = ring.decode(total, SPECS[name].fraction_bits) - 1000.0
    spread = (found**2).sum() / planned[name].deviation ** 2
    assert 1e-7 < stats.chi2.cdf(spread, 500) < 1 - 1e-7
    # Three of the six suffice for what the vector costs.
    needed = math.sqrt(accounting.variance_for(planned[name].rho_nano, 3.0))
    assert planned[name].deviation == pytest.approx(needed * math.sqrt(2), rel=1e-4)


@given(st.floats(1e-6, 1e6), st.integers(10**4, 10**9), st.integers(3, 40), st.floats(0.1, 1.0), st.integers(1, 200))
def test_any_honest_share_of_departments_has_the_full_noise(
    l2: float, rho: int, participants: int, fraction: float, length: int
) -> None:
    planned = noise.plan({"sum": Sensitivity(l2)}, SPECS, {"sum": length}, terms(honest_fraction=fraction),
                         participants=participants, rho_nano=rho)
    assert noise.cost(planned) <= rho
    entry = planned["sum"]
    grain = math.ldexp(1.0, entry.shift - entry.fraction_bits)
    at_least = math.ceil(fraction * participants - 1e-9)
    assert accounting.rho_of_shares(entry.share, at_least, l2 / grain, length) * accounting.NANO <= entry.rho_nano


@given(st.integers(-(2**90), 2**90), st.integers(0, 100), st.integers(-(2**50), 2**50))
def test_coarsened_and_shifted_like_integers(value: int, shift: int, added: int) -> None:
    words = np.array([[(value >> (64 * limb)) & (2**64 - 1)] for limb in range(3)], dtype=np.uint64)
    noise._coarsen(words, shift)
    rounded = ((value + (1 << shift >> 1)) >> shift) << shift
    assert ring.integers(words) == [rounded]
    moved = noise._shifted(np.array([added], dtype=np.int64), 3, shift)
    assert ring.integers(moved) == [added << shift]


@given(st.integers(3, 60), st.data(), st.floats(0.01, 1.0))
def test_whoever_chooses_who_takes_part_cannot_leave_out_the_honest(departments: int, data: st.DataObject, fraction: float) -> None:
    chosen = data.draw(st.integers(3, departments))
    at_least = math.ceil(fraction * departments - 1e-9)
    assert noise.honest(terms(honest_fraction=fraction), departments) == at_least
    worst = max(chosen - (departments - at_least), 1)
    assert noise.honest(terms(honest_fraction=fraction), chosen, departments) == worst


def test_what_stays_below_the_noise_is_gone() -> None:
    planned = noise.plan({"sum": Sensitivity(1.0)}, SPECS, {"sum": 3}, terms(), participants=3, rho_nano=10**6)
    assert planned["sum"].shift > 0
    words = {"sum": ring.encode(np.array([0.1, -0.3, 1e-20]), 3, 80), COHORT: np.zeros((1, 1), dtype=np.uint64)}
    noise.add_noise(words, planned)
    assert all(value % (1 << planned["sum"].shift) == 0 for value in ring.integers(words["sum"]))


def test_nothing_goes_without_noise() -> None:
    planned = noise.plan({"rows": Sensitivity(1.0)}, SPECS, {"rows": 1}, terms(), participants=3, rho_nano=10**6)
    with pytest.raises(ValueError, match="its noise"):
        noise.add_noise({"rows": np.zeros((1, 1), dtype=np.uint64)}, planned)
    with pytest.raises(ValueError, match="sensitivity"):
        noise.plan({"rows": Sensitivity(1.0)}, SPECS, {"rows": 1, "sum": 1}, terms(), participants=3, rho_nano=10**6)


def test_shares_divide_a_budget() -> None:
    third = Fraction(1, 3)
    parts = divide({"a": Sensitivity(1.0, share=third), "b": Sensitivity(1.0), "c": Sensitivity(1.0)}, 900)
    assert parts == {"a": 300, "b": 300, "c": 300}
    with pytest.raises(ProblemError, match="budget_too_small"):
        divide({"a": Sensitivity(1.0), "b": Sensitivity(1.0)}, 1)
    with pytest.raises(ValueError, match="whole"):
        divide({"a": Sensitivity(1.0, share=Fraction(1)), "b": Sensitivity(1.0)}, 900)
