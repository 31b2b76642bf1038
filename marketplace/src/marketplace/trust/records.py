"""Whether a domain's rows still are what the audit log says they were when they were written.

Only the log is append-only; the tables it speaks of can be edited by whoever reaches the database. Each domain names
the events that record a row and what of the row they state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlmodel import Session, col, select

from marketplace.events import Tag
from marketplace.trust.models import AuditEvent

_PAGE = 500


def altered(session: Session, tag: Tag, model: type[Any], stated: Mapping[str, Callable[[Any], Any]]) -> list[str]:
    """Ids of the rows that differ from their event, are gone, or that no event ever spoke of; sorted.

    Args:
        tag: of the one event written with each row, whose subject is the row's id.
        model: the table.
        stated: what the event's data says under each name, read from the row as it is now.
    """
    key: Any = model.id
    unspoken = set(session.exec(select(key)))
    found: set[str] = set()
    after = -1
    while events := session.exec(select(AuditEvent).where(AuditEvent.tag == tag, col(AuditEvent.index) > after)
                                 .order_by(col(AuditEvent.index)).limit(_PAGE)).all():
        after = events[-1].index
        rows: dict[str, Any] = {
            row.id: row for row in session.exec(select(model).where(key.in_([event.subject for event in events])))}
        for event in events:
            said, row = json.loads(event.leaf)["data"], rows.get(event.subject)
            unspoken.discard(event.subject)
            if row is None or any(said.get(name) != now(row) for name, now in stated.items()):
                found.add(event.subject)
        session.expunge_all()
    return sorted(found | unspoken)


def told(session: Session, tag: Tag) -> Iterator[tuple[str, dict[str, Any]]]:
    """Subject and data of every event of a kind, oldest first."""
    after = -1
    while events := session.exec(select(AuditEvent).where(AuditEvent.tag == tag, col(AuditEvent.index) > after)
                                 .order_by(col(AuditEvent.index)).limit(_PAGE)).all():
        after = events[-1].index
        yield from ((event.subject, json.loads(event.leaf)["data"]) for event in events)
