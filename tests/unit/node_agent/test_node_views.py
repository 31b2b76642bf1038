"""Derived views: what SQL may be kept, what the helper functions give, and which mistakes are caught."""

from __future__ import annotations

import datetime as dt
import json

import duckdb
import pytest

from node_agent.admin import Admin
from node_agent.config import NodeDir
from node_agent.keys import NodeKeys
from node_agent.sources_reading import connect, reading
from node_agent.views_check import check
from node_agent.views_functions import define_functions, divisions, drop_functions, functions
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

KNOWN = frozenset({"people", "wards"})


def problem(code):
    return pytest.raises(ProblemError, match=f"^{code}:")


@pytest.fixture
def admin(place):
    node_dir = NodeDir(place / "node")
    node_dir.create()
    NodeKeys.create(node_dir)
    made = Admin(node_dir, apps={})
    (place / "people.csv").write_text("id,name,sex,age,ward\n" + "".join(
        f"{n},张{n},{'男女'[n % 2]},{20 + n},{'AB'[n % 2]}\n" for n in range(30)))
    (place / "wards.csv").write_text("ward,title\nA,内科\nB,外科\nB,外二科\n")
    for name in ("people", "wards"):
        made.AddSource(local_pb2.AddSourceRequest(name=name, location=str(place / f"{name}.csv")))
    yield made
    made.close()


@pytest.mark.parametrize(("sql", "code"), [
    ("INSERT INTO people VALUES (1)", "view_not_select"), ("SELECT 1; SELECT 2", "view_not_select"),
    ("COPY people TO '/tmp/x'", "view_not_select"), ("ATTACH 'x'", "view_not_select"), ("", "view_not_select"),
    ("PRAGMA database_list", "view_table_unknown"), ("EXPLAIN SELECT 1", "view_not_select"), ("SELEC 1", "view_syntax"),
    ("SELECT * FROM 'other.csv'", "view_table_unknown"), ("SELECT * FROM main.people", "view_table_unknown"),
    ("SELECT * FROM gone", "view_table_unknown"), ("SELECT (SELECT max(x) FROM gone) FROM people", "view_table_unknown"),
    ("SELECT * FROM read_csv('/etc/passwd')", "view_function"), ("SELECT * FROM duckdb_secrets()", "view_function"),
    ("SELECT * FROM glob('/*')", "view_function"), ("SELECT * FROM postgres_scan('', '', '')", "view_function"),
    ("SELECT * FROM query('SELECT 1')", "view_function"), ("SELECT read_text('/etc/passwd')", "view_function"),
    ("SELECT random() FROM people", "view_function"), ("SELECT now()", "view_function"), ("SELECT uuid()", "view_function"),
    ("SELECT current_date", "view_function"), ("SELECT CURRENT_TIMESTAMP", "view_function"),
    ("SELECT age(d) FROM people", "view_function"), ("SELECT current_setting('x')", "view_function"),
    ("SELECT getvariable('x')", "view_function"), ("SELECT * FROM people WHERE sleep_ms(1)", "view_function"),
    ("SELECT * FROM people USING SAMPLE 5", "view_clause"), ("SELECT ?", "view_clause"), ("DESCRIBE people", "view_clause"),
    ("SHOW TABLES", "view_clause"), ("SELECT * FROM (SUMMARIZE people)", "view_clause"),
    ("WITH people AS (SELECT * FROM gone) SELECT * FROM people", "view_table_unknown")])
def test_sql_that_is_refused(sql, code):
    with problem(code):
        check(sql, KNOWN)


@pytest.mark.parametrize(("sql", "tables", "used", "unordered"), [
    ("SELECT id, mask_hash(name) AS n FROM people WHERE age > 30;  -- adults", ("people",), ("mask_hash",), False),
    ("FROM people -- all; of them", ("people",), (), False), ("SELECT ';' AS x FROM people; -- a; b", ("people",), (), False),
    ("SELECT * FROM people JOIN wards USING (ward)", ("people", "wards"), (), True),
    ("WITH w AS (SELECT * FROM wards) SELECT ward, count(*) AS n FROM w GROUP BY ward", ("wards",), (), True),
    ("SELECT *, row_number() OVER (ORDER BY id) AS r FROM people", ("people",), (), True),
    ("SELECT CASE WHEN age BETWEEN 1 AND 2 THEN 'a' ELSE upper(name) END, age IN (1, 2), name LIKE '张%', -age, age % 2,"
     " CAST(age AS VARCHAR) || 'x', extract(year FROM DATE '2020-01-01'), DATE '2020-01-01' + INTERVAL 1 DAY FROM people",
     ("people",), (), False),
    ("SELECT x FROM people, unnest([1, 2]) AS u(x)", ("people",), (), True),
    ("SELECT id FROM people UNION ALL SELECT ward FROM wards", ("people", "wards"), (), True)])
def test_sql_that_is_kept(sql, tables, used, unordered):
    checked = check(sql, KNOWN)
    assert (set(checked.tables), checked.functions, checked.unordered) == (set(tables), used, unordered)
    (inside,) = connect().execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT * FROM (\n{checked.sql}\n)"]).fetchone()
    assert not json.loads(inside)["error"]


@pytest.fixture(scope="module")
def ask():
    connection = connect()
    for statement in define_functions(functions(), "secret"):
        connection.execute(statement)
    yield lambda sql: connection.execute(f"SELECT {sql}").fetchone()[0]
    connection.close()


@pytest.mark.parametrize(("sql", "expected"), [
    ("mask_id('510104199001011234')", "510104************"), ("mask_mobile('13812345678')", "138****5678"),
    ("mask_mobile(13812345678)", "138****5678"), ("mask_name('张三丰')", "张**"), ("mask_name('王')", "王*"),
    ("mask_middle('ab', 1, 2)", "**"), ("age_at(DATE '1990-06-01', DATE '2026-05-31')", 35),
    ("age_at('1990-06-01', '2026-06-01')", 36), ("age_band(35, 10)", "30-39"), ("age_band(40, 10)", "40-49"),
    ("band(37.5, 5)", 35), ("month_of(TIMESTAMP '2026-03-05 10:00:00')", dt.date(2026, 3, 1)),
    ("quarter_of(DATE '2026-06-30')", dt.date(2026, 4, 1)), ("city_code('510104')", "510100"),
    ("province_code(510104)", "510000"), ("city_name('510104')", "成都市"), ("city_name(110101)", "北京市"),
    ("province_name('540102')", "西藏自治区"), ("city_name('999999')", None),
    ("id_birth_date('510104199001011234')", dt.date(1990, 1, 1)), ("id_birth_date('5101041990130112')", None),
    ("id_gender('510104199001011234')", "1"), ("id_gender('510104199001011224')", "2"), ("id_gender('1')", None),
    ("id_division('510104199001011234')", "510104"), ("clean_text('　Ａｂ  c１ ')", "Ab c1"),
    ("standard_mobile('+86 138-1234-5678')", "13812345678"), ("standard_mobile('12345')", ""),
    ("standard_date('2026年3月5日')", dt.date(2026, 3, 5)), ("standard_date('20260305')", dt.date(2026, 3, 5)),
    ("standard_date('gestern')", None), ("gender_code('男')", "1"), ("gender_code('F')", "2"), ("gender_code('？')", "9"),
    ("round(convert_unit(15, '亩', 'ha'), 9)", 1.0), ("round(convert_unit(100, 'µg/m³', 'mg/m3'), 9)", 0.1),
    ("round(convert_unit(37, '℃', '°F'), 9)", 98.6), ("convert_unit(3, '万元', '元')", 30000.0)])
def test_helper_functions(ask, sql, expected):
    assert ask(sql) == expected


@pytest.mark.parametrize("name", sorted(functions()))
def test_helper_functions_keep_null(ask, name):
    parameters = functions()[name].parameters.split(", ")
    rest = {"tail": "1", "head": "1", "width": "10", "on_date": "DATE '2026-01-01'", "unit": "'kg'", "into_unit": "'g'"}
    kind = {"age": "INTEGER", "x": "DOUBLE", "born": "DATE", "d": "DATE"}.get(parameters[0], "VARCHAR")
    value = ask(f"{name}({', '.join([f'CAST(NULL AS {kind})', *(rest[p] for p in parameters[1:])])})")
    assert value is None or (name == "standard_mobile" and value == "")


def test_the_hash_is_keyed_and_stable(ask):
    assert ask("mask_hash('张三')") == ask("mask_hash('张三')") != ask("mask_hash('张四')")
    other = connect()
    for statement in define_functions(["mask_hash"], "another"):
        other.execute(statement)
    assert other.execute("SELECT mask_hash('张三')").fetchone()[0] != ask("mask_hash('张三')")
    for statement in drop_functions(["mask_hash"]):
        other.execute(statement)
    assert not other.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = 'mask_hash'").fetchall()
    other.close()


def test_units_that_do_not_convert_are_an_error(ask):
    with pytest.raises(duckdb.InvalidInputException, match="do not convert"):
        ask("convert_unit(1, 'kg', 'm')")


def test_divisions_are_those_of_the_standard():
    named = divisions()
    assert sum(len(code) == 2 for code in named) == 34
    assert named["5101"] == "成都市"


def add(admin, name, sql, **options):
    return admin.AddView(local_pb2.AddViewRequest(name=name, sql=sql, **options))


def test_a_view_is_a_source(admin):
    report = add(admin, "adults", "SELECT mask_hash(id) AS pid, gender_code(sex) AS sex, age_band(age, 10) AS band, age"
                                  " FROM people WHERE age >= 30")
    assert (report.source.kind, report.source.row_count, list(report.source.reads)) == ("view", 20, ["people"])
    assert not report.notes
    resource = admin.RegisterResource(local_pb2.RegisterResourceRequest(source="adults", resource=link_pb2.Resource(
        name="adults", sector="health", grade=2, approval="automatic", columns=[
            link_pb2.Column(name="sex", domain=["*"]), link_pb2.Column(name="age", lower=0, upper=120)])))
    assert resource.row_count == 20
    assert list(resource.columns[0].domain) == ["1", "2"]
    with problem("source_in_view"):
        admin.RemoveSource(local_pb2.RemoveSourceRequest(name="people"))
    with problem("source_in_use"):
        admin.RemoveSource(local_pb2.RemoveSourceRequest(name="adults"))
    salt = (admin.node_dir.view_salt).read_text()
    assert len(salt) == 64
    (stored,) = [row["location"] for row in admin.state.all("SELECT location FROM source WHERE name = 'adults'")]
    assert salt not in stored
    assert all(salt not in entry.event + json.dumps(entry.data) for entry in admin.journal.read(0, 100))


def test_views_over_views(admin):
    add(admin, "adults", "SELECT id, age, ward FROM people WHERE age >= 30")
    report = add(admin, "old", "SELECT mask_hash(id) AS id, age FROM adults WHERE age > 40")
    assert report.source.row_count == 9
    with problem("view_table_unknown"):
        add(admin, "adults", "SELECT * FROM old", replace=True)
    with problem("source_exists"):
        add(admin, "adults", "SELECT 1 AS x")


@pytest.mark.parametrize(("sql", "code"), [
    ("SELECT id, age AS id FROM people", "view_column_twice"), ("SELECT [age] AS a FROM people", "view_column_type"),
    ("SELECT * FROM people WHERE age > 1000", "view_empty"), ("SELECT gone FROM people", "source_unreadable"),
    ("SELECT name + 1 AS x FROM people", "source_unreadable")])
def test_mistakes_are_caught_early(admin, sql, code):
    with problem(code):
        add(admin, "wrong", sql)
    assert not [s for s in admin.sources.list() if s.name == "wrong"]


def notes(report):
    return {note.code: dict(note.args) for note in report.notes}


def test_what_looks_wrong_is_noted(admin):
    joined = notes(add(admin, "joined", "SELECT p.*, title FROM people p JOIN wards USING (ward)"))
    assert joined == {"view_more_rows": {"rows": "45", "source_rows": "30"}}
    repeated = notes(add(admin, "repeated", "SELECT sex, 1 AS one, CAST(NULL AS INTEGER) AS none FROM people"))
    assert repeated == {"view_duplicates": {"rows": "28"}, "view_column_constant": {"column": "one"},
                        "view_column_null": {"column": "none"}}


def test_a_replaced_view_keeps_what_resources_stand_on(admin):
    add(admin, "adults", "SELECT id, age FROM people WHERE age >= 30")
    admin.RegisterResource(local_pb2.RegisterResourceRequest(source="adults", resource=link_pb2.Resource(
        name="adults", sector="health", grade=2, approval="automatic")))
    with problem("view_in_use"):
        add(admin, "adults", "SELECT id, CAST(age AS VARCHAR) AS age FROM people", replace=True)
    with problem("view_in_use"):
        add(admin, "adults", "SELECT id FROM people", replace=True)
    assert add(admin, "adults", "SELECT id, age + 1 AS age, sex FROM people", replace=True).source.row_count == 30
    (refreshed,) = admin.RefreshResources(local_pb2.RefreshResourcesRequest()).resources
    assert (refreshed.rows_before, refreshed.rows) == (20, 30)


def test_a_preview_shows_at_most_twenty_rows_and_leaves_nothing_behind(admin):
    before = admin.journal.head()
    preview = admin.PreviewView(local_pb2.PreviewViewRequest(sql="SELECT id, NULLIF(age, 20) AS age FROM people", limit=500))
    assert len(preview.rows) == 20
    assert [(c.name, c.type) for c in preview.columns] == [("id", "integer"), ("age", "integer")]
    first = preview.rows[0].values
    assert (first[0].text, first[1].HasField("text")) == ("0", False)
    assert len(admin.PreviewView(local_pb2.PreviewViewRequest(name="people", limit=3)).rows) == 3
    assert admin.journal.head() == before


def test_rows_keep_their_order_whatever_is_read_of_them(admin):
    """A row's number must be the same for any choice of columns: the guard against differencing counts on it."""
    add(admin, "joined", "SELECT p.id, title, age FROM people p JOIN wards w USING (ward)")
    read = reading("view", admin.sources.resolved(admin.sources.get("joined")))
    orders = []
    for columns in ("id, title", "title, age, id", "id, age, title"):
        with connect() as connection:
            for statement in read.load:
                connection.execute(statement)
            connection.execute(f"CREATE TABLE t AS SELECT {columns} FROM {read.relation}")
            orders.append(connection.execute("SELECT id, title FROM t ORDER BY rowid").fetchall())
    assert orders[0] == orders[1] == orders[2]
