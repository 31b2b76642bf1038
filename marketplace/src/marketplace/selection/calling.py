"""The call: the notice with its criteria, and the applications until the deadline."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import errors as agreement_errors
from marketplace.agreements.rules import check_reason
from marketplace.attachments import service as attachments
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.selection import errors, rules, store, texts
from marketplace.selection.models import Selection, SelectionApplication
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

CLOSES = "selection.closes"


def draft(session: Session, actor: Actor, *, apply_until: dt.datetime, notice: Mapping[str, Any]) -> Selection:
    """Draft a selection notice; the data authority does. See :class:`.rules.Announcement` for ``notice``.

    Raises:
        ProblemError: ``not_allowed``, ``selection_invalid``, ``selection_weights``, ``selection_deadline``.
    """
    owner = rules.DRAFT.acting(actor)
    found = rules.parse(notice)
    rules.check_deadline(apply_until, utc_now())
    row = Selection(id=new_id("selection"), organisation_id=owner, status=rules.SELECTION.initial, apply_until=apply_until,
                    drafted_by=actor.label, **found.model_dump())
    session.add(row)
    session.flush()
    return row


def edit(session: Session, actor: Actor, selection_id: str, *, apply_until: dt.datetime, notice: Mapping[str, Any]) -> Selection:
    """Change a notice that is not published. Raises as :func:`draft`, ``not_found``, ``wrong_state``."""
    row = store.find(session, actor, selection_id, lock=True)
    target = store.check(row, "edit", actor)
    found = rules.parse(notice)
    rules.check_deadline(apply_until, utc_now())
    store.move(session, row, target, apply_until=apply_until, drafted_by=actor.label, **found.model_dump())
    return row


def publish(session: Session, actor: Actor, selection_id: str) -> Selection:
    """Publish a notice: applications may come in until the deadline. Another person than its author does.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_self_review``, ``selection_deadline``.
    """
    row = store.find(session, actor, selection_id, lock=True)
    target = store.check(row, "publish", actor)
    if parties.same_person(session, actor.label, row.drafted_by):
        raise ProblemError(agreement_errors.SELF_REVIEW)
    now = utc_now()
    rules.check_deadline(row.apply_until, now)
    store.move(session, row, target, published_at=now)
    deadlines.put(session, CLOSES, row.id, row.apply_until)
    trust.append(session, Tag.SELECTION_PUBLISHED, actor, row.id, related=[row.organisation_id],
                 data={"closes": int(row.apply_until.timestamp()), "weights": {one["key"]: one["weight"] for one in row.criteria}})
    return row


def apply(session: Session, actor: Actor, selection_id: str, *, statement: str, files: Iterable[str]) -> SelectionApplication:
    """Apply to be the operator. Experts of the applicant's own organisation leave the panel.

    Args:
        statement: how the applicant would operate (1 to 10,000 characters).
        files: ids of own uploads, at least one.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``selection_closed``, ``selection_applied``, ``selection_statement``,
            ``selection_files_missing``.
    """
    applicant = rules.APPLY.acting(actor)
    row = store.find(session, actor, selection_id, lock=True)
    if row.status != "applying" or utc_now() >= row.apply_until:
        raise ProblemError(errors.CLOSED)
    statement, wanted = statement.strip(), list(files)
    if not (1 <= len(statement) <= 10_000 and storable(statement)):
        raise ProblemError(errors.STATEMENT, field="statement")
    if not wanted:
        raise ProblemError(errors.FILES_MISSING, field="files")
    made = SelectionApplication(id=new_id("application"), selection_id=row.id, organisation_id=applicant, statement=statement,
                                status=rules.APPLICATION.initial, submitted_by=actor.label, submitted_at=utc_now())
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError:
        raise ProblemError(errors.APPLIED) from None
    attachments.attach(session, actor, wanted, made.id)
    struck = [one for one in store.experts(session, row.id) if one.organisation_id == applicant]
    for one in struck:
        session.delete(one)
    store.tell(session, row, row.organisation_id, texts.APPLIED, role="handler")
    trust.append(session, Tag.APPLICATION_SUBMITTED, actor, made.id, related=[row.id, applicant])
    for one in struck:
        trust.append(session, Tag.EXPERT_DISMISSED, SYSTEM, one.id, related=[row.id])
    return made


def withdraw(session: Session, actor: Actor, application_id: str) -> SelectionApplication:
    """Take one's own application back before the deadline. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``selection_closed``."""
    made, row = _application(session, actor, application_id)
    target = rules.APPLICATION.check("withdraw", made.status, actor, owner=made.organisation_id).target
    if row.status != "applying":
        raise ProblemError(errors.CLOSED)
    made.status = target
    session.add(made)
    trust.append(session, Tag.APPLICATION_WITHDRAWN, actor, made.id, related=[row.id, made.organisation_id])
    return made


def set_aside(session: Session, actor: Actor, application_id: str, reason: str) -> SelectionApplication:
    """Set an application aside that does not meet the published conditions, with the reason.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``.
    """
    made, row = _application(session, actor, application_id)
    store.check(row, "set_aside", actor)
    made.status = rules.APPLICATION.check("set_aside", made.status, actor, owner=row.organisation_id).target
    made.reason = check_reason(reason)
    session.add(made)
    session.flush()
    if not store.applications(session, row.id, "submitted"):
        store.move(session, row, "failed", reason="没有符合条件的申报")
    store.tell(session, row, made.organisation_id, texts.SET_ASIDE, reason=made.reason)
    trust.append(session, Tag.APPLICATION_SET_ASIDE, actor, made.id, related=[row.id, made.organisation_id])
    if row.status == "failed":
        trust.append(session, Tag.SELECTION_FAILED, SYSTEM, row.id, related=[row.organisation_id])
    else:
        from marketplace.selection.judging import rank_if_complete

        rank_if_complete(session, row)
    return made


def cancel(session: Session, actor: Actor, selection_id: str, reason: str) -> Selection:
    """Call a selection off. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``."""
    row = store.find(session, actor, selection_id, lock=True)
    target, reason = store.check(row, "cancel", actor), check_reason(reason)
    store.move(session, row, target, reason=reason)
    for one in store.applications(session, row.id, "submitted"):
        store.tell(session, row, one.organisation_id, texts.CANCELLED, reason=reason)
    trust.append(session, Tag.SELECTION_CANCELLED, actor, row.id, related=[row.organisation_id])
    return row


def _application(session: Session, actor: Actor, application_id: str) -> tuple[SelectionApplication, Selection]:
    found = session.get(SelectionApplication, application_id)
    if found is None or (actor.party not in rules.OVERSEERS and actor.organisation_id != found.organisation_id):
        raise ProblemError("not_found", what="application")
    row = store.find(session, actor, found.selection_id, lock=True)
    return session.get_one(SelectionApplication, application_id, with_for_update=True, populate_existing=True), row


@deadlines.on(CLOSES)
def _closes(session: Session, due: Deadline) -> None:
    row = session.get_one(Selection, due.subject, with_for_update=True, populate_existing=True)
    if row.status != "applying" or row.apply_until > utc_now():
        return
    if not store.applications(session, row.id, "submitted"):
        reason = "截止时没有收到申报"
        store.move(session, row, rules.SELECTION.check("fail", row.status, SYSTEM).target, reason=reason)
        store.tell(session, row, row.organisation_id, texts.FAILED, reason=reason)
        trust.append(session, Tag.SELECTION_FAILED, SYSTEM, row.id, related=[row.organisation_id])
        return
    store.move(session, row, rules.SELECTION.check("close", row.status, SYSTEM).target)
    for organisation_id in sorted({row.organisation_id, *(one.organisation_id for one in store.experts(session, row.id))}):
        store.tell(session, row, organisation_id, texts.SCORING)
    trust.append(session, Tag.SELECTION_CLOSED, SYSTEM, row.id, related=[row.organisation_id])
