"""Queries and training through the SDK and the ``shuyan`` command, over the market's real REST, with departments in process."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet
import pytest
from tests.factories.apps import shared_app
from tests.factories.federation import SCHEMA, Zone, values, zone
from tests.factories.review import release as release_result
from typer.testing import CliRunner

import shuyan
from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.api import limits
from marketplace.computing import budgets
from marketplace.computing import service as computing
from marketplace.parties import service as parties
from marketplace.settings import settings
from marketplace.workflows.engine import Engine
from shuyan import _results, _text
from shuyan.cli import app as command
from shuyan.cli import computing as computing_cli
from shuyan.federation.local import LocalResource

SECRET = "a secret long enough for a test"
SQL = "select year, count(*) as n, avg(pm25) as mean from air group by year order by year"


@pytest.fixture
def town(sqlite_database: Any) -> Zone:
    del sqlite_database
    made = zone()
    made.grant_id = made.grant(apps=["statistics", "regression", "query"])
    with db.transaction() as session:
        parties.create_client(session, SYSTEM, name="sdk", scope="read jobs", organisation_id="org_developer", client_id="client",
                              secret=SECRET)
    return made


@pytest.fixture
def market(town: Zone) -> Iterator[shuyan.Market]:
    with shuyan.connect("http://market", client_id="client", client_secret=SECRET,
                        transport=httpx.WSGITransport(app=shared_app())) as entered:
        yield entered
    limits.limiter.reset()


@pytest.fixture
def running(town: Zone) -> Iterator[Engine]:
    """A coordinator, and an authority that releases whatever comes to review."""
    engine = Engine(settings(), town.transport())
    engine.start()
    over = threading.Event()

    def release() -> None:
        while not over.wait(0.05):
            with db.transaction() as session:
                for review in computing.list_reviews(session, town.authority, status="pending")[0]:
                    release_result(session, review.id)

    reviewer = threading.Thread(target=release)
    reviewer.start()
    yield engine
    over.set()
    reviewer.join()
    engine.stop()


@pytest.mark.usefixtures("running")
def test_a_query_comes_back_as_a_table(market: shuyan.Market, town: Zone, tmp_path: Path) -> None:
    told: list[str] = []
    result = market.sql(SQL, grant=town.grant_id, timeout=60, progress=lambda job, lines: told.extend(line.code for line in lines))
    means = [sum(seed * 100 + row for seed in range(3) for row in range(first, 40, 2)) / 60 for first in (0, 1)]
    assert (result.kind, result.columns, len(result)) == ("table", ["year", "n", "mean"], 2)
    assert result.rows[0] == {"year": 2013, "n": 60, "mean": pytest.approx(means[0])}
    assert told[0] == "job_queued"
    assert result.to_arrow().column("n").to_pylist() == [60, 60]
    assert result.to_pandas()["mean"].tolist() == pytest.approx(means)
    result.to_csv(tmp_path / "out.csv")
    assert next(csv.reader((tmp_path / "out.csv").open())) == ["year", "n", "mean"]
    result.to_parquet(tmp_path / "out.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").num_rows == 2
    again = market.sql(SQL, grant=market.grants.get(town.grant_id), timeout=60)
    assert (again.job.reused_from, again.rows) == (result.job.id, result.rows)


def test_a_refused_query_names_the_clause(market: shuyan.Market, town: Zone) -> None:
    with pytest.raises(shuyan.InvalidInput) as refusal:
        market.sql("select pm10 from air", grant=town.grant_id)
    assert (refusal.value.code, refusal.value.errors[0].field) == ("sql_unknown_column", "params.sql")
    assert "pm10" in str(refusal.value)
    assert list(market.jobs.list()) == []


def test_explaining_spends_nothing(market: shuyan.Market, town: Zone) -> None:
    told = market.explain(SQL, grant=town.grant_id)
    assert (told.cells, told.cost, told.cohort) == (2, None, 10)
    assert [one["name"] for one in told.departments] == ["监测站0", "监测站1", "监测站2"]
    assert {note["code"] for note in told.notes} >= {"exact"}
    assert all(note["text"] for note in told.notes)
    assert market.jobs.explain(town.grant_id, "statistics", {"resource": "air", "columns": ["pm25"]}).rounds == 1
    assert list(market.jobs.list()) == []


def binary(town: Zone) -> None:
    """A target of 0 and 1 at every department."""
    for place, one in enumerate(town.departments):
        table = values(place)
        table["pm25"] = [float((row * 7 + place) % 3 == 0) for row in range(len(table["pm25"]))]
        one.local.resources = {"air": LocalResource.arrays(table, SCHEMA)}


@pytest.mark.usefixtures("running")
def test_a_model_is_trained_evaluated_and_scores(market: shuyan.Market, town: Zone) -> None:
    binary(town)
    model = market.train("logistic", grant=town.grant_id, target="pm25", features=["year", "wind"], timeout=60, l2=1.0)
    assert (model.family, model.kind) == ("logistic", "model")
    score = model.score(year=2013, wind="N")["score"]
    assert 0 < score < 1
    assert {row["term"] for row in model.rows} == {"year", "wind=S"}
    found = market.evaluate("logistic", grant=town.grant_id, target="pm25", features=["year", "wind"], fraction=0.4, timeout=60)
    assert found["held_out"] is not None


def test_the_resource_must_be_named_where_there_are_several(market: shuyan.Market, town: Zone,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    honest = market._api.get
    monkeypatch.setattr(market._api, "get", lambda path, **query: {
        **honest(path, **query), "claims": {"resources": [{"name": "air"}, {"name": "water"}]}})
    with pytest.raises(shuyan.ConfigurationError, match="air, water"):
        market.train("linear", grant=town.grant_id, target="pm25", features=["year"])


def test_budgets_and_apps(market: shuyan.Market, town: Zone) -> None:
    assert market.budgets(town.grant_id) == []
    assert {app.name for app in market.apps()} >= {"statistics", "regression", "query"}
    assert "sql" in market.apps.get("query").params_schema["properties"]


def test_a_job_is_cancelled_when_waiting_is_interrupted(market: shuyan.Market, town: Zone) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        market.sql(SQL, grant=town.grant_id, progress=interrupt)
    (job,) = market.jobs.list()
    assert job.status == "cancelled"


def test_missing_libraries_are_named(market: shuyan.Market, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"kind": "table", "columns": [{"name": "d", "type": "DATE"}], "rows": [["2026-11-20"], [None]]}
    result = _results.Result(None, {"content": content, "digest": "", "participants": []})  # type: ignore[arg-type]
    assert [str(row["d"]) for row in result.rows] == ["2026-11-20", "None"]

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(_results, "import_module", absent)
    for method in (result.to_arrow, result.to_pandas):
        with pytest.raises(shuyan.ExtraMissing, match="pip install"):
            method()
    del market


# --- the command ---


@pytest.fixture
def cli(market: shuyan.Market, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("shuyan.cli.computing.market", lambda _context: _Kept(market))
    monkeypatch.setattr("shuyan.cli.catalogue.market", lambda _context: _Kept(market))
    monkeypatch.setattr(_text, "_chosen", "en")

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(command, list(arguments), env={"COLUMNS": "200"})
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout

    return run


class _Kept:
    """A market that one command does not close for the next."""

    def __init__(self, market: shuyan.Market) -> None:
        self._market = market

    def __enter__(self) -> shuyan.Market:
        return self._market

    def __exit__(self, *_: object) -> None:
        """It stays open."""


@pytest.mark.usefixtures("running")
def test_sql_from_the_command_line(cli: Any, town: Zone, tmp_path: Path) -> None:
    query = tmp_path / "query.sql"
    query.write_text(SQL)
    content = json.loads(cli("sql", f"@{query}", "--grant", town.grant_id, "--json"))
    assert [column["name"] for column in content["columns"]] == ["year", "n", "mean"]
    shown = cli("sql", SQL, "--grant", town.grant_id)
    assert "2013" in shown
    assert "mean" in shown
    cli("sql", SQL, "--grant", town.grant_id, "--csv", str(tmp_path / "a.csv"), "--parquet", str(tmp_path / "a.parquet"))
    assert (tmp_path / "a.csv").read_text().startswith("year,n,mean")
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 2
    assert json.loads(cli("sql", SQL, "--grant", town.grant_id, "--detach", "--json"))["reused_from"]


def test_explaining_on_the_command_line(cli: Any, town: Zone) -> None:
    told = cli("sql", SQL, "--grant", town.grant_id, "--explain")
    assert "GROUP BY" in told
    assert "监测站0" in told
    assert json.loads(cli("sql", SQL, "--grant", town.grant_id, "--explain", "--json"))["cells"] == 2
    assert "rows" in cli("train", "linear", "--grant", town.grant_id, "-f", "year", "--target", "pm25", "--explain")


@pytest.mark.usefixtures("running")
def test_training_from_the_command_line(cli: Any, town: Zone, tmp_path: Path) -> None:
    binary(town)
    out = tmp_path / "model.json"
    told = cli("train", "logistic", "--grant", town.grant_id, "-f", "year", "-f", "wind", "--target", "pm25", "--set", "l2=2.5",
               "--out", str(out))
    assert "logistic" in told
    assert json.loads(out.read_text())["l2"] == 2.5
    assert cli("train", "linear", "--grant", town.grant_id, "--set", "l2", code=2) == ""


def test_budgets_from_the_command_line(cli: Any, town: Zone) -> None:
    assert "no privacy budget" in cli("budget", town.grant_id)
    terms = {"unit": "station", "unit_columns": {"air": "sensor"}, "epsilon": 2.0, "delta": 1e-6}
    noisy = town.grant(apps=["statistics"], release="dp", privacy=terms)
    with db.transaction() as session:
        for one in town.departments:
            budgets.sync(session, one.node_id, [
                {"scope": "resource", "resource": "air", "grantee": "", "grant_id": "", "cap_nano": 10**9, "spent_nano": 10**8,
                 "renewal": "monthly", "renews_at_ms": 1_800_000_000_000, "delta": 1e-6}])
    shown = cli("budget", noisy)
    assert shown.count("0.9") == 3
    assert [item["left_nano"] for item in json.loads(cli("budget", noisy, "--json"))] == [9 * 10**8] * 3
    assert "with noise" in cli("grants")


def test_apps_on_the_command_line(cli: Any) -> None:
    assert "query" in cli("apps")
    assert "sql" in cli("apps", "query")
    assert computing_cli._setting("a=[1]") == ("a", [1])
    assert computing_cli._setting("a=b=c") == ("a", "b=c")
