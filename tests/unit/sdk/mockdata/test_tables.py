"""Mock values are what is declared, identify nobody, and are the same everywhere."""

from __future__ import annotations

import datetime as dt
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum.cn import uscc
from tests.factories.described import description

from shuyan import detect
from shuyan.mockdata import (
    KINDS,
    DescriptionError,
    MadeColumn,
    Marginal,
    column_values,
    kind_of,
    preview,
    read_description,
    table,
)

UNTIL = dt.date(2025, 12, 31)
finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


def made(column: MadeColumn, rows: int = 200, stream: tuple[str, ...] = ("seed", "node", "resource", "column")) -> list[object]:
    return list(column_values(column, stream, rows, UNTIL))


@given(st.sampled_from(["integer", "number"]), st.none() | finite, st.none() | finite, st.sampled_from([None, 0.01, 0.5, 1.0, 10.0]),
       st.lists(st.integers(0, 1000), min_size=1, max_size=6), st.integers(0, 100), st.text(min_size=1, max_size=8))
@settings(max_examples=120, deadline=None)
def test_numbers_lie_within_declared_bounds_and_on_the_declared_step(type_, one, other, step, weights, missing, seed):
    lower, upper = (one, other) if one is None or other is None or one < other else (other, one)
    if lower is not None and lower == upper:
        upper = lower + 1
    marginal = None
    if lower is not None and upper is not None and any(weights):
        edges = [lower + (upper - lower) * place / len(weights) for place in range(len(weights))] + [upper]
        if all(a < b for a, b in itertools.pairwise(edges)):
            marginal = Marginal(edges=tuple(edges), weights=tuple(weights))
    column = MadeColumn(name="x", type=type_, lower=lower, upper=upper, resolution=step, missing=missing, marginal=marginal)
    for value in made(column, stream=(seed, "node")):
        if value is None:
            continue
        assert isinstance(value, int if type_ == "integer" else float)
        assert lower is None or value >= lower
        assert upper is None or value <= upper
        if step and type_ == "number":
            whole = value / step
            assert math.isclose(whole, round(whole), abs_tol=1e-6) or value in (lower, upper)


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8, unique=True), st.data())
@settings(max_examples=50, deadline=None)
def test_a_dimension_takes_declared_values_only_and_none_that_has_no_weight(domain, data):
    weights = data.draw(st.lists(st.integers(0, 1000), min_size=len(domain), max_size=len(domain)).filter(any))
    column = MadeColumn(name="x", type="string", domain=tuple(domain), marginal=Marginal(labels=tuple(domain), weights=tuple(weights)))
    allowed = {label for label, weight in zip(domain, weights, strict=True) if weight}
    assert set(made(column)) <= allowed


def test_weights_are_followed():
    column = MadeColumn(name="x", type="string", domain=("a", "b"), marginal=Marginal(labels=("a", "b"), weights=(900, 100)))
    assert 0.87 < made(column, 5_000).count("a") / 5_000 < 0.93


def test_dates_missing_shares_and_types():
    days = made(MadeColumn(name="d", type="date", marginal=Marginal(days=("2024-01-01", "2024-03-01"), weights=(1,))))
    assert all(dt.date(2024, 1, 1) <= dt.date.fromisoformat(str(day)) < dt.date(2024, 3, 1) for day in days)
    assert max(map(str, made(MadeColumn(name="d", type="date")))) <= "2025-12-31"
    assert all(dt.datetime.fromisoformat(str(value)) for value in made(MadeColumn(name="d", type="timestamp")))
    assert {type(value) for value in made(MadeColumn(name="b", type="boolean"))} == {bool}
    assert set(made(MadeColumn(name="n", type="integer", domain=("1", "3")))) == {1, 3}
    assert 0.25 < made(MadeColumn(name="m", type="boolean", missing=30), 5_000).count(None) / 5_000 < 0.35


@pytest.mark.parametrize("number", [0, 1, 7, 5_999, 123_456])
def test_numbers_have_valid_check_digits_and_name_nobody(number):
    resident, credit, card = KINDS["resident_id"](number), KINDS["credit_code"](number), KINDS["bank_card"](number)
    assert detect.check_digit(resident[:17]) == resident[17]
    assert resident[:2] == "99"
    assert not detect.is_resident_id(resident)
    assert dt.date(int(resident[6:10]), int(resident[10:12]), int(resident[12:14])).year > 1900
    assert uscc.calc_check_digit(credit) == credit[17]
    assert detect.is_credit_code(credit)
    assert credit[2:8] == "990000"
    assert sum(int(d) if place % 2 == 0 else sum(divmod(2 * int(d), 10)) for place, d in enumerate(reversed(card))) % 10 == 0
    assert not detect.is_bank_card(card)
    assert not detect.is_mobile(KINDS["mobile"](number))
    assert not detect.is_person_name(KINDS["person_name"](number))


def test_different_numbers_give_different_persons():
    for make in (KINDS["resident_id"], KINDS["credit_code"], KINDS["mobile"], KINDS["bank_card"]):
        assert len({make(number) for number in range(6_000)}) == 6_000


def test_a_description_gives_the_same_tables_and_another_seed_others():
    one, again, other = description(), description(), description(seed="another seed")
    assert one.digest == again.digest != other.digest
    resource = one.resources[0]
    first, second = table(one, resource, 300), table(again, again.resources[0], 300)
    assert {name: list(values) for name, values in first.items()} == {name: list(values) for name, values in second.items()}
    assert list(first["tax"]) != list(table(other, other.resources[0], 300)["tax"])
    assert list(first["tax"]) != list(table(one, one.resources[1], 300)["tax"])  # departments differ
    # what is shown first is what the tables begin with, without what no job may read
    assert [row["tax"] for row in preview(one, resource, 5)] == list(first["tax"][:5])
    assert "code" not in preview(one, resource, 1)[0]


def test_the_stream_is_pinned():
    # Tables must be the same on every machine and in every version: a changed digit here changes everybody's.
    assert made(MadeColumn(name="x", type="integer", lower=0, upper=1_000_000), 4) == [308597, 202130, 267189, 164]


def test_marginals_that_do_not_fit_are_refused():
    for wrong in (
        {"marginal": {"labels": ["other"], "weights": [1]}},
        {"marginal": {"labels": ["commerce"], "weights": [0]}},
        {"marginal": {"edges": [0, 1], "weights": [1]}},
        {"marginal": {"labels": ["commerce", "commerce"], "weights": [1, 1]}},
    ):
        with pytest.raises(ValueError, match="validation"):
            description(sector=wrong)
    for wrong in ({"edges": [0, 600], "weights": [1]}, {"edges": [3, 2], "weights": [1]}, {"edges": [0, 1, 2], "weights": [1]}):
        with pytest.raises(ValueError, match="validation"):
            description(tax={"marginal": wrong})


def test_what_a_column_identifies_is_told_by_its_names():
    assert kind_of(["sfzh", "公民身份号码", ""]) == "resident_id"
    assert kind_of(["code", "统一社会信用代码"]) == "credit_code"
    assert kind_of(["remark", "备注"]) == ""


def test_no_description_is_said_so():
    with pytest.raises(DescriptionError):
        read_description(b"{}")
    with pytest.raises(DescriptionError):
        read_description(b"\xff")
    assert read_description(description().model_dump_json()) == description()


