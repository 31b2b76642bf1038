"""Federated SQL at the market: what is filled in, what is refused and where, and what explaining says."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select
from tests.factories.federation import Zone

from marketplace import db
from marketplace.catalogue.models import DataResource
from marketplace.computing import service as computing
from marketplace.computing.models import Job
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
