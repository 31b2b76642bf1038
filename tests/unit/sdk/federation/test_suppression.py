"""Suppression against an observer who solves every linear relation between what is shown, non-negativity included."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from shuyan.federation.release import Axis, Reason, _cover, decide, suppress


def tables_of(joint: np.ndarray, sets: list[tuple[int, ...]]) -> tuple[np.ndarray, list[list[Axis]]]:
    """The counts of several tables of a joint table whose last levels are rows without a value."""
    parts, axes = [], []
    for dims in sets:
        summed = joint.sum(axis=tuple(dim for dim in range(joint.ndim) if dim not in dims))
        parts.append(summed[tuple(slice(0, -1) for _ in dims)].ravel())
        axes.append([Axis(f"d{dim}", joint.shape[dim] - 1) for dim in dims])
    return np.concatenate(parts), axes


def intervals(joint: np.ndarray, sets: list[tuple[int, ...]], known: np.ndarray, counts: np.ndarray) -> dict[int, tuple[float, float]]:
    """What linear programming says about every cell that is not known: its smallest and largest count."""
    index = np.arange(joint.size).reshape(joint.shape)
    rows, values, unknown = [np.ones(joint.size)], [float(joint.sum())], {}
    at = 0
    for dims in sets:
        for cell in itertools.product(*(range(joint.shape[dim] - 1) for dim in dims)):
            row = np.zeros(joint.size)
            row[index[tuple(cell[dims.index(dim)] if dim in dims else slice(None) for dim in range(joint.ndim))].ravel()] = 1
            if known[at]:
                rows.append(row)
                values.append(float(counts[at]))
            else:
                unknown[at] = row
            at += 1
    found = {}
    for place, row in unknown.items():
        ends = [linprog(sign * row, A_eq=np.array(rows), b_eq=np.array(values), method="highs") for sign in (1, -1)]
        assert [end.status for end in ends] == [0, 0]
        found[place] = (ends[0].fun, -ends[1].fun)
    return found


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, list[tuple[int, ...]], int, np.ndarray]:
    sizes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    joint = random.poisson(random.gamma(0.7, draw(st.sampled_from([3, 12, 30])), [size + 1 for size in sizes]))
    for dim in range(len(sizes)):
        rest = joint[(slice(None),) * dim + (slice(-1, None),)]
        rest[...] = random.poisson(0.4, rest.shape) if draw(st.booleans()) else rest * draw(st.integers(0, 1))
    every = [dims for size in range(1, len(sizes) + 1) for dims in itertools.combinations(range(len(sizes)), size)]
    sets = draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    counts, _ = tables_of(joint, sets)
    contributors = np.where(random.random(len(counts)) < 0.1, 1, 3) * (counts > 0)
    return joint, sets, draw(st.integers(3, 11)), contributors


@pytest.mark.parametrize("at_once", [1, 256])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems())
def test_no_hidden_cell_can_be_narrowed_below_the_stated_width(
    at_once: int, problem: tuple[np.ndarray, list[tuple[int, ...]], int, np.ndarray],
) -> None:
    """``at_once``: from how many hidden cells on certificates are looked for among them all at once."""
    joint, sets, minimum, contributors = problem
    counts, axes = tables_of(joint, sets)
    if joint.sum() < minimum:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cover, "_AT_ONCE", at_once)
        decision = decide(counts, contributors, axes, minimum, total=int(joint.sum()))

    shown = decision.released
    assert (counts[shown] >= minimum).all()
    assert (contributors[shown] >= 2).all()
    for place, (low, high) in intervals(joint, sets, shown | (counts == 0), counts).items():
        if decision.reasons[place] == Reason.TABLE:
            continue
        alone = decision.reasons[place] == Reason.ONE_DEPARTMENT
        assert high - low >= (max(minimum, math.ceil(0.1 * counts[place])) if alone else minimum) - 1e-4


def test_a_small_cell_takes_a_rectangle_with_it_where_margins_are_shown() -> None:
    joint = np.array([[30, 40, 50, 0], [4, 60, 70, 0], [90, 20, 95, 0], [0, 0, 0, 0]])
    counts, axes = tables_of(joint, [(0, 1), (0,), (1,)])
    decision = decide(counts, None, axes, 10)
    # Of the rectangles through the small cell, the one with the least information.
    assert decision.reasons[:9].reshape(3, 3).tolist() == [[3, 3, 0], [1, 3, 0], [0, 0, 0]]
    assert (decision.reasons[9:] == 0).all()


def test_without_margins_one_more_cell_is_enough() -> None:
    joint = np.array([[30, 40, 0], [4, 60, 0], [0, 0, 0]])
    counts, axes = tables_of(joint, [(0, 1)])
    assert np.count_nonzero(~suppress(counts, None, axes, 10, margins="asked")) == 2
    # Somebody may ask for the margins another time.
    assert np.count_nonzero(~suppress(counts, None, axes, 10)) == 4


def test_nothing_small_nothing_hidden() -> None:
    counts, axes = tables_of(np.pad(np.full((5, 6), 20), ((0, 1), (0, 1))), [(0, 1), (0,), (1,), ()])
    assert suppress(counts, np.full(len(counts), 3), axes, 10).all()


def test_one_departments_cell_is_hidden_unless_the_grant_lets_it_show() -> None:
    counts, axes = tables_of(np.array([500, 600, 700, 0]), [(0,)])
    contributors = [1, 3, 3]
    assert suppress(counts, contributors, axes, 10).tolist() == [False, False, True]
    assert suppress(counts, contributors, axes, 10, own_figures=True).all()


def test_empty_cells_are_left_out_and_hide_nothing_else_unless_asked() -> None:
    counts, axes = tables_of(np.array([50, 0, 30, 0]), [(0,)])
    assert decide(counts, None, axes, 10).reasons.tolist() == [Reason.SHOWN, Reason.EMPTY, Reason.SHOWN]
    protected = decide(counts, None, axes, 10, empty="protect")
    assert protected.reasons.tolist() == [Reason.SHOWN, Reason.SMALL, Reason.COMPLEMENT]


def test_few_rows_without_a_value_are_protected_like_a_cell() -> None:
    """The overall figure less the groups would be about three rows."""
    counts, axes = tables_of(np.array([50, 60, 3]), [(0,), ()])
    assert suppress(counts, None, axes, 10).tolist() == [False, True, True]
    many, axes = tables_of(np.array([50, 60, 30]), [(0,), ()])
    assert suppress(many, None, axes, 10).all()


def test_cells_hidden_for_other_reasons_are_protected_too() -> None:
    counts, axes = tables_of(np.array([50, 60, 70, 0]), [(0,)])
    decision = decide(counts, None, axes, 10, hidden=np.array([True, False, False]))
    assert decision.released.tolist() == [False, False, True]
    assert decision.widths[0] >= 10


def test_tables_that_share_a_dimension_are_protected_together() -> None:
    """Two tables of three dimensions, linked by one; and three that are linked in a ring."""
    random = np.random.default_rng(3)
    joint = random.poisson(25, (4, 4, 4))
    joint[-1], joint[:, -1], joint[:, :, -1] = 0, 0, 0
    for sets in ([(0, 1), (1, 2)], [(0, 1), (1, 2), (0, 2)]):
        joint[0, 0, :] = [1, 2, 0, 0]
        counts, axes = tables_of(joint, sets)
        decision = decide(counts, None, axes, 10)
        assert decision.reasons[0] == Reason.SMALL
        found = intervals(joint, sets, decision.released | (counts == 0), counts)
        assert all(high - low >= 10 - 1e-4 for low, high in found.values())


def test_tables_too_many_dimensions_apart_are_not_shown_together() -> None:
    rows = [Axis(f"d{at}", 120) for at in range(4)]
    one = np.full(120 * 120, 30)
    one[0] = 3
    two = np.full(120 * 120, 30)
    decision = decide(np.concatenate([one, two, two]), None, [rows[:2], rows[1:3], rows[2:]], 10)
    reasons = decision.reasons.reshape(3, -1)
    assert (reasons[0] == Reason.SHOWN).sum() > 14_000
    assert (reasons[1] == Reason.TABLE).all()
    assert (reasons[2] == Reason.SHOWN).all()  # it shares nothing with the first


def test_the_same_input_gives_the_same_answer() -> None:
    joint = np.pad(np.random.default_rng(5).poisson(12, (12, 15)), ((0, 1), (0, 1)))
    counts, axes = tables_of(joint, [(0, 1), (0,), (1,), ()])
    first, second = (decide(counts, None, axes, 10) for _ in range(2))
    assert (first.reasons == second.reasons).all()


@pytest.mark.parametrize("axes", [[[Axis("a", 2)]], [[Axis("a", 3)], [Axis("a", 3)]], [[Axis("a", 3)], [Axis("b", 3), Axis("a", 1)]]])
def test_tables_that_do_not_fit_are_refused(axes: list[list[Axis]]) -> None:
    with pytest.raises(ValueError, match=r"a count for|named twice|one size"):
        decide([20.0] * (6 if len(axes) > 1 else 3), None, axes, 10)
