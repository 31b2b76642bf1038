"""From a scenario to an approved list with the SDK and the command line, over the real REST interface, in one process."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from tests.factories import review
from tests.factories.apps import shared_app
from tests.unit.marketplace.authorisation import market as city
from typer.testing import CliRunner

import shuyan
from marketplace.actor import SYSTEM
from marketplace.api import limits
from marketplace.parties import service as parties
from shuyan import cli
from shuyan._client import Market
from shuyan._config import Profile
from shuyan._http import Api
from shuyan.cli import authorisation as commands

SECRET = "a secret long enough for a test"
WANTED = {f"res_{number}": ["age", "income"] for number in (1, 2, 3, 4)}


def test_an_application_goes_through_by_program(sqlite_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    city.build(sqlite_database)
    scopes = {"developer": "read jobs", "operator": "read review", "authority": "read review", **{str(n): "read review" for n in range(1, 5)}}
    with sqlite_database.transaction() as session:
        review.operation(session)
        for name, scope in scopes.items():
            parties.create_client(session, SYSTEM, name=name, scope=scope, organisation_id=f"org_{name}", client_id=f"client_{name}",
                                  secret=SECRET)
    transport = httpx.WSGITransport(app=shared_app())
    markets = {f"org_{name}": Market(Api(Profile("http://market", f"client_{name}", SECRET), transport=transport)) for name in scopes}
    developer = markets["org_developer"]

    def command(organisation: str, *arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(commands, "market", lambda _context: nullcontext(markets[organisation]))
        result = CliRunner().invoke(cli.app, ["--lang", "en", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    try:
        scenario = developer.scenarios.propose("普惠金融", "评估信用", "finance", necessity="必要", effect="成效", key="one")
        assert developer.scenarios.propose("another", "x", "finance", key="one").id == scenario.id
        developer.scenarios.edit(scenario.id, months=24)
        developer.scenarios.submit(scenario.id)
        for organisation in ("org_operator", "org_authority"):
            (asked,) = [one for one in developer.scenarios.opinions(scenario.id) if one.status == "pending"]
            command(organisation, "opinion", asked.id, "approve", "--note", "同意")
        assert developer.scenarios.get(scenario.id).status == "accepted"

        wrong = developer.demands.preview(scenario.id, {"res_core": ["age"]}, ["statistics"], output_forms=["statistics"])
        assert {(one.line, one.code) for one in wrong} >= {(0, "demand_grade_forbidden"), (0, "demand_line_unexplained")}
        demand = developer.demands.draft(scenario.id, WANTED, ["statistics"], output_forms=["statistics"], reason="统计")
        assert developer.demands.check(demand.id) == []
        developer.demands.submit(demand.id)
        assert demand.id in command("org_developer", "demands")
        (asked,) = developer.demands.opinions(demand.id)
        markets["org_operator"].opinions.approve(asked.id)
        for one in developer.demands.opinions(demand.id):
            if one.status == "pending":
                strike = ["--strike", "res_4"] if one.organisation_id == "org_4" else []
                command(one.organisation_id, "opinion", one.id, "approve", *strike)
        shown = json.loads(command("org_developer", "demand", demand.id, "--json"))
        assert (shown["demand"]["status"], shown["demand"]["struck"]) == ("approved", ["res_4"])
        assert "res_4" in command("org_developer", "demand", demand.id)
        assert scenario.id in command("org_developer", "scenarios")
        command("org_1", "opinion", asked.id, "refuse", "--strike", "res_1", code=2)
        with pytest.raises(shuyan.ProblemResponse) as refused:
            markets["org_1"].opinions.refuse(asked.id, "晚了")
        assert refused.value.code in ("not_allowed", "review_over")
    finally:
        limits.limiter.reset()
