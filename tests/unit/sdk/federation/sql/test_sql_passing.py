"""Rows that pass a filter are the same, and so are the figures, however they are told: with the sums, apart, or in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.sdk.federation.sql.test_sql_equals_union import SCHEMA, queries

from shuyan.federation import rowsets
from shuyan.federation.apps.query import app, prepare
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.own import OwnFigures
from shuyan.federation.sql import node, passing, rows
from shuyan.problems import ProblemError

DATA = """SELECT CASE WHEN h % 10 > 0 THEN ['a', 'b', 'c', 'd'][h % 4 + 1] END AS kind, 2019 + h % 3 AS year,
    CASE WHEN h % 11 > 0 THEN h % 2 = 0 END AS flag, CASE WHEN h % 13 > 0 THEN h % 101 - 50 END::BIGINT AS n,
    CASE WHEN h % 7 = 0 THEN NULL WHEN h % 97 = 5 THEN {odd} ELSE h % 2000 - 1000 + 0.5 END::DOUBLE AS x, (h % 41) / 4.0 AS y,
    DATE '2020-01-01' + (h % 400)::INTEGER AS day, ['Red', 'green', ''][h % 3 + 1] AS word, (h % 37) / 4.0 AS w
    FROM (SELECT (hash(i + {seed}) % 1000003)::BIGINT AS h FROM range({size}) t(i))"""


@pytest.fixture(scope="module", params=[("0",), ("0", "'nan'::DOUBLE"), ("'inf'::DOUBLE",)], ids=["one file", "two files", "infinite"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TableSource:
    folder, files = tmp_path_factory.mktemp("passing"), []
    for seed, odd in enumerate(request.param):
        files.append(str(folder / f"{seed}.parquet"))
        duckdb.sql(f"COPY ({DATA.format(seed=seed, size=500 + seed, odd=odd)}) TO '{files[-1]}' (FORMAT parquet)")
    return TableSource.of_files("t", files, "parquet", SCHEMA, tuple(SCHEMA))


@pytest.fixture(scope="module")
def ways(table: TableSource) -> Iterator[list[Inputs]]:
    """In memory, and in place twice."""
    made = [Inputs.from_tables([table], in_place=in_place) for in_place in (False, True, True)]
    yield made
    for inputs in made:
        inputs.close()


def told(inputs: Inputs, plan: Any, share: float) -> tuple[dict[str, list[Any]], dict[str, str], bool]:
    """Figures, row sets, and whether they were told together."""
    inputs.cache.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passing, "_SMALL", 0)
        patch.setattr(passing, "_SAMPLE", 100)
        patch.setattr(passing, "_SHARE", share)
        vectors = node.tally(inputs, plan, np.ones(plan.supports()), OwnFigures())
        sets = rowsets.decode(rows.encoded(inputs, plan)).get("t", {})
    return ({name: vector.tolist() for name, vector in vectors.items()}, {label: one.digest() for label, one in sets.items()},
            "passing" in inputs.cache)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=queries(), condition=st.sampled_from(["x > 990", "n = 3 OR word = ''", "day < DATE '2020-01-09'", "year > 1999", "flag"]))
def test_the_same_however_they_are_told(ways: list[Inputs], query: tuple[list[str], list[str], str], condition: str) -> None:
    keys, chosen, where = query
    sql = f"SELECT {', '.join([*keys, *chosen])} FROM t AS q WHERE {where or condition}{' GROUP BY ALL' if keys else ''}"
    try:
        plan = app.params(prepare({"sql": sql}, {"t": [SCHEMA] * 3})).plan()
    except ProblemError:
        return
    memory, apart, together = (told(inputs, plan, share) for inputs, share in zip(ways, (1.0, -1.0, 1.0), strict=True))
    assert not memory[2]
    assert not apart[2]
    assert memory[:2] == apart[:2] == together[:2]


def test_few_rows_are_told_with_the_sums_and_many_apart(ways: list[Inputs]) -> None:
    for condition, few in (("n = 3", True), ("year > 2000", False)):
        plan = app.params(prepare({"sql": f"SELECT kind, sum(n) FROM t WHERE {condition} GROUP BY kind"}, {"t": [SCHEMA] * 3})).plan()
        assert told(ways[1], plan, passing._SHARE)[2] == few


def test_rows_that_do_not_fit_are_told_apart(table: TableSource, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = app.params(prepare({"sql": "SELECT sum(n) FROM t WHERE n = 3"}, {"t": [SCHEMA] * 3})).plan()
    inputs = Inputs.from_tables([table], in_place=True)
    wanted = told(inputs, plan, -1.0)

    class Full:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def execute(self, sql: str, *more: Any) -> Any:
            if sql.startswith("CREATE"):
                raise duckdb.OutOfMemoryException("full")
            return self._connection.execute(sql, *more)

    monkeypatch.setattr(inputs, "connection", Full(inputs.connection))
    assert told(inputs, plan, 1.0) == wanted
