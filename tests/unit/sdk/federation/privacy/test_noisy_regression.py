"""Regression with differential privacy: right up to the announced noise, and no unit weighs more than it is said to."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from shuyan.federation import _flower
from shuyan.federation.apps.regression import RegressionParams, _noisy, score
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.privacy.bounding import Bounding
from shuyan.federation.schema import Column
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

SCHEMA = {"pid": Column("pid", "string", identifier=True), "age": Column("age", "number", lower=0.0, upper=100.0),
          "dose": Column("dose", "number", lower=-1.0, upper=3.0), "ward": Column("ward", "string", domain=("a", "b", "c")),
          "ill": Column("ill", "integer"), "cost": Column("cost", "number", lower=0.0, upper=1000.0)}
FEATURES = ["age", "dose", "ward"]
TERMS: dict[str, Any] = {"unit": "person", "unit_columns": {"cases": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
                         "delta": 1e-6, "rho_nano": 10**12, "honest_fraction": 1.0}


def _cases(seed: int, rows: int = 4000) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    age, dose, ward = random.uniform(10, 90, rows), random.uniform(-1, 3, rows), random.choice(["a", "b", "c"], rows)
    linear = (age - 50) / 20 - dose + 0.8 * (ward == "b") + 0.5
    return {"pid": np.array([f"p{seed}-{number}" for number in range(rows)]), "age": age, "dose": dose, "ward": ward,
            "ill": (random.random(rows) < 1 / (1 + np.exp(-linear))).astype(int),
            "cost": np.clip(500 + 80 * linear + random.normal(0, 40, rows), 0, 1000)}


TABLES = [_cases(seed) for seed in range(3)]
POOLED = {name: np.concatenate([table[name] for table in TABLES]) for name in TABLES[0]}
DESIGN = np.column_stack([POOLED["age"], POOLED["dose"], POOLED["ward"] == "b", POOLED["ward"] == "c"]).astype(float)


@pytest.fixture(scope="module")
def federation() -> Any:
    with LocalFederation({f"d{place}": {"cases": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(TABLES)},
                         grant={"release": "dp", "privacy": PrivacyTerms.model_validate(TERMS)}) as made:
        yield made


def _fit(federation: LocalFederation, **params: Any) -> dict[str, Any]:
    return federation.run("regression", {
        "resource": "cases", "features": FEATURES, "standardise": "bounds", "l2": 1.0, "rho_nano": 10**9, **params})


def _scaled(design: np.ndarray) -> np.ndarray:
    return np.column_stack([(design[:, 0] - 50) / 50, (design[:, 1] - 1) / 2, design[:, 2:]])


def test_logistic_weights_are_right_within_their_announced_noise(federation: LocalFederation) -> None:
    content = _fit(federation, family="logistic", target="ill")
    pooled = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(_scaled(DESIGN), POOLED["ill"])
    for found, exact, noise in zip([*content["coefficients"], content["intercept"]], [*pooled.coef_[0], *pooled.intercept_],
                                   content["noise"], strict=True):
        assert abs(found - exact) <= 5 * noise["sd"] + 0.01, noise
        assert noise["half_width"] == pytest.approx(1.96 * noise["sd"], rel=1e-3)
    assert content["privacy"]["rho_nano"] <= 10**9
    assert content["evaluation"] is None
    assert content["inference"]["reason"]["code"] == "inference_noise"
    rows = [{name: POOLED[name][place].item() for name in FEATURES} for place in range(50)]
    wanted = pooled.predict_proba(_scaled(DESIGN[:50]))[:, 1]
    found = [score(content, row)["score"] for row in rows]
    assert np.abs(np.array(found) - wanted).max() < 0.1


def test_linear_weights_have_the_announced_error(federation: LocalFederation) -> None:
    exact = Ridge(alpha=1.0).fit(_scaled(DESIGN), POOLED["cost"])
    truth = np.array([*exact.coef_, exact.intercept_])
    errors = []
    for edition in range(40):
        content = _fit(federation, family="linear", target="cost", edition=str(edition))
        sd = np.array([entry["sd"] for entry in content["noise"]])
        errors.append((np.array([*content["coefficients"], content["intercept"]]) - truth) / sd)
    # 200 correlated figures of 40 runs: their root mean square lies within 30 % of 1 but once in a million.
    assert 0.7 < float(np.sqrt(np.mean(np.square(errors)))) < 1.35
    original = content["original"]["coefficients"]
    assert original[0] == pytest.approx(content["coefficients"][0] / 50)
    assert content["noise"][0]["original_sd"] == pytest.approx(content["noise"][0]["sd"] / 50)


@given(seed=st.integers(0, 2**32), family=st.sampled_from(["linear", "logistic"]), size=st.floats(0.01, 1e300),
       rows=st.integers(1, 4), extreme=st.booleans())
def test_one_unit_moves_no_sum_further_than_declared(seed: int, family: str, size: float, rows: int, extreme: bool) -> None:
    random = np.random.default_rng(seed)
    wild = random.choice([-1e308, 0.0, 1e308], (rows, 2)) if extreme else random.normal(0, 100, (rows, 2))
    table = {"pid": np.array(["x"] * rows), "age": wild[:, 0], "dose": wild[:, 1], "ward": random.choice(["a", "b", "c"], rows),
             "ill": random.integers(0, 2, rows), "cost": random.normal(0, 1e6, rows)}
    target = "ill" if family == "logistic" else "cost"
    inputs = Inputs.from_tables([TableSource.of_arrays("cases", table, SCHEMA, [*FEATURES, target], bounding=Bounding(
        SCHEMA["pid"], rows, "00"))])
    params = RegressionParams(
        resource="cases", family=family, target=target, features=FEATURES, standardise="bounds", domains={"ward": ["a", "b", "c"]},
        bounds={"age": (0.0, 100.0), "dose": (-1.0, 3.0), "cost": (0.0, 1000.0)})
    terms = PrivacyTerms.model_validate(TERMS | {"max_rows_per_unit": rows})
    weights = random.normal(0, 1, params.size()) * size
    try:
        message = SimpleNamespace()
        original, _flower.arrays_of = _flower.arrays_of, lambda _message: {"weights": weights}
        replied, _flower.reply = _flower.reply, lambda _message, vectors, _count, *_sets: vectors
        vectors = _noisy._answer(message, SimpleNamespace(inputs=inputs, params=params), hessian=True)
    finally:
        _flower.arrays_of, _flower.reply = original, replied
        inputs.close()
    declared = _noisy.sensitivities(params, _noisy.STEP, terms)
    for name, sensitivity in declared.items():
        assert float(np.linalg.norm(vectors[name])) <= sensitivity.l2
        assert np.array_equal(np.rint(np.ldexp(vectors[name], _noisy.STEP_BITS)), np.ldexp(vectors[name], _noisy.STEP_BITS))


def test_the_rounds_cost_what_the_run_may_spend() -> None:
    params = RegressionParams(
        resource="cases", family="logistic", target="ill", features=["age"], standardise="bounds", bounds={"age": (0.0, 1.0)})
    terms = PrivacyTerms.model_validate(TERMS)
    each = [entry.share for entry in _noisy.sensitivities(params, _noisy.STEP, terms).values()]
    last = [entry.share for entry in _noisy.sensitivities(params, _noisy.LAST, terms).values()]
    assert sum(share for share in each if share) * (_noisy.rounds(params) - 1) + sum(share for share in last if share) == 1
    assert math.isclose(float(sum(share for share in last if share)), 0.5)


@pytest.mark.parametrize(("field", "params"), [
    ("family", {"family": "poisson", "target": "cost"}), ("standardise", {"standardise": "pooled"}), ("l1", {"l1": 1.0}),
    ("split", {"split": {"fraction": 0.2}}), ("bounds", {"bounds": {"age": [0.0, 100.0]}}),
])
def test_what_noise_does_not_allow_is_refused(federation: LocalFederation, field: str, params: dict[str, Any]) -> None:
    with pytest.raises(ProblemError) as refused:
        _fit(federation, **{"family": "logistic", "target": "ill", **params})
    assert (refused.value.code, refused.value.field) == ("bad_params", field)


def test_bounds_are_for_noise_only() -> None:
    with LocalFederation({f"d{place}": {"cases": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(TABLES)}) as exact:
        with pytest.raises(ProblemError) as refused:
            _fit(exact, family="logistic", target="ill")
        assert refused.value.field == "standardise"
