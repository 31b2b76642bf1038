"""Dividing money: every part whole, none negative, all of it given out, whatever the shares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.settlement.rules import SHARE_ORDER, largest_remainder, source_weights, split

amounts = st.integers(0, 10**13)
weights = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 10**6), min_size=1, max_size=8).filter(
    lambda items: sum(items.values()) > 0)
shares = st.fixed_dictionaries({party: st.integers(0, 100) for party in SHARE_ORDER}).filter(
    lambda items: sum(items.values()) > 0)
sources = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.one_of(st.none(), st.integers(0, 10**9)))


@given(amounts, weights)
def test_parts_sum_exactly_and_are_within_one_fen_of_their_share(amount: int, by: dict[str, int]) -> None:
    parts = largest_remainder(amount, by)
    total = sum(by.values())
    assert sum(parts.values()) == amount
    for name, part in parts.items():
        assert amount * by[name] // total <= part <= -(-amount * by[name] // total)


@given(amounts, weights)
def test_the_order_of_the_weights_changes_nothing(amount: int, by: dict[str, int]) -> None:
    assert largest_remainder(amount, by) == largest_remainder(amount, dict(reversed(by.items())))


@given(amounts, shares, sources, st.sampled_from([1, 2]))
def test_a_split_gives_out_everything(amount: int, by: dict[str, int], contributed: dict[str, int | None],
                                      tier: int) -> None:
    parts = split(amount, by, contributed, tier=tier, seller="seller", operator="operator")
    assert sum(part.amount_fen for part in parts) == amount
    assert all(part.amount_fen >= 0 for part in parts)
    assert {part.organisation_id for part in parts if part.party == "source_departments"} <= set(contributed)
    assert tier == 2 or not [part for part in parts if part.party == "developer"]


def test_an_invoice_worked_out_by_hand() -> None:
    parts = split(1001, {"treasury": 10, "operator": 20, "source_departments": 30, "developer": 40},
                  {"a": 2, "b": 1}, seller="dev", operator="op")
    assert [(part.party, part.organisation_id, part.amount_fen) for part in parts] == [
        ("treasury", None, 100), ("operator", "op", 200), ("source_departments", "a", 200),
        ("source_departments", "b", 100), ("developer", "dev", 401)]


def test_unknown_rows_weigh_all_departments_alike() -> None:
    assert source_weights({"a": 5, "b": None}) == {"a": 1, "b": 1}
    assert source_weights({"a": 0, "b": 0}) == {"a": 1, "b": 1}
    assert source_weights({"a": 5, "b": 0}) == {"a": 5, "b": 0}


@pytest.mark.parametrize("by", [{}, {"a": 0}, {"a": -1, "b": 2}])
def test_impossible_weights_are_refused(by: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        largest_remainder(10, by)
