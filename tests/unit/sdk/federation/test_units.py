"""Two spellings of a unit are one unit; two units are never one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuyan.federation.units import MAX_LENGTH, UnitError, normalise, same_unit


@pytest.mark.parametrize(("a", "b"), [
    ("µg/m³", "ug/m3"), ("μg/m³", "µg/m3"), ("ug/m^3", "μg/m³"), ("℃", "°C"), ("kW·h", "kW*h"), ("m⁻²", "m^-2"), ("％", "%"),
    (" kg ", "kg"), ("ｋｇ", "kg"), ("kΩ", "kΩ"), ("", " ")])
def test_one_unit(a, b):
    assert same_unit(a, b)
    assert same_unit(b, a)


@pytest.mark.parametrize(("a", "b"), [("mg", "Mg"), ("mS", "MS"), ("", "kg"), ("元", "万元"), ("m2", "m3"), ("mg/dL", "mmol/L")])
def test_two_units(a, b):
    assert not same_unit(a, b)


@given(st.text(max_size=MAX_LENGTH))
def test_normalised_stays_the_same_unit(text):
    try:
        kept = normalise(text)
    except UnitError:
        return
    assert normalise(kept) == kept
    assert same_unit(kept, text)


@pytest.mark.parametrize("unit", ["x" * 33, "k\u200bg", "k\x00g"])
def test_what_is_no_unit(unit):
    with pytest.raises(UnitError):
        normalise(unit)
