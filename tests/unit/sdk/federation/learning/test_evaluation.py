"""Metrics from summed tallies are those of the pooled predictions, or within the bound they state."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    mean_poisson_deviance,
    r2_score,
    roc_auc_score,
    roc_curve,
)
from sklearn.preprocessing import StandardScaler

from shuyan.federation import problems
from shuyan.federation.learning.evaluation import Binary, Classes, Numbers, Tally, bins_for, own_slot
from shuyan.federation.learning.evaluation._curves import place
from shuyan.federation.learning.split import Split, groups, hashed_parts, parts, training
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.transport import NodeFailure

from .conftest import DOMAINS, SCHEMA, TABLES, Fit, design, pooled

POOLED = pooled(TABLES)


def summed(tallies: list[Tally]) -> tuple[list[int], list[float]]:
    return [int(count) for count in sum(t.counts for t in tallies)], sum(t.sums for t in tallies).tolist()


def scored(seed: int, rows: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    margin = random.normal(shift, 2.0, rows)
    return margin, (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(float)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), rows=st.integers(40, 400), shift=st.floats(-2, 2), nodes=st.integers(1, 6))
def test_binary_metrics_are_the_pooled_ones_however_rows_are_cut(seed: int, rows: int, shift: float, nodes: int) -> None:
    margin, target = scored(seed, rows, shift)
    owner = np.random.default_rng(seed + 1).integers(0, nodes, rows)
    binary = Binary(2048, threshold=0.4)
    counts, sums = summed([binary.tally(margin[owner == node], target[owner == node]) for node in range(nodes)])
    found = binary.metrics(counts, sums, minimum=1)

    assert found is not None
    probability = 1 / (1 + np.exp(-margin))
    assert found["rows"] == rows
    assert found["log_loss"] == pytest.approx(log_loss(target, probability, labels=[0, 1]), rel=1e-9)
    assert found["brier"] == pytest.approx(np.mean((probability - target) ** 2), rel=1e-9)
    assert found["accuracy"] == pytest.approx(np.mean((probability >= 0.4) == target))
    expected = confusion_matrix(target, probability >= 0.4, labels=[False, True])
    if expected.min() >= 1:
        confusion = found["confusion"]
        assert [[confusion["true_negative"], confusion["false_positive"]],
                [confusion["false_negative"], confusion["true_positive"]]] == expected.tolist()
    if 0 < target.sum() < rows:
        auc = roc_auc_score(target, margin)
        assert abs(found["auc"]["value"] - auc) <= found["auc"]["error_bound"] + 1e-12
        assert found["auc"]["value"] == pytest.approx(roc_auc_score(target, place(margin, 2048)), abs=1e-12)
        false, true, _ = roc_curve(target, margin, drop_intermediate=False)
        distance = np.max(np.abs(true - false))
        assert found["ks"]["value"] - 1e-12 <= distance <= found["ks"]["value"] + found["ks"]["error_bound"] + 1e-12
    total = sum(row["rows"] for row in found["calibration"])
    assert total == rows
    assert sum(row["rows"] * row["observed"] for row in found["calibration"]) == pytest.approx(target.sum())
    assert sum(row["rows"] * row["predicted"] for row in found["calibration"]) == pytest.approx(probability.sum())


def delong(margin: np.ndarray, target: np.ndarray) -> float:
    """DeLong's standard error by its definition."""
    pos, neg = margin[target == 1], margin[target == 0]
    wins = (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])
    return float(np.sqrt(wins.mean(axis=1).var(ddof=1) / len(pos) + wins.mean(axis=0).var(ddof=1) / len(neg)))


def test_the_interval_of_the_auc_is_delongs() -> None:
    margin, target = scored(7, 500, -0.5)
    binary = Binary(2048, confidence=0.9)
    auc = binary.metrics(*summed([binary.tally(margin, target)]), minimum=1)["auc"]  # type: ignore[index]
    error = delong(place(margin, 2048).astype(float), target)
    assert auc["standard_error"] == pytest.approx(error, rel=1e-9)
    assert auc["standard_error"] == pytest.approx(delong(margin, target), rel=1e-2)
    assert auc["upper"] - auc["value"] == pytest.approx(1.6448536 * error, rel=1e-6)


def test_a_class_without_rows_has_no_curve() -> None:
    binary = Binary(64)
    found = binary.metrics(*summed([binary.tally(np.array([0.3, -4.0]), np.zeros(2))]), minimum=1)
    assert found is not None
    assert (found["auc"], found["ks"], found["confusion"]) == (None, None, None)
    assert found["accuracy"] == 0.5


def test_small_groups_and_cells_are_not_told() -> None:
    binary = Binary(64)
    margin, target = scored(1, 60, 0.0)
    tally = summed([binary.tally(margin, target)])
    assert binary.metrics(*tally, minimum=61) is None
    found = binary.metrics(*tally, minimum=25)
    assert found is not None
    assert found["confusion"] is None
    assert all(row["rows"] >= 25 for row in found["calibration"])
    assert (found["calibration"][0]["lower"], found["calibration"][-1]["upper"]) == (0.0, 1.0)
    assert all(one["upper"] == two["lower"] for one, two in pairwise(found["calibration"]))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), rows=st.integers(30, 200), nodes=st.integers(1, 5))
def test_metrics_of_several_classes_are_the_pooled_ones(seed: int, rows: int, nodes: int) -> None:
    random = np.random.default_rng(seed)
    probability = random.dirichlet([1, 2, 1], rows)
    target = np.array([random.choice(3, p=row) for row in probability])
    owner = random.integers(0, nodes, rows)
    classes = Classes(("a", "b", "c"), 1024)
    counts, sums = summed([classes.tally(probability[owner == node], target[owner == node]) for node in range(nodes)])
    found = classes.metrics(counts, sums, minimum=0)
    assert found is not None
    assert found["log_loss"] == pytest.approx(log_loss(target, probability, labels=[0, 1, 2]), rel=1e-9)
    assert found["accuracy"] == pytest.approx(np.mean(probability.argmax(axis=1) == target))
    assert found["confusion"]["counts"] == confusion_matrix(target, probability.argmax(axis=1), labels=[0, 1, 2]).tolist()
    for label, name in enumerate("abc"):
        if 0 < (target == label).sum() < rows:
            exact = roc_auc_score(target == label, probability[:, label])
            assert abs(found["auc"][name]["value"] - exact) <= found["auc"][name]["error_bound"] + 1e-12


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), rows=st.integers(20, 200), nodes=st.integers(1, 5), level=st.sampled_from([0.0, 1e6]))
def test_metrics_of_numbers_are_the_pooled_ones(seed: int, rows: int, nodes: int, level: float) -> None:
    random = np.random.default_rng(seed)
    target, owner = random.poisson(3.0, rows) + level, random.integers(0, nodes, rows)
    predicted = np.abs(target + random.normal(0, 1, rows)) + 0.1
    for poisson in (False, True):
        numbers = Numbers(poisson)
        counts, sums = summed([numbers.tally(predicted[owner == node], target[owner == node], target.mean()) for node in range(nodes)])
        found = numbers.metrics(counts, sums, minimum=1)
        assert found is not None
        assert found["rmse"] == pytest.approx(np.sqrt(np.mean((target - predicted) ** 2)), rel=1e-9)
        assert found["mae"] == pytest.approx(mean_absolute_error(target, predicted), rel=1e-9)
        if poisson and level:  # scikit-learn's loses its digits to cancellation here
            assert found["deviance"] == pytest.approx(np.sum((target - predicted) ** 2 / predicted), rel=1e-4)
        elif poisson:
            assert found["deviance"] == pytest.approx(rows * mean_poisson_deviance(target, predicted), rel=1e-7, abs=1e-7)
        elif target.std() > 0:
            assert found["r2"] == pytest.approx(r2_score(target, predicted), rel=1e-9)


def test_bins_leave_room_for_all_groups() -> None:
    assert [bins_for(1), bins_for(6), bins_for(12), bins_for(11, 5), bins_for(40, 20)] == [2048, 2048, 1024, 256, 64]


def test_own_slots_do_not_touch() -> None:
    assert own_slot(np.array([1.0, 2.0]), 1, 3).tolist() == [0, 0, 1, 2, 0, 0]


# --- splits ------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**53 - 1), folds=st.integers(2, 20))
def test_every_held_out_row_is_evaluated_once_by_a_model_that_has_not_seen_it(seed: int, folds: int) -> None:
    split = Split(folds=folds, seed=seed)
    tested = [part for _, tested in groups(split)[1:] for part in tested]
    assert sorted(tested) == list(range(parts(split)))
    for fit, tested in groups(split)[1:]:
        assert not set(training(split)[fit]) & set(tested)
    assert set(hashed_parts(split, "r", np.arange(2000)).tolist()) <= set(range(folds))


def test_hashed_parts_are_even_and_hang_on_seed_and_resource() -> None:
    rows = np.arange(100_000)
    shares = np.bincount(hashed_parts(Split(folds=5), "r", rows)) / len(rows)
    np.testing.assert_allclose(shares, 0.2, atol=0.01)
    test = hashed_parts(Split(fraction=0.3), "r", rows)
    assert test.mean() == pytest.approx(0.3, abs=0.01)
    for other in (hashed_parts(Split(fraction=0.3, seed=1), "r", rows), hashed_parts(Split(fraction=0.3), "s", rows)):
        assert np.mean((test == 1) & (other == 1)) == pytest.approx(0.09, abs=0.01)
    np.testing.assert_array_equal(hashed_parts(Split(fraction=0.3), "r", rows[::7]), test[::7])


def reference(train: np.ndarray) -> tuple[LogisticRegression, np.ndarray]:
    """The model of the training rows, and everybody's log-odds."""
    scaler = StandardScaler().fit(design(POOLED)[train])
    inputs = scaler.transform(design(POOLED))
    model = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(inputs[train], POOLED["bad"][train])
    return model, model.decision_function(inputs)


@pytest.mark.parametrize("kind", ["column", "number", "hash"])
def test_a_hold_out_is_evaluated_on_what_the_model_has_not_seen(fit: Fit, kind: str) -> None:
    if kind == "column":
        train = POOLED["split"] == "train"
        split: dict[str, Any] = {"column": "split", "test": ["test"]}
        domains = {**DOMAINS, "split": ["test", "train"]}
    elif kind == "number":
        train, split, domains = POOLED["held"] == 0, {"column": "held"}, DOMAINS
    else:
        split, domains = {"fraction": 0.25, "seed": 9}, DOMAINS
        train = np.concatenate([hashed_parts(Split(**split), "cases", np.arange(len(part["x"]))) for part in TABLES]) == 0
    content = fit(family="logistic", target="bad", split=split, domains=domains)

    model, margin = reference(train)
    np.testing.assert_allclose(content["coefficients"], model.coef_[0], rtol=1e-6, atol=1e-7)
    assert content["rows"] == train.sum()
    for name, rows in (("in_sample", train), ("held_out", ~train)):
        found = content["evaluation"][name]
        target = POOLED["bad"][rows]
        assert found["rows"] == rows.sum()
        assert abs(found["auc"]["value"] - roc_auc_score(target, margin[rows])) <= found["auc"]["error_bound"]
        assert found["brier"] == pytest.approx(brier_score_loss(target, 1 / (1 + np.exp(-margin[rows]))), rel=1e-6)
    assert content["evaluation"]["folds"] == []


def test_rows_that_neither_train_nor_test_are_left_out(fit: Fit) -> None:
    content = fit(family="linear", target="price", split={"column": "kind", "test": ["a"], "train": ["b"]},
                  features=["x", "big"], domains={"kind": DOMAINS["kind"]})
    assert content["rows"] == np.sum(POOLED["kind"] == "b")
    assert content["evaluation"]["held_out"]["rows"] == np.sum(POOLED["kind"] == "a")


def test_cross_validation_is_the_pooled_one(fit: Fit) -> None:
    content = fit(family="logistic", target="bad", split={"folds": 4, "seed": 2})

    part = np.concatenate([hashed_parts(Split(folds=4, seed=2), "cases", np.arange(len(table["x"]))) for table in TABLES])
    unseen = np.zeros(600)
    for fold, found in enumerate(content["evaluation"]["folds"]):
        _, margin = reference(part != fold)
        unseen[part == fold] = margin[part == fold]
        target = POOLED["bad"][part == fold]
        assert found["rows"] == len(target)
        assert found["log_loss"] == pytest.approx(log_loss(target, 1 / (1 + np.exp(-unseen[part == fold]))), rel=1e-6)
    pooled_ = content["evaluation"]["held_out"]
    assert pooled_["rows"] == 600
    assert abs(pooled_["auc"]["value"] - roc_auc_score(POOLED["bad"], unseen)) <= pooled_["auc"]["error_bound"]
    # The released model is trained on everything, and takes no more rounds for it.
    np.testing.assert_allclose(content["coefficients"], fit(family="logistic", target="bad")["coefficients"], rtol=1e-9)
    assert content["rounds"] <= 10


@pytest.mark.parametrize("standardise", ["department", "none"])
def test_cross_validation_under_other_standardisations(fit: Fit, standardise: str) -> None:
    content = fit(family="linear", target="price", split={"folds": 3}, standardise=standardise, l2=5.0)
    part = [hashed_parts(Split(folds=3), "cases", np.arange(len(table["x"]))) for table in TABLES]
    everything = np.concatenate(part)
    for fold, found in enumerate(content["evaluation"]["folds"]):
        blocks = []
        for table, own in zip(TABLES, part, strict=True):
            raw = design(table)
            blocks.append((raw - raw[own != fold].mean(axis=0)) / raw[own != fold].std(axis=0) if standardise == "department" else
                          raw - np.array([0, 1e7, 0, 0, 0]))
        inputs = np.concatenate(blocks)
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=5.0).fit(inputs[everything != fold], POOLED["price"][everything != fold])
        error = POOLED["price"][everything == fold] - model.predict(inputs[everything == fold])
        assert found["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-8)


def test_regression_metrics_are_the_pooled_ones(fit: Fit) -> None:
    content = fit(family="linear", target="price", l2=0.0, split={"column": "held"})
    train = POOLED["held"] == 0
    raw = design(POOLED) - np.array([0, 1e7, 0, 0, 0])
    model = LinearRegression().fit(raw[train], POOLED["price"][train])
    found = content["evaluation"]["held_out"]
    assert found["r2"] == pytest.approx(r2_score(POOLED["price"][~train], model.predict(raw[~train])), rel=1e-8)
    assert found["mae"] == pytest.approx(mean_absolute_error(POOLED["price"][~train], model.predict(raw[~train])), rel=1e-8)


# --- departments' own figures ------------------------------------------------------------------------------------


def test_departments_figures_are_told_only_where_the_grant_says_so(fit: Fit) -> None:
    assert fit(family="logistic", target="bad", split={"folds": 3})["evaluation"]["departments"] is None

    content = fit(TABLES, {"own_figures": True}, family="logistic", target="bad", split={"column": "held"})
    train = POOLED["held"] == 0
    _, margin = reference(train)
    at = 0
    for place_, (part, department) in enumerate(zip(TABLES, content["evaluation"]["departments"], strict=True)):
        rows = slice(at, at + len(part["x"]))
        at += len(part["x"])
        own, target = margin[rows][part["held"] == 1], part["bad"][part["held"] == 1]
        assert department["node"] == f"node-{place_}"
        assert department["metrics"]["rows"] == len(target)
        assert department["metrics"]["log_loss"] == pytest.approx(log_loss(target, 1 / (1 + np.exp(-own))), rel=1e-6)
        auc = department["metrics"]["auc"]
        assert abs(auc["value"] - roc_auc_score(target, own)) <= auc["error_bound"]


@pytest.mark.parametrize(("family", "target"), [("linear", "price"), ("poisson", "visits"), ("multinomial", "outcome")])
def test_departments_figures_add_up(fit: Fit, family: str, target: str) -> None:
    domains = {**DOMAINS, **({"outcome": ["cured", "ill", "dead"]} if family == "multinomial" else {})}
    content = fit(TABLES, {"own_figures": True}, family=family, target=target, domains=domains)
    own = [department["metrics"] for department in content["evaluation"]["departments"]]
    whole = content["evaluation"]["in_sample"]
    assert [metrics["rows"] for metrics in own] == [300, 160, 140]
    name, power = ("log_loss", 1) if family == "multinomial" else ("rmse", 2)
    assert sum(metrics["rows"] * metrics[name] ** power for metrics in own) == pytest.approx(600 * whole[name] ** power, rel=1e-9)


def test_a_department_with_few_rows_held_out_refuses(fit: Fit) -> None:
    tables = [*TABLES[:2], {**TABLES[2], "held": np.array([1] * 7 + [0] * 133)}]
    with pytest.raises(NodeFailure) as caught:
        fit(tables, family="logistic", target="bad", split={"column": "held"})
    assert (caught.value.node_id, caught.value.code) == ("node-2", problems.DIFFERENCING_REFUSED)


def test_a_department_without_rows_held_out_has_no_figures(fit: Fit) -> None:
    tables = [*TABLES[:2], {**TABLES[2], "held": np.zeros(140, dtype=int)}]
    content = fit(tables, {"own_figures": True}, family="logistic", target="bad", split={"column": "held"})
    assert [department["metrics"] is None for department in content["evaluation"]["departments"]] == [False, False, True]


def test_a_node_tells_no_own_figures_without_a_grant_whoever_asks() -> None:
    nodes = {f"node-{place_}": {"cases": LocalResource.arrays(part, SCHEMA)} for place_, part in enumerate(TABLES)}
    with LocalFederation(nodes) as federation:
        params = {"resource": "cases", "family": "linear", "target": "price", "features": ["x"], "domains": {}}
        grid = federation.grid("regression", params)
        one = np.array([0.0])
        with pytest.raises(NodeFailure):
            grid.secure_sum("evaluate.own", expect={"counts": 3, "sums": 18}, config={"departments": 3},
                            arrays={"weights": np.zeros(2), "mean": one, "sd": one + 1, "centre": one})
