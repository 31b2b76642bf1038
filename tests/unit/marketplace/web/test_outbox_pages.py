"""The outgoing mail: those who run the market see how far it came and try again, and read none of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from marketplace import db
from marketplace.actor import Actor
from marketplace.notices import mail, outbox
from marketplace.notices.models import OutgoingMail
from marketplace.settings import settings
from shuyan.problems import ProblemError

TEXT = ("Sujet", "Corps {link}")


def written(*, secret: bool = False, status: str = "", error: str = "") -> str:
    with db.transaction() as session:
        mail.letter(session, "zhang.wei@example.org", "en", zh=TEXT, en=TEXT, secret=secret, link="token=abc")
        session.flush()
        row = session.exec(select(OutgoingMail).order_by(OutgoingMail.id.desc())).first()  # type: ignore[attr-defined]
        assert row is not None
        if status:
            mail.mark(session, row.id, status, error)
        return row.id


def test_mail_is_looked_through_and_sent_again(pages: Any) -> None:
    waiting, failed, wiped = written(), written(status="failed", error="550"), written(secret=True, status="failed", error="ConnectionRefusedError")
    for kind in ("operator", "data_authority"):
        page = pages.member(kind).get("/mail").text
        assert page.count("z***i@example.org") == 3
        for hidden in ("zhang.wei", "Sujet", "Corps", "token=abc"):
            assert hidden not in page
        assert "The mail server answered 550." in page
        assert "No mail server is set up" in page
        assert f"/mail/{failed}/retry" in page
        assert f"/mail/{waiting}/retry" not in page
        assert f"/mail/{wiped}/retry" not in page
    authority = pages.member("data_authority")
    assert authority.get("/mail?status=queued").text.count("z***i@") == 1
    assert authority.get("/mail?recipient=Zhang.Wei@example.org&status=failed").text.count("z***i@") == 2
    assert "No mail like this" in authority.get("/mail?recipient=nobody@example.org").text
    assert pages.post(authority, "/mail", f"/mail/{failed}/retry").status_code == 303
    with db.reading() as session:
        row = session.get_one(OutgoingMail, failed)
        assert (row.status, row.attempts, row.error) == ("queued", 0, "")
        assert failed in {one.id for one in mail.due(session)}
    assert pages.member("developer").get("/mail").status_code in (302, 303, 403)
    assert pages.visitor().get("/mail").status_code in (302, 303)


def test_only_an_administrator_tries_again_and_only_what_can_be(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, unsure, wiped = written(), written(status="unsure"), written(secret=True, status="failed")
    operator = pages.city["operator"].organisation_id
    admin, handler = (Actor("operator", operator, "m", roles=frozenset({role})) for role in ("admin", "handler"))
    for actor, mail_id, code in ((handler, unsure, "not_allowed"), (admin, waiting, "wrong_state"), (admin, wiped, "mail_gone"),
                                 (admin, "mail_none", "not_found")):
        with db.transaction() as session, pytest.raises(ProblemError, match=code):
            outbox.retry(session, actor, mail_id)
    monkeypatch.setattr(settings(), "smtp_host", "mail.example.org")
    with db.transaction() as session:
        assert outbox.retry(session, admin, unsure).status == "queued"
        assert outbox.outbox(session, handler).counts == {"queued": 2, "sending": 0, "sent": 0, "unsure": 0, "failed": 1}
        assert outbox.outbox(session, handler).server


def test_short_addresses_are_masked_too() -> None:
    assert [outbox.masked(one) for one in ("a@b", "abc@b.cn", "abcd@b.cn")] == ["a***@b", "a***@b.cn", "a***d@b.cn"]
