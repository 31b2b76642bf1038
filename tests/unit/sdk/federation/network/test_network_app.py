from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from shuyan.federation import problems
from shuyan.federation.apps.network import NetworkContent, NetworkParams
from shuyan.federation.apps.network._app import app, sensitivities
from shuyan.federation.apps.network._layers import Network
from shuyan.federation.local import LocalFederation, LocalNode, LocalResource
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure, TaskRequest
from shuyan.problems import ProblemError
from shuyan.scoring import score
from shuyan.trust.grants import PrivacyTerms

Federate = Callable[..., LocalFederation]

SCHEMA = {
    "x": Column("x", "number", lower=-3.0, upper=3.0), "z": Column("z", "number", lower=-3.0, upper=3.0),
    "kind": Column("kind", "string", domain=("a", "b", "c")), "flat": Column("flat", "number"), "bad": Column("bad", "integer"),
    "price": Column("price", "number"), "grade": Column("grade", "integer"), "person": Column("person", "string", identifier=True),
}
PARAMS = {"resource": "cases", "target": "bad", "features": ["x", "z", "kind"], "hidden": [8], "rounds": 8,
          "domains": {"kind": ["a", "b", "c"]}}
BOUNDS = {"x": [-3.0, 3.0], "z": [-3.0, 3.0]}
TERMS = {"unit": "person", "unit_columns": {"cases": "person"}, "max_rows_per_unit": 2, "max_groups_per_unit": 2,
         "delta": 1e-6, "rho_nano": 5_000_000_000, "honest_fraction": 0.6}


def table(seed: int, rows: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    x, z, kind = random.normal(size=rows), random.normal(size=rows), random.choice(list("abc"), rows)
    linear = 3 * (x * z > 0) - 1.5 + (kind == "b")
    return {"x": x, "z": z, "kind": kind.astype(object), "flat": np.ones(rows),
            "bad": (random.random(rows) < 1 / (1 + np.exp(-2 * linear))).astype(int),
            "price": 1e5 + 2e4 * linear + random.normal(0, 1e3, rows), "grade": np.digitize(x + z, [-1, 1]),
            "person": np.array([f"{seed}-{row}" for row in range(rows)], dtype=object)}


TABLES = [table(seed, rows) for seed, rows in ((0, 300), (1, 200), (2, 120))]
POOLED = {name: np.concatenate([part[name] for part in TABLES]) for name in TABLES[0]}


def fit(federate: Federate, tables: list[dict[str, Any]] = TABLES, *, grant: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    content = federate(tables, SCHEMA, **(grant or {})).run("network", {**PARAMS, **params}, **(options or {}))
    NetworkContent.model_validate_json(json.dumps(content))
    return content


def scores(content: dict[str, Any]) -> list[dict[str, Any]]:
    names = [feature["name"] for feature in content["features"]]
    return [score(content, {name: POOLED[name][row] if name == "kind" else float(POOLED[name][row]) for name in names})
            for row in range(len(POOLED["x"]))]


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam"])
def test_what_no_linear_model_finds_is_learned(federate: Federate, strategy: str) -> None:
    more = {"server_learning_rate": 0.05} if strategy == "fedadam" else {}
    content = fit(federate, strategy=strategy, rounds=30, local_epochs=2, learning_rate=0.1, **more)

    accuracy = np.mean([found["label"] for found in scores(content)] == POOLED["bad"])
    assert accuracy > 0.8
    assert content["metrics"]["train"]["accuracy"] == pytest.approx(accuracy)
    assert len(content["history"]) == 30
    assert content["history"][-1]["train"] < content["history"][0]["train"]


def test_classes_and_numbers(federate: Federate) -> None:
    classes = fit(federate, target="grade", task="classes", classes=3, rounds=30, learning_rate=0.1)
    numbers = fit(federate, target="price", task="number", hidden=[16, 8], activation="tanh", rounds=60, learning_rate=0.1)

    assert np.mean([int(found["label"]) for found in scores(classes)] == POOLED["grade"]) > 0.9
    predicted = np.array([found["score"] for found in scores(numbers)])
    assert np.corrcoef(predicted, POOLED["price"])[0, 1] > 0.8
    assert numbers["metrics"]["train"]["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - POOLED["price"]) ** 2)), rel=1e-9)


def test_one_department_is_ordinary_training(federate: Federate) -> None:
    """Three departments with the same rows move as one: FedAvg's mean of equal changes is the change."""
    one = fit(federate, [TABLES[0]] * 3, rounds=3)
    network = Network([4, 8, 1], "relu", "binary")
    weights, data = network.first(0), TABLES[0]
    inputs = np.column_stack([(data[name] - data[name].mean()) / data[name].std() for name in ("x", "z")]
                             + [data["kind"] == "b", data["kind"] == "c"])
    for round_ in range(3):
        order = np.random.Generator(np.random.PCG64([0, round_])).permutation(len(inputs))
        for start in range(0, len(inputs), 32):
            batch = order[start : start + 32]
            weights = weights - 0.05 * network.gradient(weights, inputs[batch], data["bad"][batch]) / len(batch)

    layers = network.layers(weights)
    for found, (matrix, biases) in zip(one["layers"], layers, strict=True):
        np.testing.assert_allclose(found["weights"], matrix, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found["biases"], biases, rtol=1e-6, atol=1e-9)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 4))
def test_gradient_steps_are_the_same_however_rows_are_cut(seed: int, parts: int) -> None:
    random = np.random.default_rng(seed)
    which = random.permutation(np.arange(len(POOLED["x"])) % parts)
    nodes = {f"node-{place}": {"cases": LocalResource.arrays(
        {name: values[which == place] for name, values in POOLED.items()}, SCHEMA)} for place in range(parts)}
    with LocalFederation(nodes) as federation:
        content = federation.run("network", {**PARAMS, "hidden": [], "update": "gradient", "learning_rate": 2.0, "rounds": 3})

    # Three steps of gradient descent on the pooled rows.
    inputs = np.column_stack([(POOLED[name] - POOLED[name].mean()) / POOLED[name].std() for name in ("x", "z")]
                             + [POOLED["kind"] == "b", POOLED["kind"] == "c"])
    network = Network([4, 1], "relu", "binary")
    weights = network.first(0)
    for _ in range(3):
        weights = weights - 2.0 * network.gradient(weights, inputs, POOLED["bad"]) / len(inputs)
    np.testing.assert_allclose(np.ravel(content["layers"][0]["weights"]), weights[:-1], rtol=1e-9, atol=1e-12)


def test_a_linear_network_ends_where_logistic_regression_does(federate: Federate) -> None:
    content = fit(federate, hidden=[], update="gradient", learning_rate=4.0, rounds=100, features=["x", "kind"])

    inputs = np.column_stack([(POOLED["x"] - POOLED["x"].mean()) / POOLED["x"].std(), POOLED["kind"] == "b", POOLED["kind"] == "c"])
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(inputs, POOLED["bad"])
    np.testing.assert_allclose(np.ravel(content["layers"][0]["weights"]), expected.coef_[0], atol=1e-3)


@given(st.integers(0, 1000), st.sampled_from(["relu", "tanh"]), st.sampled_from(["binary", "classes", "number"]))
def test_gradients_are_those_of_the_loss(seed: int, activation: Any, task: Any) -> None:
    random = np.random.default_rng(seed)
    network = Network([3, 5, 4, 3 if task == "classes" else 1], activation, task)
    weights, inputs = random.normal(size=network.size), random.normal(size=(6, 3))
    target = random.normal(size=6) if task == "number" else random.integers(0, 3 if task == "classes" else 2, 6).astype(float)

    gradient = network.gradient(weights, inputs, target)

    step = 1e-6
    along = random.normal(size=network.size)
    up, down = (network.loss(network.outputs(weights + sign * step * along, inputs), target) for sign in (1, -1))
    assert gradient @ along == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-4)
    each = network.row_gradients(weights, inputs, target, 0.5)
    assert np.linalg.norm(each, axis=1).max() <= 0.5 * (1 + 1e-12)
    np.testing.assert_allclose(each.sum(axis=0), network.gradient(weights, inputs, target, 0.5), atol=1e-10)


def test_a_department_moves_the_mean_by_the_clip_at_most(federate: Federate) -> None:
    wild = {**TABLES[2], "x": TABLES[2]["x"] * 1e6}
    content = fit(federate, [*TABLES[:2], wild], rounds=1, clip=0.01, learning_rate=5.0)
    start = Network([4, 8, 1], "relu", "binary")
    first = start.layers(start.first(0))

    moved = sum(np.sum((np.array(found["weights"]) - matrix) ** 2) + np.sum((np.array(found["biases"]) - biases) ** 2)
                for found, (matrix, biases) in zip(content["layers"], first, strict=True))
    assert 0 < moved**0.5 <= 0.01 * (1 + 1e-9)


def test_a_run_and_a_forgetful_node_repeat_themselves(federate: Federate, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(federate, validation=0.3)
    answer = LocalNode.answer

    def forgetful(self: LocalNode, request: TaskRequest) -> Any:
        for inputs in self._inputs.values():
            inputs.cache.clear()
        return answer(self, request)

    monkeypatch.setattr(LocalNode, "answer", forgetful)
    assert fit(federate, validation=0.3) == first
    assert 0.2 < first["metrics"]["validation"]["rows"] / first["rows"] < 0.4


def test_training_with_noise_learns_and_states_its_cost(federate: Federate) -> None:
    tables = [table(seed, 3000) for seed in range(3)]
    for data in tables:
        data["bad"] = (data["x"] + data["z"] > 0).astype(int)
    content = fit(federate, tables, grant={"release": "dp", "privacy": PrivacyTerms.model_validate(TERMS)}, hidden=[],
                  update="gradient", row_clip=1.0, standardise="bounds", bounds=BOUNDS, rounds=20, learning_rate=6.0,
                  rho_nano=2_000_000_000)

    x = np.concatenate([data["x"] + data["z"] for data in tables])
    assert content["metrics"] == {}
    assert content["history"] == []
    assert 0 < content["privacy"]["rho_nano"] <= 2_000_000_000
    assert content["privacy"]["epsilon"] < 15
    weights = np.ravel(content["layers"][0]["weights"])
    assert weights[0] > 0
    assert weights[1] > 0
    assert len(x) == 9000


@pytest.mark.parametrize("change", [{"update": "weights"}, {"row_clip": None}, {"standardise": "pooled"}, {"validation": 0.1}])
def test_with_noise_only_clipped_gradients_are_summed(federate: Federate, change: dict[str, Any]) -> None:
    noisy = {"update": "gradient", "row_clip": 1.0, "standardise": "bounds", "bounds": BOUNDS}
    with pytest.raises(ProblemError) as failed:
        fit(federate, grant={"release": "dp", "privacy": PrivacyTerms.model_validate(TERMS)}, **{**noisy, **change})
    assert failed.value.code == problems.BAD_PARAMS


def test_the_sensitivity_covers_a_unit_of_several_rows() -> None:
    params = app.params({**PARAMS, "update": "gradient", "row_clip": 0.5, "standardise": "bounds", "bounds": BOUNDS})
    found = sensitivities(params, "train.step", PrivacyTerms.model_validate(TERMS))["update"]

    assert 1.0 < found.l2 < 1.001
    assert found.share == pytest.approx(1 / 8)


@pytest.mark.parametrize(("change", "params", "code"), [
    (lambda data: data | {"bad": np.zeros(len(data["bad"]), dtype=int)}, {}, problems.TARGET_OF_ONE_CLASS),
    (lambda data: data, {"features": ["flat"], "domains": {}}, problems.FEATURES_UNUSABLE),
    (lambda data: data, {"validation": 0.001}, problems.TRAINING_TOO_SMALL),
])
def test_what_cannot_be_learned_is_told(federate: Federate, change: Any, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ProblemError) as failed:
        fit(federate, [change(data) for data in TABLES], **params)
    assert failed.value.code == code


@pytest.mark.parametrize(("change", "code"), [
    (lambda data: data | {"bad": np.full(len(data["bad"]), 3)}, problems.TARGET_NOT_A_CLASS),
    (lambda data: data | {"x": np.full(len(data["x"]), np.nan)}, problems.COHORT_TOO_SMALL),
])
def test_a_department_says_why_it_cannot(federate: Federate, change: Any, code: str) -> None:
    with pytest.raises(NodeFailure) as failed:
        fit(federate, [*TABLES[:2], change(TABLES[2])])
    assert failed.value.code == code


@pytest.mark.parametrize("params", [
    {"hidden": [0]}, {"hidden": [512] * 4}, {"task": "classes"}, {"classes": 3}, {"features": ["x", "x"]}, {"clip": 0.0},
    {"domains": {"kind": []}}, {"strategy": "scaffold"},
])
def test_bad_parameters(params: dict[str, Any]) -> None:
    with pytest.raises(ProblemError) as failed:
        app.params({**PARAMS, **params})
    assert failed.value.code == problems.BAD_PARAMS


def test_standardising_by_bounds_names_the_column_without() -> None:
    with pytest.raises(ProblemError) as failed:
        app.params({**PARAMS, "standardise": "bounds"})
    assert failed.value.code == problems.BOUNDS_MISSING


def test_weights_are_counted() -> None:
    params = NetworkParams.model_validate({**PARAMS, "hidden": [8, 3]})
    assert params.weights() == 4 * 8 + 8 + 8 * 3 + 3 + 3 + 1 == Network(params.widths(), "relu", "binary").size
