"""Data that models cannot be fitted to as asked: refused, or told in the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from shuyan.federation import problems
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError

from .conftest import DOMAINS, SCHEMA, TABLES, Fit, pooled


def changed(**columns: Any) -> list[dict[str, Any]]:
    """The departments with columns made from a department's others."""
    return [{**part, **{name: make(part) for name, make in columns.items()}} for part in TABLES]


def warned(content: dict[str, Any]) -> dict[str, list[str]]:
    for warning in content["warnings"]:
        assert all(name in warning["zh"] and name in warning["en"] for name in warning["terms"])
    return {warning["code"]: warning["terms"] for warning in content["warnings"]}


def test_a_constant_column_is_named_and_gets_no_weight(fit: Fit) -> None:
    content = fit(family="logistic", target="bad", features=["x", "flat"], l2=0.0, domains={})
    alone = fit(family="logistic", target="bad", features=["x"], l2=0.0, domains={})

    assert warned(content) == {"constant_columns": ["flat"]}
    assert content["coefficients"][1] == 0.0
    assert content["coefficients"][0] == pytest.approx(alone["coefficients"][0], rel=1e-9)
    assert [row["standard_error"] is None for row in content["inference"]["original"]] == [False, True, False]


@pytest.mark.parametrize("family", ["linear", "logistic"])
def test_collinear_columns_are_named_and_the_last_left_out(fit: Fit, family: str) -> None:
    target = {"linear": "price", "logistic": "bad"}[family]
    content = fit(family=family, target=target, features=["x", "kind", "twin"], l2=0.0, domains={"kind": DOMAINS["kind"]})
    alone = fit(family=family, target=target, features=["x", "kind"], l2=0.0, domains={"kind": DOMAINS["kind"]})

    (warning,) = content["warnings"]
    assert (warning["code"], warning["terms"]) == ("collinear_columns", ["twin"])
    assert "twin (x + kind=b)" in warning["en"]
    assert content["coefficients"][-1] == 0.0
    np.testing.assert_allclose(content["coefficients"][:-1], alone["coefficients"], rtol=1e-7)
    np.testing.assert_allclose([row["standard_error"] for row in content["inference"]["original"] if row["term"] != "twin"],
                               [row["standard_error"] for row in alone["inference"]["original"]], rtol=1e-6)


def test_collinear_columns_with_a_ridge_are_kept_and_named(fit: Fit) -> None:
    content = fit(family="logistic", target="bad", features=["x", "twin", "kind"], domains={"kind": DOMAINS["kind"]})
    assert warned(content) == {"collinear_penalised": ["kind=b"]}
    assert all(content["coefficients"])


def test_complete_separation_is_named(fit: Fit) -> None:
    content = fit(changed(bad=lambda part: (part["x"] > 1).astype(int)), family="logistic", target="bad", l2=0.0)

    assert content["converged"] is False
    assert "x" in warned(content)["separation"]
    assert "l2" in content["warnings"][0]["zh"]
    assert "l2" in content["warnings"][0]["en"]
    assert content["rounds"] < 25
    assert np.isfinite(content["coefficients"]).all()
    assert content["inference"]["reason"]["code"] == "inference_not_converged"


def test_a_level_of_one_class_is_named_and_others_are_not(fit: Fit) -> None:
    tables = changed(bad=lambda part: np.where(part["kind"] == "b", 1, part["bad"]))
    content = fit(tables, family="logistic", target="bad", l2=0.0)
    assert warned(content) == {"separation": ["kind=b"]}
    assert warned(fit(tables, family="logistic", target="bad", l2=1.0)) == {}


def test_a_combination_that_separates_is_found_by_its_steps(fit: Fit) -> None:
    random = np.random.default_rng(3)
    tables = []
    for part in TABLES:
        x, flat = random.normal(size=len(part["x"])), random.normal(size=len(part["x"]))
        tables.append({**part, "x": x, "flat": flat, "bad": (x + flat > 0).astype(int)})
    content = fit(tables, family="logistic", target="bad", features=["big", "x", "flat"], l2=0.0, domains={})
    assert {"x", "flat"} <= set(warned(content)["separation"])


def test_a_level_without_counts_is_named(fit: Fit) -> None:
    tables = changed(visits=lambda part: np.where(part["kind"] == "c", 0, part["visits"]))
    content = fit(tables, family="poisson", target="visits", l2=0.0)
    assert warned(content) == {"no_finite_estimate": ["kind=c"]}
    assert np.isfinite(content["coefficients"]).all()


def test_rare_and_common_classes_are_not_taken_for_separated(fit: Fit) -> None:
    random = np.random.default_rng(5)
    tables = changed(bad=lambda part: (random.random(len(part["x"])) < 0.02).astype(int))
    content = fit(tables, family="logistic", target="bad", features=["x", "big"], l2=0.0, domains={})
    assert content["converged"]
    assert warned(content) == {}


def test_a_column_without_values_is_named(fit: Fit) -> None:
    with pytest.raises(ProblemError) as caught:
        fit(changed(flat=lambda part: [None] * len(part["x"])), family="linear", target="price", features=["x", "flat"], domains={})
    assert (caught.value.code, caught.value.args_["column"]) == (problems.COLUMN_ALL_NULL, "flat")
    assert "flat" in caught.value.text("zh")
    assert "flat" in caught.value.text("en")


@pytest.mark.parametrize("method", ["mean", "median"])
def test_nor_can_it_be_filled_in(fit: Fit, method: str) -> None:
    with pytest.raises(ProblemError) as caught:
        fit(changed(flat=lambda part: [float("nan")] * len(part["x"])), family="linear", target="price",
            features=["x", "flat"], domains={}, impute={"numbers": method})
    assert caught.value.code == problems.COLUMN_ALL_NULL


def test_a_department_with_one_class_only_takes_part(fit: Fit) -> None:
    tables = [TABLES[0], TABLES[1], {**TABLES[2], "bad": np.ones(len(TABLES[2]["bad"]), dtype=int)}]
    content = fit(tables, family="logistic", target="bad", features=["x"], l2=0.0, domains={})
    everything = pooled(tables)
    reference = sm.Logit(everything["bad"], sm.add_constant(everything["x"])).fit(disp=0, tol=1e-12)
    assert content["original"]["coefficients"][0] == pytest.approx(reference.params[1], rel=1e-6)
    assert (content["departments"], warned(content)) == (3, {})


def test_a_department_with_no_usable_row_says_so(fit: Fit) -> None:
    tables = [TABLES[0], TABLES[1], {**TABLES[2], "big": [None] * len(TABLES[2]["big"])}]
    with pytest.raises(NodeFailure) as caught:
        fit(tables, family="linear", target="price")
    assert (caught.value.node_id, caught.value.code) == ("node-2", problems.NO_USABLE_ROWS)

    content = fit(tables, family="linear", target="price", impute={"numbers": "mean"})
    assert (content["departments"], content["rows"]) == (3, 600)


def test_a_target_of_one_class_is_refused(fit: Fit) -> None:
    with pytest.raises(ProblemError) as caught:
        fit(changed(bad=lambda part: np.zeros(len(part["x"]), dtype=int)), family="logistic", target="bad")
    assert caught.value.code == problems.TARGET_OF_ONE_CLASS


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"family": "logistic", "target": "price"}, problems.TARGET_NOT_BINARY),
        ({"family": "logistic", "target": "outcome"}, problems.WRONG_TYPE),
        ({"family": "linear", "target": "outcome"}, problems.WRONG_TYPE),
        ({"family": "poisson", "target": "big", "features": ["x"], "exposure": "flat"}, problems.EXPOSURE_NOT_POSITIVE),
        ({"family": "poisson", "target": "flat", "features": ["x"]}, problems.TARGET_NOT_A_COUNT),
        ({"family": "multinomial", "target": "outcome", "domains": {**DOMAINS, "outcome": ["cured", "ill"]}}, problems.DOMAIN_MISMATCH),
        ({"family": "multinomial", "target": "price", "domains": {**DOMAINS, "price": ["1", "2"]}}, problems.NOT_A_DIMENSION),
    ],
)
def test_a_target_of_the_wrong_kind_is_refused(fit: Fit, params: dict[str, Any], code: str) -> None:
    tables = changed(flat=lambda part: -np.ones(len(part["x"])))
    with pytest.raises(NodeFailure) as caught:
        fit(tables, **params)
    assert caught.value.code == code


def test_a_class_without_rows_is_never_predicted(fit: Fit) -> None:
    tables = changed(outcome=lambda part: np.where(part["outcome"] == "dead", "ill", part["outcome"]).astype(object))
    classes = ["cured", "ill", "dead"]
    content = fit(tables, family="multinomial", target="outcome", l2=0.0, domains={**DOMAINS, "outcome": classes})
    binary = fit([{**part, "bad": (part["outcome"] == "ill").astype(int)} for part in tables], family="logistic", target="bad", l2=0.0)

    assert warned(content) == {"classes_absent": ["dead"]}
    assert content["classes"] == ["cured", "ill"]
    np.testing.assert_allclose(content["coefficients"][5:], binary["coefficients"], rtol=1e-6)
    assert content["metrics"]["log_loss"] == pytest.approx(binary["metrics"]["log_loss"], rel=1e-9)


def test_too_few_rounds_are_told(fit: Fit) -> None:
    assert warned(fit(family="logistic", target="bad", l2=0.0, max_rounds=2)) == {"not_converged": []}


def test_no_more_rows_than_parameters_is_told(fit: Fit) -> None:
    features = ["x", "big", "grade", "years", "visits", "held", "kind", "bad", "flat"]
    content = fit([{name: values[:3] for name, values in part.items()} for part in TABLES], {"minimum_cohort": 1},
                  family="linear", target="price", features=features, l2=0.0)
    assert content["inference"]["available"] is False
    assert content["inference"]["reason"]["code"] == "inference_no_degrees"


def test_a_large_first_step_does_not_carry_counts_away(fit: Fit) -> None:
    tables = changed(visits=lambda part: np.round(np.exp(3 * np.abs(part["x"]))).astype(int))
    content = fit(tables, family="poisson", target="visits", features=["x"], l2=0.0, domains={})
    everything = pooled(tables)
    reference = sm.GLM(everything["visits"], sm.add_constant(everything["x"]), family=sm.families.Poisson()).fit(tol=1e-13, maxiter=200)
    assert content["original"]["coefficients"][0] == pytest.approx(reference.params[1], rel=1e-6)


def test_rows_left_out_count_for_the_guard_against_differencing() -> None:
    """Two models, one of them without three rows, would tell about these three together."""
    few = changed(flat=lambda part: np.where(np.arange(len(part["x"])) < 3, np.nan, part["x"] ** 2))
    many = changed(flat=lambda part: np.where(np.arange(len(part["x"])) < 30, np.nan, part["x"] ** 2))
    params = {"resource": "cases", "family": "linear", "target": "price", "features": ["x"], "domains": {}}
    for tables, fine in ((few, False), (many, True)):
        with LocalFederation({f"node-{place}": {"cases": LocalResource.arrays(part, SCHEMA)} for place, part in enumerate(tables)}) as made:
            made.run("regression", params)
            again = {**params, "features": ["x", "flat"]}
            if fine:
                assert made.run("regression", again)["rows"] == 510
                continue
            with pytest.raises(NodeFailure) as caught:
                made.run("regression", again)
            assert caught.value.code == problems.DIFFERENCING_REFUSED
            assert made.run("regression", {**again, "impute": {"numbers": "mean"}})["rows"] == 600
