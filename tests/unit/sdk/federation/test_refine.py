from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation import refine


def asking(groups: list[np.ndarray], lower: float, upper: float, rounds: list[int]) -> refine.Ask:
    """Departments as one: counts at or below thresholds, of values clamped to the bounds."""
    def ask(thresholds: np.ndarray) -> np.ndarray:
        rounds.append(thresholds.shape[1])
        return np.array([[np.count_nonzero(np.clip(values, lower, upper) <= limit) for limit in row]
                         for values, row in zip(groups, thresholds, strict=True)])
    return ask


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_quantiles_are_those_of_the_pooled_values(data: st.DataObject) -> None:
    step = data.draw(st.sampled_from([0.1, 0.25, 1.0, 1e-3, 7.0]))
    values = [np.array(data.draw(st.lists(st.integers(0, 500), min_size=1, max_size=40))) for _ in range(data.draw(st.integers(1, 3)))]
    lower = data.draw(st.sampled_from([-3.7, 0.0, 12.5]))
    grid = refine.Grid.of(lower, lower + 500 * step, step)
    groups = [np.array([grid.value(int(index)) for index in part]) for part in values]
    probabilities = data.draw(st.lists(st.sampled_from([0, 0.05, 0.25, 0.5, 0.9, 0.95, 1]), min_size=1, max_size=5))
    interpolation = data.draw(st.sampled_from(["cont", "disc"]))
    rounds: list[int] = []
    found = refine.quantiles(asking(groups, lower, grid.upper, rounds), lower=lower, upper=grid.upper, resolution=step,
                             probabilities=probabilities, groups=len(groups), interpolation=interpolation)
    assert len(rounds) == found.rounds <= refine.ROUNDS
    assert found.exact.all()
    for group, part in enumerate(groups):
        expected = duckdb.sql(
            f"SELECT quantile_{interpolation}(v, {[float(p) for p in probabilities]}) "
            f"FROM (SELECT unnest({part.tolist()}::DOUBLE[]) AS v)").fetchall()
        assert found.values[group].tolist() == pytest.approx(expected[0][0], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("upper", "resolution"), [(1e6, 1.0), (1000.0, 0.001), (3.0, 1.0), (1e4, 0.25)])
def test_a_million_steps_take_three_rounds(upper: float, resolution: float) -> None:
    values = np.round(np.random.default_rng(1).uniform(0, upper, 5000) / resolution) * resolution
    rounds: list[int] = []
    found = refine.quantiles(asking([values], 0.0, upper, rounds), lower=0.0, upper=upper, resolution=resolution,
                             probabilities=[0, 0.5, 0.99, 1], interpolation="disc")
    assert found.rounds <= 3
    assert max(rounds) <= 4 * 102
    assert found.values[0, [0, 3]].tolist() == pytest.approx([values.min(), values.max()], rel=1e-12)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 60), max_size=60), st.integers(1, 12), st.sampled_from([0, 0.1, 0.5, 0.8, 1]))
def test_a_released_value_has_a_tail_of_the_cohort(values: list[int], minimum: int, probability: float) -> None:
    found = refine.quantiles(asking([np.array(values, dtype=float)], 0.0, 60.0, []), lower=0.0, upper=60.0, resolution=1.0,
                             probabilities=[probability], interpolation="disc", minimum=minimum)
    value, exact = found.values[0, 0], bool(found.exact[0, 0])
    if len(values) < minimum or not values:
        assert math.isnan(value)
        assert not exact
        return
    rank = refine.wanted_ranks(probability, len(values), "disc")[0]
    tail = sum(one <= value for one in values) if 2 * rank < len(values) else sum(one >= value for one in values)
    assert tail >= minimum
    assert exact == (value == sorted(values)[rank])


def test_a_single_person_s_extreme_is_coarsened_and_a_shared_one_is_not() -> None:
    ages = np.array([*[20.0] * 30, *[50.0] * 30, *range(60, 70), 101.0])
    found = refine.quantiles(asking([ages], 0.0, 120.0, []), lower=0.0, upper=120.0, resolution=1.0,
                             probabilities=[0, 1], minimum=10)
    assert found.values.tolist() == [[20.0, 61.0]]
    assert found.exact.tolist() == [[True, False]]
    free = refine.quantiles(asking([ages], 0.0, 120.0, []), lower=0.0, upper=120.0, resolution=1.0, probabilities=[0, 1])
    assert free.values.tolist() == [[20.0, 101.0]]


def test_values_beyond_the_bounds_count_as_on_them() -> None:
    found = refine.quantiles(asking([np.array([-5.0, 3.0, 40.0])], 0.0, 10.0, []), lower=0.0, upper=10.0, resolution=1.0,
                             probabilities=[0, 0.5, 1])
    assert found.values.tolist() == [[0.0, 3.0, 10.0]]


@pytest.mark.parametrize(("lower", "upper", "resolution"), [
    (1.0, 1.0, 0.1), (2.0, 1.0, 0.1), (0.0, math.inf, 1.0), (0.0, 1.0, 0.0), (0.0, 1e9, 1e-9)])
def test_bounds_that_make_no_grid_are_refused(lower: float, upper: float, resolution: float) -> None:
    with pytest.raises(ValueError, match=r"grid needs|too fine"):
        refine.quantiles(asking([], 0, 1, []), lower=lower, upper=upper, resolution=resolution, probabilities=[0.5])


def test_counts_that_make_no_sense_end_too() -> None:
    """A node that lies may spoil the answer, not the search."""
    random = np.random.default_rng(4)
    found = refine.quantiles(lambda t: random.integers(-10, 1000, t.shape), lower=0.0, upper=1e6, resolution=1.0,
                             probabilities=[0.1, 0.5], minimum=5)
    assert found.rounds <= 2 * refine.ROUNDS
