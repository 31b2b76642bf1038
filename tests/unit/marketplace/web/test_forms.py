"""Forms made from an app's schema, and what comes out of them."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask_babel import Babel
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from marketplace.computing.submission import FILLED
from marketplace.web.views import appform
from marketplace.web.views.granted import GrantedColumn, GrantedTable
from shuyan.federation import apps
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

TABLE = GrantedTable("cases", "Cases", "res_1", ["a", "b", "c"], [
    GrantedColumn("age", "", "integer", "", [], 0, 100), GrantedColumn("dose", "", "number", "mg", [], 0, 9),
    GrantedColumn("ward", "", "string", "", ["n", "s"], None, None), GrantedColumn("grade", "", "integer", "", ["1", "2"], 1, 2),
    GrantedColumn("event", "", "boolean", "", [], None, None), GrantedColumn("note", "", "string", "", [], None, None)])
LEARNING = ["regression", "boosting", "network", "clustering", "components", "survival"]
TERMS = PrivacyTerms(unit="person", unit_columns={"cases": "id"}, max_rows_per_unit=1, max_groups_per_unit=1, delta=1e-6, rho_nano=10**9,
                     honest_fraction=0.66)
ONLY_QUESTION = {"boosting": "train.noisy_leaves", "network": "train.step", "components": "query.noisy_products"}
NEEDED = {"target": "event", "time": "dose", "event": "event", "times.upper": "60", "features": ["age", "grade"]}


def _form(app: str, release: str = "exact") -> appform.AppForm:
    return appform.make(app, apps.installed()[app].load().params_model.model_json_schema(), TABLE, release)


def _data(form: appform.AppForm, **changes: Any) -> MultiDict[str, str]:
    values: dict[str, Any] = {**form.defaults(), **{name: value if isinstance(value, list) else [value]
                                                    for name, value in {**NEEDED, **changes}.items()}}
    return MultiDict([(name, value) for name, many in values.items() for value in many if value != ""])


REGRESSION = _form("regression")
TYPING = Flask(__name__)
Babel(TYPING)


@pytest.mark.parametrize("app", LEARNING)
def test_every_apps_fresh_form_gives_parameters_it_takes(pages: Any, app: str) -> None:
    form = _form(app)
    with pages.app.test_request_context():
        params = appform.params(form, _data(form))
        checked = apps.installed()[app].load().params(params)
        assert checked.resource == "cases"
        assert checked.features == ["age", "grade"]


@pytest.mark.parametrize("app", [app for app in LEARNING if apps.installed()[app].load().privacy is not None])
def test_under_noise_a_fresh_form_gives_what_noise_allows(pages: Any, app: str) -> None:
    form, loaded = _form(app, "dp"), apps.installed()[app].load()
    with pages.app.test_request_context():
        sent = appform.params(form, _data(form))
        bounds = {"age": [0.0, 100.0], "grade": [1.0, 2.0]}  # the marketplace fills in what departments declare
        checked = loaded.params({**sent, "bounds": {name: tuple(ends) for name, ends in bounds.items()}})
        for action in (ONLY_QUESTION[app],) if loaded.noisy_questions is None else loaded.noisy_questions(checked):
            assert loaded.privacy(checked, action, TERMS)


def test_under_noise_nothing_is_asked_that_has_no_effect(pages: Any) -> None:
    asked = {app: ({one.name for one in _form(app).fields}, {one.name for one in _form(app, "dp").fields}) for app in LEARNING}
    exact, noisy = asked["clustering"]
    assert exact - noisy == {"max_rounds", "tolerance"}
    assert noisy - exact == {"noisy_rounds"}
    exact, noisy = asked["network"]
    assert {"update", "standardise", "validation", "audit", "batch_size"} <= exact - noisy
    assert next(one for one in _form("network", "dp").fields if one.name == "row_clip").required
    assert "bounds" not in next(one for one in _form("regression").fields if one.name == "standardise").options
    assert not _form("regression", "dp").splits
    assert _form("regression").splits
    with pages.app.test_request_context():
        assert appform.params(_form("regression", "dp"), _data(_form("regression", "dp")))["standardise"] == "bounds"
        assert [one.options for one in _form("boosting", "dp").fields if one.name == "objective"] == [("binary:logistic", "reg:squarederror")]


@pytest.mark.parametrize("app", LEARNING)
def test_no_form_asks_for_what_departments_declare_and_every_field_has_a_name(pages: Any, app: str) -> None:
    with pages.app.test_request_context(headers={"Accept-Language": "en"}):
        for one in _form(app).fields:
            assert one.name.split(".")[0] not in FILLED
            assert one.title != one.name, one.name
            assert all(one.option_title(code) != code or code in ("tanh",) for code in one.options), one.name


@given(name=st.sampled_from(["l2", "max_rounds", "tolerance", "confidence"]), raw=st.text(max_size=12))
def test_whatever_is_typed_is_a_value_or_a_refusal_that_names_the_field(name: str, raw: str) -> None:
    with TYPING.test_request_context():
        try:
            found = appform.params(REGRESSION, _data(REGRESSION, **{name: raw})).get(name, 0)
        except ProblemError as problem:
            found = problem.field
        assert isinstance(found, int | float) or found == name


def test_a_split_is_one_of_its_kinds(pages: Any) -> None:
    form = _form("regression")
    with pages.app.test_request_context():
        assert "split" not in appform.params(form, _data(form))
        assert appform.params(form, _data(form, split="folds"))["split"] == {"folds": 5}
        assert appform.params(form, _data(form, split="fraction"))["split"] == {"fraction": 0.2}
        marked = _data(form, split="column", **{"split.column": "ward", "split.test": "n, s"})
        assert appform.params(form, marked)["split"] == {"column": "ward", "test": ["n", "s"]}
        with pytest.raises(ProblemError) as refused:
            appform.params(form, _data(form, split="column", **{"split.column": "nowhere"}))
        assert refused.value.field == "split.column"


def test_an_audit_is_asked_for_by_its_box_alone(pages: Any) -> None:
    form = _form("regression")
    with pages.app.test_request_context():
        assert "audit" not in appform.params(form, _data(form, **{"audit.models": "8"}))
        assert appform.params(form, _data(form, audit="1", **{"audit.models": "8"}))["audit"] == {"models": 8}
        assert appform.params(form, _data(form, audit="1"))["audit"] == {}


def test_monotone_and_lists_of_numbers(pages: Any) -> None:
    boosting, network = _form("boosting"), _form("network")
    with pages.app.test_request_context():
        assert appform.params(boosting, _data(boosting, **{"monotone.age": "-1"}))["monotone"] == {"age": -1}
        assert appform.params(network, _data(network, hidden="16，8"))["hidden"] == [16, 8]
        with pytest.raises(ProblemError):
            appform.params(network, _data(network, hidden="16, many"))


def test_an_app_nobody_knows_can_be_run_all_the_same(pages: Any) -> None:
    schema = {"required": ["resource", "depth"], "properties": {
        "resource": {"type": "string"}, "depth": {"type": "integer", "minimum": 1},
        "plan": {"type": "array", "items": {"type": "object"}}, "mode": {"enum": ["fast", "slow"], "default": "fast"}}}
    form = appform.make("newcomer", schema, TABLE)
    with pages.app.test_request_context():
        data = MultiDict({"depth": "3", "plan": '[{"a": 1}]', "mode": "slow"})
        assert appform.params(form, data) == {"resource": "cases", "depth": 3, "plan": [{"a": 1}], "mode": "slow"}
        with pytest.raises(ProblemError) as refused:
            appform.params(form, MultiDict({"depth": "3", "plan": "["}))
        assert refused.value.field == "plan"
        assert [line.name for line in appform.lines(schema)] == ["resource", "depth", "plan", "mode"]
