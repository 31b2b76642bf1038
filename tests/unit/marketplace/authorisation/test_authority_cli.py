"""``shuyan-authority`` against the market's real REST interface, in one process."""

from __future__ import annotations

import functools
import itertools
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.factories import review
from tests.factories.apps import shared_app
from typer.testing import CliRunner

from marketplace.actor import SYSTEM
from marketplace.api import limits
from marketplace.authorisation import authority_cli, grants
from marketplace.authorisation import service as authorisation
from marketplace.computing.models import Node
from marketplace.db import utc_now
from marketplace.parties import service as parties
from shuyan import _text
from shuyan._http import Api
from shuyan.problems import ProblemError
from shuyan.trust import cards, keys
from shuyan.trust.grants import verify_revocations

from . import market as city

SECRET = "a secret long enough for a test"


class Desk:
    """The authority's desk: its folder, its cards, its command."""

    def __init__(self, folder: Path, database: Any, market: Any) -> None:
        self.folder, self.database, self.market = folder, database, market

    def __call__(self, *arguments: str, code: int = 0) -> str:
        environment = {
            "SHUYAN_AUTHORITY_KEY": str(self.folder / "authority.key"), "SHUYAN_AUTHORITY_MARKET": "http://market",
            "SHUYAN_AUTHORITY_CLIENT_ID": "client_authority",
            "SHUYAN_AUTHORITY_CLIENT_SECRET_FILE": str(self.folder / "secret")}
        result = CliRunner().invoke(authority_cli.app, list(arguments), env=environment)
        assert result.exit_code == code, result.output
        return result.output

    def card(self, node_id: str) -> str:
        path = self.folder / f"{node_id}.json"
        path.write_text(self.market.cards[node_id].model_dump_json(), encoding="utf-8")
        return str(path)

    def trust_all(self) -> None:
        for node_id in self.market.cards:
            self("nodes", "trust", self.card(node_id), "--yes")

    def demand(self, **changes: Any) -> str:
        with self.database.transaction() as session:
            return review.reviewed_demand(session, city.DEVELOPER, city.body(**changes), title="普惠\x1b[2J金融").id

    def usable(self, grant_id: str) -> bool:
        with self.database.reading() as session:
            try:
                authorisation.usable_grant(session, grant_id, utc_now())
            except ProblemError:
                return False
            return True


@pytest.fixture
def desk(sqlite_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    market = city.build(sqlite_database)
    with sqlite_database.transaction() as session:
        parties.create_client(session, SYSTEM, name="authority", scope="read grants", organisation_id="org_authority",
                              client_id="client_authority", secret=SECRET)
    folder = tmp_path / "authority"
    folder.mkdir()
    keys.save_private_key(folder / "authority.key", market.authority_key)
    (folder / "secret").write_text(SECRET + "\n")
    transport = httpx.WSGITransport(app=shared_app())
    monkeypatch.setattr(authority_cli, "Api", functools.partial(Api, transport=transport))
    _text.set_language("en")
    yield Desk(folder, sqlite_database, market)
    _text.set_language(None)
    limits.limiter.reset()


def test_a_demand_becomes_a_grant_and_ends(desk: Any) -> None:
    desk.trust_all()
    demand = desk.demand()
    assert demand in desk("demands")
    assert json.loads(desk("demands", "--json"))[0]["id"] == demand
    shown = desk("issue", demand, "--yes")
    assert "households: age, income" in shown
    assert "\x1b" not in shown
    grant = "grant_" + demand.partition("_")[2]
    assert desk.usable(grant)
    assert "No demand" in desk("demands")
    with desk.database.reading() as session:
        first = authorisation.latest_revocations(session)
    assert first is not None  # nodes take no task without a current list, so issuing sees to one
    desk("revoke", grant, "--reason", "用途变更", "--yes")
    assert not desk.usable(grant)
    desk("revocations", "renew")
    with desk.database.reading() as session:
        latest = authorisation.latest_revocations(session)
    assert latest is not None
    listed = verify_revocations(latest.jws, desk.market.authority_key.public_key())
    assert (listed.number, [item.jti for item in listed.revoked]) == (3, [grant])


def test_a_term_that_an_agreement_shortened_is_signed_later_than_it_was_drafted(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.trust_all()
    with desk.database.transaction() as session:  # as long as the agreement that the review led to
        demand = review.reviewed_demand(session, city.DEVELOPER, city.body(term_days=365), months=12).id
    ticks = itertools.count(0, 3)  # somebody reads before signing, and the market takes its time
    monkeypatch.setattr(grants, "time", SimpleNamespace(time=lambda: time.time() + next(ticks)))
    desk("issue", demand, "--yes")
    assert desk.usable("grant_" + demand.partition("_")[2])


def test_how_answers_are_released_is_shown_before_it_is_signed(desk: Any) -> None:
    desk.trust_all()
    districts = [{"resource_id": f"res_{n}", "columns": ["age", "district"]} for n in (1, 2, 3)]
    demand = desk.demand(resources=districts, release="dp", privacy=city.privacy(), own_figures=True,
                         own_figures_reason="逐部门\x1b[2J核对")
    shown = desk("issue", demand, "--yes")
    assert "with noise" in shown
    assert "Protected unit: person (households.id_number)" in shown
    assert "households.district: 3 values that one department alone declares: 区1, 区2, 区3" in shown
    assert "own figures: may be shown" in shown
    assert "Reason given: 逐部门�[2J核对" in shown


def test_nothing_is_signed_for_a_node_without_a_trusted_card(desk: Any) -> None:
    demand = desk.demand()
    assert "not trusted yet" in desk("issue", demand, "--yes", code=1)
    desk.trust_all()
    with desk.database.transaction() as session:  # the market swaps a department's keys for its own
        session.get_one(Node, "node_2").agreement_key = keys.encode_public(keys.generate_agreement_key().public_key())
    assert "not those on the trusted card" in desk("issue", demand, "--yes", code=1)
    with desk.database.reading() as session:
        assert authorisation.list_grants(session, city.AUTHORITY).items == []


def test_nothing_is_signed_for_an_app_that_differs_from_the_one_here(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.trust_all()
    demand = desk.demand()
    monkeypatch.setattr(authority_cli, "_digests", lambda: {"statistics": "sha256:" + "0" * 64})
    assert "not that of the version installed here" in desk("issue", demand, "--yes", code=1)


def test_signing_takes_a_person_or_yes(desk: Any) -> None:
    desk.trust_all()
    demand = desk.demand()
    assert "--yes" in desk("issue", demand, code=2)
    assert "--yes" in desk("nodes", "trust", desk.card("node_1"), code=2)
    with desk.database.reading() as session:
        assert authorisation.get_demand(session, city.AUTHORITY, demand).status == "agreed"


def test_a_card_is_replaced_only_on_purpose(desk: Any) -> None:
    desk.trust_all()
    other = cards.sign_card(node_id="node_1", name="节点1", organisation="部门1", signing_key=keys.generate_signing_key(),
                            agreement_key=desk.market.cards["node_1"].agreement_key)
    desk.market.cards["node_1"] = other
    assert "--replace" in desk("nodes", "trust", desk.card("node_1"), "--yes", code=1)
    desk("nodes", "trust", desk.card("node_1"), "--yes", "--replace")
    listed = json.loads(desk("nodes", "list", "--json"))
    assert [item["fingerprint"] for item in listed if item["node_id"] == "node_1"] == [other.fingerprint]
    forged = desk.folder / "forged.json"
    forged.write_text(other.model_copy(update={"organisation": "财政局"}).model_dump_json(), encoding="utf-8")
    desk("nodes", "trust", str(forged), "--yes", code=1)


def test_a_market_that_forgets_a_revocation_cannot_undo_it(desk: Any) -> None:
    desk.trust_all()
    demand = desk.demand()
    desk("issue", demand, "--yes")
    grant = "grant_" + demand.partition("_")[2]
    desk("revoke", grant, "--reason", "停止", "--yes")
    with desk.database.transaction() as session:
        session.delete(authorisation.latest_revocations(session))
    desk("revocations", "renew")
    with desk.database.reading() as session:
        latest = authorisation.latest_revocations(session)
        assert latest is not None
        listed = verify_revocations(latest.jws, desk.market.authority_key.public_key())
    assert (listed.number, [item.jti for item in listed.revoked]) == (3, [grant])


def test_exit_codes_tell_what_failed(desk: Any) -> None:
    desk.trust_all()
    desk("issue", "demand_nowhere", "--yes", code=1)
    (desk.folder / "secret").write_text("wrong")
    desk("demands", code=4)
    assert "exists already" in desk("init", "--key", str(desk.folder / "authority.key"), "--public",
                                    str(authority_cli.__file__), code=1)


def test_a_market_that_is_not_there(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority_cli, "Api", functools.partial(Api, sleep=lambda _: None))
    desk("demands", "--market", "http://127.0.0.1:9", code=3)


def test_init_makes_a_private_key_for_its_owner_only(desk: Any, tmp_path: Path) -> None:
    private, public = tmp_path / "a" / "authority.key", tmp_path / "a" / "authority.pub"
    assert "Fingerprint" in desk("init", "--key", str(private), "--public", str(public))
    assert private.stat().st_mode & 0o777 == 0o600
    assert keys.encode_public(keys.load_public_key(public)) == keys.encode_public(keys.load_signing_key(private).public_key())


def test_an_init_that_died_halfway_is_taken_up(desk: Any, tmp_path: Path) -> None:
    private, public = tmp_path / "authority.key", tmp_path / "authority.pub"
    desk("init", "--key", str(private), "--public", str(public))
    before, half = private.read_bytes(), public.read_bytes()
    assert "authority.key" in desk("init", "--key", str(private), "--public", str(public), code=1)
    public.unlink()
    assert "written anew" in desk("init", "--key", str(private), "--public", str(public))
    assert (private.read_bytes(), public.read_bytes()) == (before, half)


def test_a_public_key_without_its_private_one_is_left_alone(desk: Any, tmp_path: Path) -> None:
    """It may be anybody's; and no private key is made that would have no public half."""
    private, public = tmp_path / "authority.key", tmp_path / "authority.pub"
    public.write_text("somebody else's")
    assert "authority.pub" in desk("init", "--key", str(private), "--public", str(public), code=1)
    assert (public.read_text(), private.exists()) == ("somebody else's", False)


def test_a_key_that_cannot_be_read_is_not_replaced(desk: Any, tmp_path: Path) -> None:
    private, public = tmp_path / "authority.key", tmp_path / "authority.pub"
    private.write_text("half")
    desk("init", "--key", str(private), "--public", str(public), code=1)
    assert (private.read_text(), public.exists()) == ("half", False)
