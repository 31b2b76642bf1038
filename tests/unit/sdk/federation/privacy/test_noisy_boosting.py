"""Boosting with differential privacy: useful trees, of which one unit moves nothing further than declared."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score, roc_auc_score

from shuyan.federation import _flower
from shuyan.federation.apps.boosting import BoostingParams, _noisy
from shuyan.federation.apps.boosting._trees import Split, TreeArray
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.privacy.bounding import Bounding
from shuyan.federation.schema import Column
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

SCHEMA = {"pid": Column("pid", "string", identifier=True), "age": Column("age", "number", lower=0.0, upper=100.0),
          "dose": Column("dose", "number", lower=-1.0, upper=3.0), "ward": Column("ward", "string", domain=("a", "b", "c", "d")),
          "ill": Column("ill", "integer"), "cost": Column("cost", "number", lower=0.0, upper=1000.0)}
FEATURES = ["age", "dose", "ward"]
TERMS: dict[str, Any] = {"unit": "person", "unit_columns": {"cases": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
                         "delta": 1e-6, "rho_nano": 10**12, "honest_fraction": 1.0}


def _cases(seed: int, rows: int = 5000) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    age, dose, ward = random.uniform(0, 100, rows), random.uniform(-1, 3, rows), random.choice(["a", "b", "c", "d"], rows)
    linear = 4 * (np.abs(age - 50) / 50 - 0.5) * np.sign(dose - 1) + 1.5 * np.isin(ward, ["b", "d"]) - 0.7
    age[:50] = np.nan
    return {"pid": np.array([f"p{seed}-{number}" for number in range(rows)]), "age": age, "dose": dose, "ward": ward,
            "ill": (random.random(rows) < 1 / (1 + np.exp(-linear))).astype(int),
            "cost": np.clip(500 + 100 * linear + random.normal(0, 40, rows), 0, 1000)}


TABLES = [_cases(seed) for seed in range(3)]
TEST = _cases(7)


@pytest.fixture(scope="module")
def federation() -> Any:
    with LocalFederation({f"d{place}": {"cases": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(TABLES)},
                         grant={"release": "dp", "privacy": PrivacyTerms.model_validate(TERMS)}) as made:
        yield made


def _train(federation: LocalFederation, **params: Any) -> dict[str, Any]:
    return federation.run("boosting", {"resource": "cases", "features": FEATURES, "target": "ill", "rounds": 30, "max_depth": 4,
                                       "eta": 0.4, "bins": 16, "rho_nano": 5 * 10**8, **params})


def _predicted(content: dict[str, Any]) -> np.ndarray:
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(content["model"]).encode()))
    design = np.column_stack([TEST["age"], TEST["dose"], [("a", "b", "c", "d").index(ward) for ward in TEST["ward"]]])
    return np.asarray(booster.predict(xgboost.DMatrix(
        design, feature_names=FEATURES, feature_types=["q", "q", "c"], enable_categorical=True)))


def test_trees_with_noise_tell_the_classes_apart(federation: LocalFederation) -> None:
    content = _train(federation)
    assert roc_auc_score(TEST["ill"], _predicted(content)) > 0.78  # the true chances themselves reach about 0.84
    assert content["privacy"]["rho_nano"] <= 5 * 10**8
    assert content["metrics"] == {}
    assert {entry["feature"] for entry in content["importance"]} == set(FEATURES)


def test_numbers_are_predicted_too(federation: LocalFederation) -> None:
    content = _train(federation, objective="reg:squarederror", target="cost")
    assert r2_score(TEST["cost"], _predicted(content)) > 0.7


def test_the_splits_say_nothing_of_the_data(federation: LocalFederation) -> None:
    def structure(content: dict[str, Any]) -> list[Any]:
        trees = content["model"]["learner"]["gradient_booster"]["model"]["trees"]
        return [(tree["split_indices"], tree["left_children"], tree["categories"],
                 [value for value, left in zip(tree["split_conditions"], tree["left_children"], strict=True) if left >= 0])
                for tree in trees]

    one = structure(_train(federation, rounds=5))
    assert one == structure(_train(federation, rounds=5, target="cost", objective="reg:squarederror"))
    assert one != structure(_train(federation, rounds=5, seed=1))


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 4), objective=st.sampled_from(["binary:logistic", "reg:squarederror"]),
       value=st.sampled_from([0.0, 1.0, -1e30, 3e38, float("nan")]))
def test_one_unit_moves_no_leaf_further_than_declared(seed: int, rows: int, objective: Any, value: float) -> None:
    random = np.random.default_rng(seed)
    table = {"pid": np.array(["x"] * rows), "age": random.choice([np.nan, 5.0, 1e308, -1e308], rows),
             "dose": random.normal(1, 10, rows), "ward": random.choice(["a", "b", "c", "d"], rows),
             "ill": random.integers(0, 2, rows), "cost": random.choice([1e308, -5.0, 300.0], rows)}
    target = "ill" if objective == "binary:logistic" else "cost"
    inputs = Inputs.from_tables([TableSource.of_arrays("cases", table, SCHEMA, [*FEATURES, target], bounding=Bounding(
        SCHEMA["pid"], rows, "00"))])
    params = BoostingParams(
        resource="cases", target=target, features=FEATURES, objective=objective, rounds=2, max_depth=2, bins=4,
        domains={"ward": ["a", "b", "c", "d"]}, bounds={"age": (0.0, 100.0), "dose": (-1.0, 3.0), "cost": (0.0, 1000.0)})
    trees = TreeArray(params)
    for place in range(4):
        trees.set_value(trees.tree(0, 0), 3 + place, value)
    trees.set_split(trees.tree(1, 0), 0, Split(1, 1, True))
    arrays = {"cuts": np.array([25.0, 50.0, 75.0, 0.0, 1.0, 2.0]), "sizes": np.array([3.0, 3.0]), "base": np.array([0.0]),
              "trees": trees.array}
    message = SimpleNamespace(content={_flower.CONFIG: {"round": 1}})
    asked, replied = _flower.arrays_of, _flower.reply
    try:
        _flower.arrays_of, _flower.reply = lambda _message: arrays, lambda _message, vectors, _count, *_sets: vectors
        with np.errstate(all="ignore"):
            vectors = _noisy.train_leaves(message, SimpleNamespace(inputs=inputs, params=params))
    finally:
        _flower.arrays_of, _flower.reply = asked, replied
        inputs.close()
    terms = PrivacyTerms.model_validate(TERMS | {"max_rows_per_unit": rows})
    for name, sensitivity in _noisy.sensitivities(params, _noisy.LEAVES, terms).items():
        assert np.isfinite(vectors[name]).all()
        assert float(np.linalg.norm(vectors[name])) <= sensitivity.l2
        assert np.array_equal(np.rint(np.ldexp(vectors[name], 20)), np.ldexp(vectors[name], 20))


@pytest.mark.parametrize(("field", "params"), [
    ("objective", {"objective": "count:poisson", "target": "cost"}), ("validation", {"validation": 0.2}),
    ("subsample", {"subsample": 0.5}), ("monotone", {"monotone": {"age": 1}}), ("bounds.dose", {"bounds": {"age": [0.0, 100.0]}}),
])
def test_what_noise_does_not_allow_is_refused(federation: LocalFederation, field: str, params: dict[str, Any]) -> None:
    with pytest.raises(ProblemError) as refused:
        _train(federation, **params)
    assert (refused.value.code, refused.value.field) == ("bounds_missing" if "." in field else "bad_params", field)
