"""Statistics with differential privacy on a local federation: what is released, what it costs, and what is refused."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from departments import PARAMS, SCHEMA, TERMS, federation, visits

from shuyan.federation.apps.base import installed
from shuyan.federation.apps.statistics import StatisticsParams
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.privacy import accounting
from shuyan.federation.privacy.bounding import NOISY_COUNT, Scale
from shuyan.federation.ring import decode
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms, SoleValues

MUCH = {"rho_nano": 10**15}


def test_with_much_to_spend_the_figures_are_those_of_the_bounded_rows() -> None:
    tables = [visits(seed, 400, people=100) for seed in range(3)]
    params = {**PARAMS, "rho_nano": 10**15, "bounds": {"cost": [10.0, 60.0]},
              "histograms": [{"column": "cost", "lower": 0.0, "upper": 100.0, "bins": 4}]}
    with federation(tables, max_rows_per_unit=4, rho_nano=10**15) as departments:
        content = departments.run("statistics", params)
    installed()["statistics"].load().content_model.model_validate_json(json.dumps(content))  # type: ignore[union-attr]
    ward, cost = (np.concatenate([table[name] for table in tables]) for name in ("ward", "cost"))
    clamped = np.clip(cost, 10, 60)
    assert content["rows"] == pytest.approx(1200, abs=12)  # the cohort's noise has no grain finer than one
    assert content["histograms"][0]["counts"] == np.histogram(cost, bins=4, range=(0, 100))[0].tolist()
    for table in content["tables"]:
        for cell in table["cells"]:
            mine = clamped[ward == cell["group"]["ward"]] if cell["group"] else clamped
            found = cell["columns"]["cost"]
            assert (cell["rows"], found["count"]) == (len(mine), len(mine))
            assert found["sum"] == pytest.approx(mine.sum(), rel=1e-4)
            assert found["mean"] == pytest.approx(mine.mean(), rel=1e-4)
            assert found["variance"] == pytest.approx(mine.var(ddof=1), rel=1e-3)


def test_no_more_rows_of_a_unit_than_the_grant_says() -> None:
    with federation([visits(seed, 400, people=100) for seed in range(3)], max_rows_per_unit=2, rho_nano=10**15) as departments:
        assert departments.run("statistics", {**PARAMS, **MUCH})["tables"][0]["cells"][0]["rows"] == 600


def test_the_result_says_what_it_cost() -> None:
    with federation() as departments:
        content = departments.run("statistics", PARAMS)
        spent = {node.ledger.spent() for node in departments.nodes.values()}
    assert spent == {content["privacy"]["rho_nano"]}
    assert 0.97 * 10**7 < content["privacy"]["rho_nano"] <= 10**7
    assert content["privacy"]["epsilon"] == accounting.epsilon(content["privacy"]["rho_nano"], 1e-6)
    noise = content["tables"][0]["cells"][0]["noise"]
    assert noise["half_width"] == pytest.approx(1.96 * noise["sd"], rel=1e-4)
    # Four vectors share the budget, and two tables are in each; two of the three departments' noise must suffice.
    needed = math.sqrt(accounting.variance_for(content["privacy"]["rho_nano"] * 49 // 50 // 4, math.sqrt(2)))
    assert noise["sd"] == pytest.approx(needed * math.sqrt(3 / 2), rel=1e-3)


def test_a_job_that_does_not_say_spends_a_hundredth() -> None:
    with federation() as departments:
        content = departments.run("statistics", {name: value for name, value in PARAMS.items() if name != "rho_nano"})
    assert 0.97 * 10**7 < content["privacy"]["rho_nano"] <= 10**7


def test_the_same_question_costs_once_and_answers_the_same() -> None:
    with federation() as departments:
        first = departments.run("statistics", PARAMS)
        assert departments.run("statistics", PARAMS) == first
        assert departments.nodes["d0"].ledger.spent() == first["privacy"]["rho_nano"]
        other = departments.run("statistics", {**PARAMS, "edition": "2026-12"})
        assert other["tables"] != first["tables"]
        assert departments.nodes["d0"].ledger.spent() == 2 * first["privacy"]["rho_nano"]


def test_when_the_grants_budget_is_spent_the_run_ends() -> None:
    with federation(rho_nano=25 * 10**6) as departments:
        for edition in "ab":
            departments.run("statistics", {**PARAMS, "edition": edition})
        with pytest.raises(NodeFailure) as refused:
            departments.run("statistics", {**PARAMS, "edition": "c"})
        assert (refused.value.code, refused.value.retryable) == ("budget_exhausted", False)
        assert refused.value.args_["renews"] == "—"
        # What was paid for can still be had.
        departments.run("statistics", {**PARAMS, "edition": "a"})


def test_a_budget_that_runs_out_ends_a_run_of_many_rounds() -> None:
    """Each round of a training is charged by itself; the run is to spend all, and half is spent already."""
    tables = [{**visits(seed), "sick": np.arange(400) % 2} for seed in range(3)]
    schema = {**SCHEMA, "sick": Column("sick", "integer")}
    resources = {f"d{seed}": {"visits": LocalResource.arrays(table, schema)} for seed, table in enumerate(tables)}
    training = {"resource": "visits", "target": "sick", "features": ["cost"], "hidden": [], "update": "gradient",
                "row_clip": 1.0, "standardise": "bounds", "bounds": {"cost": [0.0, 100.0]}, "rounds": 10, "rho_nano": 10**9,
                "domains": {}}
    terms = PrivacyTerms.model_validate(TERMS)
    with LocalFederation(resources, grant={"release": "dp", "privacy": terms}) as departments:
        departments.run("statistics", {**PARAMS, "rho_nano": 5 * 10**8})
        steps: list[str] = []
        grid = departments.grid("network", training, progress=lambda _round, _of, code, **_: steps.append(code))
        with pytest.raises(NodeFailure, match="budget_exhausted"):
            departments.apps["network"].load().run(grid)
        assert steps.count("round_finished") in (4, 5)
        assert all(85 * 10**7 <= node.ledger.spent() <= 10**9 for node in departments.nodes.values())
        # A cancelled run asks nothing more, and what was answered can be had again.
        departments.run("statistics", {**PARAMS, "rho_nano": 5 * 10**8})


def test_a_departments_cap_binds_all_grants() -> None:
    with federation() as departments:
        departments.nodes["d1"].ledger.caps["visits"] = 10**6
        with pytest.raises(NodeFailure, match="visits"):
            departments.run("statistics", PARAMS)
        assert departments.nodes["d1"].ledger.spent() == 0


def test_declared_bounds_are_filled_in() -> None:
    with federation() as departments:
        content = departments.run("statistics", {name: value for name, value in PARAMS.items() if name != "bounds"})
    assert content["privacy"]["bounds"] == {"cost": [0.0, 100.0]}


def test_bounds_are_needed() -> None:
    with federation() as departments, pytest.raises(ProblemError, match="bounds_missing"):
        departments.run("statistics", {**PARAMS, "bounds": {}})


@pytest.mark.parametrize("bounds", [[1.0, 1.0], [2.0, 1.0], [0.0, 5e-324], [0.0, 1e400], [0.0], "wide"])
def test_bounds_that_bound_nothing_are_refused(bounds: Any) -> None:
    with federation() as departments, pytest.raises(ProblemError, match="bad_params"):
        departments.run("statistics", {**PARAMS, "bounds": {"cost": bounds}})


def test_too_little_to_divide_is_refused() -> None:
    with federation() as departments, pytest.raises(ProblemError, match="budget_too_small"):
        departments.run("statistics", {**PARAMS, "rho_nano": 3})


def test_an_app_without_noise_is_not_run() -> None:
    with federation() as departments:
        grid = departments.grid("statistics", PARAMS)
        with pytest.raises(ProblemError, match="noise_undeclared"):
            grid.secure_sum("query.tally", expect={"rows": 4})
        with pytest.raises(ProblemError, match="noise_undeclared"):
            grid.secure_sum("query.noisy_tally", expect={"rows": 4})  # not all that was declared


def test_the_units_column_bounds_and_is_not_granted() -> None:
    with federation() as departments, pytest.raises(NodeFailure, match="pid"):
        departments.run("statistics", {**PARAMS, "columns": ["pid"], "bounds": {"pid": [0.0, 1.0]}})


def test_an_exact_grant_has_no_noisy_question() -> None:
    with LocalFederation({f"d{seed}": {"visits": LocalResource.arrays(visits(seed), SCHEMA)} for seed in range(3)}) as exact:
        grid = exact.grid("statistics", PARAMS)
        with pytest.raises(NodeFailure, match="unknown_action"):
            grid.secure_sum("query.noisy_tally", expect={"rows": 4, "count": 4, "sum": 4, "square": 4})
        assert exact.run("statistics", PARAMS)["rows"] == 1200


def test_what_is_one_departments_own_is_kept_back_by_its_node() -> None:
    with federation(rho_nano=10**15) as departments:
        grant = departments.grant.model_copy(update={"sole_values": (
            SoleValues(resource="visits", column="ward", values=("c",)),)})
        departments.grant, departments.grant_jws = grant, departments.sign(grant)
        table = departments.run("statistics", {**PARAMS, **MUCH})["tables"][1]
        (words,) = departments.nodes["d0"].ledger._answers.values()
    _, _, second, third = decode(words["rows"], NOISY_COUNT.fraction_bits)
    assert second > 50
    assert abs(third) < 1
    assert [cell["group"]["ward"] for cell in table["cells"]] == ["a", "b"]
    assert table["suppressed"] == 1


def test_nothing_exact_leaves() -> None:
    """Every byte carried, searched for people's numbers; and the number of rows is noisy as well."""
    tables = [{**visits(seed), "pid": np.array([f"canary-{number}" for number in range(400)])} for seed in range(3)]
    with federation(tables, record=True) as departments:
        content = departments.run("statistics", {**PARAMS, "rho_nano": 10**5})
        carried = repr(departments.transport.carried)
    assert "canary" not in carried
    assert content["rows"] != 1200


def test_few_rows_do_not_decide_whether_there_is_an_answer() -> None:
    """A refusal would be an exact answer to whether a department has so many rows."""
    with federation([visits(seed, rows) for seed, rows in enumerate((400, 400, 1))]) as departments:
        assert departments.run("statistics", PARAMS)["departments"] == 3


def test_a_mean_of_almost_nobody_is_left_out() -> None:
    with federation([visits(seed, 10) for seed in range(3)]) as departments:
        cell = departments.run("statistics", {**PARAMS, "rho_nano": 10**5})["tables"][0]["cells"][0]
    assert cell["columns"]["cost"]["mean"] is None
    assert set(cell["columns"]["cost"]["noise"]) == {"count", "sum"}


def test_the_middle_of_bounds_does_not_overflow() -> None:
    scale = Scale(-1.7e308, 1.7e308)
    assert scale.middle == 0
    assert math.isfinite(scale.half)
    assert StatisticsParams.model_validate({"resource": "visits", "columns": []}).edition == ""
