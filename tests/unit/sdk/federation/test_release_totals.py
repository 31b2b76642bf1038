"""Tables that do not add up to the total that is told beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuyan.federation.release import suppress
from shuyan.federation.release._estimate import estimated
from shuyan.federation.release._tables import Axis

BINS = [0.0, 41.0, 143.0, 163.0, 62.0, 51.0, 29.0, 6.0, 4.0, 0.0]


@pytest.mark.parametrize("total", [499, 501, 5_000, 300])
def test_a_list_is_decided_whatever_total_is_told(total: int) -> None:
    counts = [1.37, *BINS[1:-1], 1.37]
    shown = suppress(counts, None, [[Axis("bin", 10)]], 10, total=total)
    assert not shown[[0, 7, 8, 9]].any()


@given(st.integers(0, 40), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
def test_what_was_not_asked_for_is_what_the_total_leaves(rest: int, places: list[int]) -> None:
    unknown = np.zeros(10, dtype=bool)
    unknown[places] = True
    counts = np.array(BINS)
    known = float(counts[~unknown].sum())
    found = estimated(counts, unknown, [[Axis("bin", 10)]], likely=5.0, total=known + rest)
    np.testing.assert_array_equal(found[~unknown], counts[~unknown])
    assert found[unknown].sum() == pytest.approx(rest, abs=1e-6)
