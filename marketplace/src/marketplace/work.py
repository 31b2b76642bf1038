"""What waits for somebody: gathered from the domains' own states, so that a queue can never be out of step with them.

Each domain that hands things on declares a source with :func:`source`: the items that this actor could act on now.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from marketplace.actor import Actor


@dataclass(frozen=True)
class WorkItem:
    """One thing that waits.

    Attributes:
        kind: ``subject.act``, such as ``demand.review``; its name on pages is a label of kind ``work``.
        subject: id of what it is about.
        title: as its owner called it.
        page: endpoint of the web face and its argument's name, as ``endpoint:argument``.
        organisation_id: whose it is.
        since: when it began to wait, aware.
        due: by when it should be done, if a deadline runs.
        title_en: the title in English, where its owner gave one.
    """

    kind: str
    subject: str
    title: str
    page: str
    organisation_id: str
    since: dt.datetime
    due: dt.datetime | None = None
    title_en: str = ""


Source = Callable[[Session, Actor], Iterable[WorkItem]]

SOURCES: Final[list[Source]] = []


def source(function: Source) -> Source:
    """Register a domain's source of work; it decides by the same lifecycles as the acts themselves."""
    SOURCES.append(function)
    return function


def waiting(session: Session, actor: Actor, now: dt.datetime) -> list[WorkItem]:
    """Everything that waits for this actor: overdue first, then by deadline, then oldest first."""
    items = [item for found in SOURCES for item in found(session, actor)]
    return sorted(items, key=lambda item: (item.due is None or item.due > now, item.due or dt.datetime.max.replace(tzinfo=dt.UTC),
                                           item.since, item.subject))
