"""Use cases of notices: messages to an organisation's members, and public notices with a period for objections."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from sqlmodel import Session, col, or_, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import mail, rules
from marketplace.notices.errors import ANSWER_INVALID, NOTICE_CLOSED, OBJECTION_INVALID, OWN_NOTICE
from marketplace.notices.models import Message, Objection, PublicNotice
from marketplace.notices.texts import KINDS
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.trust import service as trust
from marketplace.workdays import after_workdays
from shuyan.problems import ProblemError

Outcome = Literal["passed", "upheld"]
Closing = Callable[[Session, PublicNotice, Outcome], None]

CLOSINGS: Final[dict[str, Closing]] = {}
"""By kind of notice: what its end means for its subject."""

_CLOSES = "notice.closes"
MAX_TEXT: Final = 2000


# --- messages ---


def tell(session: Session, organisation_id: str, kind: str, subject: str, *, role: str | None = None, **params: Any) -> None:
    """Tell an organisation's members something; ``kind`` is declared in :mod:`.texts`, ``params`` fill its sentence."""
    if kind not in KINDS:
        raise ValueError(f"{kind} is no declared kind of message")
    message = Message(id=new_id("msg"), organisation_id=organisation_id, role=role, kind=kind, subject=subject, params=params)
    session.add(message)
    mail.write(session, message)


# --- public notices ---


def when_closed(kind: str) -> Callable[[Closing], Closing]:
    """Register what the end of a notice of this kind means: ``passed`` without an upheld objection, or ``upheld``."""
    def register(closing: Closing) -> Closing:
        if CLOSINGS.setdefault(kind, closing) is not closing:
            raise ValueError(f"two closings for {kind}")
        return closing
    return register


def publish(session: Session, actor: Actor, *, kind: str, subject: str, organisation_id: str, title_zh: str, title_en: str,
            working_days: int, facts: Sequence[dict[str, str]] = ()) -> PublicNotice:
    """Give public notice for so many working days; the domain that calls has decided that ``actor`` may.

    With no days at all the period is over at once, as soon as the coordinator looks.

    Args:
        organisation_id: who gives notice and answers objections, beside the data authority.
        facts: ``{label_zh, label_en, value_zh, value_en}`` each; no personal data.
    """
    if kind not in CLOSINGS:
        raise ValueError(f"nothing is registered for the end of {kind}")
    now = utc_now()
    row = PublicNotice(id=new_id("notice"), kind=kind, subject=subject, organisation_id=organisation_id, title_zh=title_zh,
                       title_en=title_en, facts=[dict(fact) for fact in facts], published_at=now,
                       closes_at=after_workdays(now, working_days))
    session.add(row)
    session.flush()
    deadlines.put(session, _CLOSES, row.id, row.closes_at)
    trust.append(session, Tag.NOTICE_PUBLISHED, actor, row.id, related=[subject, organisation_id],
                 data={"kind": kind, "closes": int(row.closes_at.timestamp())})
    return row


def list_notices(session: Session, *, kind: str | None = None, status: str | None = None, subject: str | None = None,
                 q: str | None = None, cursor: str | None = None, limit: int = 20) -> Page[PublicNotice]:
    """Public notices, newest first, ``q`` being part of a title. They are public."""
    limit = clamp(limit)
    query = select(PublicNotice).order_by(col(PublicNotice.id).desc()).limit(limit + 1)
    for column, value in ((PublicNotice.kind, kind), (PublicNotice.status, status), (PublicNotice.subject, subject)):
        if value:
            query = query.where(col(column) == value)
    if q and (q := q.strip()):
        query = query.where(or_(col(PublicNotice.title_zh).contains(q, autoescape=True), col(PublicNotice.title_en).icontains(q, autoescape=True)))
    if cursor:
        query = query.where(col(PublicNotice.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), limit, lambda row: (row.id,))


def get_notice(session: Session, notice_id: str) -> PublicNotice:
    """One notice. Raises ``not_found``."""
    row = session.get(PublicNotice, notice_id)
    if row is None:
        raise ProblemError("not_found", what="notice")
    return row


def object_to(session: Session, actor: Actor, notice_id: str, text: str, *, contact: str = "") -> Objection:
    """Object to a notice; anybody may, signed in or not, but whoever gave it.

    Raises:
        ProblemError: ``not_found``, ``own_notice``, ``notice_closed``, ``objection_invalid``.
    """
    row = session.get(PublicNotice, notice_id, with_for_update=True)
    if row is None:
        raise ProblemError("not_found", what="notice")
    if actor.organisation_id == row.organisation_id:
        raise ProblemError(OWN_NOTICE)
    if not rules.still_open(row.status, row.closes_at, utc_now()):
        raise ProblemError(NOTICE_CLOSED)
    text, contact = text.strip(), contact.strip()
    if not (1 <= len(text) <= MAX_TEXT and len(contact) <= 200 and storable(text + contact)):
        raise ProblemError(OBJECTION_INVALID, field="text")
    made = Objection(id=new_id("objection"), notice_id=row.id, organisation_id=actor.organisation_id, contact=contact, text=text)
    session.add(made)
    session.flush()
    trust.append(session, Tag.OBJECTION_MADE, actor, made.id, related=[row.id, row.subject])
    return made


def may_object(actor: Actor, notice: PublicNotice) -> bool:
    """Whether :func:`object_to` would take an objection of this actor's now."""
    return actor.organisation_id != notice.organisation_id and rules.still_open(notice.status, notice.closes_at, utc_now())


def objections(session: Session, actor: Actor, notice_id: str) -> list[Objection]:
    """The objections to a notice, for those who answer and supervise. Raises ``not_allowed``, ``not_found``."""
    get_notice(session, notice_id)
    rules.ANSWER.require(actor)
    return list(session.exec(select(Objection).where(Objection.notice_id == notice_id).order_by(col(Objection.id))))


def answers(session: Session, notice_id: str) -> list[tuple[str, str]]:
    """What was answered to objections, as (decision, answer): public, unlike who objected with which words."""
    return [(row.status, row.answer) for row in session.exec(select(Objection).where(
        Objection.notice_id == notice_id, col(Objection.status) != "open").order_by(col(Objection.id)))]


def answer(session: Session, actor: Actor, objection_id: str, decision: Literal["dismiss", "uphold"], text: str) -> Objection:
    """Decide an objection. An upheld one ends the notice against its subject at once.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``objection_answer_invalid``.
    """
    row = session.get(Objection, objection_id)
    if row is None:
        raise ProblemError("not_found", what="objection")
    notice = session.get_one(PublicNotice, row.notice_id, with_for_update=True)
    row = session.get_one(Objection, objection_id, with_for_update=True)
    step = rules.OBJECTION.check(decision, row.status, actor, owner=notice.organisation_id)
    text = text.strip()
    if not 1 <= len(text) <= MAX_TEXT or not storable(text):
        raise ProblemError(ANSWER_INVALID, field="answer")
    row.status, row.answer, row.answered_by, row.answered_at = step.target, text, actor.label, utc_now()
    session.add(row)
    trust.append(session, Tag.OBJECTION_ANSWERED, actor, row.id, related=[notice.id, notice.subject], data={"status": row.status})
    if row.status == "upheld" and notice.status == "open":
        _close(session, actor, notice, "upheld")
    elif notice.status == "open" and notice.closes_at <= utc_now():
        _pass_if_clear(session, notice)
    return row


def withdraw(session: Session, subject: str) -> None:
    """End every open notice about a subject that is no longer to be decided."""
    for row in session.exec(select(PublicNotice).where(PublicNotice.subject == subject, PublicNotice.status == "open")
                            .order_by(col(PublicNotice.id)).with_for_update()):
        row.status, row.closed_at = "withdrawn", utc_now()
        session.add(row)
        deadlines.cancel(session, row.id)
        trust.append(session, Tag.NOTICE_WITHDRAWN, SYSTEM, row.id, related=[subject])


@deadlines.on(_CLOSES)
def _closes(session: Session, due: Deadline) -> None:
    notice = session.get_one(PublicNotice, due.subject, with_for_update=True)
    if notice.status == "open":
        _pass_if_clear(session, notice)


def _pass_if_clear(session: Session, notice: PublicNotice) -> None:
    """A notice passes when its period is over and no objection is open: until then it waits for the answer."""
    left = session.exec(select(Objection.id).where(Objection.notice_id == notice.id, Objection.status == "open")).first()
    if left is None:
        _close(session, SYSTEM, notice, "passed")


def _close(session: Session, actor: Actor, notice: PublicNotice, outcome: Outcome) -> None:
    notice.status, notice.closed_at = outcome, utc_now()
    session.add(notice)
    deadlines.cancel(session, notice.id)
    CLOSINGS[notice.kind](session, notice, outcome)
    trust.append(session, Tag.NOTICE_PASSED if outcome == "passed" else Tag.NOTICE_UPHELD, actor, notice.id,
                 related=[notice.subject])


def open_until(session: Session, subject: str) -> dt.datetime | None:
    """When the open notice about a subject ends, if there is one."""
    return session.exec(select(PublicNotice.closes_at).where(PublicNotice.subject == subject, PublicNotice.status == "open")).first()


@work.source
def _waiting(session: Session, actor: Actor) -> Iterable[work.WorkItem]:
    """Objections to be answered."""
    if actor.party not in ("operator", "data_authority"):
        return
    rows = session.exec(select(Objection, PublicNotice).join(PublicNotice, col(PublicNotice.id) == Objection.notice_id)
                        .where(Objection.status == "open").order_by(col(Objection.id)))
    for objection, notice in rows:
        if rules.OBJECTION.possible(objection.status, actor, owner=notice.organisation_id):
            yield work.WorkItem("notice.answer", notice.id, notice.title_zh, "notice:notice_id", notice.organisation_id,
                                objection.created_at, notice.closes_at, notice.title_en)
