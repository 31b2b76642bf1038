from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation.release import withheld


def test_small_cells_are_withheld() -> None:
    assert withheld([10, 4, 30, 7], 10) == {1, 3}


def test_a_single_small_cell_takes_the_next_smallest_with_it() -> None:
    assert withheld([50, 4, 30, 70], 10) == {1, 2}


def test_empty_cells_give_nothing_away() -> None:
    assert withheld([50, 0, 30], 10) == {1}


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 20))
def test_nothing_small_is_shown_and_nothing_small_can_be_worked_out(counts: list[int], minimum: int) -> None:
    out = withheld(counts, minimum)

    assert all(count >= minimum for index, count in enumerate(counts) if index not in out)
    hidden = sum(counts[index] for index in out)
    assert hidden == 0 or hidden >= minimum or len(out) == len(counts)
