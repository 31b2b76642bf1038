"""Apps that act for people, and people who allow them: signed in, in front of the real pages."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from sqlmodel import Session
from werkzeug.test import TestResponse

from marketplace import db
from marketplace import logging as market_logging
from marketplace.actor import Actor
from marketplace.api import limits, oauth
from marketplace.app import create_app
from marketplace.ids import new_id
from marketplace.parties import accounts, sessions
from marketplace.parties import service as parties
from marketplace.parties.models import Member
from marketplace.settings import settings

CALLBACK = "https://app.example.org/callback?from=shuyan"
LOOPBACK = "http://127.0.0.1/callback"


@lru_cache
def _made(**_key: Any) -> Any:
    return create_app()


def shared_app() -> Any:
    """The application for the settings of now, made once for all tests of a process: 500 routes and the pages' templates
    take half a second. Whoever adds to an application or changes it makes one with ``create_app``.
    """
    config = settings()
    app = _made(secure_cookies=config.secure_cookies, trusted_proxies=config.trusted_proxies)
    app.config.update(SHUYAN=config, SECRET_KEY=secrets.token_bytes(32))
    market_logging.configure(json=config.log_json)
    return app


@dataclass
class Person:
    """Somebody signed in, as one membership."""

    account_id: str
    member: Member
    token: str

    def signed_in(self) -> sessions.SignedIn:
        with db.reading() as session:
            found = sessions.find(session, self.token)
        assert found is not None
        return found


def make_person(session: Session, *organisations: Actor, roles: tuple[str, ...] = ("admin", "finance", "handler", "reviewer")) -> Person:
    """A person with a membership in each organisation, signed in as the first of them; without a password, which costs time."""
    account = accounts.open_account(session, email=f"{new_id('p')}@example.org", display_name="王芳", password=None)
    members = [Member(id=new_id("mem"), organisation_id=one.organisation_id or "", account_id=account.id, roles=list(roles))
               for one in organisations]
    session.add_all(members)
    session.flush()
    _row, token = sessions.begin(session, account.id, address="192.0.2.1", device="test", member_id=members[0].id)
    return Person(account.id, members[0], token)


class Site:
    """The market as browsers and apps reach it."""

    def __init__(self) -> None:
        self.app = shared_app()
        oauth.forget()
        limits.limiter.reset()
        self.back = self.app.test_client()
        """What an app sends without a browser."""

    def browser(self, person: Person | None, language: str = "en") -> Any:
        client = self.app.test_client()
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = language
        if person is not None:
            with client.session_transaction() as cookie:
                cookie["sid"] = person.token
        return client

    def send(self, browser: Any, address: str, **fields: str) -> TestResponse:
        """Send the form that stands at ``address``."""
        page = browser.get(address)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token, page.text
        answer: TestResponse = browser.post(address, data={"csrf_token": token.group(1), **fields})
        return answer

    def token(self, **fields: str) -> TestResponse:
        return self.back.post("/oauth/token", data=fields)

    def me(self, access_token: str) -> TestResponse:
        return self.api(access_token, "GET", "/me")

    def api(self, access_token: str, method: str, path: str, body: Any = None) -> TestResponse:
        oauth.forget()
        return self.back.open(f"/api/v1{path}", method=method, json=body,
                              headers={"Authorization": f"Bearer {access_token}", "Accept-Language": "en"})


@dataclass
class App:
    """An app that acts for people; a public one has no secret."""

    client_id: str
    secret: str
    redirect_uri: str

    def __post_init__(self) -> None:
        self.verifier = secrets.token_urlsafe(48)

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")

    def address(self, **changed: str | None) -> str:
        """Where the app sends its person; a parameter that is ``None`` is left out."""
        query = {"response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_uri, "scope": "read orders",
                 "state": "s-1", "code_challenge": self.challenge, "code_challenge_method": "S256", **changed}
        return "/oauth/authorize?" + urlencode({name: value for name, value in query.items() if value is not None})

    def redeem(self, site: Site, code: str, **changed: str | None) -> TestResponse:
        """Ask for tokens."""
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, "code_verifier": self.verifier,
                  **self.proof, **changed}
        return site.token(**{name: value for name, value in fields.items() if value is not None})

    def refresh(self, site: Site, token: str, **more: str) -> TestResponse:
        return site.token(grant_type="refresh_token", refresh_token=token, **self.proof, **more)

    @property
    def proof(self) -> dict[str, str]:
        return {"client_id": self.client_id, **({"client_secret": self.secret} if self.secret else {})}

    def code(self, site: Site, person: Person, **changed: str | None) -> str:
        """A code that the person has just allowed."""
        answer = site.send(site.browser(person), self.address(**changed), decision="allow")
        assert answer.status_code == 303, answer.text
        return query_of(answer)["code"]

    def tokens(self, site: Site, person: Person, **changed: str | None) -> dict[str, Any]:
        """What the app holds after its person has allowed it."""
        answer = self.redeem(site, self.code(site, person, **changed))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json
        return found


def make_app(session: Session, owner: Actor, *, public: bool = True, scope: str = "read orders jobs", redirect_uri: str = CALLBACK) -> App:
    """An app of ``owner``'s."""
    row, secret = parties.create_client(session, owner, name="报表助手", scope=scope, redirect_uris=[redirect_uri], public=public)
    return App(row.client_id, secret, redirect_uri)


def query_of(answer: TestResponse) -> dict[str, str]:
    """The parameters with which a browser is sent on."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
