"""Use cases of an organisation's standing: what the registration, the credit lists, ownership or the authority make of it.

Shuozhou, safeguards: those who misuse data or leave their bounds are called in, suspended, ended, and put on the credit record.
Other domains register with :func:`when_changed` what it means for them: listings, grants, jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.parties.models import Organisation
from marketplace.registration import rules, texts
from marketplace.registration.errors import NOT_PARTICIPANT
from marketplace.registration.models import StandingMeasure
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

Changed = Callable[[Session, str, str, str], Callable[[], object] | None]

CHANGES: Final[list[Changed]] = []
"""Called with session, organisation, the standing before and the one after, inside the transaction that changes it. A hook
locks and changes its own rows; what it has to append to the log it returns, to be called once every hook has its locks."""

_TOLD: Final = {"suspend": texts.SUSPENDED, "resume": texts.RESUMED, "end": texts.ENDED, "bar": texts.BARRED}


def when_changed(function: Changed) -> Changed:
    """Register what a change of standing means for another domain."""
    CHANGES.append(function)
    return function


def change(session: Session, actor: Actor, organisation_id: str, action: str, *, cause: str, reason: str = "") -> Organisation:
    """Change a standing; the organisation's members are told.

    Args:
        action: of :data:`.rules.STANDING`.
        cause: ``registration``, ``credit``, ``control``, ``authority`` or ``own``.

    Raises:
        ProblemError: ``not_found``, ``not_a_participant``, ``not_allowed``, ``wrong_state``.
    """
    row = parties.lock_organisation(session, organisation_id)
    if row.kind not in rules.PARTIES:
        raise ProblemError(NOT_PARTICIPANT)
    before = row.status
    step = rules.STANDING.check(action, before, actor, owner=row.id)
    parties.set_status(session, row.id, step.target)
    session.add(StandingMeasure(id=new_id("measure"), organisation_id=row.id, action=action, cause=cause, reason=reason,
                                status=step.target, made_by=actor.label))
    if action in _TOLD:
        notices.tell(session, row.id, _TOLD[action], row.id, reason=reason)
    for append in [changed(session, row.id, before, step.target) for changed in CHANGES]:
        if append is not None:
            append()
    if step.event is not None:
        trust.append(session, step.event, actor, row.id, data={"action": action, "cause": cause, "status": step.target})
    return row


def measures(session: Session, actor: Actor, organisation_id: str) -> list[StandingMeasure]:
    """What became of an organisation and why, newest first: for itself and for those who supervise."""
    if actor.organisation_id != organisation_id:
        rules.READ.require(actor)
    return list(session.exec(select(StandingMeasure).where(StandingMeasure.organisation_id == organisation_id)
                             .order_by(col(StandingMeasure.id).desc())))


def last_cause(session: Session, organisation_id: str) -> str:
    """Why the organisation's standing is what it is."""
    return session.exec(select(StandingMeasure.cause).where(StandingMeasure.organisation_id == organisation_id)
                        .order_by(col(StandingMeasure.id).desc())).first() or ""
