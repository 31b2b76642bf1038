from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.trust.canonical import canonical

WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=20)


@settings(deadline=None)
@given(VALUES)
def test_it_is_what_the_rfc_says(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [
    {"\ue000": 1, "\U0001f600": 2},  # by code point the other way round
    {"b": [1.0, 1e21, -0.0]}, {"a": "\x7f\u2028\"\\\b\x1f/"}, {"a": (1, 2), "": {}}, {"town": "数堰"},
])
def test_where_pythons_own_order_and_spelling_differ(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [2**53, {"a": float("nan")}, {1: "a"}, {"a": {1}}, ["\ud800"], {"\ud800": 1}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011
        rfc8785.dumps(value)
    with pytest.raises(type(expected.value)):
        canonical(value)
