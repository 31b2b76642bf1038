"""Random queries over random data in random departments give what DuckDB gives on the union."""

from __future__ import annotations

import datetime
import math
import random
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError

KINDS = ("a", "b", "c")
FIRST = datetime.date(2020, 1, 1)
SCHEMA = {
    "kind": Column("kind", "string", domain=KINDS),
    "year": Column("year", "integer", domain=("2019", "2020", "2021")),
    "flag": Column("flag", "boolean"),
    "n": Column("n", "integer", lower=-50, upper=50, free=True),
    "x": Column("x", "number", lower=-1000, upper=1000),
    "y": Column("y", "number", lower=0, upper=10, resolution=0.25),
    "day": Column("day", "date", lower=(FIRST - datetime.date(1970, 1, 1)).days, upper=(FIRST - datetime.date(1970, 1, 1)).days + 400),
    "word": Column("word", "string"),
    "w": Column("w", "number", lower=0, upper=9, required=True),
}
MINIMUM = 3


def _table(seed: int, rows: int) -> dict[str, list[Any]]:
    chance = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if chance.random() < 0.1 else value

    return {
        "kind": [maybe(chance.choice(KINDS)) for _ in range(rows)],
        "year": [chance.choice((2019, 2020, 2021)) for _ in range(rows)],
        "flag": [maybe(chance.random() < 0.5) for _ in range(rows)],
        "n": [maybe(chance.randint(-50, 50)) for _ in range(rows)],
        "x": [maybe(chance.gauss(seed % 7, 30)) for _ in range(rows)],
        "y": [maybe(chance.randint(0, 40) / 4) for _ in range(rows)],
        "day": [(FIRST + datetime.timedelta(days=chance.randint(0, 400))) for _ in range(rows)],
        "word": [chance.choice(("Red", "green", "blue sky", "")) for _ in range(rows)],
        "w": [chance.uniform(0, 9) for _ in range(rows)],
    }


class Scene:
    """Three departments and the union of their rows."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        tables = [_table(seed * 10 + part, chance.randint(20, 200)) for part in range(3)]
        # Dates as text: NumPy's dates would be read as timestamps.
        tables = [{**table, "day": [day.isoformat() for day in table["day"]]} for table in tables]
        self.resources = {f"d{place}": {"t": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(tables)}
        self.union = duckdb.connect(":memory:")
        self.union.execute("CREATE TABLE t (kind VARCHAR, year BIGINT, flag BOOLEAN, n BIGINT, x DOUBLE, y DOUBLE, day DATE, word VARCHAR, w DOUBLE)")
        for table in tables:
            rows = [list(row) for row in zip(*(table[name] for name in SCHEMA), strict=True)]
            self.union.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def ask(self, sql: str) -> dict[str, Any]:
        """Departments that were asked nothing before: their guard against differencing has nothing to compare with."""
        with LocalFederation(self.resources, grant={"minimum_cohort": MINIMUM}) as federation:
            return federation.run("query", {"sql": sql})


@pytest.fixture(scope="module")
def scenes() -> Any:
    made = [Scene(seed) for seed in range(4)]
    yield made
    for scene in made:
        scene.union.close()


NUMBERS = st.sampled_from(["n", "x", "y", "w", "w * 2", "n + 1", "x * 2", "n * y", "x / 3", "abs(x)", "round(x, 1)", "coalesce(n, 0)",
                           "CASE WHEN x > 0 THEN x ELSE 0 END", "CAST(flag AS INT)", "greatest(n, y)", "-x", "n % 7", "sqrt(y)",
                           "length(word)", "date_diff('day', DATE '2020-01-01', day)"])
CONDITIONS = st.sampled_from(["x > 0", "n BETWEEN -10 AND 10", "kind = 'a'", "kind IN ('a', 'c')", "kind IS NOT NULL", "NOT flag",
                              "word LIKE 'b%'", "year(day) = 2020", "lower(word) = 'red'", "starts_with(word, 'gr')",
                              "regexp_matches(word, '^[a-z]+$')", "n > 0 OR x < -5", "flag AND y >= 2.5",
                              "day >= DATE '2020-03-01'", "coalesce(flag, false)", "month(day) IN (1, 2, 12)"])
KEYS = st.sampled_from(["kind", "year", "flag", "x > 0", "CASE WHEN n > 10 THEN 'high' WHEN n > -10 THEN 'middle' ELSE 'low' END",
                        "coalesce(kind, 'none')", "year % 2", "month(day)", "date_trunc('month', day)", "upper(kind)",
                        "extract(year FROM day)", "year * 10 + month(day)", "n // 10", "y", "quarter(day)"])
SIMPLE = st.one_of(
    st.just("count(*)"), NUMBERS.map(lambda n: f"count({n})"), NUMBERS.map(lambda n: f"sum({n})"), NUMBERS.map(lambda n: f"avg({n})"),
    NUMBERS.map(lambda n: f"var_samp({n})"), NUMBERS.map(lambda n: f"stddev_pop({n})"),
    st.tuples(NUMBERS, NUMBERS).map(lambda p: f"covar_samp({p[0]}, {p[1]})"),
    st.tuples(st.sampled_from(["n", "x", "y", "w"]), st.sampled_from(["y", "x + 1", "n"])).map(lambda p: f"corr({p[0]}, {p[1]})"),
    st.sampled_from(["min(n)", "max(n)", "min(y)", "max(day)", "min(kind)", "median(n)", "max(w)", "quantile_cont(y, 0.9)",
                     "quantile_disc(n, 0.25)", "count(DISTINCT kind)", "count(DISTINCT n)", "count(DISTINCT month(day))",
                     "quantile_cont(n, [0.1, 0.5])", "max(year)"]),
    CONDITIONS.map(lambda c: f"count_if({c})"),
)
AGGREGATES = st.one_of(SIMPLE, st.tuples(SIMPLE, CONDITIONS).map(
    lambda p: p[0] if "count_if" in p[0] else f"{p[0]} FILTER (WHERE {p[1]})"))


@st.composite
def queries(draw: Any) -> tuple[list[str], list[str], str]:
    keys = draw(st.lists(KEYS, max_size=2, unique=True))
    chosen = draw(st.lists(AGGREGATES, min_size=1, max_size=4, unique=True))
    where = draw(st.one_of(st.just(""), CONDITIONS, st.tuples(CONDITIONS, CONDITIONS).map(lambda p: f"({p[0]}) OR ({p[1]})")))
    return keys, chosen, where


def _close(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and math.isnan(wanted):
        wanted = None
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(_close(one, other) for one, other in zip(found, wanted, strict=True))
    if isinstance(wanted, (int, float)) and isinstance(found, (int, float)):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9)
    if wanted is None or isinstance(wanted, (str, bool)):
        return bool(found == wanted)
    return str(found) == str(wanted) or (hasattr(wanted, "__float__") and math.isclose(float(found), float(wanted), rel_tol=1e-9))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=queries(), number=st.integers(0, 3))
def test_random_queries(scenes: list[Scene], query: tuple[list[str], list[str], str], number: int) -> None:
    keys, chosen, where = query
    scene = scenes[number]
    select = [*(f"{key} AS k{place}" for place, key in enumerate(keys)), *(f"{one} AS a{place}" for place, one in enumerate(chosen))]
    sql = f"SELECT {', '.join(select)} FROM t{f' WHERE {where}' if where else ''}{' GROUP BY ALL' if keys else ''}"
    try:
        content = scene.ask(sql)
    except (ProblemError, NodeFailure) as refused:
        if refused.code not in ("cohort_too_small", "differencing_refused", "sql_too_complex"):
            raise
        return
    expected = {tuple(str(value) for value in row[: len(keys)]): row[len(keys):] for row in scene.union.execute(sql).fetchall()}
    for row in content["rows"]:
        group = tuple(str(value) for value in row[: len(keys)])
        wanted = expected[group]
        for one, found, value in zip(chosen, row[len(keys):], wanted, strict=True):
            if "coarsened_tails" in content["notes"] and one.startswith(("min", "max", "median", "quantile")) and "(n" not in one:
                continue  # only n is declared to be about no one
            assert _close(found, value), (sql, group, one, found, value)
    assert all("None" not in group for group in {tuple(map(str, row[: len(keys)])) for row in content["rows"]})


OUTER = [
    "SELECT kind, count(*) n, avg(x) m FROM t WHERE kind IS NOT NULL GROUP BY kind HAVING count(*) > 20 ORDER BY n DESC, kind LIMIT 2",
    "SELECT max(m) top, count(*) num FROM (SELECT year, kind, avg(x) m FROM t WHERE kind IS NOT NULL GROUP BY ALL)",
    "WITH a AS (SELECT year, sum(n) s FROM t GROUP BY year), b AS (SELECT year, count(*) c FROM t GROUP BY year) "
    "SELECT a.year, s / c AS ratio FROM a JOIN b USING (year) ORDER BY 1",
    "WITH picked AS (SELECT year AS jahr, x * 2 AS z FROM t WHERE flag) SELECT jahr, sum(z) FROM picked GROUP BY 1 ORDER BY 1",
    "SELECT year, round(100 * avg(CAST(flag AS INT)), 3) || '%' AS share FROM t GROUP BY year ORDER BY share",
    "SELECT year * 2 - 1 AS k, k + 1 AS j, count(*) FROM t GROUP BY k ORDER BY j",
    "SELECT x > 0 AS p, count(*) FROM t WHERE x IS NOT NULL GROUP BY (p) ORDER BY 1",
    "SELECT y.year, n FROM (SELECT year, count(*) AS n FROM t GROUP BY year) AS y WHERE n > 0 ORDER BY n, 1",
    "SELECT year + 1 AS next, CASE WHEN count(*) > 10 THEN 'many' ELSE 'few' END AS size FROM t GROUP BY year ORDER BY year",
]


@pytest.mark.parametrize("sql", OUTER)
def test_what_runs_on_released_groups(scenes: list[Scene], sql: str) -> None:
    for scene in scenes:
        content = scene.ask(sql)
        expected = [list(row) for row in scene.union.execute(sql).fetchall()]
        assert len(content["rows"]) == len(expected)
        for row, wanted in zip(content["rows"], expected, strict=True):
            assert all(_close(found, value) for found, value in zip(row, wanted, strict=True)), (row, wanted)


JOINS = [
    "SELECT s.zone, count(*) n, sum(o.v) s FROM o JOIN s USING (shop) GROUP BY s.zone ORDER BY 1",
    "SELECT s.zone, count(*) n, count(s.zone) k, avg(o.v) FROM o LEFT JOIN s ON o.shop = s.shop AND s.zone <> 'north' GROUP BY 1 ORDER BY 1",
    "SELECT coalesce(s.zone, 'none') z, count(*) n FROM o LEFT JOIN s ON o.shop = s.shop AND s.zone = 'south' GROUP BY z ORDER BY z",
    "SELECT a.zone, corr(o.v, p.v) r, count(*) n FROM o JOIN (SELECT shop, v FROM o WHERE v > 5) p ON o.shop = p.shop JOIN s a ON a.shop = o.shop "
    "GROUP BY a.zone ORDER BY 1",
    "WITH t AS MATERIALIZED (SELECT shop, sum(v) AS total FROM o GROUP BY shop HAVING count(*) > 2) "
    "SELECT s.zone, count(*) n, avg(total) FROM t JOIN s USING (shop) GROUP BY ALL ORDER BY 1",
    "WITH t AS MATERIALIZED (SELECT shop % 2 AS odd, shop, sqrt(sum(v)) + 1 AS r, CAST(avg(v) AS INT) AS whole FROM o "
    "GROUP BY ALL HAVING sum(v) / 2 > 1) SELECT whole > 5 AS large, count(*) n, avg(r), sum(shop) FROM t GROUP BY 1 ORDER BY 1",
]


@pytest.mark.parametrize("sql", JOINS)
def test_joins_are_within_each_department(sql: str) -> None:
    """As on the union, where a join also asks for the same department: shops' numbers tell it."""
    orders = {"shop": Column("shop", "integer"), "v": Column("v", "number")}
    shops = {"shop": Column("shop", "integer"), "zone": Column("zone", "string", domain=("north", "south"))}
    chance = random.Random(11)
    resources, union = {}, duckdb.connect(":memory:")
    union.execute("CREATE TABLE o (shop BIGINT, v DOUBLE); CREATE TABLE s (shop BIGINT, zone VARCHAR)")
    for department in range(3):
        numbers = [department * 100 + place for place in range(20)]
        have = {"shop": numbers, "zone": [chance.choice(("north", "south")) for _ in numbers]}
        sold = {"shop": [chance.choice(numbers) for _ in range(150)], "v": [chance.uniform(0, 10) for _ in range(150)]}
        resources[f"d{department}"] = {"o": LocalResource.arrays(sold, orders), "s": LocalResource.arrays(have, shops)}
        union.executemany("INSERT INTO o VALUES (?, ?)", [list(row) for row in zip(sold["shop"], sold["v"], strict=True)])
        union.executemany("INSERT INTO s VALUES (?, ?)", [list(row) for row in zip(have["shop"], have["zone"], strict=True)])
    with LocalFederation(resources, grant={"minimum_cohort": MINIMUM}) as federation:
        content = federation.run("query", {"sql": sql})
    expected = [list(row) for row in union.execute(sql).fetchall() if row[0] is not None]
    assert content["rows"] == [[value if isinstance(value, str) else pytest.approx(value, rel=1e-9) for value in row] for row in expected]
