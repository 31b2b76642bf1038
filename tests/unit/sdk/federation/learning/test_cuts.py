"""However rows are cut over departments, the result is that of the pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.metrics import roc_auc_score

from .conftest import DOMAINS, TABLES, Fit, design, pooled

POOLED = pooled(TABLES)
INPUTS = (design(POOLED) - design(POOLED).mean(axis=0)) / design(POOLED).std(axis=0)
CLASSES = ["cured", "ill", "dead"]
CODES = np.array([CLASSES.index(value) for value in POOLED["outcome"]])


def reference(family: str) -> Any:
    if family == "linear":
        return LinearRegression().fit(INPUTS, POOLED["price"])
    if family == "poisson":
        return PoissonRegressor(alpha=1.0 / 600, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(INPUTS, POOLED["visits"])
    return LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(INPUTS, CODES if family == "multinomial" else POOLED["bad"])


REFERENCES = {family: reference(family) for family in ("linear", "logistic", "poisson", "multinomial")}
TARGETS = {"linear": "price", "logistic": "bad", "poisson": "visits", "multinomial": "outcome"}


@pytest.mark.parametrize("family", ["linear", "logistic", "poisson", "multinomial"])
@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), departments=st.integers(3, 6), skew=st.floats(0.2, 3.0), ordered=st.booleans())
def test_any_cut_gives_the_pooled_model(fit: Fit, family: str, seed: int, departments: int, skew: float, ordered: bool) -> None:
    random = np.random.default_rng(seed)
    owner = random.choice(departments, 600, p=random.dirichlet([skew] * departments) * 0.7 + 0.3 / departments)
    if ordered:  # departments of very different people
        owner = np.sort(owner)[np.argsort(np.argsort(POOLED["price"]))]
    tables = [{name: values[owner == place] for name, values in POOLED.items()} for place in range(departments)]
    if min(len(part["x"]) for part in tables) < 10:
        return  # a department's own minimum
    domains = {**DOMAINS, **({"outcome": CLASSES} if family == "multinomial" else {})}
    content = fit(tables, family=family, target=TARGETS[family], domains=domains, l2=0.0 if family == "linear" else 1.0)

    expected = REFERENCES[family]
    np.testing.assert_allclose(content["coefficients"], np.ravel(expected.coef_), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(content["intercepts"] or content["intercept"], expected.intercept_, rtol=1e-6, atol=1e-6)
    assert (content["rows"], content["departments"]) == (600, departments)
    if family == "logistic":
        auc = content["evaluation"]["in_sample"]["auc"]
        assert abs(auc["value"] - roc_auc_score(POOLED["bad"], expected.decision_function(INPUTS))) <= auc["error_bound"]
