# ruff: noqa: RUF012
"""Schemas rebuilt from manifests accept what the developer's models accept; reads and lengths are worked out from data."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shuyan.appkit.reads import DeclaredArrays, DeclaredNeeds, Length, Reads
from shuyan.appkit.schema import SchemaError, model_of, schema_of
from shuyan.federation.kit import Params
from shuyan.problems import ProblemError


class Window(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    column: str = Field(min_length=1, max_length=8)
    bins: int = Field(ge=1, le=50)


class Everything(Params):
    rate: float = Field(gt=0, le=1)
    mode: Literal["a", "b"] = "a"
    flag: bool = False
    maybe: str | None = None
    columns: list[str] = Field(default=[], max_length=3)
    windows: list[Window] = []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 60) | st.floats(allow_nan=False, width=16) | st.sampled_from(["a", "b", "", "c" * 9]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["column", "bins", "x"]), inner, max_size=3), max_leaves=6)


@given(params=st.fixed_dictionaries({"resource": st.sampled_from(["r", "", 1]), "rate": JSON}, optional={
    "mode": JSON, "flag": JSON, "maybe": JSON, "columns": JSON, "windows": JSON, "domains": JSON, "extra": JSON}))
def test_the_rebuilt_model_accepts_the_same(params):
    import json

    text = json.dumps(params)
    rebuilt = model_of(schema_of(Everything), "Everything")

    def accepted(model):
        try:
            return model.model_validate_json(text).model_dump(mode="json")
        except ValidationError:
            return None

    assert accepted(rebuilt) == accepted(Everything)


class Loose(BaseModel):
    x: int


class Recursive(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: list[Recursive] = []


class Anything(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: dict[str, object]


@pytest.mark.parametrize("model", [Loose, Recursive, Anything])
def test_what_cannot_be_described(model):
    with pytest.raises(SchemaError):
        schema_of(model)


def test_reads():
    class P(Params):
        other: str = ""
        target: str | None = None
        windows: list[Window] = []
        groups: list[list[str]] = []

    needs = DeclaredNeeds((
        Reads(param="target", need="number"), Reads(param="windows[].column", need="number"), Reads(param="groups[][]", need="dimension"),
        Reads(resource="other", column="id", need="any")))
    params = P(resource="r", other="s", target="t", windows=[Window(column="w", bins=2)], groups=[["a", "b"], ["a"]])
    assert needs.relations(params) == {
        "r": [("t", "number"), ("w", "number"), ("a", "dimension"), ("b", "dimension")], "s": [("id", "any")]}
    assert needs.relations(P(resource="r", other="s")) == {"r": [], "s": [("id", "any")]}
    with pytest.raises(ValidationError):
        Reads(need="number")
    with pytest.raises(ValidationError):
        Reads(param="a b", need="number")


def test_lengths():
    given_params = {"features": ["a", "b"], "bins": 5, "by": "d", "domains": {"d": ["x", "y", "z"], "e": ["1"]}, "dims": ["d", "e"]}
    for text, value in (("len(features) + 1", 3), ("bins", 5), ("2 * (bins - 1)", 8), ("cells(by)", 3), ("cells(dims) * bins", 15),
                        ("len(features) * (len(features) + 1) // 2", 3), ("0", 0)):
        assert Length(text=text).under(given_params) == value
    for text in ("__import__('os')", "features", "a.b()", "1.5", "len(features, 1)", "open(1)", "x if y else z", "[1]", "2 ** 9", "-1", "",
                 "lambda: 1", "len", "True", "1_000_000_000_000"):
        with pytest.raises((ValidationError, ProblemError)):
            Length(text=text).under(given_params)
    for text in ("missing", "1 - bins", "bins // 0", "bins * 9999999", "cells(bins)"):
        with pytest.raises(ProblemError) as raised:
            Length(text=text).under(given_params)
        assert raised.value.code == "bad_params"

    class P(Params):
        features: list[str]

    arrays = DeclaredArrays({"train.step": {"weights": Length(text="len(features) + 1"), "none": Length(text="0")}})
    assert arrays(P(resource="r", features=["a"]), "train.step") == {"weights": 2}
    assert arrays(P(resource="r", features=["a"]), "query.other") == {}
