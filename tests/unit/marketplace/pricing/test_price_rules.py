"""Prices are strict integers within limits, and the field at fault is named."""

from __future__ import annotations

import pytest

from marketplace.pricing.rules import MAXIMUM_FEN, Price, check_price
from shuyan.problems import ProblemError

GOOD = {"access_fee_fen": 100, "call_fee_fen": 1, "included_calls": 0, "term_days": 365}


def test_a_good_price_passes() -> None:
    assert check_price(**GOOD) == Price(100, 1, 0, 365)


@pytest.mark.parametrize("field", list(GOOD))
@pytest.mark.parametrize("value", [False, True, -1, 1.0, "1", None, float("nan"), MAXIMUM_FEN + 1, 10**30])
def test_anything_else_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ProblemError) as caught:
        check_price(**{**GOOD, field: value})
    assert caught.value.code == "price_invalid"
    assert caught.value.field == field
    assert field in caught.value.text("en")
    assert field in caught.value.text("zh")


def test_a_term_of_no_days_is_refused() -> None:
    with pytest.raises(ProblemError) as caught:
        check_price(**{**GOOD, "term_days": 0})
    assert caught.value.field == "term_days"
