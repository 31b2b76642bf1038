"""Signing in with an external OpenID provider: a real one, small, on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from oidc_provider_mock import User, run_server_in_thread
from tests.unit.marketplace.web.conftest import PASSWORD

from marketplace.db import transaction
from marketplace.parties import accounts
from marketplace.settings import settings

USERS = (User(sub="u1", claims={"email": "consumer@example.org", "email_verified": True}),
         User(sub="u2", claims={"email": "consumer@example.org", "email_verified": False}),
         User(sub="u3", claims={"email": "stranger@example.org", "email_verified": True}))


@pytest.fixture
def provider(pages: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    secret = tmp_path / "oidc"
    secret.write_text("a secret of the provider\n")
    with run_server_in_thread(require_nonce=True, user_claims=USERS) as server:
        issuer = f"http://localhost:{server.server_port}"
        for name, value in (("oidc_issuer", issuer), ("oidc_client_id", "shuyan"), ("oidc_client_secret_file", secret), ("oidc_name", "City ID")):
            monkeypatch.setattr(settings(), name, value)
        yield issuer


def _go(client: Any, start: str, sub: str, action: str = "") -> Any:
    """Follow a link to the provider, say there who one is, and come back; the market's answer."""
    away = client.get(start).headers["Location"]
    asked = parse_qs(urlsplit(away).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["nonce"]
    assert asked["redirect_uri"] == ["http://127.0.0.1:8700/sign-in/external/back"]
    answer = httpx.post(away, data={"sub": sub, "action": action} if action else {"sub": sub})
    back = urlsplit(answer.headers["location"])
    return client.get(f"{back.path}?{back.query}")


def test_signing_in_by_a_proven_address(pages: Any, provider: str) -> None:
    client = pages.visitor()
    assert "Sign in with City ID" in client.get("/sign-in?next=/orders").text
    answer = _go(client, "/sign-in/external?next=/orders", "u1")
    assert answer.headers["Location"] == "/orders"
    assert client.get("/orders").status_code == 200
    assert provider in client.get("/account").text


@pytest.mark.parametrize("sub", ["u2", "u3"])
def test_who_is_not_known_here_is_not_let_in(pages: Any, provider: str, sub: str) -> None:
    client = pages.visitor()
    answer = _go(client, "/sign-in/external", sub)
    assert answer.headers["Location"] == "/sign-in"
    assert "not linked" in client.get("/sign-in").text
    assert client.get("/account").status_code == 302


def test_whoever_is_signed_in_links_an_identity_after_confirming_it(pages: Any, provider: str) -> None:
    client = pages.member("consumer")
    assert _go(client, "/account/external/link", "u3").headers["Location"] == "/account/external"
    assert "stranger@example.org" in client.get("/account/external").text
    refused = pages.post(client, "/account/external", "/account/external", current="wrong")
    assert "current password is wrong" in client.get(refused.headers["Location"]).text
    pages.post(client, "/account/external", "/account/external", current=PASSWORD)
    assert client.get("/account/external").status_code == 409  # nothing waits any more
    other = pages.visitor()
    _go(other, "/sign-in/external", "u3")
    assert "Somebody of consumer" in other.get("/").text
    unlink = re.search(r'action="(/account/external/ext_\w+/unlink)"', client.get("/account").text)
    assert unlink
    pages.post(client, "/account", unlink.group(1), current=PASSWORD)
    assert _go(pages.visitor(), "/sign-in/external", "u3").headers["Location"] == "/sign-in"


def test_answers_that_do_not_belong_to_this_browser_are_refused(pages: Any, provider: str) -> None:
    client, victim = pages.visitor(), pages.visitor()
    away = client.get("/sign-in/external").headers["Location"]
    back = urlsplit(httpx.post(away, data={"sub": "u1"}).headers["location"])
    for answer in (victim.get(f"{back.path}?{back.query}"), victim.get(f"{back.path}?code=x&state=y"), victim.get(back.path),
                   victim.get(f"{back.path}?error=access_denied&state=x")):
        assert answer.headers["Location"] == "/sign-in"
    assert "did not work" in victim.get("/sign-in").text
    assert client.get(f"{back.path}?{back.query}").headers["Location"] != "/sign-in"
    assert client.get(f"{back.path}?{back.query}").headers["Location"] == "/sign-in"  # a second time it is nobody's


def test_denied_unreachable_or_pretending_providers_let_nobody_in(pages: Any, provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pages.visitor()
    assert _go(client, "/sign-in/external", "u1", action="deny").headers["Location"] == "/sign-in"
    monkeypatch.setattr(settings(), "oidc_issuer", provider.replace("localhost", "127.0.0.1") + "/")
    assert _go(client, "/sign-in/external", "u1").headers["Location"] in ("/home", "/sign-in")
    monkeypatch.setattr(settings(), "oidc_issuer", "http://127.0.0.1:9")
    assert client.get("/sign-in/external").headers["Location"] == "/sign-in"
    monkeypatch.setattr(settings(), "oidc_issuer", "")
    assert client.get("/sign-in/external").status_code == 404
    assert "City ID" not in client.get("/sign-in").text


def test_an_account_that_never_proved_its_address_is_not_linked_by_it(pages: Any, provider: str) -> None:
    with transaction() as session:
        accounts.open_account(session, email="stranger@example.org", display_name="冒名", password=PASSWORD)
    client = pages.visitor()
    _go(client, "/sign-in/external", "u3")
    assert "not linked" in client.get("/sign-in").text
