"""Use cases of those who run the market: which mail waits, was sent or failed, why, and trying again.

They see that somebody was written to, not what: bodies and titles stay between the market and whom it writes to, and addresses are
shown in part. Whoever knows a whole address finds its mail by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, func, select

from marketplace.actor import Actor
from marketplace.db import storable, utc_now
from marketplace.events import Tag
from marketplace.notices import rules
from marketplace.notices.errors import MAIL_GONE
from marketplace.notices.models import OutgoingMail
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

Mail = OutgoingMail
STATES: Final = ("queued", "sending", "sent", "unsure", "failed")
_RETRIED: Final = ("failed", "unsure")


@dataclass(frozen=True)
class Outbox:
    """How much mail is in which state, and whether there is a server to hand it to."""

    counts: dict[str, int]
    server: bool


def outbox(session: Session, actor: Actor) -> Outbox:
    """The state of the outgoing mail. Raises ``not_allowed``."""
    rules.SEE_MAIL.require(actor)
    found = dict(session.exec(select(OutgoingMail.status, func.count()).group_by(OutgoingMail.status)).all())
    return Outbox({status: found.get(status, 0) for status in STATES}, bool(settings().smtp_host))


def list_mail(session: Session, actor: Actor, *, status: str | None = None, recipient: str | None = None, cursor: str | None = None,
              limit: int = 20) -> Page[OutgoingMail]:
    """Mail, newest first; ``recipient`` is a whole address. Raises ``not_allowed``."""
    rules.SEE_MAIL.require(actor)
    limit = clamp(limit)
    query = select(OutgoingMail).order_by(col(OutgoingMail.id).desc()).limit(limit + 1)
    if status:
        query = query.where(OutgoingMail.status == status)
    if recipient and (recipient := recipient.strip().casefold()):
        query = query.where(OutgoingMail.recipient == recipient)
    if cursor:
        query = query.where(col(OutgoingMail.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), limit, lambda row: (row.id,))


def retry(session: Session, actor: Actor, mail_id: str) -> OutgoingMail:
    """Send a mail that failed once more, or one of which nobody knows whether it arrived, which may then arrive twice.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``, ``wrong_state``, ``mail_gone`` for one whose secret was wiped.
    """
    rules.RETRY_MAIL.require(actor)
    row = session.get(OutgoingMail, mail_id, with_for_update=True) if storable(mail_id) else None
    if row is None:
        raise ProblemError("not_found", what="mail")
    if row.status not in _RETRIED:
        raise ProblemError("wrong_state", state=row.status, action="retry")
    if not row.body:
        raise ProblemError(MAIL_GONE)
    row.status, row.attempts, row.error, row.next_attempt_at = "queued", 0, "", utc_now()
    session.add(row)
    trust.append(session, Tag.MAIL_RETRIED, actor, row.id)
    return row


def may_retry(actor: Actor, row: OutgoingMail) -> bool:
    """Whether the actor may send this one once more."""
    return row.status in _RETRIED and bool(row.body) and rules.RETRY_MAIL.held(actor)


def masked(address: str) -> str:
    """An address of which its owner knows what it is: ``z***g@example.org``."""
    local, _at, domain = address.rpartition("@")
    return f"{local[:1]}***{local[-1:] if len(local) > 3 else ''}@{domain}"
