"""An administrator's app invites people and changes members through the SDK, over the market's real REST interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from tests.factories.apps import shared_app
from tests.factories.market import make_city, make_token

import shuyan
from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.api import limits, oauth
from marketplace.parties import connections, invitations, sessions
from marketplace.parties import service as parties
from marketplace.parties.sign_in import Place, with_password

PASSWORD = "correct horse battery"
Connect = Callable[[str], shuyan.Market]


class _Bearer(httpx.WSGITransport):
    """The market over WSGI, asked with a token that a person allowed an app."""

    def __init__(self, app: Any, token: str) -> None:
        super().__init__(app=app)
        self._token = token

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return super().handle_request(request)


def _allow(email: str, scope: str) -> str:
    """What signing in and agreeing gives an app: a token that acts for the person."""
    step = with_password(email, PASSWORD, Place("192.0.2.1"))
    with db.transaction() as session:
        who = sessions.find(session, step.token)
        assert who is not None
        connections.new_code(session, who, "client_app", f"code {email}", redirect_uri="https://app.example/back", scope=scope, challenge="c")
        given = connections.peek_code(session, f"code {email}")
        assert given is not None
        assert connections.redeem_code(session, given, connections.Tokens(f"token {email}", given.scope, 600, f"refresh {email}"))
    return f"token {email}"


@pytest.fixture
def market(sqlite_database: Any) -> Iterator[tuple[Connect, dict[str, str], Any]]:
    oauth.forget()
    with db.transaction() as session:
        city = make_city(session)
        organisation = city["developer"].organisation_id or ""
        ids = {}
        for role in ("admin", "handler"):
            ids[role] = parties.add_member(session, SYSTEM, organisation_id=organisation, email=f"{role}@example.org", display_name=f"某{role}",
                                           password=PASSWORD, roles=[role]).id
        parties.create_client(session, SYSTEM, name="app", scope="read people", organisation_id=organisation, client_id="client_app",
                              redirect_uris=["https://app.example/back"])
    app = shared_app()
    with ExitStack() as stack:
        def enter(email: str) -> shuyan.Market:
            token = make_token(city["consumer"], "read") if email == "program" else _allow(email, "read people")
            return stack.enter_context(shuyan.connect("http://market", transport=_Bearer(app, token)))

        yield enter, ids, city
    limits.limiter.reset()


def test_an_administrator_invites_and_changes_members(market: tuple[Connect, dict[str, str], Any]) -> None:
    enter, ids, _city = market
    admin = enter("admin@example.org")
    invited = admin.members.invite("guest@example.org", ["handler", "finance"])
    assert invited.link
    assert [one.link for one in admin.members.invitations()] == [None]  # shown once
    with db.transaction() as session:
        invitations.accept_new(session, invited.link.partition("token=")[2], display_name="来宾", password=PASSWORD, locale="zh")
    guest = admin.members.list()[-1]
    assert (guest.email, guest.roles, guest.status) == ("guest@example.org", ["finance", "handler"], "active")
    assert admin.members.change_roles(guest.id, ["reviewer"]).roles == ["reviewer"]
    assert "resume" in admin.members.suspend(guest.id).actions
    assert admin.members.resume(guest.id).status == "active"
    assert admin.members.end(guest.id).status == "ended"
    again = admin.members.invite("guest@example.org", ["handler"])
    assert admin.members.withdraw(again.id).status == "withdrawn"
    with pytest.raises(shuyan.Conflict) as last:
        admin.members.end(ids["admin"])
    assert last.value.code == "last_admin"
    with pytest.raises(shuyan.InvalidInput) as bad:
        admin.members.invite("guest@example.org", ["king"])
    assert bad.value.code == "unknown_role"


def test_who_is_no_administrator_sees_colleagues_and_may_only_leave(market: tuple[Connect, dict[str, str], Any]) -> None:
    enter, ids, _city = market
    handler = enter("handler@example.org")
    assert {one.id for one in handler.members.list()} == set(ids.values())
    for act in (lambda: handler.members.invite("x@example.org", ["admin"]), lambda: handler.members.end(ids["admin"]),
                lambda: handler.members.change_roles(ids["handler"], ["admin"]), handler.members.invitations):
        with pytest.raises(shuyan.NotAllowed):
            act()
    assert handler.members.end(ids["handler"]).status == "ended"
    oauth.forget()
    with pytest.raises(shuyan.NotSignedIn):  # the app ends with the membership
        handler.members.list()


def test_programs_never_see_people(market: tuple[Connect, dict[str, str], Any]) -> None:
    enter, _ids, _city = market
    with pytest.raises(shuyan.NotAllowed) as refused:
        enter("program").members.list()
    assert refused.value.code == "scope_missing"
