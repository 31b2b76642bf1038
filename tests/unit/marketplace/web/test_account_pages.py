"""One's own account, members, invitations and a forgotten password, asked as a browser would."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlmodel import select
from tests.unit.marketplace.web.conftest import PASSWORD

from marketplace.actor import SYSTEM
from marketplace.clock import utc_now
from marketplace.db import reading, transaction
from marketplace.notices import mail
from marketplace.notices.models import OutgoingMail
from marketplace.parties import service as parties
from marketplace.parties import totp
from marketplace.settings import settings

ANOTHER = "staple under the bridge"


def last_link() -> str:
    """The address in the last mail, from its path on."""
    with reading() as session:
        row = session.exec(select(OutgoingMail).order_by(OutgoingMail.id.desc())).first()  # type: ignore[attr-defined]
        assert row is not None
        body = str(mail.compose(row).get_content())
    found = re.search(r"http://127\.0\.0\.1:8700(\S+)", body)
    assert found
    return found.group(1)


def key_on(page: str) -> str:
    found = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert found
    return found.group(1).replace(" ", "")


def code(key: str, steps: int = 0) -> str:
    return totp.code(key, int(utc_now().timestamp()) // totp.STEP + steps)


def test_a_second_factor_from_the_first_scan_to_its_removal(pages: Any) -> None:
    client = pages.member("consumer")
    page = client.get("/account/second-factor")
    assert "<svg" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    key = key_on(page.text)
    wrong = pages.post(client, "/account/second-factor", "/account/second-factor", code=code(key), current="wrong")
    assert "current password is wrong" in client.get(wrong.headers["Location"]).text
    done = pages.post(client, "/account/second-factor", "/account/second-factor", code=code(key), current=PASSWORD)
    recovery = re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", done.text)
    assert len(recovery) == 10
    assert done.headers["Cache-Control"] == "no-store"

    other = pages.visitor()
    step = pages.post(other, "/sign-in", "/sign-in", email="consumer@example.org", password=PASSWORD, next="/orders")
    assert step.headers["Location"] == "/sign-in/code?next=/orders"
    assert other.get("/orders").headers["Location"] == "/sign-in?next=/orders"  # half-way is not in
    assert other.get("/account").headers["Location"] == "/sign-in?next=/account"
    entered = pages.post(other, step.headers["Location"], "/sign-in/code", code=recovery[0], next="/orders")
    assert entered.headers["Location"] == "/orders"
    assert "9 recovery codes are left" in other.get("/account").text

    pages.post(client, "/account", "/account/second-factor/remove", current=PASSWORD)
    assert "Set up an authenticator app" in client.get("/account").text
    assert pages.post(pages.visitor(), "/sign-in", "/sign-in", email="consumer@example.org", password=PASSWORD).headers["Location"] != step.headers["Location"]


def test_whoever_needs_a_second_factor_sets_it_up_before_the_first_page(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "second_factor_for", "everybody")
    client = pages.visitor()
    step = pages.post(client, "/sign-in", "/sign-in", email="consumer@example.org", password=PASSWORD, next="/orders")
    assert step.headers["Location"] == "/account/second-factor?next=/orders"
    assert client.get("/account").headers["Location"] == "/sign-in?next=/account"
    page = client.get(step.headers["Location"]).text
    assert "Current password" not in page
    done = pages.post(client, step.headers["Location"], "/account/second-factor", code=code(key_on(page)), next="/orders")
    assert 'href="/orders"' in done.text
    assert client.get("/orders").status_code == 200


def test_sessions_are_listed_and_ended(pages: Any) -> None:
    here, there = pages.member("consumer"), pages.member("consumer")
    page = here.get("/account/sessions").text
    assert page.count("/end\"") == 1
    assert "this browser" in page
    end = re.search(r'action="(/account/sessions/\w+/end)"', page)
    assert end
    pages.post(here, "/account/sessions", end.group(1))
    assert there.get("/account").status_code == 302
    again = pages.member("consumer")
    pages.post(here, "/account/sessions", "/account/sessions/end-others")
    assert again.get("/account").status_code == 302
    assert here.get("/account").status_code == 200


def test_the_password_is_changed_and_the_browser_stays_known(pages: Any) -> None:
    client = pages.member("consumer")
    answer = pages.post(client, "/account", "/account/password", current=PASSWORD, password="12345678")
    assert "too common" in client.get(answer.headers["Location"]).text
    pages.post(client, "/account", "/account/password", current=PASSWORD, password=ANOTHER)
    assert client.get("/account").status_code == 200
    for _ in range(11):
        pages.post(pages.visitor(), "/sign-in", "/sign-in", email="consumer@example.org", password="guess")
    pages.post(client, "/account", "/sign-out")
    assert pages.post(client, "/sign-in", "/sign-in", email="consumer@example.org", password=ANOTHER).status_code == 303


def test_name_language_and_time_zone(pages: Any) -> None:
    client = pages.member("consumer")
    pages.post(client, "/account", "/account", display_name=" <b>赵磊</b> ", locale="zh", time_zone="Asia/Urumqi")
    page = client.get("/account").text
    assert 'lang="zh-CN"' in page
    assert "&lt;b&gt;赵磊&lt;/b&gt;" in page
    assert 'data-time-zone="Asia/Urumqi"' in page
    for bad in ({"display_name": ""}, {"display_name": "x" * 101}, {"display_name": "x", "time_zone": "Mars/Base"}):
        answer = pages.post(client, "/account", "/account", **bad)
        assert 'role="alert"' in client.get(answer.headers["Location"]).text


def test_a_forgotten_password(pages: Any) -> None:
    client = pages.visitor("zh")
    said = [client.get(pages.post(client, "/reset", "/reset", email=email).headers["Location"]).text
            for email in ("nobody@example.org", "consumer@example.org")]
    alerts = [re.findall(r'role="(?:alert|status)"[^>]*>(.*?)</div>', page, re.DOTALL) for page in said]
    assert alerts[0] == alerts[1] != []
    link = last_link()
    assert client.get(link).status_code == 200
    token = link.partition("token=")[2]
    assert pages.post(client, link, "/reset/new", token=token, password="short").status_code == 422
    assert pages.post(client, link, "/reset/new", token=token, password=ANOTHER).headers["Location"] == "/sign-in"
    assert pages.post(client, link, "/reset/new", token=token, password=ANOTHER).status_code == 410
    assert pages.post(client, "/sign-in", "/sign-in", email="consumer@example.org", password=ANOTHER).status_code == 303


def test_somebody_is_invited_and_joins(pages: Any) -> None:
    admin = pages.member("consumer")
    answer = pages.post(admin, "/members", "/members/invite", email="guest@example.org", roles="finance")
    assert "/invitation?token=" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    link = last_link()
    assert link.partition("token=")[2] not in answer.text  # the mailed link is the guest's alone
    # who is somebody else is told so
    assert "another address than yours" in pages.member("developer").get(link).text
    guest = pages.visitor()
    token = link.partition("token=")[2]
    bad = pages.post(guest, link, "/invitation", token=token, display_name="来宾", password="short")
    assert bad.status_code == 422
    assert "来宾" in bad.text
    joined = pages.post(guest, link, "/invitation", token=token, display_name="来宾", password=ANOTHER)
    assert joined.headers["Location"] == "/home"
    assert guest.get("/account").text.count("The consumer") >= 1
    assert guest.get(link).status_code == 410
    # a member without the role sees colleagues, and may invite nobody
    page = guest.get("/members").text
    assert "Somebody of consumer" in page
    assert "/members/invite" not in page
    assert pages.post(guest, "/account", "/members/invite", email="x@example.org", roles="admin").status_code == 303
    with reading() as session:
        assert session.exec(select(OutgoingMail).where(OutgoingMail.recipient == "x@example.org")).first() is None


def test_members_are_suspended_resumed_and_removed(pages: Any) -> None:
    with transaction() as session:
        row = parties.add_member(session, SYSTEM, organisation_id=pages.city["consumer"].organisation_id or "", email="c@example.org",
                                 display_name="Colleague", password=PASSWORD, roles=["handler"])
    admin, other = pages.member("consumer"), pages.visitor()
    pages.post(other, "/sign-in", "/sign-in", email="c@example.org", password=PASSWORD)
    assert other.get("/orders").status_code == 200
    pages.post(admin, "/members", f"/members/{row.id}/suspend")
    assert other.get("/orders").status_code == 403
    assert other.get("/account").status_code == 200
    pages.post(admin, "/members", f"/members/{row.id}/resume")
    pages.post(admin, "/members", f"/members/{row.id}/roles", roles="reviewer")
    assert other.get("/orders").status_code == 200
    pages.post(admin, "/members", f"/members/{row.id}/end")
    assert "You belong to no organisation" in other.get("/account").text
    # nobody else's members, and never the last administrator
    assert pages.post(admin, "/members", "/members/mem_unknown/end").status_code == 404
    mine = re.search(r"/members/(mem_\w+)/end", admin.get("/members").text)
    assert mine
    answer = pages.post(admin, "/members", f"/members/{mine.group(1)}/end")
    assert "at least one administrator" in admin.get(answer.headers["Location"]).text


def test_one_person_acts_for_two_organisations(pages: Any) -> None:
    admin = pages.member("developer")
    pages.post(admin, "/members", "/members/invite", email="consumer@example.org", roles="handler")
    link, person = last_link(), pages.member("consumer")
    assert "Accept the invitation" in person.get(link).text
    pages.post(person, link, "/invitation", token=link.partition("token=")[2])
    assert "The developer" in person.get("/").text
    other = re.search(r'action="(/act-for/mem_\w+)"', person.get("/").text)
    assert other
    pages.post(person, "/account", other.group(1))
    assert person.get("/orders").status_code == 200


@pytest.mark.parametrize("path", ["/account", "/account/sessions", "/account/apps", "/account/second-factor", "/members", "/clients"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_pages_open_in_both_languages_and_for_nobody_else(pages: Any, path: str, language: str) -> None:
    assert pages.visitor().get(path).headers["Location"] == f"/sign-in?next={path}"
    assert pages.member("consumer", language).get(path).status_code == 200


def test_another_address_is_confirmed_by_its_reader_signed_in(pages: Any) -> None:
    client = pages.member("consumer")
    wrong = pages.post(client, "/account", "/account/email", email="me@new.example", current="wrong")
    assert "current password is wrong" in client.get(wrong.headers["Location"]).text
    pages.post(client, "/account", "/account/email", email="me@new.example", current=PASSWORD)
    with reading() as session:
        row = session.exec(select(OutgoingMail).where(OutgoingMail.recipient == "me@new.example")).one()
        link = re.search(r"http://127\.0\.0\.1:8700(\S+)", str(mail.compose(row).get_content()))
    assert link
    assert pages.visitor().get(link.group(1)).headers["Location"].startswith("/sign-in?next=/account/email/confirm")
    assert pages.member("developer").get(link.group(1)).status_code == 403
    page = client.get(link.group(1))
    assert "me@new.example" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    token = link.group(1).partition("token=")[2]
    done = pages.post(client, link.group(1), "/account/email/confirm", token=token)
    assert "me@new.example" in client.get(done.headers["Location"]).text
    assert client.get(link.group(1)).status_code == 410
