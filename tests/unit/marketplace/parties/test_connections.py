"""Codes, device codes and refresh tokens: each is good once, however many ask at the same moment, and a second use ends them all."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.factories.apps import App, Person, Site, make_app, make_person
from tests.factories.market import City, make_city
from werkzeug.test import TestResponse

from marketplace import db
from marketplace.clock import shifted
from marketplace.parties import connections, rules
from marketplace.parties.models import AppConnection

FORM_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Town(Site):
    """A market with an app of the developer's, and somebody at the consumer's to allow it."""

    def __init__(self) -> None:
        super().__init__()
        with db.transaction() as session:
            self.city: City = make_city(session)
            self.person: Person = make_person(session, self.city["consumer"])
            self.app_: App = make_app(session, self.city["developer"])

    def ended(self) -> list[bool]:
        with db.reading() as session:
            return [row.revoked_at is not None for row in session.query(AppConnection).all()]


@pytest.fixture
def town(database: Any) -> Town:
    del database
    return Town()


@pytest.fixture
def small(sqlite_database: Any) -> Town:
    del sqlite_database
    return Town()


def at_once(count: int, ask: Callable[[], TestResponse]) -> list[TestResponse]:
    """The answers to the same question asked by ``count`` at the same moment."""
    answers: list[TestResponse] = []
    gate = threading.Barrier(count)

    def run() -> None:
        gate.wait()
        answers.append(ask())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == count
    return answers


def one_of(answers: list[TestResponse]) -> dict[str, Any]:
    """What the only one got that got something; everybody else is refused in the protocol's own words."""
    good = [answer for answer in answers if answer.status_code == 200]
    assert len(good) == 1, [answer.text for answer in answers]
    assert {answer.json["error"] for answer in answers if answer is not good[0]} == {"invalid_grant"}
    found: dict[str, Any] = good[0].json
    return found


def in_its_own_client(site: Site, fields: dict[str, str]) -> Callable[[], TestResponse]:
    return lambda: site.app.test_client().post("/oauth/token", data=fields)


def test_a_code_is_redeemed_once_by_eight_at_once_and_the_family_ends(town: Town) -> None:
    app = town.app_
    code = app.code(town, town.person)
    tokens = one_of(at_once(8, in_its_own_client(town, {
        "grant_type": "authorization_code", "code": code, "redirect_uri": app.redirect_uri, "code_verifier": app.verifier, **app.proof})))
    assert town.ended() == [True]
    assert town.me(tokens["access_token"]).status_code == 401
    assert app.refresh(town, tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_a_refresh_token_is_rotated_once_by_eight_at_once(town: Town) -> None:
    app = town.app_
    first = app.tokens(town, town.person)
    second = one_of(at_once(8, in_its_own_client(town, {
        "grant_type": "refresh_token", "refresh_token": first["refresh_token"], **app.proof})))
    assert town.ended() == [True]
    for token in (first, second):
        assert town.me(token["access_token"]).status_code == 401


def device(town: Town) -> dict[str, Any]:
    answer = town.back.post("/oauth/device_authorization", data={"client_id": connections.COMMAND_LINE})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_a_device_code_is_redeemed_once_by_four_at_once(town: Town) -> None:
    shown = device(town)
    with db.transaction() as session:
        connections.decide_device(session, town.person.signed_in(), shown["user_code"], approve=True)
    one_of(at_once(4, in_its_own_client(town, {
        "grant_type": rules.DEVICE, "device_code": shown["device_code"], "client_id": connections.COMMAND_LINE})))
    assert town.ended() == [True]


def test_a_device_is_decided_once_by_four_at_once(town: Town) -> None:
    shown = device(town)
    browsers = [town.browser(town.person) for _ in range(4)]
    # each sees the question before anybody answers it
    forms = [FORM_TOKEN.search(browser.get(f"/device?user_code={shown['user_code']}").text) for browser in browsers]
    waiting = iter([(browser, form.group(1)) for browser, form in zip(browsers, forms, strict=True) if form])

    def decide() -> TestResponse:
        browser, token = next(waiting)
        answer: TestResponse = browser.post("/device", data={"csrf_token": token, "user_code": shown["user_code"], "decision": "allow"})
        return answer

    answers = at_once(4, decide)
    assert sum("decided=allowed" in answer.headers.get("Location", "") for answer in answers) == 1
    assert town.ended() == [False]


def test_a_stolen_refresh_token_that_is_used_later_ends_the_family(small: Town) -> None:
    app = small.app_
    first = app.tokens(small, small.person)
    second = app.refresh(small, first["refresh_token"]).json
    assert small.me(second["access_token"]).status_code == 200
    assert app.refresh(small, first["refresh_token"]).json["error"] == "invalid_grant"  # the thief, or the person after the thief
    assert small.me(second["access_token"]).status_code == 401
    assert app.refresh(small, second["refresh_token"]).json["error"] == "invalid_grant"


def test_what_has_expired_is_refused_and_ends_nothing(small: Town) -> None:
    app = small.app_
    code = app.code(small, small.person)
    with shifted(connections.CODE_LASTS):
        assert app.redeem(small, code).json["error"] == "invalid_grant"
    tokens = app.redeem(small, code).json  # only late, never used
    with shifted(connections.REFRESH_LASTS):
        assert app.refresh(small, tokens["refresh_token"]).json["error"] == "invalid_grant"
    assert small.ended() == [False]
    shown = device(small)
    with shifted(connections.DEVICE_LASTS):
        late = small.token(grant_type=rules.DEVICE, device_code=shown["device_code"], client_id=connections.COMMAND_LINE)
    assert late.json["error"] == "expired_token"


def test_a_device_that_asks_too_often_is_told_to_slow_down(small: Town) -> None:
    shown = device(small)

    def ask(seconds: int) -> str:
        with shifted(dt.timedelta(seconds=seconds)):
            answer = small.token(grant_type=rules.DEVICE, device_code=shown["device_code"], client_id=connections.COMMAND_LINE)
        return str(answer.json["error"])

    assert [ask(0), ask(1), ask(8), ask(30)] == ["authorization_pending", "slow_down", "slow_down", "authorization_pending"]
