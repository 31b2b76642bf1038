"""Federated SQL at the market: what is filled in, what is refused and where, and what explaining says."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select
from tests.factories.federation import Zone

from marketplace import db
from marketplace.catalogue.models import DataResource
from marketplace.computing import budgets
from marketplace.computing import service as computing
from marketplace.computing.models import Job
from shuyan.federation.privacy import accounting
from shuyan.problems import ProblemError

SQL = "select year, count(*) as n, avg(pm25) as mean from air group by year order by year"


@pytest.fixture
def town(small_market: Zone) -> Zone:
    small_market.grant_id = small_market.grant(apps=["statistics", "query"])
    return small_market


def submit(town: Zone, sql: str = SQL, key: str = "k", **more: Any) -> Job:
    with db.transaction() as session:
        return computing.submit_job(session, town.developer, grant_id=town.grant_id, app="query", params={"sql": sql, **more},
                                    idempotency_key=key)


def refused(town: Zone, sql: str) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        submit(town, sql)
    with db.reading() as session:
        assert session.exec(select(Job)).all() == []
    return refusal.value


def redeclare(town: Zone, column: str, **changes: Any) -> None:
    with db.transaction() as session:
        row = session.get_one(DataResource, town.departments[0].resource_id)
        row.columns = [{**found, **changes} if found["name"] == column else found for found in row.columns]


def test_what_the_departments_declare_is_filled_in(town: Zone) -> None:
    redeclare(town, "year", domain=["2013", "2015"])
    job = submit(town, schemas={"air": {}})
    assert job.resources == ["air"]
    assert set(job.params) == {"sql", "schemas"}
    assert set(job.params["schemas"]["air"]) == {"year", "pm25"}
    assert job.params["schemas"]["air"]["year"]["domain"] == ["2013", "2014", "2015"]


@pytest.mark.parametrize(("sql", "code", "line", "column"), [
    ("select count(", "sql_syntax", 1, None),
    ("select * from air", "sql_star", 1, 8),
    ("select count(*)\nfrom water", "sql_unknown_relation", 2, 6),
    ("select avg(pm10) from air", "sql_unknown_column", 1, 12),
    ("select count(sensor) from air", "sql_identifier_column", 1, 14),
    ("select pm25 from air", "sql_bare_rows", 1, None),
    ("drop table air", "sql_not_select", 1, None),
])
def test_a_refusal_names_the_clause_and_where_it_stands(town: Zone, sql: str, code: str, line: int, column: int | None) -> None:
    problem = refused(town, sql)
    assert (problem.code, problem.field, problem.args_["line"]) == (code, "params.sql", line)
    assert column is None or problem.args_["column"] == column
    assert "?" not in problem.text("zh") + problem.text("en")


def test_a_column_outside_the_grant_is_called_so(town: Zone) -> None:
    town.grant_id = town.grant(apps=["statistics", "query"], columns=["pm25"])
    problem = refused(town, "select count(wind) from air")
    assert (problem.code, problem.args_["column"]) == ("sql_column_not_granted", 14)


def test_columns_that_differ_stand_in_the_way_only_where_they_are_used(town: Zone) -> None:
    redeclare(town, "pm25", type="string")
    redeclare(town, "remark", unit="m")
    problem = refused(town, SQL)
    assert (problem.code, problem.field) == ("column_types_differ", "params.sql")
    assert "string（监测站0）" in problem.text("zh")
    assert refused(town, "select count(remark) from air").code == "units_differ"
    assert submit(town, "select year, count(*) from air group by year").status == "queued"


def test_the_same_query_in_another_spelling_is_one_question(town: Zone) -> None:
    first = submit(town)
    assert submit(town, SQL.upper().replace("SELECT", "select  "), key="k2").params["sql"] != ""
    assert submit(town, SQL.replace(" from", "\nfrom"), key="k3").question_digest == first.question_digest


def explained(town: Zone, sql: str = SQL) -> computing.Explanation:
    with db.reading() as session:
        return computing.explain(session, town.developer, grant_id=town.grant_id, app="query", params={"sql": sql})


def test_explaining_says_what_is_computed_and_what_leaves_and_queues_nothing(town: Zone) -> None:
    told = explained(town)
    assert told.resources == {"air": ["pm25", "year"]}
    assert [one["name"] for one in told.departments] == ["监测站0", "监测站1", "监测站2"]
    assert (told.cells, told.cohort, told.cost, told.errors, told.release) == (2, 10, None, [], "exact")
    (core,) = told.computes
    assert core["group_by"] == [{"name": "year", "values": 2}]
    assert 'GROUP BY' in core["sql"]
    assert told.rounds >= 1
    assert told.leaves
    assert all(one["bytes"] % 8 == 0 for one in told.leaves)
    assert told.answered_before is None
    with db.reading() as session:
        assert session.exec(select(Job)).all() == []
        for code in told.notes:
            assert computing.note_sentence(code, "zh") != code != computing.note_sentence(code, "en")


def test_explaining_refuses_what_submitting_would(town: Zone) -> None:
    with pytest.raises(ProblemError) as refusal:
        explained(town, "select avg(pm10) from air")
    assert (refusal.value.code, refusal.value.field) == ("sql_unknown_column", "params.sql")


def test_a_single_departments_own_figures_are_refused_before_anybody_is_asked(town: Zone) -> None:
    for place, one in enumerate(town.departments):
        with db.transaction() as session:
            row = session.get_one(DataResource, one.resource_id)
            row.columns = [{**found, "domain": [f"风{place}"]} if found["name"] == "wind" else found for found in row.columns]
    town.grant_id = town.grant(apps=["statistics", "query"])
    problem = refused(town, "select wind, count(*) from air group by wind")
    assert (problem.code, problem.field) == ("own_figure_refused", "params")
    assert "wind" in problem.text("zh")


def test_a_job_of_any_app_is_explained(town: Zone) -> None:
    with db.reading() as session:
        told = computing.explain(session, town.developer, grant_id=town.grant_id, app="statistics",
                                 params={"resource": "air", "columns": ["pm25"], "group_by": [["year"]]})
    assert (told.cells, told.rounds, told.computes) == (2, 2, [])
    assert {one["vector"]: one["values"] for one in told.leaves}.items() >= {"rows": 2, "count": 2, "sum": 2, "square": 2}.items()


def test_what_noise_costs_and_blurs_is_told(town: Zone) -> None:
    for place in range(3):  # bounds are needed for noise
        with db.transaction() as session:
            row = session.get_one(DataResource, town.departments[place].resource_id)
            row.columns = [{**found, "lower": 0.0, "upper": 500.0 + place} if found["name"] == "pm25" else found
                           for found in row.columns]
    terms = {"unit": "station", "unit_columns": {"air": "sensor"}, "max_rows_per_unit": 4, "epsilon": 2.0, "delta": 1e-6}
    town.grant_id = town.grant(apps=["statistics"], release="dp", privacy=terms)
    with db.transaction() as session:
        budgets.sync(session, town.departments[1].node_id, [
            {"scope": "grant", "resource": "", "grantee": "org_developer", "grant_id": town.grant_id, "cap_nano": 100,
             "spent_nano": 99, "renewal": "never", "renews_at_ms": 0, "delta": 1e-6}])
    with db.reading() as session:
        told = computing.explain(session, town.developer, grant_id=town.grant_id, app="statistics",
                                 params={"resource": "air", "columns": ["pm25"], "group_by": [["year"]], "rho_nano": 10**6})
    assert told.cost is not None
    assert (told.cost.rho_nano, told.cost.short) == (10**6, ["监测站1"])
    assert told.cost.epsilon == pytest.approx(accounting.epsilon(10**6, 1e-6))
    assert {one["vector"] for one in told.errors} == {one["vector"] for one in told.leaves}
    assert all(one["half_width"] > one["deviation"] > 0 for one in told.errors)
    assert told.params["bounds"] == {"pm25": [0.0, 502.0]}


def test_all_questions_of_a_training_with_noise_are_told_with_their_noise(town: Zone) -> None:
    for place in range(3):
        with db.transaction() as session:
            row = session.get_one(DataResource, town.departments[place].resource_id)
            row.columns = [{**found, "lower": 0.0, "upper": 2500.0} if found["name"] in ("pm25", "year") else found for found in row.columns]
    terms = {"unit": "station", "unit_columns": {"air": "sensor"}, "max_rows_per_unit": 4, "epsilon": 2.0, "delta": 1e-6}
    town.grant_id = town.grant(apps=["clustering", "components"], release="dp", privacy=terms)

    def told(app: str, **params: Any) -> computing.Explanation:
        with db.reading() as session:
            return computing.explain(session, town.developer, grant_id=town.grant_id, app=app,
                                     params={"resource": "air", "features": ["pm25", "year"], "rho_nano": 10**7, **params})

    found = told("clustering", clusters=3)
    assert found.rounds == 7  # what is known of the columns, a survey, and five rounds
    off = {one["question"]: one["deviation"] for one in found.errors}
    assert {one["question"]: one["values"] for one in found.leaves} == {
        "query.noisy_moments": 5, "train.noisy_survey": 72, "train.noisy_assign": 9, "train.noisy_last": 9}
    assert off["train.noisy_last"] < off["train.noisy_survey"] < off["train.noisy_assign"]
    assert found.cost is not None
    assert found.cost.rho_nano == 10**7
    found = told("components")
    assert (found.rounds, [one["values"] for one in found.leaves]) == (1, [6])
    assert found.errors[0]["deviation"] > 0


def test_undeclared_groups_are_refused_exactly_and_explained_with_noise(town: Zone) -> None:
    sql = "select remark, count(*) n from air group by remark"
    for _ in range(2):
        problem = refused(town, sql)
        assert (problem.code, problem.field, problem.args_["clause"]) == ("sql_no_domain", "params.sql", "remark")
    terms = {"unit": "station", "unit_columns": {"air": "sensor"}, "max_rows_per_unit": 4, "epsilon": 2.0, "delta": 1e-6}
    town.grant_id = town.grant(apps=["query"], release="dp", privacy=terms)
    told = explained(town, sql)
    assert [one["question"] for one in told.leaves] == ["query.noisy_keys", "query.noisy_groups"]
    assert (told.rounds, told.cells) == (2, 32)
    assert told.open_key is not None
    assert told.open_key["title"] == "remark"
    assert told.open_key["threshold"] > next(one["half_width"] for one in told.errors if one["vector"] == "sketch")
    assert "found_keys" in told.notes
