"""Rows of selections: finding and locking them, telling those concerned."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.db import utc_now
from marketplace.notices import service as notices
from marketplace.selection import rules
from marketplace.selection.models import Selection, SelectionApplication, SelectionExpert, SelectionScore
from shuyan.problems import ProblemError


def find(session: Session, actor: Actor, selection_id: str, *, lock: bool = False) -> Selection:
    """A selection; a draft only for those who oversee. Raises ``not_found``."""
    row = session.get(Selection, selection_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or (row.published_at is None and actor.party not in rules.OVERSEERS):
        raise ProblemError("not_found", what="selection")
    return row


def check(row: Selection, action: str, actor: Actor) -> str:
    """The state that ``action`` leads to. Raises ``not_allowed``, ``wrong_state``."""
    return rules.SELECTION.check(action, row.status, actor, owner=row.organisation_id).target


def move(session: Session, row: Selection, status: str, **changes: Any) -> None:
    """Bring the row into a state, now."""
    for name, value in changes.items():
        setattr(row, name, value)
    row.status, row.changed_at = status, utc_now()
    session.add(row)


def applications(session: Session, selection_id: str, *statuses: str, lock: bool = False) -> list[SelectionApplication]:
    """Applications in the order they came in, of the given statuses if any."""
    query = select(SelectionApplication).where(SelectionApplication.selection_id == selection_id).order_by(col(SelectionApplication.id))
    if statuses:
        query = query.where(col(SelectionApplication.status).in_(statuses))
    return list(session.exec(query.with_for_update() if lock else query))


def experts(session: Session, selection_id: str) -> list[SelectionExpert]:
    """The panel, in the order it was named."""
    return list(session.exec(select(SelectionExpert).where(SelectionExpert.selection_id == selection_id).order_by(col(SelectionExpert.id))))


def scores(session: Session, selection_id: str) -> list[SelectionScore]:
    """Every score given so far."""
    return list(session.exec(select(SelectionScore).where(SelectionScore.selection_id == selection_id).order_by(col(SelectionScore.id))))


def tell(session: Session, row: Selection, organisation_id: str, kind: str, *, role: str | None = None, **params: Any) -> None:
    """Tell an organisation something about a selection."""
    notices.tell(session, organisation_id, kind, row.id, role=role, title_zh=row.title_zh, title_en=row.title_en, **params)
