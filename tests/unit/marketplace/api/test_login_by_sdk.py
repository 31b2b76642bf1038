"""``shuyan login`` against a real market over HTTP: a person lets the command line in, and several clients share the sign-in."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.factories.apps import Site, make_person
from tests.factories.market import make_city
from werkzeug.serving import make_server

import shuyan
from marketplace import db
from marketplace.api import oauth
from marketplace.parties import connections
from marketplace.parties.models import AppConnection
from shuyan import _login
from shuyan._client import Market
from shuyan._config import Profile, save_profile
from shuyan._http import Api

SHUYAN = Path(sys.executable).parent / "shuyan"


class Town(Site):
    """A market that listens, and somebody signed in there with a browser."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        with db.transaction() as session:
            self.city = make_city(session)
            self.person = make_person(session, self.city["consumer"], roles=("finance", "handler"))
        self.server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.home = home
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def decide(self, user_code: str, approve: bool = True) -> None:
        with db.transaction() as session:
            connections.decide_device(session, self.person.signed_in(), user_code, approve=approve)

    def sign_in(self, scope: str = "") -> Api:
        """Signed in as the profile ``default``."""
        with Api(Profile(self.url)) as api:
            _login.save("default", _login.sign_in(api.http, self.url, lambda shown: self.decide(shown.code), scope=scope,
                                                  sleep=lambda _: None))
        profile = Profile(self.url, login="default")
        save_profile("default", profile)
        return Api(profile)

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SHUYAN_", "LC_", "LANG"))}
        return subprocess.Popen([SHUYAN, "--lang", "en", *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**inherited, "XDG_CONFIG_HOME": str(self.home)})

    def connections(self) -> list[AppConnection]:
        with db.reading() as session:
            return list(session.query(AppConnection).all())


@pytest.fixture
def town(sqlite_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    del sqlite_database
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made = Town(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_login_whoami_logout(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "POLL_SECONDS", 1)
    waiting = town.run("login", town.url, "--scope", "read orders")
    assert waiting.stderr is not None
    lines = [waiting.stderr.readline() for _ in range(3)]
    assert "/device" in lines[0]
    town.decide(lines[2].strip())
    out, rest = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, rest
    assert "王芳" in out
    assert "The consumer" in out
    path = _login.path_of("default")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    me = town.run("whoami", "--json")
    found = json.loads(me.communicate(timeout=60)[0])
    assert (found["name"], found["roles"], found["scopes"]) == ("王芳", ["finance", "handler"], ["orders", "read"])
    held = _login.read("default")
    assert held is not None
    assert held.access_token not in repr(held)
    assert town.run("logout").wait(60) == 0
    assert not path.exists()
    assert [one.revoked_at is not None for one in town.connections()] == [True]
    assert town.me(held.access_token).status_code == 401


def test_what_the_person_refuses_or_forgets_is_said(town: Town) -> None:
    with Api(Profile(town.url)) as api:
        with pytest.raises(shuyan.NotAllowed):
            _login.sign_in(api.http, town.url, lambda shown: town.decide(shown.code, approve=False), sleep=lambda _: None)
        with pytest.raises(shuyan.NotAllowed):
            _login.sign_in(api.http, town.url, lambda _: None, scope="everything", sleep=lambda _: None)
        waited: list[float] = []
        with pytest.raises(shuyan.NotSignedIn) as ended:
            _login.sign_in(api.http, town.url, lambda _: None, sleep=waited.append)  # asks too often: no second passes here
    assert ended.value.code == "login_expired"
    assert waited == sorted(waited)
    assert waited[:4] == [5, 5, 10, 15]  # slower each time it is told to


def test_clients_that_share_a_sign_in_renew_it_once(town: Town) -> None:
    town.sign_in().close()
    before = _login.read("default")
    assert before is not None
    _login.save("default", _login.Tokens(before.access_token, before.refresh_token, 0.0, before.scope))
    gate, names = threading.Barrier(6), list[str]()

    def ask() -> None:
        with Market(Api(Profile(town.url, login="default"))) as market:
            gate.wait()
            names.append(market.me()["name"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["王芳"] * 6
    after = _login.read("default")
    assert after is not None
    assert after.refresh_token != before.refresh_token
    assert [one.revoked_at for one in town.connections()] == [None]  # nobody used a refresh token twice


def test_a_sign_in_that_was_ended_elsewhere_is_told_and_forgotten(town: Town) -> None:
    with Market(town.sign_in()) as market:
        assert market.me()["member_id"] == town.person.member.id
        (connection,) = town.connections()
        with db.transaction() as session:
            connections.disconnect(session, town.person.signed_in(), connection.id)
        oauth.forget()
        with pytest.raises(shuyan.NotSignedIn) as ended:
            market.me()
    assert ended.value.code == "login_ended"
    assert _login.read("default") is None
    done = town.run("whoami")
    assert "run shuyan login" in done.communicate(timeout=60)[1]
    assert done.returncode == 4


def test_an_administrator_manages_the_organisations_programs(town: Town) -> None:
    with db.transaction() as session:
        town.person = make_person(session, town.city["consumer"])
    with Market(town.sign_in()) as market:
        app = market.clients.create("app", "read", redirect_uris=["http://127.0.0.1/back"], public=True)
        program = market.clients.create("program", "read orders")
        assert (app.client_secret, app.grants) == ("", ["authorization_code", "refresh_token"])
        assert program.client_secret not in repr(program)
        replaced = market.clients.replace_secret(program.client_id)
        for secret, status in ((program.client_secret, 401), (replaced.client_secret, 200)):
            assert town.token(grant_type="client_credentials", client_id=program.client_id, client_secret=secret).status_code == status
        with pytest.raises(shuyan.Conflict):
            market.clients.replace_secret(app.client_id)
        market.clients.revoke(program.client_id)
        assert [one.revoked_at is None for one in market.clients.list()] == [True, False]


def test_a_market_that_is_gone_does_not_hold_back_signing_out(town: Town) -> None:
    town.sign_in().close()
    town.server.shutdown()
    town.server.server_close()
    done = town.run("logout")
    assert "Connected apps" in done.communicate(timeout=60)[1]
    assert done.returncode == 0
    assert _login.read("default") is None
    with pytest.raises(shuyan.ConnectionFailed), Api(Profile(town.url)) as api:
        _login.sign_in(api.http, town.url, lambda _: None)
