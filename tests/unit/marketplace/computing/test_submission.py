"""What is checked before a job is queued, and that nothing is queued twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select
from tests.factories.federation import PARAMS, Zone

from marketplace import db
from marketplace.actor import Actor
from marketplace.authorisation.models import GrantRecord
from marketplace.catalogue.models import DataResource
from marketplace.computing import service as computing
from marketplace.computing.models import Job
from marketplace.computing.submission import field_of, union
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

MODEL: dict[str, Any] = {"resource": "air", "family": "linear", "target": "pm25", "features": ["year", "wind"]}


def submit(market: Zone, *, params: dict[str, Any] | None = None, app: str = "statistics", key: str = "k",
           actor: Actor | None = None, **changes: Any) -> Job:
    with db.transaction() as session:
        return computing.submit_job(session, actor or market.developer, grant_id=changes.get("grant_id", market.grant_id),
                                    app=app, params=PARAMS if params is None else params, idempotency_key=key,
                                    title=changes.get("title", ""))


def refused(market: Zone, **options: Any) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        submit(market, **options)
    with db.reading() as session:
        assert session.exec(select(Job)).all() == []
    return refusal.value


def test_a_good_job_is_queued_with_the_departments_domains_and_leaves_a_trace(small_market: Zone) -> None:
    market = small_market
    job = submit(market)
    assert (job.status, job.organisation_id) == ("queued", market.developer.organisation_id)
    assert job.params["domains"] == {"year": ["2013", "2014"]}
    with db.reading() as session:
        (event,) = trust.events_for(session, job.id)
        assert event.tag == "computing:job:submitted"
        assert [e.index for e in trust.events_for(session, market.grant_id)][-1] == event.index
        assert [line.code for line in computing.job_log(session, market.developer, job.id)] == ["job_queued"]


def test_words_become_categories_and_numbers_stay_numbers(small_market: Zone) -> None:
    job = submit(small_market, app="regression", params=MODEL)
    assert job.params["domains"] == {"wind": ["N", "S"]}
    assert job.params["l2"] == 1.0


def test_what_a_parameter_means_may_hang_on_declared_values(small_market: Zone) -> None:
    small_market.grant_id = small_market.grant(apps=["boosting"])
    params = {"resource": "air", "target": "wind", "features": ["pm25", "year"], "objective": "multi:softprob"}
    job = submit(small_market, app="boosting", params=params)  # its classes are those of the column
    assert job.params["domains"]["wind"] == ["N", "S"]
    with pytest.raises(ProblemError, match="param_invalid"):
        submit(small_market, app="boosting", params={**params, "target": "remark"}, key="k2")


def test_bounds_go_along_where_an_app_asks_for_them(small_market: Zone) -> None:
    redeclare(small_market, 0, "pm25", lower=-5.0, upper=100.0)
    redeclare(small_market, 1, "pm25", lower=0.0, upper=900.0)
    assert submit(small_market).params["bounds"] == {}  # one department declares none
    redeclare(small_market, 2, "pm25", lower=0.0, upper=100.0)
    assert submit(small_market, key="k2", params={**PARAMS, "bounds": {"pm25": [1.0, 2.0]}}).params["bounds"] == {
        "pm25": [-5.0, 900.0]}


def test_parameters_that_need_bounds_have_those_declared(small_market: Zone) -> None:
    small_market.grant_id = small_market.grant(apps=["network"])
    params = {"resource": "air", "target": "year", "task": "number", "features": ["pm25"], "standardise": "bounds"}
    for department in range(3):
        redeclare(small_market, department, "pm25", lower=0.0, upper=100.0 + department)
    with pytest.raises(ProblemError, match="bounds_missing") as refused:
        submit(small_market, app="network", params=params)
    assert refused.value.args_ == {"column": "year"}
    for department in range(3):
        redeclare(small_market, department, "year", lower=2013.0, upper=2014.0)
    assert submit(small_market, app="network", params=params, key="k2").params["bounds"] == {"pm25": [0.0, 102.0], "year": [2013.0, 2014.0]}


def test_the_developer_does_not_choose_the_domains(small_market: Zone) -> None:
    job = submit(small_market, params={**PARAMS, "domains": {"year": ["2013"]}})
    assert job.params["domains"] == {"year": ["2013", "2014"]}


@pytest.mark.parametrize(("params", "code", "field"), [
    ({**PARAMS, "columns": ["pm10"]}, "unknown_column", "params.columns.0"),
    ({**PARAMS, "columns": ["pm25", "remark"]}, "wrong_type", "params.columns.1"),
    ({**PARAMS, "columns": ["sensor"]}, "column_not_granted", "params.columns.0"),
    ({**PARAMS, "group_by": [[], ["remark"]]}, "not_a_dimension", "params.group_by.1.0"),
    ({**PARAMS, "group_by": [["pm25"]]}, "not_a_dimension", "params.columns.0"),
    ({**PARAMS, "resource": "water"}, "resource_not_granted", "params.resource"),
    ({"columns": ["pm25"]}, "param_missing", "params.resource"),
    ({**PARAMS, "limit": 3}, "param_unknown", "params.limit"),
    ({**PARAMS, "columns": "pm25"}, "param_wrong_type", "params.columns"),
    ({**PARAMS, "columns": [False]}, "param_wrong_type", "params.columns.0"),
    ({**PARAMS, "histograms": [{"column": "pm25", "lower": 0.0, "upper": 1.0, "bins": 0}]}, "param_invalid",
     "params.histograms.0.bins"),
    ({**PARAMS, "columns": [float("nan")]}, "param_invalid", "params"),
])
def test_bad_parameters_name_the_field(small_market: Zone, params: dict[str, Any], code: str, field: str) -> None:
    problem = refused(small_market, params=params)
    assert (problem.code, problem.field) == (code, field)
    assert "?" not in problem.text("zh") + problem.text("en")


def redeclare(market: Zone, department: int, column: str, **changes: Any) -> None:
    """A department declares a column of its own another way."""
    with db.transaction() as session:
        row = session.get_one(DataResource, market.departments[department].resource_id)
        row.columns = [{**found, **changes} if found["name"] == column else found for found in row.columns]


def test_a_dimension_has_the_values_of_all_departments(small_market: Zone) -> None:
    redeclare(small_market, 0, "year", domain=["2013", "2015"])
    redeclare(small_market, 1, "wind", domain=["S", "calm", "E"])
    job = submit(small_market, params={**PARAMS, "group_by": [["year"], ["wind"]]})
    assert job.params["domains"]["year"] == ["2013", "2014", "2015"]
    assert sorted(job.params["domains"]["wind"]) == ["E", "N", "S", "calm"]


def test_what_only_some_departments_declare_is_no_dimension(small_market: Zone) -> None:
    redeclare(small_market, 0, "year", domain=[])
    assert refused(small_market).code == "not_a_dimension"


@pytest.mark.parametrize(("domains", "merged"), [
    ([["2013", "2014"], ["2012", "2013"]], ["2012", "2013", "2014"]),
    ([["9", "10"], ["8", "11"]], ["8", "9", "10", "11"]),
    ([["low", "middle", "high"], ["low", "highest"]], ["low", "middle", "high", "highest"]),
    ([["N", "S"], ["E", "N"]], ["E", "N", "S"]),
    ([], []),
])
def test_values_of_several_departments_keep_an_order(domains: list[list[str]], merged: list[str]) -> None:
    assert union(domains) == merged


@given(domains=st.lists(st.lists(st.text(max_size=3), unique=True), max_size=4))
def test_a_union_has_each_value_once(domains: list[list[str]]) -> None:
    merged = union(domains)
    assert len(set(merged)) == len(merged)
    assert set(merged) == {value for values in domains for value in values}


def test_departments_must_agree_on_a_type(small_market: Zone) -> None:
    redeclare(small_market, 0, "pm25", type="string")
    problem = refused(small_market)
    assert (problem.code, problem.field) == ("column_types_differ", "params.columns.0")
    assert problem.text("zh").endswith("无法合并计算：string（监测站0）、number（监测站1、监测站2）。")


def test_whole_numbers_and_numbers_go_together(small_market: Zone) -> None:
    redeclare(small_market, 0, "pm25", type="integer")
    assert submit(small_market).status == "queued"


def test_departments_must_count_in_one_unit(small_market: Zone) -> None:
    redeclare(small_market, 0, "pm25", unit="ug/m^3")  # another spelling of the same
    submit(small_market)
    redeclare(small_market, 1, "pm25", unit="mg/m³")
    with pytest.raises(ProblemError) as refusal:
        submit(small_market, key="k2")
    assert (refusal.value.code, refusal.value.field) == ("units_differ", "params.columns.0")
    assert "mg/m³（监测站1）" in refusal.value.text("zh")


def test_the_question_is_another_once_the_data_are_described_another_way(small_market: Zone) -> None:
    first = submit(small_market)
    assert submit(small_market, key="k2").question_digest == first.question_digest
    redeclare(small_market, 0, "remark", title="说明")
    assert submit(small_market, key="k3").question_digest != first.question_digest


def test_a_withdrawn_resource_is_named_with_its_department(small_market: Zone) -> None:
    with db.transaction() as session:
        session.get_one(DataResource, small_market.departments[1].resource_id).status = "withdrawn"
    problem = refused(small_market)
    assert (problem.code, problem.args_["node"]) == ("resource_unavailable", "监测站1")


def test_the_grant_must_be_ones_own_and_usable(small_market: Zone) -> None:
    other = Actor("developer", "org_operator", member_id="mem_x")
    assert refused(small_market, actor=other).code == "grant_not_yours"
    assert refused(small_market, grant_id="grant_none").code == "not_found"
    assert refused(small_market, app="guess").code == "app_not_offered"
    assert refused(small_market, actor=Actor("public")).code == "not_signed_in"
    read_only = Actor("developer", "org_developer", client_id="c", scopes=frozenset({"read"}))
    assert refused(small_market, actor=read_only).code == "scope_missing"
    with db.transaction() as session:
        session.get_one(GrantRecord, small_market.grant_id).status = "revoked"
    assert refused(small_market).code == "grant_revoked"


def test_the_same_key_is_the_same_job_and_another_body_is_refused(market: Zone) -> None:
    first = submit(market)
    assert submit(market).id == first.id
    with pytest.raises(ProblemError, match="idempotency_mismatch"):
        submit(market, title="other")
    assert submit(market, key="k2").id != first.id


def test_of_many_at_once_one_job_comes(market: Zone) -> None:
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(submit(market).id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1


def test_fields_are_found_in_nested_parameters() -> None:
    params = {"resource": "x", "histograms": [{"column": "a"}, {"column": "b"}], "domains": {"b": ["b"]}}
    assert field_of(params, "b") == "params.histograms.1.column"
    assert field_of(params, "x") == "params"
