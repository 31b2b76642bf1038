"""Use cases of reviews: opinions are asked of several organisations side by side, and come to one outcome.

Whose opinion, about what: :mod:`.scenarios` and :mod:`.demands` say, and take the outcome. Whoever decides locks the
subject first, then the opinions: of two at once the second finds what the first has left. Deadlines of what was given are
left to pass: to call them off would lock them after the subject, and they themselves are locked before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation import errors, rules, shared, texts
from marketplace.authorisation.models import Opinion
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.settings import settings
from marketplace.trust import service as trust
from marketplace.workdays import after_workdays, is_workday
from shuyan.problems import ProblemError

Action = Literal["approve", "return", "refuse"]
Stage = Literal["check", "review"]

MAX_NOTE: Final = 2000
MAX_COMMENT: Final = 500
_OVERDUE, _REMIND = "review.overdue", "review.remind"


@dataclass(frozen=True)
class Kind:
    """What reviews need to know of a kind of subject.

    Attributes:
        model: its table.
        lock: the subject's row, locked.
        owners: by resource id of its list, the department that answers for it.
        title: as its owner called it.
        settle: takes the outcome of a stage.
    """

    model: Any
    lock: Callable[[Session, str], Any]
    owners: Callable[[Session, Any], dict[str, str]]
    title: Callable[[Session, Any], str]
    settle: Callable[[Session, Any, Stage, rules.Outcome], None]


KINDS: Final[dict[str, Kind]] = {}


def ask(session: Session, kind: str, row: Any, stage: Stage, judges: Sequence[rules.Judge]) -> None:
    """Ask organisations for their opinion on the version of ``row`` at hand; whom nobody is asked of is passed."""
    days = settings().check_days if stage == "check" else settings().review_days
    now = utc_now()
    due, title = after_workdays(now, days), KINDS[kind].title(session, row)
    for judge in judges:
        opinion = Opinion(id=new_id("opinion"), kind=kind, subject=row.id, version=row.version, stage=stage,
                          organisation_id=judge.organisation_id, party=judge.party, status=rules.OPINION.initial,
                          asked_at=now, due_at=due)
        session.add(opinion)
        session.flush()
        deadlines.put(session, _OVERDUE, opinion.id, due)
        if (before := _day_before(due)) > now:
            deadlines.put(session, _REMIND, opinion.id, before)
        notices.tell(session, judge.organisation_id, texts.ASKED[kind], row.id, role="reviewer", title=title, due=shared.day(due))
    if not judges:
        KINDS[kind].settle(session, row, stage, rules.Outcome("approve"))


def _day_before(due: dt.datetime) -> dt.datetime:
    """A working day before a deadline."""
    day = due - dt.timedelta(days=1)
    while not is_workday((day - dt.timedelta(seconds=1)).astimezone(shared.CITY).date()):
        day -= dt.timedelta(days=1)
    return day


def give(session: Session, actor: Actor, opinion_id: str, action: Action, *, note: str = "", struck: Iterable[str] = (),
         comments: Mapping[str, str] | None = None) -> Opinion:
    """Give an opinion: approve (striking some lines, where there are lines), return for correction, or refuse.

    Args:
        struck: ids of resources that are not approved.
        comments: by resource id.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state`` (given already), ``review_over`` (a newer version),
            ``review_own``, ``review_reason_missing``, ``review_line_not_yours``, ``review_comment_invalid``.
    """
    found = session.get(Opinion, opinion_id)
    if found is None:
        raise ProblemError("not_found", what="review")
    kind = KINDS[found.kind]
    row = kind.lock(session, found.subject)
    if not rules.may_see(actor, row.organisation_id, row.status):
        raise ProblemError("not_found", what="review")
    opinion = session.get_one(Opinion, opinion_id, with_for_update=True, populate_existing=True)
    if row.version != opinion.version or opinion.status == "void":
        raise ProblemError(errors.REVIEW_OVER)
    step = rules.OPINION.check(action, opinion.status, actor, owner=opinion.organisation_id)
    if actor.organisation_id == row.organisation_id or actor.label == row.submitted_by:
        raise ProblemError(errors.REVIEW_OWN)
    owners = kind.owners(session, row)
    opinion.note = _note(note, needed=action != "approve")
    opinion.struck = _struck(opinion, struck if action == "approve" else (), owners)
    opinion.comments = _comments(comments or {}, owners)
    opinion.status, opinion.decided_at, opinion.decided_by = step.target, utc_now(), actor.label
    opinion.decided_for = actor.organisation_id != opinion.organisation_id
    session.add(opinion)
    session.flush()
    trust.append(session, Tag.OPINION_GIVEN, actor, opinion.id, related=[row.id, opinion.organisation_id], data={
        "version": opinion.version, "stage": opinion.stage, "decision": opinion.status, "struck": opinion.struck,
        "in_place": opinion.decided_for})
    _settle(session, opinion.kind, row, opinion.stage)  # type: ignore[arg-type]
    return opinion


def _note(note: str, *, needed: bool) -> str:
    note = note.strip()
    if len(note) > MAX_NOTE or not storable(note) or (needed and not note):
        raise ProblemError(errors.REASON_MISSING, field="note")
    return note


def _struck(opinion: Opinion, struck: Iterable[str], owners: dict[str, str]) -> list[str]:
    out, allowed = sorted(set(struck)), rules.may_strike(opinion.party, opinion.organisation_id, owners)
    for line in out:
        if line not in allowed or opinion.stage == "check":
            raise ProblemError(errors.LINE_NOT_YOURS, field="struck")
    return out


def _comments(comments: Mapping[str, str], owners: dict[str, str]) -> dict[str, str]:
    out = {line: text.strip() for line, text in comments.items() if text.strip()}
    for line, text in out.items():
        if line not in owners or len(text) > MAX_COMMENT or not storable(text):
            raise ProblemError(errors.COMMENT_INVALID, field="comments")
    return out


def _settle(session: Session, kind: str, row: Any, stage: Stage) -> None:
    opinions = _of(session, row.id, row.version, stage, lock=True)
    owners = KINDS[kind].owners(session, row) if stage == "review" else {}
    found = rules.outcome(opinions, owners, settings().review_quorum)
    if found is None:
        return
    close(session, row.id)
    KINDS[kind].settle(session, row, stage, found)


def close(session: Session, subject: str) -> None:
    """Nothing more is asked about a subject: what was not given is void."""
    for opinion in session.exec(select(Opinion).where(Opinion.subject == subject, col(Opinion.status).in_(rules.OPEN))
                                .order_by(col(Opinion.id)).with_for_update()):
        opinion.status = rules.OPINION.check("void", opinion.status, SYSTEM).target
        session.add(opinion)


def _of(session: Session, subject: str, version: int, stage: str | None = None, *, lock: bool = False) -> list[Opinion]:
    query = select(Opinion).where(Opinion.subject == subject, Opinion.version == version).order_by(col(Opinion.id))
    if stage is not None:
        query = query.where(Opinion.stage == stage)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return list(session.exec(query))


# --- reading ---


def opinions(session: Session, actor: Actor, row: Any, *, version: int | None = None) -> list[Opinion]:
    """The opinions on a version of a scenario or demand the actor may see.

    Reviewers see each other's words; the applicant sees them once a stage is over, and void ones not at all.
    """
    found = _of(session, row.id, version or row.version)
    if actor.organisation_id != row.organisation_id:
        return found
    still = {one.stage for one in found if one.status in rules.OPEN}
    return [one for one in found if one.status != "void" and one.stage not in still]


def progress(session: Session, row: Any) -> list[Opinion]:
    """Who is asked and has answered, for everybody who may see the subject; words are for :func:`opinions`."""
    return [one for one in _of(session, row.id, row.version) if one.status != "void"]


def actions(actor: Actor, row: Any, opinion: Opinion) -> list[str]:
    """What this actor may decide about an opinion now."""
    if actor.organisation_id == row.organisation_id or actor.label == row.submitted_by or opinion.version != row.version:
        return []
    return rules.OPINION.possible(opinion.status, actor, owner=opinion.organisation_id)


# --- deadlines and queues ---


@deadlines.on(_REMIND)
def _remind(session: Session, due: Deadline) -> None:
    opinion = session.get_one(Opinion, due.subject)
    if opinion.status == "pending":
        row = KINDS[opinion.kind].lock(session, opinion.subject)
        notices.tell(session, opinion.organisation_id, texts.REMINDED[opinion.kind], opinion.subject, role="reviewer",
                     title=KINDS[opinion.kind].title(session, row), due=shared.day(opinion.due_at))


@deadlines.on(_OVERDUE)
def _overdue(session: Session, due: Deadline) -> None:
    """Late: the authority hears of it and may decide in the other's place; the quorum may be enough by now."""
    found = session.get_one(Opinion, due.subject)
    kind = KINDS[found.kind]
    row = kind.lock(session, found.subject)
    opinion = session.get_one(Opinion, due.subject, with_for_update=True, populate_existing=True)
    if opinion.status != "pending":
        return
    opinion.status = rules.OPINION.check("escalate", opinion.status, SYSTEM).target
    session.add(opinion)
    session.flush()
    trust.append(session, Tag.OPINION_OVERDUE, SYSTEM, opinion.id, related=[row.id, opinion.organisation_id])
    name, title = shared.named(session, opinion.organisation_id), kind.title(session, row)
    for told in dict.fromkeys([opinion.organisation_id, shared.authority(session)]):
        notices.tell(session, told, texts.OVERDUE[opinion.kind], row.id, role="reviewer", title=title, **name)
    _settle(session, opinion.kind, row, opinion.stage)  # type: ignore[arg-type]


@work.source
def _waiting(session: Session, actor: Actor) -> Iterator[work.WorkItem]:
    if actor.organisation_id is None:
        return
    query = select(Opinion).where(col(Opinion.status).in_(rules.OPEN)).order_by(col(Opinion.id))
    if actor.party != "data_authority":
        query = query.where(Opinion.organisation_id == actor.organisation_id)
    for opinion in session.exec(query):
        if not rules.OPINION.possible(opinion.status, actor, owner=opinion.organisation_id):
            continue
        row = session.get_one(KINDS[opinion.kind].model, opinion.subject)
        if actions(actor, row, opinion):
            yield work.WorkItem(f"{opinion.kind}.{opinion.stage}", row.id, KINDS[opinion.kind].title(session, row),
                                texts.PAGES[opinion.kind], row.organisation_id, opinion.asked_at, opinion.due_at)


def strikable(session: Session, opinion: Opinion, row: Any) -> list[str]:
    """The lines that the organisation asked may strike."""
    if opinion.stage == "check":
        return []
    return list(rules.may_strike(opinion.party, opinion.organisation_id, KINDS[opinion.kind].owners(session, row)))
