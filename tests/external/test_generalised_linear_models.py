"""Generalised linear models on public data cut by rows over four departments equal those of the pooled rows.

References are statsmodels (estimates and inference without a penalty) and scikit-learn (penalised). heart_disease is cut as
it is, by hospital; adult and bank_marketing, which come as parties that hold columns, are joined by id and dealt out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from shuyan.federation.apps.regression._content import RegressionContent
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.scoring import score

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not beside the checkout"),
]

TEXTS = {
    "adult": ["sex", "race", "marital_status", "relationship", "native_country", "workclass", "education", "occupation"],
    "bank_marketing": ["job", "marital", "education", "default", "housing", "loan", "contact", "month", "poutcome"],
}
NUMBERS = {
    "adult": ["age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"],
    "bank_marketing": ["age", "balance", "day", "duration", "campaign", "pdays", "previous"],
}
PARTIES = {"adult": ["tax", "civil_affairs", "social_security"], "bank_marketing": ["bank", "telecom"]}
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
HEART = ["age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"]


class Cut:
    """A data set cut into departments: the federation, the pooled columns and the reference's matrix."""

    def __init__(self, tables: list[dict[str, np.ndarray]], numbers: list[str], texts: list[str], target: str) -> None:
        self.columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
        self.numbers, self.texts, self.target = numbers, texts, target
        self.domains = {name: sorted({value for value in self.columns[name] if value is not None}) for name in texts}
        schema = {**{name: Column(name, "number") for name in numbers},
                  **{name: Column(name, "string", domain=tuple(self.domains[name])) for name in texts},
                  target: Column(target, "integer"), "split": Column("split", "string", domain=("test", "train"))}
        self.federation = LocalFederation({
            f"department-{place}": {"people": LocalResource.arrays({name: table[name] for name in schema if name in table}, {
                name: column for name, column in schema.items() if name in table})} for place, table in enumerate(tables)})

    def fit(self, features: list[str], **params: Any) -> dict[str, Any]:
        domains = {name: self.domains[name] for name in features if name in self.domains}
        if "split" in params:
            domains["split"] = ["test", "train"]
        content = self.federation.run("regression", {
            "resource": "people", "family": "logistic", "target": self.target, "features": features, "domains": domains, **params})
        RegressionContent.model_validate(content)
        return content

    def design(self, features: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The terms of the usable rows, and which rows these are."""
        usable = np.ones(len(self.columns[self.target]), dtype=bool)
        terms: list[np.ndarray] = []
        for name in features:
            column = self.columns[name]
            if name in self.domains:
                usable &= np.array([value is not None for value in column])
                terms += [column == level for level in self.domains[name][1:]]
            else:
                usable &= np.isfinite(column)
                terms.append(column)
        return np.column_stack(terms).astype(float)[usable], usable


def vertical(name: str) -> Cut:
    """The parties' columns joined by id, dealt out to four departments."""
    files = [DATA / name / f"{party}.parquet" for party in [*PARTIES[name], "split"]]
    joined = " JOIN ".join(f"read_parquet('{file}') AS t{place}" + (" USING (id)" if place else "") for place, file in enumerate(files))
    wanted = [*NUMBERS[name], *TEXTS[name], "y", "split"]
    with duckdb.connect() as connection:
        selected = ", ".join(f'"{column}"' for column in wanted)
        records = connection.execute(f"SELECT {selected} FROM {joined} ORDER BY id").fetchall()
    kinds = {**dict.fromkeys(NUMBERS[name], float), "y": int}
    columns = {column: np.array(values, dtype=kinds.get(column, object))
               for column, values in zip(wanted, zip(*records, strict=True), strict=True)}
    dealt = np.random.default_rng(0).integers(0, 4, len(columns["y"]))
    return Cut([{column: values[dealt == place] for column, values in columns.items()} for place in range(4)],
               NUMBERS[name], TEXTS[name], "y")


def heart() -> Cut:
    """The four hospitals as they are, FLamby's complete rows."""
    tables = []
    for hospital in HOSPITALS:
        with (DATA / "heart_disease" / f"{hospital}.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["flamby_split"] != "dropped"]
        table: dict[str, np.ndarray] = {name: np.array([float(row[name]) for row in rows]) for name in HEART}
        table |= {name: np.array([str(int(float(row[name]))) for row in rows], dtype=object) for name in ("cp", "restecg")}
        table["y"] = np.array([int(float(row["num"]) > 0) for row in rows])
        table["split"] = np.array([row["flamby_split"] for row in rows], dtype=object)
        tables.append(table)
    return Cut(tables, HEART, ["cp", "restecg"], "y")


@pytest.fixture(scope="module", params=["heart_disease", "adult", "bank_marketing"])
def cut(request: pytest.FixtureRequest) -> Iterator[Cut]:
    made = heart() if request.param == "heart_disease" else vertical(request.param)
    yield made
    made.federation.close()


def test_penalised_on_every_column_equals_scikit_learn(cut: Cut) -> None:
    features = [*cut.numbers, *cut.texts]
    content = cut.fit(features, l2=1.0)

    matrix, usable = cut.design(features)
    inputs = StandardScaler().fit_transform(matrix)
    target = cut.columns[cut.target][usable]
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000, solver="newton-cholesky").fit(inputs, target)
    np.testing.assert_allclose(content["coefficients"], reference.coef_[0], rtol=1e-6, atol=1e-6)
    assert content["intercept"] == pytest.approx(reference.intercept_[0], rel=1e-6)
    assert content["rounds"] <= 10
    assert content["converged"]
    assert (content["rows"], content["departments"]) == (usable.sum(), 4)
    auc = content["evaluation"]["in_sample"]["auc"]
    exact = roc_auc_score(target, reference.decision_function(inputs))
    assert abs(auc["value"] - exact) <= auc["error_bound"]
    assert auc["error_bound"] < 2e-3
    assert auc["value"] == pytest.approx(exact, abs=1e-4)


def test_without_a_penalty_equals_statsmodels(cut: Cut) -> None:
    # Levels without a row of one class have no estimate; the next test is about them.
    features = [*cut.numbers, *(name for name in cut.texts if name not in ("workclass", "native_country"))]
    content = cut.fit(features, l2=0.0)

    matrix, usable = cut.design(features)
    inputs = sm.add_constant(StandardScaler().fit_transform(matrix), prepend=False)
    # education_num says what education says, so the last level of education has nothing left to say
    kept = [place for place, term in enumerate([*content["terms"], ""])
            if not any(term in warning["terms"] for warning in content["warnings"])]
    reference = sm.Logit(cut.columns[cut.target][usable], inputs[:, kept]).fit(disp=0, method="newton", tol=1e-12, maxiter=50)
    rows = [content["inference"]["standardised"][place] for place in kept]
    for name, values in (("estimate", reference.params), ("standard_error", reference.bse), ("statistic", reference.tvalues),
                         ("p_value", reference.pvalues)):
        np.testing.assert_allclose([row[name] for row in rows], values, rtol=1e-6, atol=1e-6, err_msg=name)
    np.testing.assert_allclose([[row["lower"], row["upper"]] for row in rows], reference.conf_int(), rtol=1e-6, atol=1e-6)
    assert content["rounds"] <= 10
    assert content["metrics"]["log_likelihood"] == pytest.approx(reference.llf, rel=1e-9)


def test_linear_and_counts_equal_statsmodels(cut: Cut) -> None:
    features = cut.numbers[1:]
    matrix, usable = cut.design([*features, cut.numbers[0]])
    inputs = sm.add_constant(StandardScaler().fit_transform(matrix[:, :-1]), prepend=False)
    for family, reference in (("linear", sm.OLS(matrix[:, -1], inputs).fit()),
                              ("poisson", sm.GLM(matrix[:, -1], inputs, family=sm.families.Poisson()).fit(tol=1e-13))):
        content = cut.fit(features, family=family, target=cut.numbers[0], l2=0.0)
        rows = content["inference"]["standardised"]
        np.testing.assert_allclose([row["estimate"] for row in rows], reference.params, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose([row["standard_error"] for row in rows], reference.bse, rtol=1e-6)
        np.testing.assert_allclose([row["p_value"] for row in rows], reference.pvalues, rtol=1e-4, atol=1e-9)
        assert content["rounds"] <= 10
        assert content["rows"] == usable.sum()


def test_held_out_figures_are_the_pooled_models(cut: Cut) -> None:
    features = [*cut.numbers, *cut.texts]
    content = cut.fit(features, l2=1.0, split={"column": "split", "test": ["test"]})

    matrix, usable = cut.design(features)
    train = cut.columns["split"][usable] == "train"
    scaler = StandardScaler().fit(matrix[train])
    target = cut.columns[cut.target][usable]
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000, solver="newton-cholesky").fit(scaler.transform(matrix[train]), target[train])
    margin = reference.decision_function(scaler.transform(matrix[~train]))
    found = content["evaluation"]["held_out"]
    assert abs(found["auc"]["value"] - roc_auc_score(target[~train], margin)) <= found["auc"]["error_bound"]
    assert found["accuracy"] == pytest.approx(np.mean((margin >= 0) == target[~train]), abs=1e-12)
    if "cp" in cut.texts:
        assert found["accuracy"] >= 0.795
    cases = np.flatnonzero(usable)[~train][:25]
    for place, row in enumerate(cases):
        case = {name: (float(cut.columns[name][row]) if name in cut.numbers else cut.columns[name][row]) for name in features}
        assert score(content, case)["score"] == pytest.approx(1 / (1 + np.exp(-margin[place])), rel=1e-6)


def test_levels_without_an_estimate_are_named() -> None:
    cut = vertical("adult")
    content = cut.fit(["age", "workclass", "native_country"], l2=0.0)
    cut.federation.close()
    (warning,) = [warning for warning in content["warnings"] if warning["code"] == "separation"]
    assert "workclass=Never-worked" in warning["terms"]
    target, work = cut.columns["y"], cut.columns["workclass"]
    assert not target[work == "Never-worked"].any()
    assert "workclass=Private" not in warning["terms"]
