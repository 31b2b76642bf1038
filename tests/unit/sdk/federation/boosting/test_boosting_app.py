from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from shuyan.federation import problems
from shuyan.federation.apps.boosting import BoostingContent, BoostingParams, _app
from shuyan.federation.apps.boosting._app import app
from shuyan.federation.apps.boosting._trees import Split, TreeArray
from shuyan.federation.differencing import GuardRules
from shuyan.federation.local import LocalFederation, LocalNode, LocalResource
from shuyan.federation.rounds import MemoryRounds
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure, TaskRequest
from shuyan.problems import ProblemError
from shuyan.scoring import score

Federate = Callable[..., LocalFederation]

SCHEMA = {
    "x": Column("x", "number"), "n": Column("n", "integer"), "kind": Column("kind", "string", domain=("a", "b", "c", "d", "e")),
    "flat": Column("flat", "number"), "void": Column("void", "number"), "bad": Column("bad", "integer"),
    "price": Column("price", "number"),
}
PARAMS = {"resource": "cases", "target": "bad", "features": ["x", "n", "kind"], "rounds": 6, "max_depth": 3, "eta": 0.5,
          "bins": 32, "domains": {"kind": ["a", "b", "c", "d", "e"]}}


def table(seed: int, rows: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    x, n = random.normal(size=rows).round(1), random.integers(0, 9, rows)
    x[random.random(rows) < 0.1] = np.nan
    kind = random.choice(list("abcde"), rows)
    linear = 2 * np.nan_to_num(x) - 0.4 * n + 2 * np.isin(kind, ["b", "d"])
    return {"x": x, "n": n, "kind": kind.astype(object), "flat": np.ones(rows), "void": np.full(rows, np.nan),
            "bad": (random.random(rows) < 1 / (1 + np.exp(-linear))).astype(int),
            "price": 1e5 * linear + random.normal(0, 1e4, rows)}


TABLES = [table(seed, rows) for seed, rows in ((0, 400), (1, 250), (2, 150), (3, 120))]
POOLED = {name: np.concatenate([part[name] for part in TABLES]) for name in TABLES[0]}


def fit(federate: Federate, tables: list[dict[str, Any]] = TABLES, *, grant: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    content = federate(tables, SCHEMA, **(grant or {})).run("boosting", {**PARAMS, **params}, **(options or {}))
    BoostingContent.model_validate_json(json.dumps(content))
    return content


def part(rows: np.ndarray) -> dict[str, Any]:
    return {name: values[rows] for name, values in POOLED.items()}


def model_of(content: dict[str, Any]) -> Any:
    return content["model"]["learner"]


@pytest.fixture(scope="module")
def whole() -> Iterator[dict[str, Any]]:
    thirds = np.arange(len(POOLED["x"])) % 3
    nodes = {f"node-{place}": {"cases": LocalResource.arrays(part(thirds == place), SCHEMA)} for place in range(3)}
    with LocalFederation(nodes) as federation:
        yield federation.run("boosting", PARAMS)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.integers(3, 5))
def test_the_model_is_the_same_however_rows_are_cut(federate: Federate, whole: dict[str, Any], seed: int, parts: int) -> None:
    random = np.random.default_rng(seed)
    which = random.choice(parts, len(POOLED["x"]), p=random.dirichlet(np.full(parts, 3.0)))
    which[: 15 * parts] = np.repeat(np.arange(parts), 15)  # no department below the cohort
    which = random.permutation(which)

    content = fit(federate, [part(random.permutation(np.flatnonzero(which == place))) for place in range(parts)])

    assert model_of(content) == model_of(whole)
    assert content["history"] == whole["history"]


def test_no_leaf_is_about_fewer_rows_than_the_cohort(federate: Federate) -> None:
    content = fit(federate, grant={"minimum_cohort": 40}, rounds=4, max_depth=6, min_child_weight=0.0)

    assert content["minimum_rows"] == 40
    for tree in model_of(content)["gradient_booster"]["model"]["trees"]:
        rows = np.zeros(len(tree["left_children"]))
        for place in range(len(POOLED["x"])):
            at = 0
            while tree["left_children"][at] >= 0:
                at = tree["left_children" if goes_left(tree, at, place) else "right_children"][at]
            rows[at] += 1
        leaves = np.array(tree["left_children"]) < 0
        assert leaves.sum() > 3
        assert rows[leaves].min() >= 40


def goes_left(tree: dict[str, Any], at: int, place: int) -> bool:
    name = PARAMS["features"][tree["split_indices"][at]]
    value = POOLED[name][place]
    if tree["split_type"][at]:
        which = tree["categories_nodes"].index(at)
        start = tree["categories_segments"][which]
        return "abcde".index(value) not in tree["categories"][start : start + tree["categories_sizes"][which]]
    return bool(tree["default_left"][at]) if np.isnan(value) else bool(np.float32(value) < np.float32(tree["split_conditions"][at]))


def test_the_stated_metrics_are_those_of_the_model(federate: Federate) -> None:
    content = fit(federate)
    scores = [score(content, {"x": None if np.isnan(POOLED["x"][place]) else float(POOLED["x"][place]),
                              "n": int(POOLED["n"][place]), "kind": str(POOLED["kind"][place])})["score"]
              for place in range(len(POOLED["x"]))]
    found = content["metrics"]["train"]

    assert found["rows"] == content["rows"] == len(scores)
    assert found["log_loss"] == pytest.approx(log_loss(POOLED["bad"], scores), rel=1e-5)
    assert abs(found["auc"] - roc_auc_score(POOLED["bad"], scores)) <= found["auc_error"] + 1e-9
    assert found["accuracy"] == pytest.approx(np.mean((np.array(scores) >= 0.5) == POOLED["bad"]))
    assert len(content["history"]) == content["rounds"] == 6
    assert content["history"][-1]["train"] == pytest.approx(found["log_loss"], rel=1e-3)


def test_early_stopping_keeps_the_best_rounds(federate: Federate) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    content = fit(federate, rounds=60, max_depth=5, eta=0.8, validation=0.3, early_stopping_rounds=3, min_child_weight=0.0,
                  options={"progress": lambda round_, rounds, code, /, **args: told.append((code, args))})

    curve = [args["validation_loss"] for code, args in told if code == "round_loss"]
    assert content["converged"]
    assert content["rounds"] < 60
    assert curve.index(min(curve)) + 1 == content["rounds"] == len(content["history"])
    assert content["metrics"]["validation"]["log_loss"] == pytest.approx(min(curve), rel=1e-3)
    assert ("stopped_early", {"rounds": content["rounds"]}) in told
    apart = content["metrics"]["validation"]["rows"]
    assert 0.2 < apart / content["rows"] < 0.4
    assert content["metrics"]["train"]["rows"] + apart == content["rows"]


def test_samples_are_seeded(federate: Federate) -> None:
    sampled = {"subsample": 0.6, "colsample_bytree": 0.7}

    assert fit(federate, **sampled, seed=1) == fit(federate, **sampled, seed=1)
    assert model_of(fit(federate, **sampled, seed=1)) != model_of(fit(federate, **sampled, seed=2))


@pytest.mark.parametrize("more", [{}, {"subsample": 0.6, "validation": 0.2}, {"objective": "reg:squarederror", "target": "price"}])
def test_a_node_that_forgets_everything_answers_the_same(
    federate: Federate, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    remembering = fit(federate, **more)
    answer = LocalNode.answer

    def forgetful(self: LocalNode, request: TaskRequest) -> Any:
        for inputs in self._inputs.values():
            inputs.cache.clear()
        return answer(self, request)

    monkeypatch.setattr(LocalNode, "answer", forgetful)

    assert fit(federate, **more) == remembering


def test_small_answers_make_more_rounds_of_the_same_model(federate: Federate, whole: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_app, "_limit", lambda grid: 600)
        content = fit(federate)

    assert model_of(content) == model_of(whole)


@pytest.mark.parametrize("after", [1, 4, 9, 11, 14])
def test_a_lost_department_ends_a_tree_and_not_the_training(after: int) -> None:
    """Where the departments let a run go on without those it lost."""
    nodes = {f"node-{place}": {"cases": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(TABLES)}
    with LocalFederation(nodes, guard=GuardRules(participants="run")) as federation:

        def lose(round_: int, rounds: int, told: str, /, **args: Any) -> None:
            if told == "round_finished" and round_ == after:
                federation.transport.offline.add("node-3")

        content = federation.run("boosting", PARAMS, progress=lose)

    assert content["departments"] == 3
    assert content["rounds"] == 6
    assert content["metrics"]["train"]["rows"] == 800


def test_monotone_features_never_turn(federate: Federate) -> None:
    content = fit(federate, monotone={"x": 1, "n": -1}, rounds=10, bins=64)

    for kind in "abcde":
        rising = [score(content, {"x": x, "n": 4, "kind": kind})["score"] for x in np.linspace(-3, 3, 61).tolist()]
        falling = [score(content, {"x": 0.1, "n": n, "kind": kind})["score"] for n in range(9)]
        assert rising == sorted(rising)
        assert falling == sorted(falling, reverse=True)


def test_a_feature_that_says_nothing_is_left_out_and_named(federate: Federate) -> None:
    content = fit(federate, features=["x", "flat", "void", "n"], domains={})

    assert content["unused"] == ["flat", "void"]
    assert {entry["feature"] for entry in content["importance"]} <= {"x", "n"}


def test_a_department_of_one_class_takes_part(federate: Federate) -> None:
    healthy = {name: values[POOLED["bad"] == 0] for name, values in POOLED.items()}
    content = fit(federate, [*TABLES[:2], {name: values[:60] for name, values in healthy.items()}])

    assert content["departments"] == 3


@pytest.mark.parametrize(("change", "params", "code"), [
    (lambda data: data | {"bad": np.zeros(len(data["bad"]), dtype=int)}, {}, problems.TARGET_OF_ONE_CLASS),
    (lambda data: data, {"features": ["flat", "void"], "domains": {}}, problems.FEATURES_UNUSABLE),
    (lambda data: data, {"min_rows": 500}, problems.TRAINING_TOO_SMALL),
])
def test_what_cannot_be_learned_is_told(federate: Federate, change: Any, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ProblemError) as failed:
        fit(federate, [change(data) for data in TABLES], **params)

    assert failed.value.code == code
    assert failed.value.text("zh") != failed.value.text("en")


@pytest.mark.parametrize(("change", "params", "code"), [
    (lambda data: data | {"bad": np.full(len(data["bad"]), 2)}, {}, problems.TARGET_NOT_A_CLASS),
    (lambda data: data, {"target": "n", "features": ["x"], "objective": "multi:softprob", "classes": 4, "domains": {}},
     problems.TARGET_NOT_A_CLASS),
    (lambda data: data, {"target": "price", "objective": "count:poisson"}, problems.TARGET_NOT_A_COUNT),
    (lambda data: data | {"bad": np.array([None] * len(data["bad"]), dtype=object)}, {}, problems.COHORT_TOO_SMALL),
])
def test_a_department_says_why_it_cannot(federate: Federate, change: Any, params: dict[str, Any], code: str) -> None:
    with pytest.raises(NodeFailure) as failed:
        fit(federate, [*TABLES[:2], change(TABLES[2])], **params)

    assert failed.value.code == code


@pytest.mark.parametrize("params", [
    {"features": ["x", "x"]}, {"features": ["bad", "x"]}, {"objective": "multi:softprob"}, {"classes": 3}, {"eta": 0.0},
    {"monotone": {"kind": 1}}, {"early_stopping_rounds": 3}, {"rounds": 2000, "max_depth": 10}, {"base_score": 1.0},
    {"unheard": 1},
])
def test_bad_parameters(params: dict[str, Any]) -> None:
    with pytest.raises(ProblemError) as failed:
        app.params({**PARAMS, **params})
    assert failed.value.code == problems.BAD_PARAMS


def test_a_category_of_too_many_values() -> None:
    with pytest.raises(ProblemError) as failed:
        app.params({**PARAMS, "domains": {"kind": [str(number) for number in range(256)]}})
    assert failed.value.code == problems.CATEGORIES_TOO_MANY
    assert failed.value.field == "kind"


@given(st.data())
def test_trees_read_back_from_their_array(data: st.DataObject) -> None:
    params = BoostingParams.model_validate({
        **PARAMS, "features": ["x", "kind"], "domains": {"kind": [str(number) for number in range(200)]}})
    trees = TreeArray(params)
    tree = trees.tree(data.draw(st.integers(0, 5)), 0)
    place = data.draw(st.integers(0, params.inner() - 1))
    numeric, left = data.draw(st.booleans()), data.draw(st.booleans())
    right_set = None if numeric else tuple(sorted(data.draw(st.sets(st.integers(0, 199), min_size=1))))
    split = Split(0 if numeric else 1, data.draw(st.integers(0, 254)) if numeric else 0, left, right_set)

    trees.set_split(tree, place, split)

    assert trees.split(tree, place) == split
    assert np.isfinite(trees.array).all()


@pytest.mark.parametrize("round_", [1, 5, 9, 12, 20])
def test_a_run_goes_on_where_a_dead_coordinator_left_it(federate: Federate, whole: dict[str, Any], round_: int) -> None:
    federation, rounds = federate(TABLES[:3], SCHEMA, record=True), MemoryRounds()
    expected = fit(federate, TABLES[:3], subsample=0.7, colsample_bytree=0.7)
    params = {**PARAMS, "subsample": 0.7, "colsample_bytree": 0.7}

    def die(number: int, _rounds: int, code: str, /, **_args: object) -> None:
        if (number, code) == (round_, "round_opening"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        federation.run("boosting", params, rounds=rounds, progress=die)

    assert federation.run("boosting", params, rounds=rounds) == expected
    asked = [one.round for one in federation.transport.carried if isinstance(one, TaskRequest) and one.node_id == "node-0"]
    assert len(asked) == max(asked) + 1  # the round it died in was asked twice, and no other


def test_a_target_that_does_not_vary(federate: Federate) -> None:
    content = fit(federate, [data | {"price": np.full(len(data["price"]), 7.0)} for data in TABLES], target="price",
                  objective="reg:squarederror")

    assert score(content, {"x": 1.0, "n": 3, "kind": "a"}) == {"score": 7.0}


def test_numbered_classes(federate: Federate) -> None:
    tables = [data | {"level": np.digitize(np.nan_to_num(data["x"]), [-0.5, 0.5])} for data in TABLES]
    nodes = {f"node-{place}": {"cases": LocalResource.arrays(data, {**SCHEMA, "level": Column("level", "integer")})}
             for place, data in enumerate(tables)}
    with LocalFederation(nodes) as federation:
        content = federation.run("boosting", {**PARAMS, "target": "level", "objective": "multi:softprob", "classes": 3,
                                              "features": ["x", "n"], "domains": {}})

    assert content["classes"] == ["0", "1", "2"]
    assert [score(content, {"x": x, "n": 1})["label"] for x in (-1.0, 0.1, 1.0)] == ["0", "1", "2"]


@pytest.mark.parametrize(("features", "code"), [
    ({"x": 1.0, "n": 2}, "feature_missing"), ({"x": 1.0, "n": 2, "kind": "f"}, "feature_level_unknown"),
    ({"x": "1", "n": 2, "kind": "a"}, "feature_not_a_number"), ({"x": 1.0, "n": 2, "kind": "a", "y": 0}, "feature_unknown"),
])
def test_what_cannot_be_scored(whole: dict[str, Any], features: dict[str, Any], code: str) -> None:
    with pytest.raises(ProblemError) as failed:
        score(whole, features)
    assert failed.value.code == code


def test_missing_features_are_scored(whole: dict[str, Any]) -> None:
    assert 0 < score(whole, {"x": None, "n": None, "kind": None})["score"] < 1
    assert score(whole, {"x": 1e300, "n": 2, "kind": "a"}) == score(whole, {"x": 9.0, "n": 2, "kind": "a"})
