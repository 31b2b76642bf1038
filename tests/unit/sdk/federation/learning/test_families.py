"""Estimates and their inference equal statsmodels' and scikit-learn's on the pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, PoissonRegressor, Ridge
from sklearn.preprocessing import StandardScaler

from .conftest import DOMAINS, TABLES, Fit, design, pooled

POOLED = pooled(TABLES)
RAW = design(POOLED)
# statsmodels' own optimiser needs the numbers in reach
CENTRED = RAW - np.array([0, 1e7, 0, 0, 0])
STANDARD = StandardScaler().fit_transform(RAW)


def compare(rows: list[dict[str, Any]], reference: Any, confidence: float = 0.05, *, intercept: bool = True) -> None:
    """An inference table against statsmodels' result, whose intercept comes last."""
    rows = rows if intercept else rows[:-1]
    size = len(rows)
    interval = np.asarray(reference.conf_int(confidence))[:size]
    for name, values in (("estimate", reference.params), ("standard_error", reference.bse), ("statistic", reference.tvalues),
                         ("lower", interval[:, 0]), ("upper", interval[:, 1])):
        np.testing.assert_allclose([row[name] for row in rows], np.asarray(values)[:size], rtol=1e-6, atol=1e-8, err_msg=name)
    np.testing.assert_allclose([row["p_value"] for row in rows], np.asarray(reference.pvalues)[:size], rtol=1e-5, atol=1e-12)


def test_linear(fit: Fit) -> None:
    content = fit(family="linear", target="price", l2=0.0, confidence=0.9)

    reference = sm.OLS(POOLED["price"], sm.add_constant(CENTRED, prepend=False)).fit()
    compare(content["inference"]["original"], reference, 0.1, intercept=False)
    compare(content["inference"]["standardised"],
            sm.OLS(POOLED["price"], sm.add_constant(STANDARD, prepend=False)).fit(), 0.1)
    assert content["inference"]["distribution"] == "t"
    assert content["inference"]["degrees"] == reference.df_resid
    assert content["inference"]["dispersion"] == pytest.approx(reference.scale, rel=1e-9)
    assert content["metrics"]["r2"] == pytest.approx(reference.rsquared, rel=1e-9)
    assert content["metrics"]["log_likelihood"] == pytest.approx(reference.llf, rel=1e-9)
    assert content["metrics"]["aic"] == pytest.approx(reference.aic, rel=1e-9)
    assert content["rounds"] == 1


def test_logistic(fit: Fit) -> None:
    content = fit(family="logistic", target="bad", l2=0.0)

    reference = sm.Logit(POOLED["bad"], sm.add_constant(CENTRED, prepend=False)).fit(disp=0, method="newton", tol=1e-12)
    compare(content["inference"]["original"], reference, intercept=False)
    compare(content["inference"]["standardised"],
            sm.Logit(POOLED["bad"], sm.add_constant(STANDARD, prepend=False)).fit(disp=0, method="newton", tol=1e-12))
    assert content["metrics"]["log_likelihood"] == pytest.approx(reference.llf, rel=1e-9)
    assert content["metrics"]["aic"] == pytest.approx(reference.aic, rel=1e-9)
    assert content["inference"]["distribution"] == "normal"
    assert content["rounds"] <= 8


def test_coefficients_on_the_original_scale_are_of_columns_as_they_are(fit: Fit) -> None:
    content = fit(family="linear", target="price", l2=0.0)
    predicted = RAW @ np.array(content["original"]["coefficients"]) + content["original"]["intercept"]
    reference = STANDARD @ np.array(content["coefficients"]) + content["intercept"]
    np.testing.assert_allclose(predicted, reference, rtol=1e-7)
    assert [row["term"] for row in content["inference"]["original"]] == [*content["terms"], "(intercept)"]


@pytest.mark.parametrize("kind", ["plain", "exposure", "offset"])
def test_poisson(fit: Fit, kind: str) -> None:
    named: dict[str, Any] = {} if kind == "plain" else {kind: "years"}
    content = fit(family="poisson", target="visits", l2=0.0, **named)

    reference = sm.GLM(POOLED["visits"], sm.add_constant(CENTRED, prepend=False), family=sm.families.Poisson(),
                       **({} if kind == "plain" else {kind: POOLED["years"]})).fit(tol=1e-13)
    compare(content["inference"]["original"], reference, intercept=False)
    assert content["metrics"]["deviance"] == pytest.approx(reference.deviance, rel=1e-8)
    assert content["metrics"]["d2"] == pytest.approx(1 - reference.deviance / reference.null_deviance, rel=1e-6)
    assert content["rounds"] <= 8


def test_multinomial(fit: Fit) -> None:
    classes = ["cured", "ill", "dead"]
    content = fit(family="multinomial", target="outcome", l2=0.0, domains={**DOMAINS, "outcome": classes})

    codes = np.array([classes.index(value) for value in POOLED["outcome"]])
    reference = sm.MNLogit(codes, sm.add_constant(STANDARD, prepend=False)).fit(disp=0, method="newton", tol=1e-12, maxiter=50)
    rows = content["inference"]["standardised"]
    for place, name in enumerate(classes[1:]):
        own = [row for row in rows if row["class"] == name]
        np.testing.assert_allclose([row["estimate"] for row in own], reference.params[:, place], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose([row["standard_error"] for row in own], reference.bse[:, place], rtol=1e-6)
        np.testing.assert_allclose([row["p_value"] for row in own], reference.pvalues[:, place], rtol=1e-5, atol=1e-12)
    assert content["metrics"]["log_likelihood"] == pytest.approx(reference.llf, rel=1e-9)
    assert content["metrics"]["accuracy"] == pytest.approx((reference.predict().argmax(axis=1) == codes).mean(), abs=1e-12)
    assert content["intercepts"][0] == 0.0


def test_multinomial_with_a_ridge_is_scikit_learns(fit: Fit) -> None:
    classes = ["cured", "ill", "dead"]
    content = fit(family="multinomial", target="outcome", l2=2.0, domains={**DOMAINS, "outcome": classes})

    codes = np.array([classes.index(value) for value in POOLED["outcome"]])
    reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(STANDARD, codes)
    np.testing.assert_allclose(np.reshape(content["coefficients"], (3, -1)), reference.coef_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(content["intercepts"], reference.intercept_, rtol=1e-6, atol=1e-6)
    assert content["inference"]["available"] is False
    assert content["inference"]["reason"]["code"] == "inference_penalised"


def test_poisson_with_a_ridge_is_scikit_learns(fit: Fit) -> None:
    content = fit(family="poisson", target="visits", l2=6.0)
    reference = PoissonRegressor(alpha=6.0 / 600, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(STANDARD, POOLED["visits"])
    np.testing.assert_allclose(content["coefficients"], reference.coef_, rtol=1e-6)
    assert content["intercept"] == pytest.approx(reference.intercept_, rel=1e-6)
    assert content["metrics"]["d2"] == pytest.approx(reference.score(STANDARD, POOLED["visits"]), rel=1e-8)


@pytest.mark.parametrize(("l1", "l2"), [(3e6, 0.0), (5e5, 40.0), (1e9, 0.0)])
def test_lasso_and_elastic_net_are_scikit_learns(fit: Fit, l1: float, l2: float) -> None:
    content = fit(family="linear", target="price", l1=l1, l2=l2)
    rows = 600
    if l2:
        alpha = (l1 + l2) / rows
        model: Any = ElasticNet(alpha=alpha, l1_ratio=l1 / (l1 + l2), tol=1e-13, max_iter=100_000)
    else:
        model = Lasso(alpha=l1 / rows, tol=1e-13, max_iter=100_000)
    reference = model.fit(STANDARD, POOLED["price"])
    np.testing.assert_allclose(content["coefficients"], reference.coef_, rtol=1e-6, atol=1e-6)
    assert content["intercept"] == pytest.approx(reference.intercept_, rel=1e-9)
    assert content["rounds"] == 1


@pytest.mark.parametrize(("l1", "l2"), [(8.0, 0.0), (20.0, 5.0)])
def test_logistic_elastic_net_is_optimal(fit: Fit, l1: float, l2: float) -> None:
    content = fit(family="logistic", target="bad", l1=l1, l2=l2)

    weights, intercept = np.array(content["coefficients"]), content["intercept"]
    probability = 1 / (1 + np.exp(-(STANDARD @ weights + intercept)))
    slope = STANDARD.T @ (probability - POOLED["bad"]) + l2 * weights
    used = weights != 0
    assert 0 < used.sum() < 6
    np.testing.assert_allclose(slope[used], -l1 * np.sign(weights[used]), atol=1e-5)
    assert np.all(np.abs(slope[~used]) <= l1 + 1e-6)
    assert np.sum(probability - POOLED["bad"]) == pytest.approx(0, abs=1e-6)
    assert content["rounds"] <= 10


def test_penalties_on_inputs_as_they_are(fit: Fit) -> None:
    content = fit(family="linear", target="price", l2=3.0, standardise="none")
    reference = Ridge(alpha=3.0).fit(CENTRED, POOLED["price"])
    np.testing.assert_allclose(content["original"]["coefficients"], reference.coef_, rtol=1e-7)


def test_a_confidence_level_may_be_chosen(fit: Fit) -> None:
    wide = fit(family="logistic", target="bad", l2=0.0, confidence=0.99)["inference"]["original"][0]
    narrow = fit(family="logistic", target="bad", l2=0.0, confidence=0.5)["inference"]["original"][0]
    assert wide["lower"] < narrow["lower"] < narrow["estimate"] < narrow["upper"] < wide["upper"]
