"""Preprocessing by secure sums is scikit-learn's on the pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from shuyan.federation import problems
from shuyan.federation.apps.regression import RegressionParams
from shuyan.federation.learning import medians
from shuyan.federation.learning.frame import Frame
from shuyan.federation.learning.preprocess import Described
from shuyan.federation.learning.split import Split, hashed_parts
from shuyan.federation.moments import Moments
from shuyan.problems import ProblemError
from shuyan.scoring import score

from .conftest import DOMAINS, TABLES, Fit, pooled

HOLES = ["x", "big", "kind"]


def holed() -> list[dict[str, Any]]:
    """A fifth of the values missing."""
    random = np.random.default_rng(11)
    tables = []
    for part in TABLES:
        part = {**part, **{name: part[name].astype(object) for name in HOLES}}
        for name in HOLES:
            part[name][random.random(len(part[name])) < 0.2] = None
        tables.append(part)
    return tables


TABLES_WITH_HOLES = holed()
POOLED = pooled(TABLES_WITH_HOLES)
NUMBERS = np.column_stack([POOLED["x"], POOLED["big"]]).astype(float)


def reference_inputs(strategy: str, *, indicators: bool = True) -> np.ndarray:
    """x, big, kind and grade in the app's order of terms; missing kinds are b's, which is the most frequent here."""
    filled = SimpleImputer(strategy=strategy, fill_value=7.0 if strategy == "constant" else None).fit_transform(NUMBERS)
    kinds = [sum(value == level for value in POOLED["kind"]) for level in "abc"]
    kind = np.array(["abc"[int(np.argmax(kinds))] if value is None else value for value in POOLED["kind"]])
    gone = [np.isnan(NUMBERS[:, 0]), np.isnan(NUMBERS[:, 1]), np.array([value is None for value in POOLED["kind"]])]
    columns = [filled[:, 0], gone[0], filled[:, 1], gone[1], kind == "b", kind == "c", gone[2], POOLED["grade"] == 2]
    if not indicators:
        columns = [column for place, column in enumerate(columns) if place not in (1, 3, 6)]
    return StandardScaler().fit_transform(np.column_stack(columns).astype(float))


@pytest.mark.parametrize("strategy", ["mean", "median", "constant"])
@pytest.mark.parametrize("indicators", [True, False])
def test_filled_in_as_scikit_learn_does(fit: Fit, strategy: str, indicators: bool) -> None:
    impute = {"numbers": strategy, "categories": "most_frequent", "indicators": indicators}
    if strategy == "constant":
        impute["constants"] = {"x": 7.0, "big": 7.0}
    content = fit(TABLES_WITH_HOLES, family="logistic", target="bad", impute=impute)

    inputs = reference_inputs(strategy, indicators=indicators)
    reference = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(inputs, POOLED["bad"])
    # No grade is missing: its indicator does not vary.
    coefficients = content["coefficients"][:-1] if indicators else content["coefficients"]
    np.testing.assert_allclose(coefficients, reference.coef_[0], rtol=1e-6, atol=1e-7)
    assert (content["rows"], content["warnings"]) == (600, [])
    assert ("x:missing" in content["terms"]) is indicators

    cases = [{name: POOLED[name][row] for name in ("x", "big", "kind", "grade")} for row in range(0, 600, 23)]
    cases = [{name: int(value) if name == "grade" else value for name, value in case.items()} for case in cases]
    expected = reference.predict_proba(inputs)[::23, 1]
    np.testing.assert_allclose([score(content, case)["score"] for case in cases], expected, rtol=1e-6)


def test_a_missing_category_may_be_a_level_of_its_own(fit: Fit) -> None:
    content = fit(TABLES_WITH_HOLES, family="logistic", target="bad", features=["kind"], l2=0.0,
                  domains={"kind": DOMAINS["kind"]}, impute={"categories": "level", "indicators": False})

    assert content["terms"] == ["kind=b", "kind=c", "kind:missing"]
    for level in ("a", "b", "c", None):
        rows = np.array([value == level for value in POOLED["kind"]])
        assert score(content, {"kind": level})["score"] == pytest.approx(POOLED["bad"][rows].mean(), rel=1e-8)
    assert score(content, {})["score"] == score(content, {"kind": None})["score"]


def test_methods_by_column_and_rows_dropped(fit: Fit) -> None:
    content = fit(TABLES_WITH_HOLES, family="linear", target="price", features=["x", "big"], domains={},
                  impute={"columns": {"x": "median"}})
    usable = ~np.isnan(NUMBERS[:, 1])
    assert content["rows"] == usable.sum()
    assert content["features"][0]["missing"]["fill"] == pytest.approx(np.nanmedian(NUMBERS[usable, 0]), abs=1e-9)
    assert content["features"][1].get("missing") is None


@pytest.mark.parametrize(
    ("impute", "where"),
    [
        ({"columns": {"kind": "mean"}}, "impute.columns.kind"), ({"columns": {"x": "most_frequent"}}, "impute.columns.x"),
        ({"columns": {"x": "constant"}}, "impute.constants.x"),
        ({"columns": {"kind": "constant"}, "constants": {"kind": "z"}}, "impute.constants.kind"),
    ],
)
def test_a_method_that_does_not_suit_a_column_is_refused(fit: Fit, impute: dict[str, Any], where: str) -> None:
    with pytest.raises(ProblemError) as caught:
        fit(TABLES_WITH_HOLES, family="linear", target="price", impute=impute)
    assert (caught.value.code, caught.value.args_["where"]) == (problems.BAD_PARAMS, where)


@pytest.mark.parametrize("policy", ["drop", "reference", "missing"])
def test_values_nobody_declares(fit: Fit, policy: str) -> None:
    strange = np.random.default_rng(1).random(600) < 0.1
    tables, at = [], 0
    for part in TABLES:
        kind = np.where(strange[at : at + len(part["kind"])], "z", part["kind"]).astype(object)
        at += len(kind)
        tables.append({**part, "kind": kind})
    content = fit(tables, family="linear", target="price", features=["kind"], l2=0.0, domains={"kind": DOMAINS["kind"]},
                  unknown_levels=policy, impute={"categories": "level"} if policy == "missing" else {})

    price = pooled(tables)["price"]
    kind = pooled(tables)["kind"]
    assert content["rows"] == (600 - strange.sum() if policy == "drop" else 600)
    taken = {"drop": None, "reference": price[(kind == "a") | strange].mean(), "missing": price[strange].mean()}[policy]
    if taken is None:
        with pytest.raises(ProblemError):
            score(content, {"kind": "z"})
    else:
        assert score(content, {"kind": "z"})["score"] == pytest.approx(taken, rel=1e-9)


def test_numbers_may_be_categories_when_said(fit: Fit) -> None:
    content = fit(family="linear", target="price", features=["grade"], categories=["grade"], l2=0.0, domains={"grade": ["1", "2"]})
    everything = pooled(TABLES)
    assert score(content, {"grade": 2})["score"] == pytest.approx(everything["price"][everything["grade"] == 2].mean(), rel=1e-9)


@pytest.mark.parametrize("numbers", ["mean", "median"])
def test_each_fold_fills_in_its_own_values(fit: Fit, numbers: str) -> None:
    """The models of a cross-validation do not know the rows they are evaluated on, not even by a mean."""
    content = fit(TABLES_WITH_HOLES, family="logistic", target="bad", features=["x", "big"], domains={},
                  impute={"numbers": numbers}, split={"folds": 3, "seed": 4})

    split = Split(folds=3, seed=4)
    part = np.concatenate([hashed_parts(split, "cases", np.arange(len(table["x"]))) for table in TABLES])
    for fold, metrics in enumerate(content["evaluation"]["folds"]):
        training, test = part != fold, part == fold
        imputer = SimpleImputer(strategy=numbers).fit(NUMBERS[training])
        gone = np.isnan(NUMBERS)

        def inputs(rows: np.ndarray, imputer: SimpleImputer = imputer, gone: np.ndarray = gone) -> np.ndarray:
            filled = imputer.transform(NUMBERS[rows])
            return np.column_stack([filled[:, 0], gone[rows, 0], filled[:, 1], gone[rows, 1]]).astype(float)

        scaler = StandardScaler().fit(inputs(training))
        model = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(scaler.transform(inputs(training)), POOLED["bad"][training])
        chance = model.predict_proba(scaler.transform(inputs(test)))[np.arange(test.sum()), POOLED["bad"][test]]
        assert metrics["rows"] == test.sum()
        assert metrics["log_loss"] == pytest.approx(-np.log(chance).mean(), rel=1e-7)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.one_of(st.integers(-50, 50), st.decimals(-1000, 1000, places=2)).map(float), min_size=3, max_size=60),
       cut=st.lists(st.integers(0, 2), min_size=60, max_size=60), scale=st.sampled_from([1.0, 1e-6, 1e6]))
def test_medians_are_the_pooled_ones_however_rows_are_cut(values: list[float], cut: list[int], scale: float) -> None:
    params = RegressionParams(resource="r", family="linear", target="y", features=["x"], impute={"numbers": "median"})  # type: ignore[arg-type]
    column = np.array(values) * scale
    owner = np.array(cut[: len(values)])
    empty = np.zeros(0)
    frames = [
        Frame({"x": column[owner == node]}, {}, np.zeros((owner == node).sum()), None, np.zeros((owner == node).sum(), dtype=int),
              np.arange((owner == node).sum()), empty, int((owner == node).sum())) for node in range(3)
    ]
    centred = float(((column - column.mean()) ** 2).sum())
    described = Described(len(column), [len(column)], {}, {"x": Moments(len(column), column.sum(), float(column.mean()), centred, None)})

    def ask(edges: np.ndarray) -> list[int]:
        return [int(count) for count in sum(medians.at_most(frame, params, edges) for frame in frames)]

    (found,) = medians.search(params, [described], ask)
    assert found["x"] == pytest.approx(float(np.median(column)), rel=1e-8, abs=1e-9 * (column.std() + 1e-300))
