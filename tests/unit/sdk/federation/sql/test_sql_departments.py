"""What departments hold back, whoever asks: other departments' cells, their own figures, and how they fail."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from shuyan.federation import _flower, ring, rowsets
from shuyan.federation.apps.query import app, prepare
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.own import OwnFigures
from shuyan.federation.schema import Column
from shuyan.federation.sql import node, rows
from shuyan.federation.sql.chi2 import survival
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError
from shuyan.trust.grants import SoleValues

CITY = ("east", "north", "south")


def _schema(*cities: str) -> dict[str, Column]:
    return {"city": Column("city", "string", domain=cities or CITY), "year": Column("year", "integer", domain=("1", "2", "3")),
            "x": Column("x", "number", lower=0, upper=100), "word": Column("word", "string")}


def _rows(count: int, city: str, year: int, x: float, word: str = "7") -> dict[str, list[Any]]:
    return {"city": [city] * count, "year": [year] * count, "x": [x] * count, "word": [word] * count}


def _joined(*parts: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _federation(tables: list[dict[str, list[Any]]], **grant: Any) -> LocalFederation:
    return LocalFederation({f"d{place}": {"t": LocalResource.arrays(table, _schema())} for place, table in enumerate(tables)},
                           grant={"minimum_cohort": 5} | grant, record=True)


SHARED = [_joined(_rows(20, "east", 1, 10.0), _rows(20, "north", 2, 20.0)), _joined(_rows(20, "east", 1, 30.0), _rows(20, "south", 3, 7.25)),
          _joined(_rows(20, "east", 1, 50.0), _rows(20, "north", 2, 40.0))]


def test_a_cell_that_one_department_alone_fills_never_leaves_it() -> None:
    with _federation(SHARED) as federation:
        content = federation.run("query", {"sql": "SELECT city, count(*) n, avg(x) m FROM t GROUP BY city ORDER BY city"})
    # North goes as well: with the known number of all rows it would give the south away.
    assert "south" not in {row[0] for row in content["rows"]}
    assert content["suppressed"] == 3 - len(content["rows"])
    assert "suppressed_cells" in content["notes"]


def _filled(*values: list[float | None], required: bool = True) -> LocalFederation:
    """Departments with a column that they declare to have a value in every row."""
    schema = {"v": Column("v", "number", lower=0, upper=9, required=required), "kind": Column("kind", "string", domain=("a", "b"))}
    return LocalFederation({
        f"d{place}": {"t": LocalResource.arrays({"v": column, "kind": ["a", "b"] * (len(column) // 2)}, schema)}
        for place, column in enumerate(values)}, grant={"minimum_cohort": 5}, record=True)


OVERALL = "SELECT count(v) n, sum(v) s, stddev_samp(v) d, corr(v, v) c FROM t"


def test_what_every_row_has_takes_one_question() -> None:
    told: dict[bool, list[Any]] = {}
    for required in (True, False):
        with _filled([1.0] * 10, [2.0] * 12, [3.0] * 20, required=required) as federation:
            rounds: list[int] = []
            content = federation.run("query", {"sql": OVERALL}, progress=lambda round_, *_, seen=rounds, **__: seen.append(round_))
            assert max(rounds) == (1 if required else 2)
            told[required] = content["rows"]
    assert told[True] == told[False]


def test_groups_of_what_every_row_has_are_still_looked_for_first() -> None:
    """A group may be one department's own although all have values: only then may nothing of it be told."""
    with _filled([1.0] * 10, [2.0] * 12, [3.0] * 20) as federation:
        rounds: list[int] = []
        content = federation.run("query", {"sql": "SELECT kind, avg(v) FROM t GROUP BY kind ORDER BY 1"},
                                 progress=lambda round_, *_, **__: rounds.append(round_))
    assert max(rounds) == 2
    assert [row[0] for row in content["rows"]] == ["a", "b"]


@pytest.mark.parametrize("lost", [None, math.nan, math.inf])
def test_a_department_that_lacks_what_it_declared_refuses(lost: float | None) -> None:
    with _filled([1.0] * 10, [2.0] * 11 + [lost], [3.0] * 20) as federation, pytest.raises(NodeFailure) as refused:
        federation.run("query", {"sql": OVERALL})
    assert refused.value.code == "values_missing"


def test_a_marketplace_cannot_say_it_of_a_column_that_no_department_declared_so() -> None:
    """Or it would be told the sums of those who have values, without being told how many have."""
    with _filled([1.0] * 10, [2.0] * 12, [3.0] * 20, required=False) as federation:
        told = prepare({"sql": OVERALL}, {"t": [{"v": Column("v", "number", lower=0, upper=9, required=True)}]})
        with pytest.raises(NodeFailure) as refused:
            federation.run("query", told)
    assert refused.value.code == "domain_mismatch"


def test_a_filter_cannot_single_a_department_out() -> None:
    with _federation(SHARED) as federation, pytest.raises(ProblemError) as refused:
        federation.run("query", {"sql": "SELECT avg(x) FROM t WHERE city = 'south'"})
    assert refused.value.code == "cohort_too_small"


def test_nor_can_a_condition_inside_an_aggregate() -> None:
    for aggregate in ("sum(CASE WHEN city = 'south' THEN x ELSE 0 END)", "avg(x) FILTER (WHERE city = 'south')", "count_if(city = 'south')"):
        with _federation(SHARED) as federation:
            try:
                content = federation.run("query", {"sql": f"SELECT year, count(*), {aggregate} a FROM t GROUP BY year"})
            except (ProblemError, NodeFailure) as refused:
                assert refused.code in ("cohort_too_small", "differencing_refused")  # noqa: PT017
                continue
        assert 3 not in [row[0] for row in content["rows"]]


def test_nodes_keep_sole_values_back_from_a_coordinator_that_asks_for_all_cells() -> None:
    sole = OwnFigures(False, {("t", "city"): frozenset({"south"})})
    params = app.params(prepare({"sql": "SELECT city, sum(x) s FROM t GROUP BY city"}, {"t": [_schema()] * 3}))
    inputs = Inputs.from_tables([TableSource.of_arrays("t", SHARED[1], _schema(), ("city", "x"))])
    plan = params.plan()
    everything = np.ones(plan.supports())
    kept = node.tally(inputs, plan, everything, sole)
    shown = node.tally(inputs, plan, everything, OwnFigures(True, sole.sole))
    south = plan.cores[0].keys[0].domain.values.index("south")
    assert shown["sum"].sum(axis=0)[south] == 145.0
    assert kept["sum"].sum(axis=0)[south] == 0.0
    assert kept["count"].reshape(3, -1)[south].tolist() == [0.0, 0.0]
    assert node.present(inputs, plan, sole).reshape(3, -1)[south].tolist() == [0.0, 0.0]
    with pytest.raises(ProblemError) as refused:
        node.tally(inputs, plan, everything, OwnFigures(False, {("t", "city"): frozenset(CITY)}))
    assert refused.value.code == "own_figure_refused"


def test_the_grant_decides_not_the_question() -> None:
    grant = {"sole_values": (SoleValues(resource="t", column="city", values=CITY),)}
    with _federation(SHARED, **grant) as federation, pytest.raises(ProblemError) as refused:
        federation.run("query", {"sql": "SELECT city, count(*) FROM t GROUP BY city"})
    assert (refused.value.code, refused.value.args_) == ("own_figure_refused", {"dimension": "city"})
    with _federation(SHARED, own_figures=True, **grant) as federation:
        content = federation.run("query", {"sql": "SELECT city, count(*) n FROM t GROUP BY city ORDER BY 1"})
    assert content["rows"] == [["east", 60], ["north", 40], ["south", 20]]


def test_a_department_with_no_rows_left_takes_part_with_nought() -> None:
    tables = [_rows(30, "east", 1, 1.0), _rows(30, "east", 1, 2.0), _rows(30, "north", 2, 3.0)]
    with _federation(tables) as federation:
        content = federation.run("query", {"sql": "SELECT count(*) n, avg(x) m FROM t WHERE city = 'east'"})
    assert (content["rows"], content["departments"]) == ([[60, 1.5]], 3)


def test_one_row_cannot_make_a_query_fail() -> None:
    """Not by a cast, an overflow or an infinity: whether it failed would tell whether there is such a row."""
    odd = [_joined(_rows(20, "east", 1, 1.0), _rows(1, "east", 1, 99.0, "not a number")), _rows(20, "east", 1, 1.0), _rows(20, "east", 1, 1.0)]
    for expression in ("CAST(word AS INT)", "CASE WHEN x = 99 THEN exp(1000) ELSE 1 END", "CASE WHEN x = 99 THEN 1e300 ELSE 1 END",
                       "CASE WHEN x = 99 THEN sqrt(-x) ELSE 1 END", "ln(x - 99)", "CAST(x AS INT) * 9223372036854775807",
                       "year(make_date(2000, 2, CAST(x AS INT)))"):
        for sql in (f"SELECT sum({expression}) FROM t", f"SELECT var_samp({expression}) FROM t",
                    f"SELECT count(*) FROM t WHERE {expression} > 0 OR x > 0", f"SELECT corr(x, {expression}) FROM t"):
            with _federation(odd) as federation:
                try:
                    federation.run("query", {"sql": sql})
                except (ProblemError, NodeFailure) as refused:
                    assert refused.code in ("cohort_too_small", "differencing_refused", "sql_may_isolate"), sql  # noqa: PT017


@pytest.mark.parametrize("inner", [
    "var_pop(CASE WHEN x = 99 THEN 1e308 ELSE 1 END)", "sum(CASE WHEN x = 99 THEN exp(1000) ELSE 1 END)", "stddev_samp(exp(x * 10))",
    "sqrt(avg(x) - 60)", "CAST(min(word) AS INT)", "corr(x, exp(x * 10))",
])
def test_nor_make_a_grouping_within_a_department_fail(inner: str) -> None:
    odd = [_joined(_rows(20, "east", 1, 1.0), _rows(1, "east", 1, 99.0, "not a number")), *(_rows(20, "east", 1, 1.0) for _ in range(2))]
    for outer in ("count(*)", "sum(m)", "var_samp(m)", "count(m)"):
        with _federation(odd, minimum_cohort=1) as federation:
            try:
                federation.run("query", {"sql": f"WITH g AS MATERIALIZED (SELECT year, {inner} AS m FROM t GROUP BY year) SELECT {outer} FROM g"})
            except ProblemError as refused:
                assert refused.code == "sql_may_isolate"  # noqa: PT017


def test_nan_and_infinity_are_no_observations_of_a_sum() -> None:
    tables = [_rows(20, "east", 1, 1.0), _joined(_rows(20, "east", 1, 2.0), _rows(1, "east", 1, float("nan"))),
              _joined(_rows(20, "east", 1, 3.0), _rows(1, "east", 1, float("inf")))]
    with _federation(tables) as federation:
        content = federation.run("query", {"sql": "SELECT count(*), avg(x), var_pop(x) FROM t"})
    assert content["rows"][0] == [62, pytest.approx(2.0), pytest.approx(2 / 3)]


def test_a_constant_column_has_no_spread_and_no_correlation() -> None:
    tables = [_rows(20, "east", 1, 0.1), _rows(30, "east", 2, 0.1), _rows(23, "east", 1, 0.1)]
    with _federation(tables) as federation:
        content = federation.run("query", {"sql": "SELECT var_samp(x), stddev_pop(x), corr(x, year), covar_pop(x, year) FROM t"})
    assert content["rows"][0] == [0.0, 0.0, None, pytest.approx(0.0, abs=1e-12)]


def test_all_null() -> None:
    tables = [_rows(20, "east", 1, None) for _ in range(3)]  # type: ignore[arg-type]
    with _federation(tables) as federation:
        content = federation.run("query", {"sql": "SELECT count(*), count(x), sum(x), avg(x), max(x), median(x), var_samp(x) FROM t"})
    assert content["rows"] == [[60, 0, None, None, None, None, None]]


def test_chi_square_matrices_and_histogram() -> None:
    random = np.random.default_rng(3)
    tables = []
    for _ in range(3):
        year = random.integers(1, 4, 200)
        city = np.array(CITY)[np.where(random.random(200) < 0.4, year - 1, random.integers(0, 3, 200))]
        tables.append({"city": city.tolist(), "year": year.tolist(), "x": (year * 10 + random.normal(0, 5, 200)).clip(0, 100).tolist(),
                       "word": ["w"] * 200})
    with _federation(tables) as federation:
        content = federation.run("query", {"sql": "SELECT chi_square(city, year) c, correlation_matrix(x, year) r, "
                                                  "covariance_matrix(x, year) v, histogram(x, 0, 50, 5) h FROM t"})
    test, correlation, covariance, histogram = content["rows"][0]
    x, year = (np.concatenate([table[name] for table in tables]) for name in ("x", "year"))
    city = np.concatenate([table["city"] for table in tables])
    seen = np.array([[np.sum((city == c) & (year == y)) for y in (1, 2, 3)] for c in CITY], dtype=float)
    wanted = seen.sum(1, keepdims=True) * seen.sum(0) / seen.sum()
    statistic = float(((seen - wanted) ** 2 / wanted).sum())
    assert test["statistic"] == pytest.approx(statistic)
    assert (test["dof"], test["p"]) == (4, pytest.approx(survival(statistic, 4)))
    assert test["cramers_v"] == pytest.approx((statistic / seen.sum() / 2) ** 0.5)
    assert np.allclose(correlation, np.corrcoef(x, year))
    assert np.allclose(covariance, np.cov(x, year))
    counts = np.histogram(x, bins=np.linspace(0, 50, 6))[0]
    assert all(shown is None or shown == count for shown, count in zip(histogram, counts, strict=True))


@pytest.mark.parametrize(("x", "degrees", "p"), [(3.841458820694124, 1, 0.05), (9.487729036781154, 4, 0.05), (0.0, 3, 1.0),
                                                 (100.0, 10, 5.4496788e-17), (18.307038053275146, 10, 0.05)])
def test_chi_square_tail(x: float, degrees: int, p: float) -> None:
    assert survival(x, degrees) == pytest.approx(p, rel=1e-6)


def test_in_place_over_several_files_gives_the_same_as_in_memory(tmp_path: Path) -> None:
    schema = {"a": Column("a", "integer", domain=("0", "1", "2")), "v": Column("v", "number"), "d": Column("d", "date")}
    for part in range(3):
        duckdb.sql(f"COPY (SELECT i % 3 AS a, i * 0.5 AS v, DATE '2020-01-01' + CAST(i % 20 AS INT) AS d FROM range({100 + part}) t(i)) "
                   f"TO '{tmp_path}/p{part}.parquet'")
    table = TableSource.of_files("t", [str(tmp_path / f"p{part}.parquet") for part in range(3)], "parquet", schema, tuple(schema))
    sql = "SELECT a.a, sum(b.v) s FROM t a JOIN (SELECT d, v FROM t WHERE v > 20) b ON a.d = b.d GROUP BY 1"
    params = app.params(prepare({"sql": sql}, {"t": [schema] * 3}))
    answers = []
    for in_place in (True, False):
        inputs = Inputs.from_tables([table], in_place=in_place)
        plan = params.plan()
        sets = rowsets.decode(rows.encoded(inputs, plan))
        answers.append((node.tally(inputs, plan, np.ones(plan.supports()), OwnFigures())["count"].tolist(),
                        {label: found.digest() for label, found in sets["t"].items()}))
    assert answers[0] == answers[1]


def test_row_sets_are_the_rows_left_and_those_conditions_pick() -> None:
    table = {"city": ["east", "north"] * 20, "year": [1, 2, 3, 1] * 10, "x": [float(place) for place in range(40)], "word": ["w"] * 40}
    params = app.params(prepare({"sql": "SELECT count(*) FILTER (WHERE x >= 30) FROM t AS \"q\" WHERE city = 'east'"}, {"t": [_schema()] * 3}))
    inputs = Inputs.from_tables([TableSource.of_arrays("t", table, _schema(), ("city", "x"))])
    sets = rowsets.decode(rows.encoded(inputs, params.plan()))["t"]
    assert {label: found.count for label, found in sets.items()} == {"rows": 20, "c0": 5}
    grouped = app.params(prepare({"sql": "WITH g AS MATERIALIZED (SELECT year, avg(x) m FROM t GROUP BY year) SELECT count(*) FROM g WHERE m > 19.4"},
                                 {"t": [_schema()] * 3}))
    inputs = Inputs.from_tables([TableSource.of_arrays("t", table, _schema(), ("year", "x"))])
    sets = rowsets.decode(rows.encoded(inputs, grouped.plan()))["t"]
    kept = [year for year in (1, 2, 3) if np.mean([x for x, y in zip(table["x"], table["year"], strict=True) if y == year]) > 19.4]
    assert sets["rows"].count == sum(1 for year in table["year"] if year in kept)


@pytest.mark.parametrize("argument", [
    "CASE WHEN x = 17 THEN 1000 ELSE 1 END", "CASE x WHEN 17 THEN 1000 ELSE 1 END", "x * (abs(x - 16.5) + abs(x - 17.5) - abs(x - 16.2) - abs(x - 17.8))",
    "least(x, 39)", "x * 25820000000000", "coalesce(nullif(x, 17), 0) + 1", "x + x / x",
    "CASE WHEN x > 10 AND x < 13 THEN x + 5 ELSE 1 END",
    "CAST(x = 17 AS INT)", "1 + CAST(x = 17 AS INT)", "CASE WHEN year > 0 THEN CASE WHEN x = 17 THEN 5 ELSE 1 END END",
])
def test_the_guard_hears_of_rows_picked_inside_an_aggregate(argument: str) -> None:
    tables = [{"city": ["east"] * 40, "year": [1] * 40, "x": [float(value) for value in range(40)], "word": ["w"] * 40} for _ in range(3)]
    with _federation(tables) as federation, pytest.raises(NodeFailure) as refused:
        federation.run("query", {"sql": f"SELECT sum({argument}) FROM t"})
    assert refused.value.code == "differencing_refused"


@pytest.mark.parametrize("sql", [
    "SELECT sum(x * floor(1 / (1 + abs(x - 17)))) FROM t",
    "SELECT sum(v) FROM (SELECT CASE WHEN x = 17 THEN x ELSE 0 END AS v FROM t)",
    "SELECT sum(x + x * exp(-1000 * (x - 17) * (x - 17))) FROM t",
    "SELECT sum(x / (x - 16.99999)) FROM t",
    "SELECT sum(floor(x * 1.01)) FROM t",
    "SELECT sum(CASE WHEN x > 16 THEN x ELSE 0 END * CASE WHEN x < 18 THEN 1 ELSE 0 END) FROM t",
    "SELECT sum(x * x * x) FROM t",
    "SELECT sum(x + 0 * sqrt(x - 1)) FROM t",
    "WITH g AS MATERIALIZED (SELECT year, sum(CASE WHEN x = 17 THEN x ELSE 0 END) c FROM t GROUP BY year) SELECT sum(c) FROM g",
    "WITH g AS MATERIALIZED (SELECT year, max(CASE WHEN x = 17 THEN x ELSE 0 END) c FROM t GROUP BY year) SELECT sum(c) FROM g",
    "WITH g AS MATERIALIZED (SELECT word, CASE WHEN word = 'w' THEN sum(x) ELSE 0 END c FROM t GROUP BY word) SELECT sum(c) FROM g",
    "WITH g AS MATERIALIZED (SELECT year, sum(x) FILTER (WHERE x = 17) c FROM t GROUP BY year) SELECT sum(c) FROM g",
])
def test_a_sum_that_could_pick_single_rows_unseen_is_refused(sql: str) -> None:
    tables = [{"city": ["east"] * 40, "year": [1] * 40, "x": [float(value) for value in range(40)], "word": ["w"] * 40} for _ in range(3)]
    with _federation(tables) as federation, pytest.raises(ProblemError) as refused:
        federation.run("query", {"sql": sql})
    assert refused.value.code == "sql_may_isolate"


def test_the_guard_hears_of_groups_made_by_a_condition() -> None:
    """Otherwise a grouping would be a filter that nobody remembers."""
    tables = [{"city": ["east"] * 40, "year": [1] * 40, "x": [float(value) for value in range(40)], "word": ["w"] * 40} for _ in range(3)]
    for key in ("x >= 10 AND x <> 17", "CASE WHEN x >= 10 AND x <> 17 THEN 1 ELSE 0 END", "coalesce(nullif(x >= 10, x = 17), false)"):
        with _federation(tables) as federation:
            federation.run("query", {"sql": "SELECT x >= 10 AS k, sum(x) FROM t GROUP BY 1"})
            with pytest.raises(NodeFailure) as refused:
                federation.run("query", {"sql": f"SELECT {key} AS k, sum(x) FROM t GROUP BY 1"})
            assert refused.value.code == "differencing_refused"


@pytest.mark.parametrize(("key", "code"), [
    ("CASE WHEN x = 117 THEN 50 ELSE x END", "differencing_refused"), ("CASE WHEN x = 117 THEN 50 ELSE x END // 2", "sql_may_isolate")])
def test_nor_of_many_groups(key: str, code: str) -> None:
    schema = {"x": Column("x", "integer", lower=0, upper=120)}
    table = {"x": [*(value % 60 for value in range(600)), 117]}
    with LocalFederation({f"d{place}": {"t": LocalResource.arrays(table, schema)} for place in range(3)}, grant={"minimum_cohort": 3}) as federation:
        with pytest.raises((NodeFailure, ProblemError)) as refused:
            federation.run("query", {"sql": f"SELECT {key} AS k, count(*) FROM t GROUP BY 1"})
        assert refused.value.code == code


def test_two_expressions_with_a_part_in_common_do_not_fail_on_a_row() -> None:
    """DuckDB would work the part out once, outside of what makes it null."""
    tables = [_rows(20, "east", 1, 1.0), _rows(20, "east", 1, 1.0), _joined(_rows(20, "east", 1, 1.0), _rows(5, "east", 1, 99.0))]
    with _federation(tables) as federation:
        content = federation.run("query", {"sql": "SELECT count(*) n FROM t WHERE sqrt(50 - x) > 1 AND sqrt(50 - x) + 1 > 2"})
    assert content["rows"] == [[60]]


def test_a_department_that_declares_otherwise_says_so() -> None:
    params = prepare({"sql": "SELECT city, count(*) FROM t GROUP BY city"}, {"t": [_schema("east", "north")] * 3})
    with _federation(SHARED) as federation, pytest.raises(NodeFailure) as refused:
        federation.run("query", params)
    assert refused.value.code == "domain_mismatch"


def test_dates_come_back_as_text() -> None:
    first = datetime.date(2020, 1, 1)
    bounds = ((first - datetime.date(1970, 1, 1)).days, (first - datetime.date(1970, 1, 1)).days + 60)
    schema = {"d": Column("d", "date", lower=bounds[0], upper=bounds[1], free=True)}
    table = {"d": [(first + datetime.timedelta(days=day)).isoformat() for day in range(60)]}
    with LocalFederation({f"d{place}": {"t": LocalResource.arrays(table, schema)} for place in range(3)}) as federation:
        content = federation.run("query", {"sql": "SELECT date_trunc('month', d) AS m, min(d), max(d), count(*) FROM t GROUP BY 1 ORDER BY 1"})
    assert content["rows"] == [["2020-01-01 00:00:00", "2020-01-01", "2020-01-31", 93],
                               ["2020-02-01 00:00:00", "2020-02-01", "2020-02-29", 87]]


def test_an_extreme_is_shown_only_with_a_cohort_in_its_tail() -> None:
    values = [*range(10, 50), 99]
    tables = [{"city": ["east"] * 41, "year": [1] * 41, "x": [float(value) for value in values], "word": ["w"] * 41} for _ in range(3)]
    sql = "SELECT min(x) a, max(x) b, median(x) c, quantile_disc(x, [0, 1]) d FROM t"
    with _federation(tables, minimum_cohort=7) as federation:
        content = federation.run("query", {"sql": sql})
    # Three departments have each value once: seven lie at or above 48, or at or below 12.
    found = content["rows"][0]
    assert [round(number, 4) for number in (*found[:3], *found[3])] == [12.0, 48.0, 30.0, 12.0, 48.0]
    assert "coarsened_tails" in content["notes"]
    with _federation(tables, minimum_cohort=3) as federation:
        content = federation.run("query", {"sql": sql})
    assert [round(number, 4) for number in content["rows"][0][:2]] == [10.0, 99.0]
    assert "coarsened_tails" not in content["notes"]


def test_a_department_lost_between_the_rounds_ends_the_run() -> None:
    """Otherwise d1 alone would tell of the south."""
    with _federation([*SHARED, _rows(20, "south", 3, 1.0)]) as federation:
        def leave(round_: int, _rounds: int, code: str, /, **_args: object) -> None:
            if (round_, code) == (1, "round_finished"):
                federation.transport.offline.add("d3")

        with pytest.raises((ProblemError, NodeFailure)) as refused:
            federation.run("query", {"sql": "SELECT city, avg(x) FROM t GROUP BY city"}, progress=leave)
    assert refused.value.code in ("department_left", "participants_differ")


def test_only_ring_elements_travel() -> None:
    with _federation(SHARED) as federation:
        federation.run("query", {"sql": "SELECT city, sum(x) FROM t GROUP BY city"})
        carried = b"".join(item.flower_message for item in federation.transport.carried if hasattr(item, "flower_message"))
    needle = ring.encode(np.array([145.0]), 3, 80)[:, 0].tobytes()
    assert needle not in carried
    assert np.float64(145.0).tobytes() not in carried
    assert _flower.EXPECT
