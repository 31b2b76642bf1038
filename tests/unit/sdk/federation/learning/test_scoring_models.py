"""Scoring a delivered model case by case gives what the fitted model predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression, LogisticRegression

from shuyan import scoring
from shuyan.problems import ProblemError
from shuyan.scoring import score

from .conftest import DOMAINS, FEATURES, TABLES, Fit, design, pooled

POOLED = pooled(TABLES)
INPUTS = (design(POOLED) - design(POOLED).mean(axis=0)) / design(POOLED).std(axis=0)
ROWS = range(0, 600, 37)


def case(row: int) -> dict[str, Any]:
    return {"x": float(POOLED["x"][row]), "big": float(POOLED["big"][row]), "kind": POOLED["kind"][row], "grade": int(POOLED["grade"][row])}


def test_linear(fit: Fit) -> None:
    content = fit(family="linear", target="price", l2=0.0)
    expected = LinearRegression().fit(INPUTS, POOLED["price"]).predict(INPUTS)
    for row in ROWS:
        assert score(content, case(row)) == {"score": pytest.approx(expected[row], rel=1e-8)}


def test_logistic_with_a_threshold(fit: Fit) -> None:
    content = fit(family="logistic", target="bad", threshold=0.3)
    chance = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(INPUTS, POOLED["bad"]).predict_proba(INPUTS)[:, 1]
    for row in ROWS:
        assert score(content, case(row)) == {"score": pytest.approx(chance[row], rel=1e-6), "label": int(chance[row] >= 0.3)}


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_multinomial(fit: Fit, l2: float) -> None:
    classes = ["cured", "ill", "dead"]
    content = fit(family="multinomial", target="outcome", l2=l2, domains={**DOMAINS, "outcome": classes})
    codes = np.array([classes.index(value) for value in POOLED["outcome"]])
    model = LogisticRegression(C=1 / l2 if l2 else np.inf, tol=1e-10, max_iter=10_000).fit(INPUTS, codes)
    chances = model.predict_proba(INPUTS)
    for row in ROWS:
        scored = score(content, case(row))
        np.testing.assert_allclose([scored["probabilities"][name] for name in classes], chances[row], rtol=1e-4, atol=1e-6)
        assert scored["label"] == classes[chances[row].argmax()]
        assert scored["score"] == max(scored["probabilities"].values())
        assert sum(scored["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["offset", "exposure"])
def test_poisson(fit: Fit, kind: str) -> None:
    content = fit(family="poisson", target="visits", l2=0.0, **{kind: "years"})
    model = sm.GLM(POOLED["visits"], sm.add_constant(INPUTS), family=sm.families.Poisson(), **{kind: POOLED["years"]}).fit(tol=1e-13)
    for row in ROWS:
        years = float(POOLED["years"][row])
        assert score(content, {**case(row), "years": years})["score"] == pytest.approx(model.fittedvalues[row], rel=1e-7)
        neutral = 0.0 if kind == "offset" else 1.0
        assert score(content, case(row)) == score(content, {**case(row), "years": neutral})


@pytest.mark.parametrize("years", [0, -1.0, "2", None, float("inf")])
def test_an_exposure_must_be_positive(fit: Fit, years: object) -> None:
    content = fit(family="poisson", target="visits", exposure="years")
    with pytest.raises(ProblemError) as caught:
        score(content, {**case(0), "years": years})
    assert (caught.value.code, caught.value.field) == (scoring.FEATURE_NOT_A_NUMBER, "years")


def test_what_is_not_filled_in_must_be_there(fit: Fit) -> None:
    content = fit(family="linear", target="price", impute={"columns": {"x": "mean"}})
    complete = case(0)
    assert score(content, {**complete, "x": None}) == score(content, {name: value for name, value in complete.items() if name != "x"})
    for name in FEATURES[1:]:
        with pytest.raises(ProblemError) as caught:
            score(content, {other: value for other, value in complete.items() if other != name})
        assert (caught.value.code, caught.value.field) == (scoring.FEATURE_MISSING, name)
