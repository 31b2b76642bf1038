"""Elements, the negative list and objections to quality on the command line, over the real REST interface."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from tests.factories.apps import shared_app
from tests.factories.federation import AIR, Zone, air, zone
from typer.testing import CliRunner

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.api import limits
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.parties import service as parties
from shuyan import cli
from shuyan._client import Market
from shuyan._config import Profile
from shuyan._errors import NotAllowed, ProblemResponse
from shuyan._http import Api
from shuyan.cli import sources

SECRET = "a secret long enough for a test"
SCOPES = {"org_data_authority": "read grants", "org_developer": "read objections", "org_station0": "read egress"}
Command = Callable[..., str]


@pytest.fixture
def town(sqlite_database: Any) -> Zone:
    made = zone()
    columns = [{**column, "element": "weather.wind", "source": True} if column["name"] == "wind" else column for column in AIR]
    for department in made.departments[:2]:
        with db.transaction() as session:
            node = computing.nodes_by_id(session, [department.node_id])[department.node_id]
            catalogue.sync_resources(session, node, [air(columns=columns)])
    return made


@pytest.fixture
def run(town: Zone, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command as a program of an organisation; ``""`` is nobody."""
    transport = httpx.WSGITransport(app=shared_app())
    entered = {"": Market(Api(Profile("http://market", None, None), transport=transport))}

    def command(organisation: str, *arguments: str, code: int = 0) -> str:
        if organisation not in entered:
            with db.transaction() as session:
                row, secret = parties.create_client(session, SYSTEM, name="cli", scope=SCOPES[organisation], organisation_id=organisation, secret=SECRET)
            entered[organisation] = Market(Api(Profile("http://market", row.client_id, secret), transport=transport))
        monkeypatch.setattr(sources, "market", lambda _context: nullcontext(entered[organisation]))
        result = CliRunner().invoke(cli.app, ["--lang", "en", *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    limits.limiter.reset()
    return command


def test_a_contested_element_is_found_and_settled(run: Command, town: Zone) -> None:
    assert "conflict" in run("", "elements", "list", "--status", "conflict")
    assert town.departments[1].resource_id in run("", "elements", "show", "weather.wind")
    arguments = ("elements", "settle", "weather.wind", "--resource", town.departments[1].resource_id, "--column", "wind", "--reason", "统一采集")
    with pytest.raises(NotAllowed):
        run("org_developer", *arguments)
    assert "settled" in run("org_data_authority", *arguments)
    assert "统一采集" in run("", "elements", "show", "weather.wind")
    assert run("", "elements", "list", "--status", "conflict").strip() == "Nothing here."


def test_the_negative_list_is_kept_and_asked(run: Command, town: Zone) -> None:
    one, authority = town.departments[0].resource_id, "org_data_authority"
    run("", "negative-list", "check", one, "wind")
    run(authority, "negative-list", "enter", "--reason", "x", code=2)
    run(authority, "negative-list", "enter", "--reason", "x", "--resource", one, "--pattern", "wi*", code=2)
    made = json.loads(run(authority, "negative-list", "enter", "--reason", "涉密", "--field", "name", "--pattern", "win*", "--json"))
    assert "涉密" in run("", "negative-list", "check", one, "wind", code=1)
    assert "column" in run(authority, "negative-list", "enter", "--reason", "内部", "--resource", one, "--column", "wind")
    assert one in run("", "negative-list", "list", "--resource", one)
    run(authority, "negative-list", "revise", made["id"], code=2)
    assert "wind*" in run(authority, "negative-list", "revise", made["id"], "--pattern", "wind*")
    run(authority, "negative-list", "withdraw", made["id"], "--reason", "已解密")
    shown = run("", "negative-list", "show", made["id"])
    assert "withdrawn" in shown
    assert "已解密" in shown


def test_an_objection_is_raised_answered_and_closed(run: Command, town: Zone) -> None:
    one = town.departments[0].resource_id
    made = json.loads(run("org_developer", "quality", "object", one, "completeness", "风向缺失过半", "--column", "wind", "--json"))
    run("org_developer", "quality", "object", one, "beauty", "x", code=2)
    assert made["id"] in run("org_station0", "quality", "list", "--status", "open")
    assert "accept, decline" in run("org_station0", "quality", "show", made["id"])
    with pytest.raises(ProblemResponse):  # every step but confirm needs a word
        run("org_station0", "quality", "act", made["id"], "accept")
    run("org_station0", "quality", "act", made["id"], "accept", "--text", "已核实")
    run("org_station0", "quality", "act", made["id"], "fix", "--text", "已补录")
    assert "closed" in run("org_developer", "quality", "act", made["id"], "confirm")
    assert "已补录" in run("org_developer", "quality", "show", made["id"])
