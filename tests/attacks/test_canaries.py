"""Marked rows in every kind of source, every app and every error run over them, and then a search of all that left.

Searched are: every frame that a node sent, in the coordinator's own recording; the market's folder with its databases,
file by file and cell by cell; the logs of coordinator and market; and what REST said of every job, result, review and
error. A department's own log is its own.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from demo import authorise
from demo.commands import run
from demo.layout import AUTHORITY, DEVELOPER, OPERATOR
from sqlalchemy import create_engine, text
from tests.attacks.canaries import Canary, found
from tests.external.recording_coordinator import CANARY as HELD
from tests.external.sweep import Needles, memory
from tests.factories import postgres
from tests.factories.recorded import RecordedTown
from tests.factories.town import TownLayout, department, town

import shuyan
from shuyan.appkit import loader, sign_package
from shuyan.appkit.package import pack
from shuyan.appkit.rules import imports_of
from shuyan.jobs import digest_of
from shuyan.trust import keys
from shuyan.trust.keys import generate_signing_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = 160
KINDS = ("csv", "parquet", "ndjson", "sqlite")
DEPARTMENTS = [department(kind, f"{kind}医院") for kind in KINDS]
COLUMNS = ["age", "income", "days", "ill", "ward", "note"]
WARDS = "a,b,c,solo"
SOLO = "csv"  # the department that alone has rows in the ward "solo"
SHOWN = "control-令牌-5309172"

Table = dict[str, list[Any]]


def table(canary: Canary, place: int) -> Table:
    """A department's patients; the first of them is the canary."""
    random = np.random.default_rng(place)
    age = random.integers(20, 90, ROWS)
    wards = random.choice(["a", "b", "c"], ROWS).astype(object)
    if canary.where == SOLO:
        wards[20:60] = "solo"
    ill = (random.random(ROWS) < 1 / (1 + np.exp((50 - age) / 15))).astype(int)
    income = (random.gamma(4, 9_000, ROWS)).round(5)
    ids = [f"{number:018d}" for number in range(ROWS)]
    table = {
        "id": ids, "name": [f"p{number}" for number in range(ROWS)], "born": [f"{1990 - int(one) % 30}-01-02" for one in age],
        "age": age.tolist(), "income": income.tolist(), "days": random.integers(1, 60, ROWS).tolist(), "ill": ill.tolist(),
        "ward": wards.tolist(), "note": [f"n{number}" for number in range(ROWS)]}
    for name, value in (("id", canary.id), ("name", canary.name), ("born", canary.born.isoformat()), ("age", 19),
                        ("income", canary.income), ("note", canary.name)):
        table[name][0] = value
    return table


def as_csv(rows: Table, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(rows)
        writer.writerows(zip(*rows.values(), strict=True))


def as_ndjson(rows: Table, path: Path) -> None:
    lines = (json.dumps(dict(zip(rows, row, strict=True)), ensure_ascii=False) for row in zip(*rows.values(), strict=True))
    path.write_text("\n".join(lines), encoding="utf-8")


def as_sqlite(rows: Table, path: Path) -> None:
    kinds = {name: "REAL" if name == "income" else "INTEGER" if name in ("age", "days", "ill") else "TEXT" for name in rows}
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE cases (n INTEGER PRIMARY KEY, {', '.join(f'{a} {b}' for a, b in kinds.items())})")
        connection.executemany(f"INSERT INTO cases ({', '.join(rows)}) VALUES ({', '.join('?' * len(rows))})",
                               list(zip(*rows.values(), strict=True)))
    connection.close()


def as_postgres(rows: Table, folder: Path, name: str) -> None:
    postgres.administer(folder, f"CREATE DATABASE {name}")
    engine = create_engine(postgres.url_of(folder, name).replace("postgresql:", "postgresql+psycopg:"))
    kinds = {name: "DOUBLE PRECISION" if name == "income" else "BIGINT" if name in ("age", "days", "ill") else "TEXT" for name in rows}
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE cases (n SERIAL PRIMARY KEY, {', '.join(f'{a} {b}' for a, b in kinds.items())})"))
        connection.execute(text(f"INSERT INTO cases ({', '.join(rows)}) VALUES ({', '.join(f':{name}' for name in rows)})"),
                           [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)])
    engine.dispose()


WRITERS: dict[str, tuple[str, Callable[[Table, Path], None]]] = {
    "csv": ("csv", as_csv), "parquet": ("parquet", lambda rows, path: pq.write_table(pa.table(rows), path)),
    "ndjson": ("ndjson", as_ndjson), "sqlite": ("sqlite", as_sqlite)}


@dataclass
class Aviary:
    """A market over marked rows, and everything REST said."""

    market: RecordedTown
    folder: Path
    server: postgres.Server | None
    canaries: list[Canary] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    digest: str = ""  # of the tattler

    def sources(self) -> None:
        """A file of its own kind at every department; a database table or a view of another file for the second resource."""
        for place, one in enumerate(DEPARTMENTS):
            ending, write = WRITERS[one.slug]
            for number, resource in enumerate(("cases", "visits", "worse")):
                canary = Canary.of(one.slug if number == 0 else f"{resource}-{one.slug}", place + 4 * number)
                rows = table(canary, place + 10 * number)
                if resource == "cases":
                    self.tables[one.slug] = rows
                    write(rows, self.folder / f"cases-{one.slug}.{ending}")
                elif resource == "worse":
                    as_csv(rows, self.folder / f"worse-{one.slug}.csv")
                elif self.server is not None and place % 2 == 0:
                    as_postgres(rows, self.server.folder, f"town{place}")
                else:
                    as_ndjson(rows, self.folder / f"visits-{one.slug}.ndjson")
                self.canaries.append(canary)

    def offer(self, one: Any) -> None:
        """Add the sources at one department, register the resources and allow the apps."""
        market, place = self.market, DEPARTMENTS.index(one)
        more = ("--table", "cases") if one.slug == "sqlite" else ()
        market.node_command(one, "source", "add", "cases", self.folder / f"cases-{one.slug}.{WRITERS[one.slug][0]}", *more)
        market.node_command(one, "source", "add", "worse", self.folder / f"worse-{one.slug}.csv")
        if self.server is not None and place % 2 == 0:
            market.node_command(one, "source", "add", "visits", f"postgres://postgres@/town{place}?host={self.server.folder}",
                                "--table", "cases")
        else:
            market.node_command(one, "source", "add", "raw", self.folder / f"visits-{one.slug}.ndjson")
            sql = self.folder / f"view-{one.slug}.sql"
            sql.write_text("SELECT id, name, CAST(born AS DATE) AS born, age, income, days, ill, ward, note FROM raw WHERE age > 0")
            market.node_command(one, "view", "add", "visits", "--sql", sql, "--yes")
        declared = ["--sector", "health", "--grade", "3", "--approval", "automatic", "--title", SHOWN, "--identifier", "id",
                    "--identifier", "name", "--dimension", f"ward={WARDS}", "--bounds", "income=0:200000", "--bounds", "age=0:120",
                    "--bounds", "days=0:60"]
        for resource in ("cases", "visits", "worse"):
            market.node_command(one, "resource", "register", resource, "--source", resource, *declared,
                                *(part for column in ("id", "name", *COLUMNS) for part in ("--column", column)))

    def developers_app(self) -> None:
        """Hand in the tattler, accept it, install it everywhere."""
        market = self.market
        source = (Path(__file__).parent / "tattler" / "__init__.py").read_text()
        sources = {"tattler/__init__.py": source}
        package = pack(loader.static_manifest(loader.import_app("tattler", sources), imports_of("tattler", sources)), sources)
        self.digest = package.digest
        key = generate_signing_key()
        keys.save_public_key(market.layout.market / "keys" / "apps.pub", key.public_key())
        file = self.folder / f"{package.name}-{package.version}.shuyanapp"
        file.write_bytes(package.data)
        signature = sign_package(package, key, issuer="operator", at=1_760_000_000)
        file.with_name(file.name + ".sig").write_text(signature)
        submission = market.connect(DEVELOPER).programs.submit(file)
        market.connect(OPERATOR).programs.accept(submission.id, signature)
        for one in DEPARTMENTS:
            market.node_command(one, "app", "trust-key", market.layout.market / "keys" / "apps.pub", "--yes")
            market.node_command(one, "app", "install", file)

    def allow(self) -> None:
        def allow(one: Any) -> None:
            self.market.node_command(one, "app", "allow", *(app["name"] for app in self.market.node_json(one, "app", "list")))

        self.market.in_parallel(allow)

    def grant(self, apps: list[str], **terms: Any) -> str:
        """A grant on all three resources."""
        developer = self.market.connect(DEVELOPER)
        names = {"cases", "visits"} if terms else {"cases", "visits", "worse"}
        resources = [one for one in developer.resources.list() if one.name in names]
        demand = authorise.ask(
            self.market, title=SHOWN, purpose="为城市治理提供汇总统计，不涉及任何原始记录。", sector="health",
            columns={one.id: COLUMNS for one in resources}, apps=apps, output_forms=["statistics", "model"], minimum_cohort=10,
            minimum_participants=3, term_days=30, **terms)
        run("shuyan-authority", "issue", demand, "--yes", environment={
            **self.market.layout.authority_environment(), "SHUYAN_APPS_DIR": str(self.folder)})  # it has the tattler's package too
        return next(grant.id for grant in developer.grants.list() if grant.demand_id == demand)

    def play(self, name: str, grant: str, app: str, params: dict[str, Any], during: Callable[[shuyan.Job], object] | None = None) -> None:
        """One job to its end, and all that anybody is told of it; what goes wrong here is for the last test to say."""
        try:
            self._play(name, grant, app, params, during)
        except Exception as error:
            self.ended[name] = f"broken: {error!r}"

    def _claim(self, developer: shuyan.Market, grant: str, app: str, params: dict[str, Any]) -> None:
        """Say that the app was tried in the sandbox, where nobody can see it: what a hostile developer would do."""
        parts = {"app": app, "app_digest": self.digest, "params": params,
                 "resources": {params["resource"]: sorted([params["column"], params["text"]])}}
        box = developer.sandboxes.open(developer.grants.get(grant).scenario_id)
        run = developer.sandboxes.begin(box.id, parts, digest_of(parts), description_digest=digest_of({}), rows=1)
        developer.sandboxes.finish(run, duration_ms=1, result_digest=digest_of({}))

    def _play(self, name: str, grant: str, app: str, params: dict[str, Any], during: Callable[[shuyan.Job], object] | None) -> None:
        developer = self.market.connect(DEVELOPER)
        if app == "tattler":
            self._claim(developer, grant, app, params)
        try:
            job = developer.jobs.submit(grant, app, params, title=SHOWN, fresh=True)
        except shuyan.ShuyanError as refused:
            self.said.append(f"{refused!r} {refused} {vars(refused)}")
            self.ended[name] = f"refused: {getattr(refused, 'code', refused)}"
            return
        if during is not None:
            during(job)
        try:
            job.wait(timeout=40, until=("reviewing",), poll=0.05)
        except TimeoutError:
            job.cancel()
        self.ended[name] = job.status
        self.said += [str(line) for line in job.log()]
        authority = self.market.connect(AUTHORITY)
        for review in authority.reviews.list():
            if review.job_id == job.id:
                self.said.append(str(authority.reviews.get(review.id)))
                if review.status == "pending":
                    authorise.release(self.market, job.id, override="测试")
        job.refresh()
        if job.status == "completed":
            self.said.append(json.dumps(job.result(), ensure_ascii=False))
        self.said.append(json.dumps(developer._api.get(f"/jobs/{job.id}"), ensure_ascii=False))


LEARNING: dict[str, dict[str, Any]] = {
    "regression": {"family": "logistic", "target": "ill", "features": ["age", "income", "ward"]},
    "boosting": {"target": "ill", "features": ["age", "income", "ward"], "rounds": 2, "max_depth": 2},
    "network": {"target": "ill", "features": ["age", "income"], "rounds": 2, "hidden": [3]},
    "clustering": {"features": ["age", "income"], "clusters": 2, "starts": 2, "max_rounds": 4},
    "components": {"features": ["age", "income", "days"]},
    "survival": {"time": "days", "event": "ill", "features": ["age", "income"], "times": {"upper": 60.0, "step": 1.0}},
}
SQL = {
    "sum": "SELECT ward, count(*) AS n, sum(income) AS s, avg(income) AS m FROM cases GROUP BY ward",
    "extremes": "SELECT min(income) AS a, max(income) AS b, median(income) AS c FROM cases",
    "join": "SELECT count(*) AS n FROM cases JOIN visits ON cases.age = visits.age",
    "one row": "SELECT sum(income) AS s FROM cases WHERE age = 19",
    "a row's text": "SELECT note, count(*) AS n FROM cases GROUP BY note",
    "all rows": "SELECT * FROM cases",
    "identifier": "SELECT count(DISTINCT id) AS n FROM cases",
    "cast": "SELECT sum(CAST(note AS INTEGER)) AS s FROM cases",
    "cast in a condition": "SELECT count(*) AS n FROM visits WHERE CAST(note AS DOUBLE) > 1",
    "division": "SELECT sum(income / (age - 19)) AS s FROM cases",
    "integer division": "SELECT sum(days // (age - 19)) AS s FROM cases",
    "released": "SELECT CAST('x' || n AS INTEGER) AS y FROM (SELECT count(*) AS n FROM cases)",
    "logarithm": "SELECT sum(ln(age - 19)) AS s FROM visits",
    "nonsense": "SELEC income FROM cases",
}


def kill_workers(aviary: Aviary) -> Callable[[shuyan.Job], None]:
    """Kill the workers of one department while it works."""
    def kill(job: shuyan.Job) -> None:
        agent = psutil.Process(aviary.market.processes.pid("parquet"))

        def workers() -> list[psutil.Process] | None:
            return agent.children(recursive=True) or (True if job.refresh().ended else None)  # type: ignore[return-value]

        here = aviary.market.wait_for(workers, "a worker")
        for worker in here if isinstance(here, list) else []:
            try:
                os.kill(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    return kill


@pytest.fixture(scope="module")
def aviary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aviary]:
    try:
        server: postgres.Server | None = postgres.Server()
        server.folder.chmod(0o755)  # type: ignore[union-attr]
        server.start()  # type: ignore[union-attr]
    except postgres.Absent:
        server = None

    def recorded(layout: TownLayout) -> RecordedTown:
        return RecordedTown(layout)

    try:
        with town(DEPARTMENTS, recorded) as market:
            assert isinstance(market, RecordedTown)
            made = Aviary(market, tmp_path_factory.mktemp("sources"), server)
            made.sources()
            market.enrol_all()
            market.in_parallel(made.offer)
            made.developers_app()
            made.allow()
            market.wait_for(lambda: len([*market.connect(DEVELOPER).resources.list()]) == 12 or None, "resources")
            everything(made)
            yield made
    finally:
        if server is not None:
            server.stop()
            server.remove()


def everything(aviary: Aviary) -> None:
    """Every app, every error."""
    grant = aviary.grant(["query", "statistics", *LEARNING, "tattler"])
    play = aviary.play
    play("statistics", grant, "statistics", {
        "resource": "cases", "columns": ["income", "age"], "group_by": [["ward"], []],
        "histograms": [{"column": "income", "lower": 0, "upper": 200_000, "bins": 8}]})
    play("guard", grant, "query", {"sql": "SELECT sum(income) AS s FROM cases WHERE age <> 19"})
    for name, sql in SQL.items():
        play(f"query: {name}", grant, "query", {"sql": sql})
    for name, params in LEARNING.items():
        play(name, grant, name, {"resource": "visits", **params})
    for mode in ("raise", "problem", "key", "number", "name"):
        play(f"tattler: {mode}", grant, "tattler", {"resource": "cases", "column": "income", "text": "note", "mode": mode})
    noisy = aviary.grant(["query", "statistics"], privacy={
        "unit": "person", "unit_columns": {"cases": "id", "visits": "id"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
        "epsilon": 1.0, "delta": 1e-6, "honest_fraction": 0.5})
    for edition in ("first", "second"):
        play(f"noisy {edition}", noisy, "statistics", {
            "resource": "cases", "columns": ["income"], "group_by": [["ward"]], "edition": edition, "rho_nano": 10_000_000})
    # More than is left of the grant's budget.
    play("noisy query", noisy, "query", {"sql": "SELECT sum(income) AS s FROM cases", "rho_nano": 900_000_000})
    play("cancelled", grant, "boosting", {"resource": "visits", **LEARNING["boosting"], "rounds": 200}, lambda job: job.cancel())
    play("killed", grant, "boosting", {"resource": "visits", **LEARNING["boosting"], "rounds": 9}, kill_workers(aviary))
    for one in DEPARTMENTS[:2]:  # what was a number is none any more, and the row that says so is a canary
        path = aviary.folder / f"worse-{one.slug}.csv"
        rows = table(next(canary for canary in aviary.canaries if canary.where == f"worse-{one.slug}"), 0)
        rows["age"][0], rows["income"][0] = rows["name"][0], rows["id"][0] + rows["name"][0]
        as_csv(rows, path)
    for app, params in (("statistics", {"columns": ["income", "age"]}), ("regression", LEARNING["regression"])):
        play(f"worse {app}", grant, app, {"resource": "worse", **params})
    play("worse query", grant, "query", {"sql": "SELECT sum(income) AS s FROM worse"})


def written(market: RecordedTown) -> dict[str, bytes]:
    """The files of market and coordinator, and their databases' cells."""
    layout = market.layout
    files = [path for path in [*layout.logs.glob("marketplace*"), *layout.logs.glob("coordinator*"), *layout.market.rglob("*")]
             if path.is_file()]
    content = {path.name: path.read_bytes() for path in files}
    for path in files:
        if path.suffix == ".sqlite":
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
                connection.text_factory = bytes
                tables = [name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                cells = [cell if isinstance(cell, bytes) else repr(cell).encode() for name in tables
                         for row in connection.execute(f'SELECT * FROM "{name}"') for cell in row]
            connection.close()
            content[f"cells of {path.name}"] = b"\0".join(cells)
    return content


def everywhere(aviary: Aviary) -> dict[str, bytes]:
    frames = b"\0".join(frame.SerializeToString() for _, frame in aviary.market.frames())
    return {"frames": frames, "REST": "\0".join(aviary.said).encode(), **written(aviary.market)}


def test_no_canary_got_out(aviary: Aviary, figure: Callable[[str, object], None]) -> None:
    places = everywhere(aviary)
    forms = sum(len(set(canary.forms())) for canary in aviary.canaries)
    print(json.dumps(aviary.ended, indent=1, ensure_ascii=False))
    told = {place: seen for place, data in places.items() if (seen := found(aviary.canaries, data))}
    figure("canaries: rows, forms of them, bytes searched, found",
           (len(aviary.canaries), forms, sum(len(data) for data in places.values()), sum(len(seen) for seen in told.values())))
    assert told == {}


def test_the_search_finds_things(aviary: Aviary) -> None:
    """What is told is found where it is told, and each canary in its own source."""
    places = everywhere(aviary)
    control = SHOWN.encode()
    escaped = json.dumps(SHOWN)[1:-1].encode()
    assert control in places["frames"]
    assert any(form in data for name, data in places.items() if name.startswith("cells") for form in (control, escaped))
    assert control in places["REST"] or escaped in places["REST"]
    kept = b"\0".join(path.read_bytes() for path in aviary.folder.iterdir() if path.suffix in (".csv", ".ndjson", ".sqlite"))
    assert {one.partition(":")[0] for one in found(aviary.canaries, kept)} >= {"csv", "ndjson", "sqlite", "worse-csv"}
    canary = aviary.canaries[0]
    for form in canary.forms():
        assert found([canary], b"before" + form + b"after")


def test_everything_was_played(aviary: Aviary) -> None:
    """Answers were given and errors raised; were all refused at the door, nothing would be shown by this."""
    assert {name: end for name, end in aviary.ended.items() if end.startswith("broken")} == {}
    completed = {name for name, end in aviary.ended.items() if end == "completed" or end == "reviewing"}
    assert {"statistics", "query: sum", *LEARNING, "noisy first"} <= completed
    failed = {name for name, end in aviary.ended.items() if end == "failed"}
    assert {"guard", "worse statistics", "worse query", *(f"tattler: {mode}" for mode in (
        "raise", "problem", "key", "number", "name"))} <= failed
    assert aviary.ended["query: all rows"].startswith("refused")
    assert aviary.ended["cancelled"] in ("cancelled", "completed")


def test_no_departments_figure_got_to_the_coordinator(aviary: Aviary, figure: Callable[[str, object], None]) -> None:
    """Sums, means and squares of each department's groups, the group that one alone has above all."""
    needles = Needles()
    for name, rows in aviary.tables.items():
        for ward in ("a", "b", "c", "solo"):
            values = np.array([income for income, one in zip(rows["income"], rows["ward"], strict=True) if one == ward])
            if len(values):
                for what, value in (("sum", values.sum()), ("mean", values.mean()), ("variance", values.var(ddof=1))):
                    needles.add(float(value), f"{what} of {ward} at {name}")
    assert sum("solo" in what for what in needles.numbers.values()) == 3
    for place, data in everywhere(aviary).items():
        assert needles.in_bytes(data) == set(), place
    held = Needles({**needles.numbers, HELD: "canary"})
    try:
        regions = [*memory(aviary.market.processes.pid("coordinator"))]
    except PermissionError:
        pytest.skip("this machine lets nobody read the memory of its own child processes")
    seen = held.in_memory(regions)
    figure("one department's figures looked for in the coordinator's memory, found", (len(needles.numbers), len(seen - {"canary"})))
    assert seen == {"canary"}
