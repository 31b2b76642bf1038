"""Use cases of deadlines: set one inside the transaction that gives cause for it, and let it fire exactly once.

A deadline's effect and its being marked as fired are one transaction, so it survives any crash and never happens twice.
The coordinator fires what is due (:mod:`marketplace.workflows.timers`); tests call :func:`fire_due` themselves.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from sqlmodel import Session, col, or_, select

from marketplace.db import reading, transaction, utc_now
from marketplace.deadlines.models import Deadline
from marketplace.ids import new_id

Handler = Callable[[Session, Deadline], None]

HANDLERS: Final[dict[str, Handler]] = {}
"""By kind; each domain registers its own with :func:`on`."""

_FIRST_RETRY: Final = dt.timedelta(seconds=10)
_LONGEST_RETRY: Final = dt.timedelta(hours=1)


def on(kind: str) -> Callable[[Handler], Handler]:
    """Register what happens at deadlines of a kind. It gets a locked row, and must look at its subject's state anew."""
    def register(handler: Handler) -> Handler:
        if HANDLERS.setdefault(kind, handler) is not handler:
            raise ValueError(f"two handlers for {kind}")
        return handler
    return register


def put(session: Session, kind: str, subject: str, due_at: dt.datetime, *, number: int = 0,
        data: dict[str, Any] | None = None) -> Deadline:
    """Set a deadline, or move the one there is of this kind, subject and number; ``due_at`` is aware."""
    row = session.exec(select(Deadline).where(Deadline.kind == kind, Deadline.subject == subject,
                                              Deadline.number == number).with_for_update()).first()
    if row is None:
        row = Deadline(id=new_id("due"), kind=kind, subject=subject, number=number, due_at=due_at)
    row.due_at, row.data, row.status, row.fired_at = due_at, data or {}, "pending", None
    row.attempts, row.retry_at, row.error = 0, None, ""
    session.add(row)
    session.flush()
    return row


def cancel(session: Session, subject: str, kind: str | None = None) -> None:
    """Call off what is pending for a subject, of one kind or all."""
    query = select(Deadline).where(Deadline.subject == subject, Deadline.status == "pending")
    if kind is not None:
        query = query.where(Deadline.kind == kind)
    for row in session.exec(query.order_by(col(Deadline.id)).with_for_update()):
        row.status = "cancelled"
        session.add(row)


def pending(session: Session, subject: str, kind: str) -> dt.datetime | None:
    """When the next deadline of a kind is due for a subject, if one is pending."""
    return session.exec(select(Deadline.due_at).where(
        Deadline.subject == subject, Deadline.kind == kind, Deadline.status == "pending").order_by(col(Deadline.due_at))).first()


def due(session: Session, now: dt.datetime | None = None, limit: int = 100) -> list[Deadline]:
    """The deadlines that are past and pending, oldest first; one whose handler failed only when its time to be tried again has come."""
    now = now or utc_now()
    return list(session.exec(select(Deadline).where(
        Deadline.status == "pending", col(Deadline.due_at) <= now, or_(col(Deadline.retry_at).is_(None), col(Deadline.retry_at) <= now))
        .order_by(col(Deadline.due_at), col(Deadline.id)).limit(limit)))


def waiting(session: Session, *, failed: bool = False, limit: int = 100) -> list[Deadline]:
    """What is pending, soonest first; with ``failed`` only that whose handler has failed."""
    query = select(Deadline).where(Deadline.status == "pending")
    if failed:
        query = query.where(Deadline.attempts > 0)
    return list(session.exec(query.order_by(col(Deadline.due_at), col(Deadline.id)).limit(limit)))


def failed(session: Session, deadline_id: str, attempt: int, error: str) -> None:
    """A handler raised: try again later, twice as long after each failure, at last once an hour.

    Args:
        attempt: ``attempts`` as they were when it began; nothing happens if somebody else has counted it, or it was set anew.
        error: the kind of the failure.
    """
    row = session.get(Deadline, deadline_id, with_for_update=True)
    if row is None or row.status != "pending" or row.attempts != attempt:
        return
    row.attempts, row.error = attempt + 1, error[:100]
    row.retry_at = utc_now() + min(_FIRST_RETRY * 2 ** min(attempt, 20), _LONGEST_RETRY)
    session.add(row)


def fire(deadline_id: str) -> bool:
    """Let one deadline happen, in a transaction of its own; whether it was still pending and due."""
    with transaction() as session:
        row = session.get(Deadline, deadline_id, with_for_update=True)
        if row is None or row.status != "pending" or row.due_at > utc_now():
            return False
        row.status, row.fired_at = "fired", utc_now()
        session.add(row)
        HANDLERS[row.kind](session, row)
        return True


def fire_due() -> int:
    """Let everything happen that is due; how many. What a deadline makes due in turn is included."""
    fired = 0
    while True:
        with reading() as session:
            found = due(session)
        happened = sum(fire(row.id) for row in found)
        fired += happened
        if not happened:
            return fired
