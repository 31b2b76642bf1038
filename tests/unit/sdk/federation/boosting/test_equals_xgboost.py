"""The federated trees are those that XGBoost grows on the pooled rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost

from shuyan.federation.apps.boosting import BoostingContent
from shuyan.federation.local import LocalFederation
from shuyan.federation.schema import Column
from shuyan.scoring import score

Federate = Callable[..., LocalFederation]

KINDS = [f"k{number:02}" for number in range(12)]
SCHEMA = {
    "x": Column("x", "number"), "step": Column("step", "integer"), "money": Column("money", "number"),
    "noise": Column("noise", "number"), "kind": Column("kind", "string", domain=tuple(KINDS)),
    "bad": Column("bad", "integer"), "price": Column("price", "number"), "visits": Column("visits", "integer"),
    "grade": Column("grade", "string", domain=("a", "b", "c")),
}
NUMBERS = ["x", "step", "money", "noise"]
TARGETS = {"binary:logistic": "bad", "reg:squarederror": "price", "count:poisson": "visits", "multi:softprob": "grade"}


def table(seed: int, rows: int = 2000) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    x, noise = random.normal(size=rows).round(2), random.normal(size=rows).round(2)
    step, money = random.integers(0, 40, rows), random.lognormal(0, 2, rows).round(1)
    x[random.random(rows) < 0.15] = np.nan
    money[random.random(rows) < 0.05] = np.nan
    kind = random.integers(0, len(KINDS), rows)
    effect = np.sin(3.0 * np.arange(len(KINDS)))[kind]
    linear = np.where(np.isnan(x), 0.7, x) + (step > 20) - 0.3 * np.log(np.nan_to_num(money, nan=1.0) + 0.1) + effect
    return {
        "x": x, "step": step, "money": money, "noise": noise, "kind": np.array(KINDS, dtype=object)[kind],
        "bad": (random.random(rows) < 1 / (1 + np.exp(-linear))).astype(int),
        "price": 5e4 + 1e4 * linear + random.normal(0, 3e3, rows), "visits": random.poisson(np.exp(0.4 * linear)),
        "grade": np.array(["a", "b", "c"], dtype=object)[np.clip(linear + random.normal(0, 0.5, rows), 0, 2).astype(int)],
    }


def cut(data: dict[str, Any], seed: int, parts: int = 3) -> list[dict[str, Any]]:
    which = np.random.default_rng(seed).integers(0, parts, len(data["x"]))
    return [{name: values[which == part] for name, values in data.items()} for part in range(parts)]


def run(federate: Federate, tables: list[dict[str, Any]], **params: Any) -> dict[str, Any]:
    merged = {"resource": "cases", "target": TARGETS[params.get("objective", "binary:logistic")], "features": NUMBERS,
              "rounds": 12, "eta": 0.3, "domains": {}, **params}
    content = federate(tables, SCHEMA, minimum_cohort=1).run("boosting", merged)
    BoostingContent.model_validate_json(json.dumps(content))
    return content


def matrix(data: dict[str, Any], features: list[str]) -> np.ndarray:
    columns = [[KINDS.index(value) for value in data[name]] if name == "kind" else data[name] for name in features]
    return np.column_stack(columns).astype(np.float32)


def pooled(data: dict[str, Any], content: dict[str, Any], features: list[str], rounds: int = 12, **params: Any
           ) -> tuple[xgboost.Booster, xgboost.DMatrix]:
    objective = params.get("objective", "binary:logistic")
    labels = data[TARGETS[objective]]
    if objective == "multi:softprob":
        labels = np.array(["abc".index(value) for value in labels])
        params["num_class"] = 3
    bins = params.pop("max_bin", 64)
    rows = xgboost.QuantileDMatrix(
        matrix(data, features), labels, max_bin=bins, feature_names=features, enable_categorical=True,
        feature_types=["c" if name == "kind" else "q" for name in features], nthread=1)
    base = json.loads(content["model"]["learner"]["learner_model_param"]["base_score"].replace("E+", "E"))
    booster = xgboost.train({
        "objective": objective, "tree_method": "hist", "max_depth": 4, "eta": 0.3, "nthread": 1, "max_bin": bins,
        "base_score": base[0] if len(base) == 1 else base, **params}, rows, rounds)
    return booster, rows


def trees_of(booster: xgboost.Booster) -> list[dict[str, Any]]:
    return json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]


def loaded(content: dict[str, Any]) -> xgboost.Booster:
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(content["model"]).encode()))
    return booster


def assert_same_trees(content: dict[str, Any], booster: xgboost.Booster) -> None:
    mine, theirs = content["model"]["learner"]["gradient_booster"]["model"]["trees"], trees_of(booster)
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        for name in ("left_children", "right_children", "parents", "split_indices", "split_type"):
            assert one[name] == other[name]
        # Where only missing values go right, XGBoost would tell the largest value of all rows.
        known = np.array(one["split_conditions"]) < 1e38
        np.testing.assert_allclose(np.array(one["split_conditions"])[known], np.array(other["split_conditions"])[known],
                                   rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one["sum_hessian"], other["sum_hessian"], rtol=1e-5)
        np.testing.assert_allclose(one["loss_changes"], other["loss_changes"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mine", "theirs"), [
    ({}, {}),
    ({"objective": "reg:squarederror"}, {}),
    ({"objective": "multi:softprob", "domains": {"grade": ["a", "b", "c"]}}, {"domains": None}),
    ({"objective": "count:poisson"}, {}),
    ({"min_child_weight": 12.0, "gamma": 1.5}, {"min_child_weight": 12.0, "gamma": 1.5}),
    ({"reg_lambda": 7.0, "reg_alpha": 3.0}, {"reg_lambda": 7.0, "reg_alpha": 3.0}),
    ({"max_delta_step": 0.3}, {"max_delta_step": 0.3}),
    ({"bins": 255, "max_depth": 6}, {"max_bin": 255, "max_depth": 6}),
    ({"max_depth": 1}, {"max_depth": 1}),
    ({"monotone": {"x": 1, "noise": -1}}, {"monotone_constraints": {"x": 1, "noise": -1}}),
    ({"monotone": {"step": 1, "money": -1}, "objective": "reg:squarederror"}, {"monotone_constraints": {"step": 1, "money": -1}}),
], ids=lambda value: ",".join(value) if isinstance(value, dict) else "")
def test_split_by_split(federate: Federate, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    data = table(1)
    content = run(federate, cut(data, 1), **mine)

    booster, rows = pooled(data, content, NUMBERS, **{
        **{name: value for name, value in mine.items() if name == "objective"},
        **{name: value for name, value in theirs.items() if name != "domains"}})

    assert_same_trees(content, booster)
    np.testing.assert_allclose(loaded(content).predict(rows), booster.predict(rows), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("categories", ["partition", "onehot"])
def test_categories_score_as_xgboosts(federate: Federate, categories: str) -> None:
    data, features = table(2), [*NUMBERS, "kind"]
    content = run(federate, cut(data, 2), features=features, categories=categories, domains={"kind": KINDS})

    booster, rows = pooled(data, content, features, max_cat_to_onehot=100 if categories == "onehot" else 4)

    assert any(kind for tree in trees_of(booster) for kind in tree["split_type"])
    np.testing.assert_allclose(loaded(content).predict(rows), booster.predict(rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objective", list(TARGETS))
def test_pure_python_scores_as_xgboost_does(federate: Federate, objective: str) -> None:
    data, features = table(3, 600), [*NUMBERS, "kind"]
    domains = {"kind": KINDS} | ({"grade": ["a", "b", "c"]} if objective == "multi:softprob" else {})
    content = run(federate, cut(data, 3), features=features, objective=objective, domains=domains, rounds=8)
    booster = loaded(content)
    rows = xgboost.DMatrix(matrix(data, features), feature_names=features, enable_categorical=True, nthread=1,
                           feature_types=["c" if name == "kind" else "q" for name in features])

    predicted = booster.predict(rows)

    for place in range(0, 600, 7):
        case = {name: None if isinstance(data[name][place], float) and np.isnan(data[name][place]) else data[name][place]
                for name in features}
        found = score(content, {name: value.item() if hasattr(value, "item") else value for name, value in case.items()})
        if objective == "multi:softprob":
            assert list(found["probabilities"].values()) == pytest.approx(predicted[place].tolist(), abs=1e-6)
            assert found["label"] == "abc"[int(predicted[place].argmax())]
        else:
            assert found["score"] == pytest.approx(float(predicted[place]), rel=2e-6, abs=1e-6)


def test_importance_is_xgboosts(federate: Federate) -> None:
    data = table(4)
    content = run(federate, cut(data, 4))

    booster, _ = pooled(data, content, NUMBERS)

    for name in ("weight", "gain", "cover"):
        assert {entry["feature"]: entry[name] for entry in content["importance"]} == pytest.approx(
            booster.get_score(importance_type=name), rel=1e-4)
