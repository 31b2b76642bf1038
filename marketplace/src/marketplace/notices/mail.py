"""Use cases of mail: written beside the message in its transaction, sent by the coordinator afterwards.

A mail whose hand-over was cut off is ``unsure`` and never sent again by itself: nobody gets the same twice.
"""

from __future__ import annotations

import datetime as dt
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final
from urllib.parse import urlsplit

from sqlmodel import Session, col, select

from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.notices.inbox import sentence
from marketplace.notices.models import MailWish, Message, OutgoingMail
from marketplace.parties import sealing
from marketplace.parties import service as parties
from marketplace.settings import settings
from shuyan.problems import Language

Outgoing = OutgoingMail
MAX_ATTEMPTS: Final = 12
_FIRST_RETRY: Final = dt.timedelta(minutes=1)
_LONGEST_RETRY: Final = dt.timedelta(hours=6)


def write(session: Session, message: Message) -> None:
    """Write a mail to each member whom a message is for and who wants mail, in their language."""
    refusing = _refusing(session)
    for one in parties.recipients(session, message.organisation_id, message.role):
        if one.email in refusing:
            continue
        language: Language = "en" if (one.locale or settings().default_locale) == "en" else "zh"
        said = " ".join(sentence(message, language).split())
        head = "【数堰】" if language == "zh" else "[Shuyan] "
        session.add(OutgoingMail(id=new_id("mail"), recipient=one.email, locale=language, title=(head + said)[:200],
                                 body=f"{said}\n\n{settings().public_url}/messages/{message.id}\n"))


def letter(session: Session, recipient: str, locale: str, *, zh: tuple[str, str], en: tuple[str, str], secret: bool = False,
           **params: object) -> None:
    """Write a mail to one person about their own account, whatever mail they else want.

    One with a ``secret`` in it, such as a link that lets its bearer in, is encrypted until it is handed over, and then it is gone:
    who reads the database cannot use it.

    Args:
        zh, en: title and body in each language, with ``{names}`` of ``params``.
    """
    language: Language = "en" if locale == "en" else "zh"
    title, body = (text.format(**params) for text in (en if language == "en" else zh))
    head = "【数堰】" if language == "zh" else "[Shuyan] "
    session.add(OutgoingMail(id=new_id("mail"), recipient=recipient, locale=language, title=(head + " ".join(title.split()))[:200],
                             body=sealing.seal(body) if secret else body, sealed=secret))


def _refusing(session: Session) -> set[str]:
    ids = session.exec(select(MailWish.account_id).where(col(MailWish.wanted).is_(False))).all()
    found = (parties.get_account(session, account_id) for account_id in ids)
    return {account.email for account in found if account is not None}


def wants(session: Session, account_id: str) -> bool:
    """Whether a person wants mail."""
    wish = session.get(MailWish, account_id)
    return wish is None or wish.wanted


def wish(session: Session, account_id: str, wanted: bool) -> None:
    """Say whether one wants mail."""
    session.merge(MailWish(account_id=account_id, wanted=wanted))


def due(session: Session, limit: int = 20) -> list[OutgoingMail]:
    """What is to be sent now, oldest first."""
    return list(session.exec(select(OutgoingMail).where(OutgoingMail.status == "queued", col(OutgoingMail.next_attempt_at) <= utc_now())
                             .order_by(col(OutgoingMail.id)).limit(limit)))


def mark(session: Session, mail_id: str, status: str, error: str = "") -> None:
    """Record how far a mail has come; ``queued`` again after a failure, later each time, until it is ``failed``."""
    row = session.get_one(OutgoingMail, mail_id, with_for_update=True)
    row.error = error[:100]
    if status == "queued":
        row.attempts += 1
        row.next_attempt_at = utc_now() + min(_FIRST_RETRY * 2 ** min(row.attempts, 12), _LONGEST_RETRY)
        status = "queued" if row.attempts < MAX_ATTEMPTS else "failed"
    if status == "sent":
        row.sent_at = utc_now()
    if row.sealed and status not in ("queued", "sending"):
        row.body = ""
    row.status = status
    session.add(row)


def after_start(session: Session) -> None:
    """What a predecessor was handing over when it ended may have arrived."""
    for row in session.exec(select(OutgoingMail).where(OutgoingMail.status == "sending").with_for_update()):
        row.status, row.error = "unsure", "interrupted"
        row.body = "" if row.sealed else row.body
        session.add(row)


def compose(row: OutgoingMail) -> EmailMessage:
    """A mail as it goes out. Headers take no line ends: :mod:`email` refuses them, and titles have none."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = settings().smtp_sender
    mail["To"] = Address(addr_spec=row.recipient)
    mail["Subject"] = row.title
    mail["Date"] = row.created_at
    mail["Message-ID"] = f"<{row.id}@{urlsplit(settings().public_url).hostname or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834
    mail.set_content(sealing.unseal(row.body) if row.sealed else row.body)
    return mail
