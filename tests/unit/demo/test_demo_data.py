"""The demo's generated data is valid, deterministic and uneven; nothing of it is anybody's real code."""

from __future__ import annotations

import random

from demo import data
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc


def test_every_credit_code_is_valid_and_unique() -> None:
    codes = [str(row["credit_code"]) for district in data.DISTRICTS for row in data.enterprises(district)]
    assert len(codes) == len(set(codes)) == sum(district.enterprises for district in data.DISTRICTS)
    for code in codes:
        uscc.validate(code)
        body = code[8:16]
        assert data.organisation_check_character(body) == code[16]


@given(st.integers(), st.integers(min_value=0, max_value=16), st.sampled_from(data.CREDIT_CODE_ALPHABET))
def test_one_wrong_character_is_noticed(seed: int, position: int, other: str) -> None:
    code = data.credit_code("990101", random.Random(seed))
    changed = code[:position] + other + code[position + 1:]
    assert uscc.is_valid(changed) == (changed == code) or data.check_character(changed[:17]) != changed[17]


def test_enterprises_are_the_same_every_time_and_hold_nulls() -> None:
    first, second = ([*data.enterprises(data.DISTRICTS[3])] for _ in range(2))
    assert first == second
    assert any(row["power_used"] is None for row in first)
    assert {row["defaulted"] for row in first} == {0, 1}


def test_patients_are_split_unevenly_and_completely() -> None:
    split = data.patients()
    assert sum(map(len, split)) == 569
    assert [len(part) for part in split] == sorted((len(part) for part in split), reverse=True)
    assert len({row["patient"] for part in split for row in part}) == 569
    assert sum(int(str(row["malignant"])) for part in split for row in part) == 212
