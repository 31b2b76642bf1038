"""PostgreSQL and MySQL tables as sources, on real servers: in place, read-only, pushed down, without a trace of the password."""

from __future__ import annotations

import asyncio
import json
import re
import stat

import pytest
from node_harness import one_node, runs
from tests.factories import mysql, postgres

from node_agent.admin import Admin
from node_agent.config import NodeDir
from node_agent.keys import NodeKeys
from node_agent.sources_database import Database
from node_agent.sources_reading import opened, reading
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

PASSWORD = "correct horse's \\ battery"

ROWS = 300

PEOPLE = """
CREATE TABLE people (id BIGINT PRIMARY KEY, name VARCHAR(40), sex VARCHAR(4), age INT, weight DECIMAL(6,2), born DATE,
  seen TIMESTAMP NULL, ok BOOLEAN);
INSERT INTO people VALUES {rows};
CREATE TABLE letters (n VARCHAR(10), c CHAR(4), k INT PRIMARY KEY);
INSERT INTO letters VALUES ('a','ab',1),('B','AB',2),('b','x',3),('C','',4),(NULL,NULL,5);
CREATE TABLE hidden (x INT);
"""


def people_sql():
    rows = ", ".join(
        f"({n}, 'p{n}', '{'fm'[n % 2]}', {20 + n % 60}, {'NULL' if n == 7 else f'{40 + n % 50}.25'}, "
        f"DATE '{1950 + n % 60}-03-05', TIMESTAMP '2026-01-01 08:00:00', {'TRUE' if n % 3 else 'FALSE'})"
        for n in range(ROWS, 0, -1))
    return PEOPLE.format(rows=rows)


class Postgres:
    """A server whose user ``reader`` needs a password, which logs every statement."""

    kind = "postgres"

    def __init__(self):
        self.server = postgres.Server()
        self.server.folder.chmod(0o755)  # as /run/postgresql is: a worker in a namespace of its own owns no one else's folder
        hba = self.server.folder / "data" / "pg_hba.conf"
        hba.write_text("local all reader scram-sha-256\nlocal all all trust\n")
        self.server.start()
        self.statements = self.server.folder / "log"
        self.admin("CREATE DATABASE his", "postgres")
        for statement in people_sql().split(";"):
            if statement.strip():
                self.admin(statement)
        self.admin("CREATE ROLE reader LOGIN PASSWORD '" + PASSWORD.replace("'", "''") + "'")
        self.admin("GRANT SELECT ON people, letters TO reader")
        self.admin("ALTER SYSTEM SET log_statement = 'all'", "postgres")
        self.admin("SELECT pg_reload_conf()", "postgres")

    def admin(self, statement, database="his"):
        from sqlalchemy import create_engine, text
        engine = create_engine(postgres.url_of(self.server.folder, database).replace("postgresql:", "postgresql+psycopg:"),
                               isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.execute(text(statement.replace(":", r"\:")))
            rows = result.fetchall() if result.returns_rows else []
        engine.dispose()
        return rows

    def address(self, user="reader", database="his"):
        return f"postgres://{user}@/{database}?host={self.server.folder}"

    def connections(self):
        return self.admin("SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'")[0][0]

    def reads(self):
        return [line for line in self.statements.read_text().splitlines() if "COPY (SELECT" in line]

    def stop(self):
        self.server.stop()

    def remove(self):
        self.server.stop()
        self.server.remove()


class MySql:
    kind = "mysql"

    def __init__(self):
        self.server = mysql.Server()
        self.server.run("CREATE DATABASE his CHARACTER SET utf8mb4")
        self.server.run(people_sql(), "his")
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        self.server.run(f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{quoted}';"
                        "GRANT SELECT ON his.people TO reader@'127.0.0.1'; GRANT SELECT ON his.letters TO reader@'127.0.0.1'")
        self.statements = self.server.log

    def admin(self, statement):
        self.server.run(statement, "his")

    def address(self, user="reader", database="his"):
        return f"mysql://{user}@127.0.0.1:{self.server.port}/{database}"

    def reads(self):
        return [line for line in self.statements.read_text().splitlines() if re.search(r"Execute\s+SELECT `", line)]

    def stop(self):
        self.server.stop()

    def remove(self):
        self.server.remove()


@pytest.fixture(scope="module", params=[
    pytest.param(Postgres, id="postgres", marks=pytest.mark.needs_postgres), pytest.param(MySql, id="mysql", marks=pytest.mark.needs_mysql)])
def database(request):
    try:
        made = request.param()
    except (postgres.Absent, mysql.Absent) as absent:
        pytest.skip(str(absent))
    yield made
    made.remove()


@pytest.fixture
def node_dir(place):
    made = NodeDir(place / "node")
    made.create()
    NodeKeys.create(made)
    return made


@pytest.fixture
def secret(place):
    path = place / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def admin(node_dir):
    made = Admin(node_dir, apps={})
    yield made
    made.close()


def add(admin, database, secret, name="people", table="people", **options):
    return admin.AddSource(local_pb2.AddSourceRequest(**{
        "name": name, "location": database.address(), "table": table, "password_file": str(secret), **options}))


def problem(code):
    return pytest.raises(ProblemError, match=f"^{code}:")


def location_of(admin, name="people"):
    return admin.sources.resolved(admin.sources.get(name))


def test_a_table_is_a_source(admin, database, secret):
    source = add(admin, database, secret)
    assert (source.kind, source.row_count) == (database.kind, ROWS)
    assert {c.name: c.type for c in source.columns} == {
        "id": "integer", "name": "string", "sex": "string", "age": "integer", "weight": "number", "born": "date",
        "seen": "timestamp", "ok": "boolean"}
    resource = admin.RegisterResource(local_pb2.RegisterResourceRequest(source="people", resource=link_pb2.Resource(
        name="people", sector="health", grade=2, approval="automatic", columns=[
            link_pb2.Column(name="id", identifier=True), link_pb2.Column(name="sex", domain=["*"]),
            link_pb2.Column(name="weight", lower=0, upper=300, unit="kg")])))
    assert list(resource.columns[1].domain) == ["f", "m"]
    assert {c.name: c.completeness for c in resource.profile.columns} == {"id": 100, "sex": 100, "weight": 99}
    report = admin.AddView(local_pb2.AddViewRequest(
        name="adults", sql="SELECT mask_hash(name) AS pid, age_band(age, 10) AS band, weight FROM people WHERE age >= 40"))
    assert report.source.row_count == sum(20 + n % 60 >= 40 for n in range(1, ROWS + 1))
    assert len(admin.PreviewView(local_pb2.PreviewViewRequest(name="adults")).rows) == 20
    assert admin.MeasureRisk(local_pb2.MeasureRiskRequest(source="people", quasi=["sex"])).smallest_class == ROWS // 2


def test_the_server_is_asked_for_what_is_read_and_no_more(admin, database, secret):
    add(admin, database, secret)
    admin.AddView(local_pb2.AddViewRequest(
        name="adults", sql="SELECT name, age FROM people WHERE age > 61 AND born < DATE '1999-01-01' AND sex = 'f'"))
    before = len(database.reads())
    with opened("view", location_of(admin, "adults")) as (connection, table):
        rows = connection.execute(f"SELECT age FROM {table}").fetchall()
    asked = "".join(database.reads()[before:])
    assert len(rows) == sum(20 + n % 60 > 61 and 1950 + n % 60 < 1999 and n % 2 == 0 for n in range(1, ROWS + 1))
    assert re.search(r"age. > '?61", asked)
    assert re.search(r"born. < '?1999-01-01", asked)
    assert "weight" not in asked
    assert "name" not in asked.replace("FROM", "").split("WHERE")[0].lower()


@pytest.mark.parametrize("condition", ["n >= 'B'", "n = 'b'", "n LIKE 'B%'", "c = 'ab'", "n IN ('b', 'a')", "n < 'b'"])
def test_text_is_compared_as_here_whatever_the_collation_there(admin, database, secret, condition):
    """A MySQL server with its usual collation finds 'B' when asked for 'b'."""
    add(admin, database, secret, table="letters")
    with opened(database.kind, location_of(admin)) as (connection, table):
        connection.execute("CREATE TABLE here (n VARCHAR, c VARCHAR, k INT)")
        connection.execute("INSERT INTO here VALUES ('a','ab',1),('B','AB',2),('b','x',3),('C','',4),(NULL,NULL,5)")
        expected, found = (connection.execute(f"SELECT k FROM {name} WHERE {condition} ORDER BY k").fetchall() for name in (
            "here", table))
    assert found == expected


def test_dates_that_are_none_are_null(admin, database, secret):
    if database.kind == "postgres":
        return  # it keeps no such dates
    database.admin("SET sql_mode = ''; CREATE OR REPLACE TABLE visits (id INT PRIMARY KEY, d DATE, t DATETIME);"
                   "INSERT INTO visits VALUES (1, '0000-00-00', '0000-00-00 00:00:00'), (2, '2020-05-00', NULL), (3, '2020-05-06', NULL);"
                   "GRANT SELECT ON visits TO reader@'127.0.0.1'")
    add(admin, database, secret, table="visits")
    preview = admin.PreviewView(local_pb2.PreviewViewRequest(name="people"))
    assert [[v.text if v.HasField("text") else None for v in row.values] for row in preview.rows] == [
        ["1", None, None], ["2", None, None], ["3", "2020-05-06", None]]


def test_rows_come_in_the_order_of_the_key(admin, database, secret):
    add(admin, database, secret)
    add(admin, database, secret, name="by_age", key=["age", "id"])
    with opened(database.kind, location_of(admin)) as (connection, table):
        connection.execute(f"CREATE TABLE t AS SELECT id, weight FROM {table}")
        assert connection.execute("SELECT list(id ORDER BY rowid) = list(id ORDER BY id) FROM t").fetchone() == (True,)
    with opened(database.kind, location_of(admin, "by_age")) as (connection, table):
        connection.execute(f"CREATE TABLE t AS SELECT id, age FROM {table}")
        assert connection.execute("SELECT list(id ORDER BY rowid) = list(id ORDER BY age, id) FROM t").fetchone() == (True,)
    with problem("resource_column"):
        add(admin, database, secret, name="other", key=["gone"])


def test_nothing_can_be_written(admin, database, secret):
    add(admin, database, secret)
    attached = Database.from_json(location_of(admin))
    with problem("source_unreadable"), opened(database.kind, location_of(admin)) as (connection, _table):
        connection.execute(f"DELETE FROM {attached.bare}")


def test_connections_end_and_secrets_are_forgotten_with_the_read(admin, database, secret):
    add(admin, database, secret)
    found = reading(database.kind, location_of(admin))
    with opened("csv", "/dev/null") as (connection, _table):
        for statement in found.load:
            connection.execute(statement)
        connection.execute(f"CREATE TABLE t AS SELECT age FROM {found.relation}")
        for statement in found.unload:
            connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM duckdb_secrets()").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM duckdb_databases() WHERE database_name LIKE 'src_%'").fetchone() == (0,)
        if database.kind == "postgres":
            assert database.connections() == 0
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)


@pytest.mark.parametrize(("options", "code"), [
    ({"table": "gone"}, "source_table_missing"), ({"table": "hidden"}, ("source_permission", "source_table_missing")),
    ({"table": ""}, "source_table_needed"), ({"password_file": "/nowhere/password"}, "source_password_missing"),
    ({"password_file": "relative"}, "source_password_place"), ({"password_variable": "A-B"}, "source_password_place"),
    ({"password_variable": "X"}, "source_password_place")])
def test_what_is_wrong_has_a_code(admin, database, secret, options, code):
    with pytest.raises(ProblemError) as refused:
        add(admin, database, secret, **options)
    assert refused.value.code in code if isinstance(code, tuple) else refused.value.code == code
    assert not admin.sources.list()


def test_a_wrong_password_is_told_as_such_and_never_repeated(admin, database, place):
    wrong = place / "wrong"
    wrong.write_text("s3cret-that-is-wrong")
    with problem("source_login_refused") as refused:
        add(admin, database, wrong)
    told = str(refused.value) + refused.value.text("zh") + repr(refused.value.args_)
    assert "s3cret" not in told
    assert refused.value.__cause__ is None


def test_a_database_that_is_none(admin, database, secret):
    with pytest.raises(ProblemError) as refused:
        add(admin, database, secret, location=database.address(database="nothing_here"))
    assert refused.value.code in ("source_unreachable", "source_login_refused", "source_permission")


@pytest.mark.parametrize("location", [
    "postgres://reader:pw@localhost/his", "mysql://reader:pw@localhost/his", "postgres://reader@localhost/his?password=pw"])
def test_a_password_in_the_address_is_refused(admin, location):
    with problem("source_password_given") as refused:
        admin.AddSource(local_pb2.AddSourceRequest(name="people", location=location, table="people"))
    assert "pw" not in str(refused.value.args_)


@pytest.mark.parametrize("location", [
    "postgres://localhost/his", "postgres://reader@localhost", "postgres://reader@localhost:port/his",
    "postgres://reader@localhost/his?options=-c", "mysql://reader@localhost/his/more", "mysql://reader@localhost/other"])
def test_an_address_that_is_none(admin, location):
    with problem("source_address"):
        admin.AddSource(local_pb2.AddSourceRequest(name="people", location=location, table="his.people"))


def test_nobody_listens(admin, secret):
    for location in ("postgres://reader@127.0.0.1:9/his", "mysql://reader@127.0.0.1:9/his"):
        with problem("source_unreachable"):
            admin.AddSource(local_pb2.AddSourceRequest(
                name="people", location=location, table="people", password_file=str(secret)))


def test_the_password_is_in_no_file_of_the_node(admin, database, secret, monkeypatch):
    monkeypatch.setenv("HIS_PASSWORD", PASSWORD)
    add(admin, database, secret)
    add(admin, database, secret, name="other", password_file="", password_variable="HIS_PASSWORD")
    admin.AddView(local_pb2.AddViewRequest(name="adults", sql="SELECT mask_hash(name) AS p, age FROM people"))
    admin.RegisterResource(local_pb2.RegisterResourceRequest(source="adults", resource=link_pb2.Resource(
        name="people", sector="health", grade=2, approval="automatic")))
    for path in admin.node_dir.path.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            content = path.read_bytes()
            assert PASSWORD.encode() not in content
            assert b"battery" not in content
    assert "battery" not in repr(admin.resources.list()) + repr(admin.sources.list())
    assert "battery" not in json.dumps([entry.data for entry in admin.journal.read(0, 100)])
    resolved = location_of(admin, "other")
    assert "battery" in resolved
    assert "HIS_PASSWORD" not in resolved
    assert "battery" not in repr(Database.from_json(resolved))


@runs
async def test_a_task_is_answered_from_the_database(place, database, secret):
    async with one_node(place) as (world, _coordinator, agent, session):
        node_dir = agent.admin.node_dir

        def prepare(source):
            """As the local service does it: in a thread and a connection of its own."""
            admin = Admin(node_dir, apps={})
            if not admin.sources.list()[1:]:
                add(admin, database, secret, name="his")
                admin.AddView(local_pb2.AddViewRequest(
                    name="grown", sql="SELECT mask_hash(id) AS id, sex, age, weight FROM his WHERE age >= 30"))
            columns = [link_pb2.Column(name="id", identifier=True), link_pb2.Column(name="age"), link_pb2.Column(name="weight"),
                       link_pb2.Column(name="sex", domain=["*"])]
            admin.RegisterResource(local_pb2.RegisterResourceRequest(source=source, resource=link_pb2.Resource(
                name="patients", title="病人", sector="health", grade=2, approval="automatic", columns=columns)))
            admin.close()

        for source in ("his", "grown"):
            await asyncio.to_thread(prepare, source)
            agent.admin.changed_elsewhere()
            reply = await session.ask(world.task(world.signed(jti=f"grt_{source}"), run=source, columns=("age",)))
            assert reply.WhichOneof("outcome") == "flower_message", (reply.failure, node_dir.worker_log.read_text())
        if database.kind == "postgres":
            assert await asyncio.to_thread(database.connections) == 0
        for run, change in (("gone", secret.unlink), ("wrong", lambda: secret.write_text("wrong"))):
            change()
            reply = await session.ask(world.task(world.signed(jti=f"grt_{run}"), run=run, columns=("age",)))
            assert (reply.failure.code, reply.failure.retryable, dict(reply.failure.args)) == ("source_unavailable", True, {})
        log = node_dir.worker_log.read_text()
        assert "a source cannot be read" in log
        assert "battery" not in log


@pytest.mark.needs_postgres
def test_a_server_that_goes_away(secret, admin):
    try:
        server = Postgres()
    except postgres.Absent as absent:
        pytest.skip(str(absent))
    try:
        add(admin, server, secret)
        admin.RegisterResource(local_pb2.RegisterResourceRequest(source="people", resource=link_pb2.Resource(
            name="people", sector="health", grade=2, approval="automatic", columns=[link_pb2.Column(name="age")])))
        server.admin("ALTER TABLE people RENAME TO moved")
        (found,) = admin.RefreshResources(local_pb2.RefreshResourcesRequest()).resources
        assert [dict(note.args) for note in found.notes] == [{"reason": "source_table_missing"}]
        server.stop()
        (found,) = admin.RefreshResources(local_pb2.RefreshResourcesRequest()).resources
        assert [dict(note.args) for note in found.notes] == [{"reason": "source_unreachable"}]
        assert found.rows == ROWS
        server.server.start()
    finally:
        server.remove()
