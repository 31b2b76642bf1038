"""A query in a real worker process, over Parquet read in place, under what the agent says of the grant."""

import asyncio
import time
from dataclasses import asdict

import duckdb
import numpy as np
import pytest

from node_agent.worker.host import Limits, Table, Work, Worker, WorkerFailureError
from shuyan.federation import _flower, rowsets
from shuyan.federation.answers import PlainAnswer
from shuyan.federation.apps.query import app, prepare
from shuyan.federation.own import OwnFigures
from shuyan.federation.rowsets import RowSet
from shuyan.federation.schema import Column

SCHEMA = {"city": Column("city", "string", domain=("east", "west")), "x": Column("x", "number")}
OWN = {("t", "city"): frozenset({"west"})}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.parquet"
    duckdb.sql(f"COPY (SELECT CASE WHEN i % 4 = 0 THEN 'west' ELSE 'east' END AS city, i * 1.0 AS x FROM range(100) t(i)) TO '{path}'")
    return Table("t", "parquet", str(path), tuple(asdict(column) for column in SCHEMA.values()))


def ask(tmp_path, table, sql, own):
    (tmp_path / "home").mkdir()
    params = prepare({"sql": sql}, {"t": [SCHEMA] * 3})
    typed = app.params(params)
    plan = typed.plan()
    content = _flower.question_content(None, {"cells": np.ones(plan.supports())}, plan.tally())
    message = _flower.Outgoing(content, "query.tally", "run", 1).to_node(2, "m")

    async def scenario():
        worker = Worker(Limits(), tmp_path / "home", tmp_path / "log")
        try:
            return await worker.run(Work("run", "query", (table,), typed.model_dump_json(), message, own=own.to_wire()),
                                    time.monotonic() + 60)
        finally:
            await worker.stop()

    plain = PlainAnswer.from_bytes(asyncio.run(scenario()))
    return {name: np.asarray(vector) for name, vector in plain.vectors.items()}, plain.cohort, rowsets.decode(plain.rows)


def test_a_value_of_its_own_stays_unless_the_grant_allows_it(tmp_path, table):
    vectors, cohort, _ = ask(tmp_path, table, "SELECT city, sum(x) s FROM t GROUP BY city", OwnFigures(False, OWN))
    assert cohort == 100
    assert vectors["sum"].sum(axis=0).tolist() == [sum(i for i in range(100) if i % 4), 0.0]


def test_with_leave_it_goes(tmp_path, table):
    vectors, _, _ = ask(tmp_path, table, "SELECT city, sum(x) s FROM t GROUP BY city", OwnFigures(True, OWN))
    assert vectors["sum"].sum(axis=0).tolist() == [sum(i for i in range(100) if i % 4), sum(range(0, 100, 4))]


def test_where_nothing_would_be_left_the_worker_says_why(tmp_path, table):
    with pytest.raises(WorkerFailureError) as refused:
        ask(tmp_path, table, "SELECT city, sum(x) s FROM t GROUP BY city", OwnFigures(False, {("t", "city"): frozenset({"east", "west"})}))
    assert refused.value.code == "own_figure_refused"


def test_the_agent_hears_which_rows_passed_a_filter(tmp_path, table):
    vectors, cohort, rows = ask(tmp_path, table, "SELECT sum(x) s FROM t WHERE x >= 90", OwnFigures(True, OWN))
    assert (cohort, vectors["sum"].sum()) == (100, sum(range(90, 100)))
    assert rows["t"]["rows"].digest() == RowSet.of(np.arange(90, 100), 100).digest()
