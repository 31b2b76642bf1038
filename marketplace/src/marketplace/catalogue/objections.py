"""Objections to the quality of data: who found what wrong, who answers for it, by when, and what became of it.

The department answers within its working days and then has others to fix what it accepts; who objected checks the fix. What is not done
in time, or not agreed on, goes to the data authority, which orders a correction or dismisses the objection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, or_, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.catalogue import rules
from marketplace.catalogue.claims import checked_reason
from marketplace.catalogue.errors import (
    OBJECTION_ESCALATED,
    OBJECTION_MOVED,
    OBJECTION_RAISED,
    QUALITY_OBJECTION_INVALID,
    QUALITY_OBJECTION_OWN,
    QUALITY_OBJECTION_TWICE,
)
from marketplace.catalogue.models import DataResource, ObjectionStep, QualityObjection
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.lifecycle import Transition
from marketplace.notices import service as notices
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.settings import settings
from marketplace.trust import service as trust
from marketplace.workdays import after_workdays
from shuyan.problems import ProblemError

MAX_TEXT: Final = 2000
_OVERDUE: Final = "quality_objection.overdue"
_OVERSEERS: Final = frozenset({"data_authority", "security_supervisor"})
_ENDED: Final = rules.QUALITY_OBJECTION.final


@dataclass(frozen=True)
class ObjectionPage:
    """An objection, the resource it is about, its history (oldest first) and what this actor may do now."""

    objection: QualityObjection
    resource: DataResource
    steps: list[ObjectionStep]
    actions: list[str]


def raise_objection(session: Session, actor: Actor, resource_id: str, *, measure: str, text: str, column: str = "") -> QualityObjection:
    """Object to the quality of a resource, or of one of its columns.

    Args:
        measure: what is wrong: one of :data:`.rules.MEASURES`.

    Raises:
        ProblemError: ``not_signed_in``, ``not_allowed``, ``not_found``, ``quality_objection_invalid``, ``quality_objection_own``,
            ``quality_objection_twice``.
    """
    rules.RAISE.require(actor)
    if actor.organisation_id is None:
        raise ProblemError("not_allowed")
    row = session.get(DataResource, resource_id, with_for_update=True) if storable(resource_id) else None
    if row is None or row.status != "active":
        raise ProblemError("not_found", what="resource")
    if row.organisation_id == actor.organisation_id:
        raise ProblemError(QUALITY_OBJECTION_OWN)
    text, column = text.strip(), column.strip()
    for name, holds in (("measure", measure in rules.MEASURES), ("text", 1 <= len(text) <= MAX_TEXT and storable(text)),
                        ("column", not column or any(each["name"] == column for each in row.columns))):
        if not holds:
            raise ProblemError(QUALITY_OBJECTION_INVALID, field=name)
    if session.exec(select(QualityObjection.id).where(
            QualityObjection.resource_id == row.id, QualityObjection.organisation_id == actor.organisation_id,
            QualityObjection.measure == measure, QualityObjection.column == column,
            col(QualityObjection.status).not_in(_ENDED))).first():
        raise ProblemError(QUALITY_OBJECTION_TWICE)
    made = QualityObjection(id=new_id("qobj"), resource_id=row.id, organisation_id=actor.organisation_id,
                            department_id=row.organisation_id, column=column, measure=measure, text=text,
                            status=rules.QUALITY_OBJECTION.initial)
    session.add(made)
    session.flush()
    _step(session, actor, made, "raise", text)
    _run_clock(session, made)
    notices.tell(session, row.organisation_id, OBJECTION_RAISED, made.id, title=row.title, title_en=row.title_en)
    trust.append(session, Tag.QUALITY_OBJECTION_RAISED, actor, made.id, related=[row.id, row.organisation_id, actor.organisation_id],
                 data={"measure": measure})
    return made


def act(session: Session, actor: Actor, objection_id: str, action: str, text: str = "") -> QualityObjection:
    """Take one of the steps of :data:`.rules.QUALITY_OBJECTION`; every one but ``confirm`` needs a word of reason.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``catalogue_reason_invalid``.
    """
    row = session.get(QualityObjection, objection_id, with_for_update=True) if storable(objection_id) else None
    if row is None or not may_see(actor, row):
        raise ProblemError("not_found", what="quality_objection")
    step = rules.QUALITY_OBJECTION.check(action, row.status, actor, owner=_owner(row, action))
    text = text.strip() if action == "confirm" and not text.strip() else checked_reason(text, MAX_TEXT)
    return _moved(session, actor, row, step, text)


def _moved(session: Session, actor: Actor, row: QualityObjection, step: Transition, text: str) -> QualityObjection:
    row.status, row.updated_at = step.target, utc_now()
    session.add(row)
    _step(session, actor, row, step.action, text)
    _run_clock(session, row)
    title = session.get_one(DataResource, row.resource_id).title
    for organisation in sorted({row.organisation_id, row.department_id} - {actor.organisation_id}):
        notices.tell(session, organisation, OBJECTION_MOVED, row.id, title=title)
    if row.status == "escalated":
        for authority in parties.organisations_of_kind(session, "data_authority"):
            notices.tell(session, authority, OBJECTION_ESCALATED, row.id, title=title, role="reviewer")
    assert step.event is not None
    trust.append(session, step.event, actor, row.id, related=[row.resource_id, row.department_id], data={"status": row.status})
    return row


def _run_clock(session: Session, row: QualityObjection) -> None:
    """Set the deadline of the state it is in now: to answer, or to fix."""
    days = {"open": settings().objection_answer_days, "accepted": settings().objection_fix_days,
            "ordered": settings().objection_fix_days}.get(row.status)
    deadlines.cancel(session, row.id, _OVERDUE)
    row.due_at = after_workdays(utc_now(), days) if days is not None else None
    session.add(row)
    if row.due_at is not None:
        deadlines.put(session, _OVERDUE, row.id, row.due_at)


@deadlines.on(_OVERDUE)
def _overdue(session: Session, due: Deadline) -> None:
    row = session.get(QualityObjection, due.subject, with_for_update=True)
    if row is None or row.due_at is None or row.due_at > utc_now():
        return
    _moved(session, SYSTEM, row, rules.QUALITY_OBJECTION.check("escalate", row.status, SYSTEM), "")


def _step(session: Session, actor: Actor, row: QualityObjection, action: str, text: str) -> None:
    last = session.exec(select(ObjectionStep.number).where(ObjectionStep.objection_id == row.id)
                        .order_by(col(ObjectionStep.number).desc()).limit(1)).first()
    session.add(ObjectionStep(objection_id=row.id, number=(last or 0) + 1, action=action, status=row.status,
                              organisation_id=actor.organisation_id, text=text))
    session.flush()


def _owner(row: QualityObjection, action: str) -> str:
    return row.organisation_id if action in rules.OBJECTORS_ACTS else row.department_id


# --- reading ---


def may_see(actor: Actor, row: QualityObjection) -> bool:
    """The two it is between, and those who oversee."""
    return actor.party in _OVERSEERS or actor.organisation_id in (row.organisation_id, row.department_id) or actor.party == "system"


def possible(actor: Actor, row: QualityObjection) -> list[str]:
    """What this actor may do with an objection now."""
    acts = dict.fromkeys(step.action for step in rules.QUALITY_OBJECTION.transitions)
    return [act for act in acts
            if act in rules.QUALITY_OBJECTION.possible(row.status, actor, owner=_owner(row, act)) and act != "escalate"]


def get_objection(session: Session, actor: Actor, objection_id: str) -> ObjectionPage:
    """One objection with its history. Raises ``not_found``."""
    row = session.get(QualityObjection, objection_id) if storable(objection_id) else None
    if row is None or not may_see(actor, row):
        raise ProblemError("not_found", what="quality_objection")
    steps = list(session.exec(select(ObjectionStep).where(ObjectionStep.objection_id == row.id).order_by(col(ObjectionStep.number))))
    return ObjectionPage(row, session.get_one(DataResource, row.resource_id), steps, possible(actor, row))


def list_objections(session: Session, actor: Actor, *, resource_id: str | None = None, status: str | None = None,
                    cursor: str | None = None, limit: int = 20) -> Page[QualityObjection]:
    """Objections that the actor is a side of or oversees, newest first. Raises ``not_signed_in``."""
    if actor.party == "public":
        raise ProblemError("not_signed_in")
    limit = clamp(limit)
    query = select(QualityObjection).order_by(col(QualityObjection.id).desc()).limit(limit + 1)
    if actor.party not in _OVERSEERS:
        query = query.where(or_(QualityObjection.organisation_id == actor.organisation_id,
                                QualityObjection.department_id == actor.organisation_id))
    for column, value in ((QualityObjection.resource_id, resource_id), (QualityObjection.status, status)):
        if value:
            query = query.where(col(column) == value)
    if cursor:
        query = query.where(col(QualityObjection.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), limit, lambda row: (row.id,))


def open_objections(session: Session, resource_id: str) -> int:
    """How many objections to a resource are not closed: shown to everybody, what they say is not."""
    return len(session.exec(select(QualityObjection.id).where(
        QualityObjection.resource_id == resource_id, col(QualityObjection.status).not_in(_ENDED)).limit(100)).all())


_WAITS: Final = {"open": "quality_objection.answer", "accepted": "quality_objection.fix", "ordered": "quality_objection.fix",
                 "fixed": "quality_objection.check", "declined": "quality_objection.check", "escalated": "quality_objection.decide"}
_MOVES: Final = {"quality_objection.answer": "accept", "quality_objection.fix": "fix", "quality_objection.check": "confirm",
                 "quality_objection.decide": "order"}


@work.source
def _waiting(session: Session, actor: Actor) -> Iterable[work.WorkItem]:
    if actor.organisation_id is None:
        return
    query = select(QualityObjection, DataResource.title, DataResource.title_en).join(DataResource, col(DataResource.id) == col(QualityObjection.resource_id))
    if actor.party == "data_authority":
        query = query.where(QualityObjection.status == "escalated")
    else:
        query = query.where(or_(QualityObjection.organisation_id == actor.organisation_id,
                                QualityObjection.department_id == actor.organisation_id),
                            col(QualityObjection.status).in_(_WAITS.keys()))
    for row, title, title_en in session.exec(query.order_by(col(QualityObjection.updated_at)).limit(200)):
        kind = _WAITS[row.status]
        if _MOVES[kind] in possible(actor, row):
            yield work.WorkItem(kind, row.id, title, "quality_objection:objection_id", row.department_id, row.updated_at, row.due_at,
                                title_en)
