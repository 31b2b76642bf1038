"""Estimates of cells that were not asked for: they agree with every cell that was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation.release import Axis, estimated

AXES = [[Axis("a", 3), Axis("b", 4)], [Axis("a", 3)], [Axis("b", 4)], []]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 200), min_size=12, max_size=12), st.sets(st.integers(0, 11), min_size=1, max_size=5))
def test_margins_hold(counts: list[int], hidden: set[int]) -> None:
    joint = np.array(counts, dtype=float).reshape(3, 4)
    cells = np.concatenate([joint.ravel(), joint.sum(axis=1), joint.sum(axis=0), [joint.sum()]])
    unknown = np.zeros(20, dtype=bool)
    unknown[[at for at in hidden if counts[at]]] = True
    found = estimated(np.where(unknown, 0, cells), unknown, AXES, likely=10.0)
    assert (found[~unknown] == cells[~unknown]).all()
    table = found[:12].reshape(3, 4)
    assert (found >= 0).all()
    assert table.sum(axis=1) == pytest.approx(cells[12:15], rel=0.02, abs=2)
    assert table.sum(axis=0) == pytest.approx(cells[15:19], rel=0.02, abs=2)


def test_one_unknown_cell_is_what_the_others_leave() -> None:
    found = estimated([0, 30, 50], np.array([True, False, False]), [[Axis("a", 2)], []], likely=10.0)
    assert found == pytest.approx([20, 30, 50])


def test_where_nothing_tells_it_is_the_likely_count() -> None:
    assert estimated([0, 30], np.array([True, False]), [[Axis("a", 2)]], likely=10.0) == pytest.approx([10, 30])
