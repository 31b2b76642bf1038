"""Detectors: every valid number is found, and one changed digit is not."""

from __future__ import annotations

import datetime as dt
import itertools
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric, uscc

from shuyan import detect

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


@st.composite
def resident_ids(draw):
    province = draw(st.sampled_from(["11", "51", "65", "82"]))
    rest = draw(st.from_regex(r"\A[0-9]{4}\Z"))
    born = draw(st.dates(dt.date(1900, 1, 1), dt.date(2025, 12, 31)))
    body = f"{province}{rest}{born:%Y%m%d}{draw(st.integers(0, 999)):03d}"
    return body + ric.calc_check_digit(body + "0")


@given(resident_ids(), st.integers(0, 16), st.sampled_from(string.digits))
def test_resident_numbers_by_check_digit_and_birth_date(number, place, digit):
    assert detect.detect(number) == "resident_id"
    assert detect.detect(number.lower()) == "resident_id"
    assume(number[place] != digit)
    assert not detect.is_resident_id(number[:place] + digit + number[place + 1:])


@given(st.text(_ALPHABET, min_size=9, max_size=9), st.integers(100000, 659999))
def test_credit_codes_agree_with_the_standard_library_of_numbers(unit, division):
    body = f"91{division}{unit}"
    code = body + uscc.calc_check_digit(body)
    assert detect.is_credit_code(code)
    assert not detect.is_credit_code(code[:-1] + ("A" if code[-1] != "A" else "B"))


@given(st.from_regex(r"\A62[0-9]{13,16}\Z"))
def test_bank_cards_by_luhn(body):
    assert detect.is_bank_card(body + luhn.calc_check_digit(body))
    assert not detect.is_bank_card(body + str((int(luhn.calc_check_digit(body)) + 1) % 10))


@pytest.mark.parametrize(("text", "kind"), [
    ("13812345678", "mobile"), ("+86 138-1234-5678", "mobile"), ("12812345678", None), ("028-86201234", "landline"),
    ("02886201234", "landline"), ("400-012-3456", "landline"), ("4000123456", None), ("zhang.san@chengdu.gov.cn", "email"),
    ("a@b", None), ("E12345678", "passport"), ("川A12345", "licence_plate"), ("川AD12345", "licence_plate"),
    ("京A·F0236", "licence_plate"), ("张三丰", "person_name"), ("欧阳修", "person_name"), ("阿卜杜拉·买买提", "person_name"),
    ("成都市", None), ("内科", None), ("男", None), ("成都市武侯区天府大道100号", "address"), ("人民南路四段12号", "address"),
    ("10.1.2.3", "ip_address"), ("fe80::1", "ip_address"), ("1.2.3", None), ("30.572815,104.066801", "coordinates"),
    ("230.5728,204.0668", None), ("2026-11-20", None), ("", None), ("12345678901234567890", None)])
def test_kinds_by_form(text, kind):
    assert detect.detect(text) == kind


def test_found_inside_text_without_telling_the_values():
    text = "患者电话13812345678，证件11010519491231002X，卡4111 1111 1111 1111，x@y.cn，川A12345"
    found = list(detect.find(text))
    assert {finding.kind for finding in found} == {"resident_id", "mobile", "bank_card", "email", "licence_plate"}
    assert [text[f.start:f.end] for f in found if f.kind == "mobile"] == ["13812345678"]
    assert not list(detect.find("编号20261120001，金额1381234567.80元，温度36.5"))


@given(st.text(max_size=60))
def test_any_text_is_taken(text):
    detect.detect(text)
    spans = sorted((f.start, f.end) for f in detect.find(text))
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))


def test_shares():
    assert detect.shares(["13812345678", "x", "13912345678", "y"]) == {"mobile": 0.5}
    assert detect.shares([]) == {}
