from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from shuyan.federation import problems
from shuyan.federation.apps.regression import RegressionParams, score
from shuyan.federation.apps.regression._app import app
from shuyan.federation.differencing import GuardRules
from shuyan.federation.local import LocalFederation
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure, TaskRequest
from shuyan.problems import ProblemError

Federate = Callable[..., LocalFederation]

SCHEMA = {
    "x": Column("x", "number"), "big": Column("big", "number"), "kind": Column("kind", "string", domain=("a", "b", "c")),
    "grade": Column("grade", "integer", domain=("1", "2")), "flat": Column("flat", "number"),
    "bad": Column("bad", "integer"), "price": Column("price", "number"),
}
FEATURES = ["x", "big", "kind", "grade"]


def table(seed: int, rows: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    x, big = random.normal(seed, 1.0, rows), random.normal(1e7, 50.0, rows)
    kind, grade = random.choice(["a", "b", "c"], rows).astype(object), random.integers(1, 3, rows)
    linear = 0.8 * x - (big - 1e7) / 40 + 1.2 * (kind == "b") - 0.5 * grade
    return {"x": x, "big": big, "kind": kind, "grade": grade, "flat": np.ones(rows),
            "bad": (random.random(rows) < 1 / (1 + np.exp(-linear))).astype(int),
            "price": 3e5 + 2e4 * linear + random.normal(0, 1e4, rows)}


TABLES = [table(seed, rows) for seed, rows in ((0, 300), (1, 120), (2, 80))]
POOLED = {name: np.concatenate([part[name] for part in TABLES]) for name in TABLES[0]}


def design(data: dict[str, Any]) -> np.ndarray:
    return np.column_stack([data["x"], data["big"], data["kind"] == "b", data["kind"] == "c", data["grade"] == 2]).astype(float)


def standardised(data: dict[str, Any]) -> np.ndarray:
    inputs = design(data)
    return (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)


def fit(federate: Federate, tables: list[dict[str, Any]] = TABLES, **params: Any) -> dict[str, Any]:
    merged = {"resource": "cases", "family": "logistic", "target": "bad", "features": FEATURES, **params}
    return federate(tables, SCHEMA).run("regression", merged)


@pytest.mark.parametrize("l2", [0.5, 1.0, 100.0])
def test_logistic_equals_scikit_learn_on_the_pooled_data(federate: Federate, l2: float) -> None:
    content = fit(federate, l2=l2)

    inputs = standardised(POOLED)
    reference = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=10_000).fit(inputs, POOLED["bad"])
    np.testing.assert_allclose(content["coefficients"], reference.coef_[0], rtol=1e-6, atol=1e-7)
    assert content["intercept"] == pytest.approx(reference.intercept_[0], rel=1e-6, abs=1e-7)
    assert content["metrics"]["accuracy"] == pytest.approx(reference.score(inputs, POOLED["bad"]), abs=1e-12)
    chance = reference.predict_proba(inputs)[np.arange(500), POOLED["bad"]]
    assert content["metrics"]["log_loss"] == pytest.approx(-np.log(chance).mean(), rel=1e-8)
    assert (content["kind"], content["rows"], content["departments"], content["converged"]) == ("model", 500, 3, True)
    assert content["terms"] == ["x", "big", "kind=b", "kind=c", "grade=2"]
    assert content["rounds"] <= 8


def test_linear_equals_ridge_on_the_pooled_data(federate: Federate) -> None:
    content = fit(federate, family="linear", target="price", l2=3.0)

    inputs = standardised(POOLED)
    reference = Ridge(alpha=3.0).fit(inputs, POOLED["price"])
    np.testing.assert_allclose(content["coefficients"], reference.coef_, rtol=1e-8)
    assert content["intercept"] == pytest.approx(reference.intercept_, rel=1e-10)
    assert content["metrics"]["r2"] == pytest.approx(reference.score(inputs, POOLED["price"]), rel=1e-9)
    residual = POOLED["price"] - reference.predict(inputs)
    assert content["metrics"]["rmse"] == pytest.approx(np.sqrt((residual**2).mean()), rel=1e-9)
    assert (content["rounds"], content["converged"]) == (1, True)


def test_without_a_penalty_it_is_least_squares(federate: Federate) -> None:
    content = fit(federate, family="linear", target="price", l2=0.0)
    reference = LinearRegression().fit(standardised(POOLED), POOLED["price"])
    np.testing.assert_allclose(content["coefficients"], reference.coef_, rtol=1e-8)


def test_each_department_may_standardise_by_its_own(federate: Federate) -> None:
    content = fit(federate, standardise="department")

    inputs = np.concatenate([standardised(part) for part in TABLES])
    reference = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(inputs, POOLED["bad"])
    np.testing.assert_allclose(content["coefficients"], reference.coef_[0], rtol=1e-6, atol=1e-7)


def test_scoring_gives_what_the_model_predicts(federate: Federate) -> None:
    content = fit(federate)
    inputs = standardised(POOLED)
    linear = inputs @ np.array(content["coefficients"]) + content["intercept"]

    for row in range(0, 500, 50):
        scored = score(content, {"x": float(POOLED["x"][row]), "big": float(POOLED["big"][row]),
                                 "kind": POOLED["kind"][row], "grade": int(POOLED["grade"][row])})
        assert scored["score"] == pytest.approx(1 / (1 + np.exp(-linear[row])), rel=1e-9)
        assert scored["label"] == int(linear[row] >= 0)


def test_a_constant_feature_gets_no_weight(federate: Federate) -> None:
    content = fit(federate, features=["x", "flat"])
    assert content["coefficients"][1] == 0.0
    assert score(content, {"x": 1.0, "flat": 1.0})["score"] == pytest.approx(score(content, {"x": 1.0, "flat": 2.0})["score"])


def test_rows_with_a_null_or_nan_in_a_used_column_are_left_out(federate: Federate) -> None:
    def spoilt(part: dict[str, Any]) -> dict[str, Any]:
        spoilt = {name: values.astype(object) for name, values in part.items()}
        spoilt["x"][0], spoilt["big"][1], spoilt["bad"][2], spoilt["kind"][3] = None, float("nan"), None, None
        spoilt["kind"][4], spoilt["x"][5], spoilt["flat"][6] = "undeclared", float("inf"), None
        return spoilt

    content = fit(federate, [spoilt(part) for part in TABLES])
    clean = fit(federate, [{name: values[6:] for name, values in part.items()} for part in TABLES])

    assert content["rows"] == 500 - 18
    np.testing.assert_allclose(content["coefficients"], clean["coefficients"], rtol=1e-9)


def test_separable_classes_without_a_penalty_end_unconverged_and_finite(federate: Federate) -> None:
    tables = [{**part, "bad": (part["x"] > 1).astype(int)} for part in TABLES]
    content = fit(federate, tables, features=["x"], l2=0.0, max_rounds=6)
    assert content["converged"] is False
    assert np.isfinite(content["coefficients"]).all()
    assert content["rounds"] == 6


def test_collinear_features_without_a_penalty_still_fit(federate: Federate) -> None:
    tables = [{**part, "flat": part["x"]} for part in TABLES]
    content = fit(federate, tables, family="linear", target="price", features=["x", "flat"], l2=0.0)
    alone = fit(federate, tables, family="linear", target="price", features=["x"], l2=0.0)
    assert content["metrics"]["rmse"] == pytest.approx(alone["metrics"]["rmse"], rel=1e-6)


def test_a_target_other_than_0_and_1_is_refused(federate: Federate) -> None:
    with pytest.raises(NodeFailure) as caught:
        fit(federate, target="price", features=["x"])
    assert caught.value.code == problems.TARGET_NOT_BINARY


def test_a_department_lost_half_way_is_left_out_of_the_rest(federate: Federate) -> None:
    federation = federate([*TABLES, table(3, 90)], SCHEMA, guard=GuardRules(participants="run"))
    grid = federation.grid("regression", {"resource": "cases", "family": "logistic", "target": "bad", "features": FEATURES})
    submit = federation.transport.submit

    def lose(request: TaskRequest) -> Any:
        if request.round == 4:
            federation.transport.offline.add("node-3")
        return submit(request)

    federation.transport.submit = lose  # type: ignore[method-assign]
    content = federation.apps["regression"].load().run(grid)

    assert (content["departments"], content["rows"], content["converged"]) == (3, 500, True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"family": "probit"}, "family"), ({"features": []}, "features"), ({"features": ["bad"]}, "params"),
        ({"features": ["x", "x"]}, "params"), ({"l2": -1}, "l2"), ({"l2": True}, "l2"), ({"max_rounds": 0}, "max_rounds"),
        ({"tolerance": 0}, "tolerance"), ({"standardise": "no"}, "standardise"), ({"domains": {"kind": []}}, "params"),
    ],
)
def test_bad_parameters_name_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        app.params({"resource": "cases", "family": "logistic", "target": "bad", "features": ["x"], **change})
    assert (caught.value.code, caught.value.field) == (problems.BAD_PARAMS, field)


def test_terms_leave_the_first_level_out() -> None:
    params = RegressionParams(resource="r", family="linear", target="y", features=["a", "b"], domains={"b": ["1", "2", "3"]})
    assert [term.name for term in params.terms()] == ["a", "b=2", "b=3"]
