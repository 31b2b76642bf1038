"""Registration codes catch slips of the pen; manifests and schemas say what a version is made of."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from tests.factories.market import MODEL, STATISTICS

from marketplace.products import rules

codes = st.builds(rules.registration_code, st.sampled_from(["SZ", "YC", "BJX"]), st.integers(2000, 2099),
                  st.sampled_from([1, 2]), st.integers(1, 999_999))


@given(codes)
def test_a_code_is_valid_and_tells_its_serial(code: str) -> None:
    assert rules.is_registration_code(code)
    assert rules.registration_code(code.split("-")[0], int(code.split("-")[1]), int(code.split("-")[2]),
                                   rules.serial_of(code)) == code


@given(codes, st.data())
def test_one_wrong_character_is_noticed(code: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(code) - 1))
    other = data.draw(st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    assume(code[at] not in ("-", other))
    assert not rules.is_registration_code(code[:at] + other + code[at + 1:])


def test_nonsense_is_no_code() -> None:
    for text in ("", "SZ", "SZ-2026-1-000001", "a-b-c-d-e-f"):
        assert not rules.is_registration_code(text)


def test_input_schemas() -> None:
    features = rules.input_schema(MODEL)["properties"]["features"]
    assert features["required"] == ["age", "sector"]
    assert features["properties"]["sector"]["enum"] == ["commerce", "transport"]
    group = rules.input_schema(STATISTICS)["properties"]["group"]
    assert group["properties"]["sector"]["enum"] == ["commerce", "manufacturing", "transport"]


def test_samples_give_little_away() -> None:
    assert rules.sample(MODEL) == {"request": {"features": {"age": 40.0, "sector": "commerce"}}}
    assert len(rules.sample(STATISTICS)["cells"]) <= 3
    assert rules.sample({"kind": "statistics", "tables": []}) == {"request": {}}


def test_the_owner_may_do_what_the_table_says() -> None:
    from marketplace.actor import Actor

    owner, other = Actor("developer", "a"), Actor("developer", "b")
    assert rules.PRODUCT.possible("listed", owner, owner="a") == ["edit", "list", "suspend", "retire"]
    assert rules.PRODUCT.possible("listed", other, owner="a") == []
    assert rules.PRODUCT.possible("listed", Actor("operator", "o"), owner="a") == ["suspend"]
    reader = Actor("developer", "a", client_id="c", scopes=frozenset({"read"}))
    assert rules.PRODUCT.possible("draft", reader, owner="a") == []
