"""Mail goes out once, in the recipient's language, to a real SMTP server; what fails is tried again, what is unsure is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlmodel import select
from tests.factories.market import make_city

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.notices import mail
from marketplace.notices import service as notices
from marketplace.notices.models import OutgoingMail
from marketplace.parties import service as parties
from marketplace.registration import texts
from marketplace.settings import settings
from marketplace.workflows.mailer import Mailer


class Sink:
    """Keeps what arrives; answers with ``replies`` first."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.replies: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.replies:
            return self.replies.pop(0)
        self.arrived.append(envelope.content.decode())
        return "250 OK"


@pytest.fixture
def sink(sqlite_database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    found = Sink()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(found, hostname="127.0.0.1", port=port)
    controller.start()
    monkeypatch.setattr(settings(), "smtp_host", "127.0.0.1")
    monkeypatch.setattr(settings(), "smtp_port", port)
    monkeypatch.setattr(settings(), "smtp_security", "none")
    yield found
    controller.stop()


def told(reason: str = "理由") -> None:
    with db.transaction() as session:
        city = make_city(session)
        owner = city["developer"].organisation_id or ""
        for locale in ("zh", "en"):
            parties.add_member(session, SYSTEM, organisation_id=owner, email=f"{locale}@example.org", display_name="x",
                               password="correct horse battery", locale=locale)
        notices.tell(session, owner, texts.SUSPENDED, owner, reason=reason)


def states() -> list[tuple[str, int]]:
    with db.reading() as session:
        return [(row.status, row.attempts) for row in session.exec(select(OutgoingMail).order_by(OutgoingMail.id))]  # type: ignore[arg-type]


def test_each_gets_it_once_in_their_language_and_nothing_can_be_put_into_headers(sink: Sink) -> None:
    told("x\r\nBcc: victim@example.org")
    mailer = Mailer(settings())
    mailer.look()
    mailer.look()
    assert states() == [("sent", 0), ("sent", 0)]
    assert len(sink.arrived) == 2
    # mails of one moment are sent in no order
    assert sum("[Shuyan] Your organisation is suspended" in text for text in sink.arrived) == 1
    for text in sink.arrived:
        assert "\nBcc:" not in text.split("\r\n\r\n")[0]
        assert text.count("Message-ID: <mail_") == 1


def test_a_server_that_says_later_is_asked_again_and_one_that_says_no_is_not(sink: Sink) -> None:
    told()
    sink.replies = ["451 later", "550 no"]
    Mailer(settings()).look()
    assert states() == [("queued", 1), ("failed", 0)]
    assert sink.arrived == []


def test_without_a_server_it_stays_queued_and_what_was_cut_off_is_never_sent_twice(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    told()
    monkeypatch.setattr(settings(), "smtp_port", 1)
    Mailer(settings()).look()
    assert states() == [("queued", 1), ("queued", 1)]
    with db.transaction() as session:
        for row in session.exec(select(OutgoingMail)):
            mail.mark(session, row.id, "sending")
        mail.after_start(session)
    assert [status for status, _ in states()] == ["unsure", "unsure"]


def test_whoever_wants_none_gets_none(sink: Sink) -> None:
    with db.transaction() as session:
        city = make_city(session)
        owner = city["developer"].organisation_id or ""
        member = parties.add_member(session, SYSTEM, organisation_id=owner, email="a@example.org", display_name="x", password="correct horse battery")
        mail.wish(session, member.account_id, False)
        session.flush()
        notices.tell(session, owner, texts.RESUMED, owner)
        assert not mail.wants(session, member.account_id)
    assert states() == []


def test_mail_with_a_link_in_it_is_opened_when_sent_and_kept_no_longer(sink: Sink) -> None:
    with db.transaction() as session:
        for number in (1, 2):
            mail.letter(session, f"guest{number}@example.org", "en", secret=True, zh=("", ""), en=("A link", "{link}\n"), link=f"token={number}")
    mailer = Mailer(settings())
    key = settings().keys_dir / "accounts.key"
    kept = key.read_bytes()
    with db.reading() as session:
        assert not any("token=" in row.body for row in session.exec(select(OutgoingMail)))
        first = session.exec(select(OutgoingMail).where(OutgoingMail.recipient == "guest1@example.org")).one()  # their ids are in no order
    with db.transaction() as session:
        session.get_one(OutgoingMail, first.id).body = "sealed by a key that is gone"
    mailer.look()
    assert ["token=2" in text for text in sink.arrived] == [True]  # one that cannot be opened keeps no other back
    with db.reading() as session:
        assert sorted((row.status, row.body) for row in session.exec(select(OutgoingMail))) == [("failed", ""), ("sent", "")]
    assert key.read_bytes() == kept
