"""Tables that do not add up to the total that is told beside them."""

from __future__ import annotations

import pytest

from shuyan.federation.release import suppress
from shuyan.federation.release._tables import Axis

BINS = [0.0, 41.0, 143.0, 163.0, 62.0, 51.0, 29.0, 6.0, 4.0, 0.0]


@pytest.mark.parametrize("total", [499, 501, 5_000, 300])
def test_a_list_is_decided_whatever_total_is_told(total: int) -> None:
    counts = [1.37, *BINS[1:-1], 1.37]
    shown = suppress(counts, None, [[Axis("bin", 10)]], 10, total=total)
    assert not shown[[0, 7, 8, 9]].any()
