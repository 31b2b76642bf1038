from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation.differencing import GuardRules, departments_exposed, too_close
from shuyan.federation.rowsets import RowSet

K = 4


def rows(*numbers: int, universe: int = 40) -> RowSet:
    return RowSet.of(np.array(numbers, dtype=np.int64), universe)


def closure(sets: list[frozenset[int]], depth: int) -> set[frozenset[int]]:
    """Unions, intersections and differences of up to ``depth`` sets, by brute force."""
    found, level = set(sets), set(sets)
    for _ in range(depth - 1):
        level = {made for one in level for two in sets for made in (one | two, one & two, one - two, two - one)}
        found |= level
    return found


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_nothing_within_the_cohort_of_a_combination_passes(data: st.DataObject) -> None:
    universe = 12
    some = st.frozensets(st.integers(0, universe - 1))
    earlier, asked = data.draw(st.lists(some, max_size=4)), data.draw(some)
    depth = data.draw(st.integers(1, 3))
    refused = too_close(rows(*asked, universe=universe), [rows(*one, universe=universe) for one in earlier], 3, depth)

    if asked in earlier:
        assert not refused
        return
    near = 0 < len(asked) < 3 or any(0 < len(asked ^ made) < 3 for made in closure(earlier, depth))
    if depth >= 2:
        for one, two in itertools.combinations(earlier, 2):
            for signs in ((1, -1, -1), (1, 1, -1), (1, -1, 1)):
                left = [row for row in range(universe) if sum(
                    sign * (row in part) for sign, part in zip(signs, (asked, one, two), strict=True))]
                near = near or 0 < len(left) < 3
    assert refused == near


def test_the_same_rows_pass_and_one_row_more_does_not() -> None:
    first = rows(*range(20))
    assert not too_close(first, [], K)
    assert not too_close(rows(*range(20)), [first], K)
    assert too_close(rows(*range(21)), [first], K)
    assert too_close(rows(*range(1, 20)), [first], K)
    assert not too_close(rows(*range(24)), [first], K)


def test_all_rows_count_as_such_however_they_are_said() -> None:
    everything = RowSet.everything()
    assert not too_close(everything, [everything], K)
    assert too_close(rows(*range(39)), [everything], K)
    assert too_close(everything, [rows(*range(39))], K)
    assert not too_close(rows(*range(40)), [everything], K)
    assert not too_close(rows(*range(36)), [everything], K)


def test_few_rows_are_refused_even_first_and_none_are_not() -> None:
    assert too_close(rows(1, 2, 3), [], K)
    assert not too_close(rows(), [], K)


def test_an_intersection_is_not_had_from_three_sums() -> None:
    one, two = rows(*range(20)), rows(*range(18, 38))
    assert too_close(rows(*range(38)), [one, two], K)
    assert not too_close(rows(*range(38)), [one, two], K, depth=1)


def test_denning_s_tracker_is_refused() -> None:
    """q(C) = q(C or T) + q(C or not T) - q(T) - q(not T) for a C of two rows."""
    tracker = rows(*range(20))
    rest = rows(*range(20, 40))
    padded = [rows(*range(20), 30), rows(5, *range(20, 40))]  # C = {5, 30}
    assert not too_close(rest, [tracker], K)
    assert too_close(padded[0], [tracker, rest], K)
    assert too_close(padded[1], [tracker, rest], K)


def test_data_of_another_size_is_other_data() -> None:
    assert not too_close(rows(*range(20)), [rows(*range(19), universe=41)], K)


def test_five_hundred_sets_of_a_hundred_thousand_rows() -> None:
    """The worst common case, disjoint sets, and sets that differ a lot; what matters is that it ends soon."""
    universe = 100_000
    random = np.random.default_rng(1)
    slices = [RowSet.of(np.arange(at * 400, (at + 1) * 400), universe) for at in range(250)]
    halves = [RowSet.where(random.random(universe) < 0.5) for _ in range(250)]
    assert not too_close(RowSet.of(np.arange(0, 40_000), universe), slices + halves, 10)
    assert too_close(RowSet.of(np.arange(0, 805), universe), slices + halves, 10)


def test_combining_three_has_room_for_fewer_sets() -> None:
    assert (GuardRules().set_limit, GuardRules(depth=3).set_limit) == (500, 64)


@pytest.mark.parametrize(("asked", "earlier", "exposed"), [
    ("abc", ["abcd"], True),
    ("abcd", ["abcd"], False),
    ("abc", ["abcde"], True),
    ("abc", ["abcdef"], False),
    ("def", ["abc"], False),
    ("abce", ["abcd"], True),
    # Each differs from each by three or more, together they give one department away.
    ("abcg", ["abcdef", "defg"], True),
    ("abcdefg", ["abc", "defghij"], False),
])
def test_departments_are_not_told_apart(asked: str, earlier: list[str], exposed: bool) -> None:
    assert departments_exposed(asked, earlier) is exposed
