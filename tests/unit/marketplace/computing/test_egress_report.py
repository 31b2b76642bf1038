"""The report on a candidate output: identifiers wherever they hide, groups, memory; and no false alarm on honest results."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.computing import egress
from marketplace.computing.egress import identifiers, memory
from marketplace.computing.egress.texts import CODES, KINDS, Finding
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

from .test_egress_checks import GRANT, STATISTICS

ID, CREDIT, MOBILE, CARD = "11010519491231002X", "91110000600037341L", "13812345678", "6222600260001072444"
DP = GRANT.model_copy(update={"release": "dp"})
TABLE: dict[str, Any] = {
    "kind": "table", "sql": "SELECT wd, count(*) AS n, avg(pm25) AS mean FROM air GROUP BY wd",
    "columns": [{"name": "wd", "type": "VARCHAR"}, {"name": "n", "type": "BIGINT"}, {"name": "mean", "type": "DOUBLE"}],
    "rows": [["N", 40, 80.25], ["S", 35, 71.5], ["E", 21, 66.125]], "suppressed": 1, "cells": 4, "rows_used": 100, "departments": 3,
    "minimum_cohort": 10, "release": "exact", "notes": []}
TREES: dict[str, Any] = {
    "kind": "model", "family": "boosted_trees", "objective": "reg:squarederror", "target": "y", "minimum_rows": 10, "rows": 5000,
    "departments": 3, "rounds": 1, "features": [{"name": "x", "type": "number", "bins": 8}],
    "metrics": {"train": {"rows": 4000, "r2": 0.80}, "validation": {"rows": 1000, "r2": 0.79}},
    "model": {"learner": {"gradient_booster": {"model": {"trees": [
        {"left_children": [1, -1, -1], "sum_hessian": [4000.0, 30.0, 3970.0]}]}}}}}
REGRESSION: dict[str, Any] = {
    "kind": "model", "family": "logistic", "target": "y", "coefficients": [0.5], "intercept": 0.1, "rows": 4000,
    "features": [{"name": "x", "type": "number", "mean": 0.0, "sd": 1.0}],
    "evaluation": {"in_sample": {"rows": 3000, "auc": {"value": 0.81}}, "held_out": {"rows": 1000, "auc": {"value": 0.80}}}}
AUDIT = {"method": "lira", "departments": 3, "passed": 3, "failed": 0, "undecided": 0, "limit": 0.05, "false_positive_rate": 0.01,
         "confidence": 0.95, "shadow_models": 16}


def report(content: dict[str, Any], form: str = "statistics", *, rows: int = 100, grant: Any = GRANT) -> dict[str, Any]:
    made = egress.build(form, content, grant, egress.Origin(
        job_id="job_1", run_id="run_1", grant_id="grant_1", grant_digest="sha256:1", app="query", app_version="1", app_digest="sha256:2",
        output_digest="sha256:3", departments=[{"node_id": f"n{n}", "name": f"n{n}", "software_version": "1"} for n in range(3)],
        resources=[{"name": "air", "columns": ["pm25"]}]), rows=rows)
    assert json.loads(json.dumps(made)) == made
    assert made["severity"] == made["findings"][0]["severity"]
    for one in made["findings"]:
        assert "{" not in one["zh"] + one["en"], one
    return made


def codes(made: dict[str, Any], severity: str | None = None) -> list[str]:
    return [one["code"] for one in made["findings"] if severity in (None, one["severity"])]


def planted(content: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    made = copy.deepcopy(content)
    change(made)
    return made


# --- honest results ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "form"), [(STATISTICS, "statistics"), (TABLE, "statistics"), (TREES, "model"), (REGRESSION, "model")])
def test_an_honest_result_has_nothing_against_it(content: dict[str, Any], form: str) -> None:
    made = report(content, form, rows=30)
    assert codes(made, "fail") == egress.blocking(made) == []
    assert "identifiers_none" in codes(made)
    assert made["lineage"]["grant"]["purpose"] == GRANT.purpose
    assert {"shuyan", "flwr", "duckdb"} <= set(made["lineage"]["software"])
    assert made["cohorts"]["departments"] == len(made["lineage"]["departments"]) == 3


def test_real_results_of_every_app_have_nothing_against_them() -> None:
    import numpy as np

    def table(seed: int) -> dict[str, Any]:
        random = np.random.default_rng(seed)
        rows = 400
        return {"amount": random.normal(4e6, 1e5, rows), "age": random.integers(18, 90, rows), "paid": random.integers(0, 2, rows),
                "district": random.choice(["城东区", "城西区", "沿河区"], rows).astype(object)}

    schema = {"amount": Column("amount", "number", lower=0, upper=1e7), "age": Column("age", "integer"),
              "paid": Column("paid", "integer"), "district": Column("district", "string", domain=("城东区", "城西区", "沿河区"))}
    model = {"resource": "cases", "target": "paid", "features": ["amount", "age", "district"]}
    jobs: list[tuple[str, dict[str, Any]]] = [
        ("statistics", {"resource": "cases", "columns": ["amount", "age"], "group_by": [[], ["district"]]}),
        ("query", {"sql": "SELECT district, count(*) AS n, avg(amount) AS mean, sum(amount) AS total FROM cases GROUP BY district"}),
        ("regression", {**model, "family": "logistic"}), ("boosting", {**model, "rounds": 5, "validation": 0.2}),
        ("network", {**model, "rounds": 2, "validation": 0.2}),
    ]
    with LocalFederation({f"node-{seed}": {"cases": LocalResource.arrays(table(seed), schema)} for seed in range(3)}) as federation:
        for app, params in jobs:
            content = federation.run(app, params)
            form = federation.apps[app].manifest.output_form
            assert codes(report(content, form, rows=1200), "fail") == [], app


@given(st.lists(st.tuples(st.floats(-1e9, 1e9, allow_nan=False), st.integers(10, 10**9)), min_size=1, max_size=30))
def test_figures_alone_are_hardly_ever_taken_for_identifiers(rows: list[tuple[float, int]]) -> None:
    content = {**TABLE, "rows": [["N", count, value] for value, count in rows]}
    assert codes(report(content), "fail") == []


# --- identifiers -----------------------------------------------------------------------------------------------------

PLACES: dict[str, tuple[dict[str, Any], str, Callable[[dict[str, Any], Any], None]]] = {
    "a group's value": (STATISTICS, "statistics", lambda c, v: c["tables"][0]["cells"][0]["group"].__setitem__("year", v)),
    "a group's name": (STATISTICS, "statistics", lambda c, v: c["tables"][0]["cells"][0]["group"].__setitem__(v, "2013")),
    "a column's name": (STATISTICS, "statistics", lambda c, v: c["tables"][0]["cells"][0]["columns"].__setitem__(
        v, {"count": 20, "sum": 40.0, "mean": 2.0, "variance": 1.0, "sd": 1.0})),
    "a cell of a table": (TABLE, "statistics", lambda c, v: c["rows"][0].__setitem__(0, v)),
    "a column of a table": (TABLE, "statistics", lambda c, v: c["columns"][0].__setitem__("name", v)),
    "the query": (TABLE, "statistics", lambda c, v: c.__setitem__("sql", c["sql"].replace("GROUP", f"WHERE who = '{v}' GROUP"))),
    "a level": (TREES, "model", lambda c, v: c["features"].append({"name": "kind", "type": "category", "levels": ["a", v]})),
    "a feature's name": (REGRESSION, "model", lambda c, v: c["features"][0].__setitem__("name", v)),
    "a target": (TREES, "model", lambda c, v: c.__setitem__("target", v)),
    "a warning": (REGRESSION, "model", lambda c, v: c.__setitem__("warnings", [{"code": "x", "terms": [v], "zh": "", "en": ""}])),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("kind", "text"), [
    ("resident_id", ID), ("resident_id", f"证件号{ID}，已核"), ("credit_code", CREDIT), ("mobile", MOBILE), ("mobile", "+86 138-1234-5678"),
    ("bank_card", CARD), ("email", "li.lei@example.cn"), ("licence_plate", "京A12345"), ("ip_address", "10.20.30.40")])
def test_a_strong_identifier_fails_wherever_it_stands(place: str, kind: str, text: str) -> None:
    content, form, put = PLACES[place]
    if place == "the query" and kind == "ip_address":
        return  # an address is not looked for in longer text
    made = report(planted(content, lambda c: put(c, text)), form)
    against = [one for one in made["findings"] if one["severity"] == "fail"]
    assert [(one["code"], one["args"]["kind"]) for one in against][:1] == [("identifiers_strong", kind)]
    # A report never repeats what it found, but for names of fields, which the reviewer has to be able to find.
    if place in ("a group's value", "a cell of a table", "the query", "a level", "a target", "a warning"):
        assert text not in json.dumps(made, ensure_ascii=False)


@pytest.mark.parametrize(("column", "values", "severity"), [
    ("who", [13812345678, 13912345678, 15012345678], "fail"), ("who", [13812345678, 12, 14], "notice"),
    ("手机号", [13812345678, 12, 14], "fail"), ("serial", [4111111111111111, 5500000000000004, 6011000000000004], "fail"),
    ("who", [float(ID[:17] + "0"), 12, 14], "notice"), ("id_card", [float(ID[:17] + "0"), 12, 14], "fail"),
    ("total", [13_812_345_678.5, 14.0, 15.0], None), ("total", [12_345_678, 13_812, 4.5e15], None),
])
def test_numbers_are_identifiers_when_a_column_is_full_of_them(column: str, values: list[float], severity: str | None) -> None:
    content = planted(TABLE, lambda c: (c["columns"].append({"name": column, "type": "DOUBLE"}),
                                        [row.append(value) for row, value in zip(c["rows"], values, strict=True)]))
    found = [one for one in report(content)["findings"] if one["code"].startswith("identifiers_") and one["severity"] != "pass"]
    assert [one["severity"] for one in found] == ([severity] if severity else [])


def test_weak_kinds_are_told_and_fail_nothing() -> None:
    for values, kind in ((["张伟", "王芳", "李娜"], "person_name"), (["010-62781234"] * 3, "landline"),
                         (["北京市海淀区中关村大街27号", "N", "S"], "address"), (["116.3974,39.9093"] * 3, "coordinates")):
        made = report({**TABLE, "rows": [[value, 40, 1.5] for value in values]})
        assert codes(made, "fail") == []
        assert [one["args"]["kind"] for one in made["findings"] if one["code"] == "identifiers_weak"] == [kind]
    assert "identifiers_weak" not in codes(report({**TABLE, "rows": [[value, 40, 1.5] for value in ("高", "东北", "冬季", "N")]}))


def test_one_card_among_long_codes_is_chance() -> None:
    codes_ = ["4539578763621486", *(str(4000000000000001 + 7 * place) for place in range(12))]
    codes_ = [codes_[0], *(code for code in codes_[1:] if not identifiers.is_bank_card(code))]
    assert len(codes_) > 5
    assert codes(report({**TABLE, "rows": [[code, 40, 1.5] for code in codes_]}), "fail") == []


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_are_counted_by_size() -> None:
    made = report(TABLE)["cohorts"]
    assert (made["minimum"], made["smallest"], made["count"]) == (10, 21, 3)
    assert dict(zip(made["edges"], made["counts"], strict=True)) == {0: 0, 10: 0, 20: 3, 50: 0, 100: 0, 1000: 0, 10000: 0}
    small = report(planted(TABLE, lambda c: c["rows"][0].__setitem__(1, 3)))
    assert codes(small, "fail") == ["cohorts_small"]
    noisy = report({**TABLE, "release": "dp", "privacy": {"unit": "person", "rho_nano": 10**8, "epsilon": 2.1, "delta": 1e-6}}, grant=DP)
    assert {"cohorts_noisy", "release_noisy"} <= set(codes(noisy, "pass"))
    assert report({**TABLE, "sql": "SELECT avg(pm25) AS mean FROM air"})["cohorts"]["count"] in (0, 3)


def test_groups_in_which_all_are_alike_and_rows_that_stand_out_are_told() -> None:
    def cell(**figures: float) -> dict[str, Any]:
        changed = copy.deepcopy(STATISTICS)
        changed["tables"][0]["cells"][0]["columns"]["pm25"] = {"sd": 0.0, **figures}
        return changed

    assert "cells_alike" in codes(report(cell(count=20, sum=40.0, mean=2.0, variance=0.0)), "notice")
    # nineteen rows of 1 and one of 1000
    assert "cells_dominated" in codes(report(cell(count=20, sum=1019.0, mean=50.95, variance=49900.05)), "notice")
    assert "cells_dominated" not in codes(report(STATISTICS))


# --- what is remembered ------------------------------------------------------------------------------------------------


def test_more_numbers_than_rows_and_numbers_put_together_are_told() -> None:
    assert "size_of_rows" in codes(report(TABLE, rows=3), "notice")
    joined = planted(TABLE, lambda c: c["rows"][0].__setitem__(2, 8_025_013_800_421_337))
    assert "long_numbers" in codes(report(joined), "notice")
    assert "long_texts" in codes(report(planted(TABLE, lambda c: c["rows"][0].__setitem__(0, "很" * 300))), "notice")


def test_models_are_measured_against_their_rows() -> None:
    assert memory.count_parameters(TREES) == 4
    assert memory.count_parameters(REGRESSION) == 2
    assert memory.count_parameters({"family": "neural_network", "layers": [
        {"weights": [[1.0, 2.0]] * 3, "biases": [0.0, 0.0]}]}) == 8
    assert "parameters_many" in codes(report({**TREES, "rows": 12}, "model"), "notice")
    leaf = planted(TREES, lambda c: c["model"]["learner"]["gradient_booster"]["model"]["trees"][0]["sum_hessian"].__setitem__(1, 4.0))
    assert codes(report(leaf, "model"), "fail") == ["leaves_small"]
    for r2, severity in ((0.79, "pass"), (0.70, "notice"), (0.40, "fail")):
        made = report(planted(TREES, lambda c, r2=r2: c["metrics"]["validation"].__setitem__("r2", r2)), "model")
        assert [one["severity"] for one in made["findings"] if one["code"].startswith("gap")] == [severity]
    assert "gap_unknown" in codes(report({**TREES, "metrics": {"train": {"rows": 4000, "r2": 0.8}}}, "model"), "notice")


def test_noise_and_not_the_model_says_whether_small_leaves_matter() -> None:
    privacy = {"unit": "person", "rho_nano": 10**8, "epsilon": 2.1, "delta": 1e-6}
    small = {**TREES, "minimum_rows": 0, "privacy": privacy}
    noisy = report(small, "model", grant=DP)
    assert codes(noisy, "fail") == []
    assert "membership_bounded" in codes(noisy, "pass")
    claimed = report(small, "model")
    assert codes(claimed, "fail") == ["leaves_small"]
    assert "membership_not_tried" in codes(claimed, "notice")


@pytest.mark.parametrize(("audit", "code", "severity"), [
    ({}, "membership_passed", "pass"), ({"passed": 2, "failed": 1}, "membership_failed", "fail"),
    ({"passed": 1, "undecided": 2}, "membership_undecided", "notice"), ({"limit": 0.2}, "membership_lenient", "notice")])
def test_the_departments_verdicts_are_told(audit: dict[str, Any], code: str, severity: str) -> None:
    made = report({**TREES, "audit": {**AUDIT, **audit}}, "model")
    assert code in codes(made, severity)
    assert made["membership"]["departments"] == 3
    assert "membership_not_tried" in codes(report(TREES, "model"), "notice")


@pytest.mark.parametrize("content", [
    {"kind": "statistics", "tables": {"a": 1}, "histograms": None}, {"kind": "statistics", "tables": [[1, 2]]},
    {"kind": "table", "sql": "SELECT count(*) FROM air", "columns": ["n"], "rows": [["x"]]},
    {"kind": "model", "family": "boosted_trees", "target": "y"}, {"kind": "model", "family": "neural_network", "layers": 3, "rows": "many"},
    {"kind": "model", "audit": {"failed": 0}, "privacy": {}, "evaluation": [], "warnings": ["x"]}, {}])
@pytest.mark.parametrize("form", ["statistics", "model"])
def test_content_of_any_form_gets_a_report(content: dict[str, Any], form: str) -> None:
    made = report({**content, "note": MOBILE}, form)
    assert "identifiers_strong" in egress.blocking(made)


def test_every_finding_has_both_languages() -> None:
    used = {"texts": 1, "values": 1, "where": "x", "count": 1, "kind_zh": "x", "kind_en": "x", "share": "1%"}
    assert Finding("identifiers_weak", "notice", used).as_json()["en"].startswith("Like ")
    assert len(CODES) > 25
    assert all(zh and en for zh, en in KINDS.values())


@pytest.mark.parametrize(("small", "told"), [(1, "1 count shown is below"), (3, "3 counts shown are below")])
def test_what_is_counted_agrees_with_its_number(small: int, told: str) -> None:
    finding = Finding("cohorts_small", "notice", {"small": small, "minimum": 10}).as_json()
    assert finding["en"].startswith(told)
    assert f"有 {small} 个" in finding["zh"]
    assert finding["args"] == {"small": small, "minimum": 10}
