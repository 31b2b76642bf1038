"""Use cases of the egress review: who authorised the use decides what leaves the domain, each organisation once.

Whoever decides locks the review first, then the opinions: of two at once the second finds what the first has left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, or_, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.computing import cards, costs, egress, rules, texts
from marketplace.computing.errors import (
    ALREADY_SAID,
    NOT_SEATED,
    NOTE_REQUIRED,
    OWN_REVIEW,
    PASSED_ON,
    REVIEW_BLOCKED,
)
from marketplace.computing.jobs import add_log, get_job, locked_job
from marketplace.computing.models import EgressOpinion, EgressReview, Job, JobOutput
from marketplace.computing.routing import OVERDUE, opinions_of, seat_of
from marketplace.computing.submission import digest_of
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.trust import service as trust
from marketplace.work import WorkItem
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class ReviewDetail:
    """What a reviewer looks at: the review with its checks and report, the job behind it, and the candidate output.

    Attributes:
        opinions: who is asked, who leads first, and what each has said.
        card: the model card as it would be published; None where the output is no model or was deleted.
        cost: what a rejection would cost, see :func:`.costs.of_rejection`.
        blocking: codes of the report's findings against which an approval needs a written reason.
        actions: ``approve`` and ``reject`` if this actor may decide now.
    """

    review: EgressReview
    job: Job
    output: JobOutput
    opinions: list[EgressOpinion]
    card: dict[str, Any] | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    blocking: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)


def list_reviews(session: Session, actor: Actor, *, status: str | None = None, cursor: str | None = None,
                 limit: int = 20) -> tuple[list[EgressReview], str | None]:
    """Reviews, newest first, and the cursor of the next page (``None`` on the last): all of them for the data authority and
    the security supervisor, for departments those on which they are asked.

    Raises:
        ProblemError: ``not_allowed``.
    """
    query = select(EgressReview).order_by(col(EgressReview.id).desc())
    if not rules.may_see_reviews(actor):
        if not rules.may_be_asked(actor):
            raise ProblemError("not_allowed")
        query = query.where(col(EgressReview.id).in_(_asked(actor)))
    if status:
        query = query.where(EgressReview.status == status)
    if cursor:
        query = query.where(col(EgressReview.id) < cursor)
    rows = list(session.exec(query.limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def _asked(actor: Actor) -> Any:
    """Ids of the reviews on which ``actor``'s organisation is asked, or was."""
    return select(EgressOpinion.review_id).where(
        EgressOpinion.party == actor.party,
        or_(EgressOpinion.organisation_id == actor.organisation_id, col(EgressOpinion.organisation_id).is_(None)))


def get_review(session: Session, actor: Actor, review_id: str) -> ReviewDetail:
    """One review with its candidate output, for those who decide on it and those who oversee them.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``.
    """
    if not rules.may_see_reviews(actor) and not rules.may_be_asked(actor):
        raise ProblemError("not_allowed")
    review = session.get(EgressReview, review_id)
    opinions = opinions_of(session, review_id)
    if review is None or (not rules.may_see_reviews(actor) and seat_of(opinions, actor) is None):
        raise ProblemError("not_found", what="review")
    job, output = session.get_one(Job, review.job_id), session.get_one(JobOutput, review.output_id)
    card = cards.build(session, job, output, review) if output.form == "model" and output.content else None
    return ReviewDetail(review, job, output, opinions, card, costs.of_rejection(session, job, output),
                        egress.blocking(review.report), _actions(session, actor, review, job, opinions))


def review_of_job(session: Session, job_id: str) -> EgressReview | None:
    """The review of a job, if it has come to one, for pages that show the job's state."""
    job = session.get(Job, job_id)
    computed = job_id if job is None else job.reused_from or job_id
    return session.exec(select(EgressReview).where(EgressReview.job_id == computed)).first()


def decided_by(session: Session, actor: Actor, job_id: str) -> list[EgressOpinion]:
    """Who decides on a job's result and who has, for whoever may see the job; what they wrote is for :func:`get_review`.

    Raises:
        ProblemError: ``not_found``.
    """
    get_job(session, actor, job_id)
    review = review_of_job(session, job_id)
    return opinions_of(session, review.id) if review is not None else []


def _actions(session: Session, actor: Actor, review: EgressReview, job: Job, opinions: list[EgressOpinion]) -> list[str]:
    seat = seat_of(opinions, actor)
    if seat is None or seat.decision != "pending" or _own(session, actor, job):
        return []
    return rules.REVIEW.possible(review.status, actor)


def _own(session: Session, actor: Actor, job: Job) -> bool:
    """Whether the job is of the actor's organisation, or the same person submitted it under another membership."""
    return job.organisation_id == actor.organisation_id or parties.same_person(session, actor.label, job.submitted_by)


def decide_review(session: Session, actor: Actor, review_id: str, approve: bool, note: str = "",
                  override: str = "") -> EgressReview:
    """Approve or reject a candidate output for the actor's organisation.

    It leaves the domain once everybody who is asked has approved it; one rejection is enough to keep it in. A rejected
    one is deleted, only its digest stays.

    Args:
        override: why it is approved although findings of the report stand against it; kept with the opinion, and an event of
            its own says that it happened.

    Raises:
        ProblemError: ``not_found``; ``not_allowed``; ``not_reviewer_of_grant``; ``own_review``; ``wrong_state`` once decided;
            ``egress_opinion_given``; ``note_required`` when rejecting without a reason; ``review_blocked`` when approving
            against the report without one.
    """
    review = session.exec(select(EgressReview).where(EgressReview.id == review_id).with_for_update()
                          .execution_options(populate_existing=True)).first()
    if review is None:
        raise ProblemError("not_found", what="review")
    action = "approve" if approve else "reject"
    step = rules.REVIEW.check(action, review.status, actor)
    job = locked_job(session, review.job_id)
    if job is None:
        raise ProblemError("not_found", what="job")
    opinions = opinions_of(session, review.id, lock=True)
    opinion = seat_of(opinions, actor)
    if _own(session, actor, job):
        raise ProblemError(OWN_REVIEW)
    if opinion is None:
        raise ProblemError(NOT_SEATED)
    if opinion.decision != "pending":
        raise ProblemError(PASSED_ON if opinion.decision == "passed_on" else ALREADY_SAID)
    note = _written(note)
    if not approve and not note:
        raise ProblemError(NOTE_REQUIRED, field="note")
    output = session.get_one(JobOutput, review.output_id)
    against = egress.blocking(review.report) if approve else []
    override = _written(override) if against else ""
    if against and not override:
        raise ProblemError(REVIEW_BLOCKED, field="override", count=len(against), codes=", ".join(against))
    if override:
        trust.append(session, Tag.EGRESS_OVERRIDDEN, actor, review.id, related=[job.id, output.id, job.grant_id], data={
            "findings": against, "reason_digest": digest_of(override)})
        add_log(session, job.id, "egress_overridden", "warning", count=len(against))
    opinion.organisation_id, opinion.decision = actor.organisation_id, step.target
    opinion.decided_by, opinion.decided_at, opinion.note, opinion.override_reason = actor.label, utc_now(), note, override
    session.add(opinion)
    left = sum(one.decision == "pending" for one in opinions)
    if approve and left:
        add_log(session, job.id, "egress_agreed")
        trust.append(session, Tag.EGRESS_AGREED, actor, job.id, related=[review.id, output.id, job.grant_id],
                     data={"output_digest": output.digest, "left": left})
        return review
    _settle(session, actor, review, job, output, step.target, opinion if not approve else _leading(opinions))
    if step.event:
        trust.append(session, step.event, actor, job.id, related=[review.id, output.id, job.grant_id],
                     data={"output_digest": output.digest})
    return review


def _settle(session: Session, actor: Actor, review: EgressReview, job: Job, output: JobOutput, status: str,
            said: EgressOpinion) -> None:
    """The outcome, in the words of who leads or of who rejected it."""
    approved = status == "approved"
    review.status, review.decided_by, review.decided_at = status, said.decided_by, utc_now()
    review.note, review.override_reason = said.note, said.override_reason
    job.status = rules.JOB.check("time_up" if actor == SYSTEM else "approve" if approved else "reject", job.status, actor).target
    job.finished_at = utc_now()
    if not approved:
        output.content = {}
        session.add(output)
    session.add_all([review, job])
    add_log(session, job.id, "egress_approved" if approved else "egress_rejected", "info" if approved else "warning")
    notices.tell(session, job.organisation_id, texts.APPROVED if approved else texts.REJECTED, job.id, title=job.title or job.id,
                 **({} if approved else {"reason": said.note}))


def _leading(opinions: list[EgressOpinion]) -> EgressOpinion:
    """Of those who approved, the one who leads."""
    return next(one for one in opinions if one.decision == "approved")


@deadlines.on(OVERDUE)
def _overdue(session: Session, due: Deadline) -> None:
    """Whoever authorised a use and does not decide in time, in whose place the data authority does: no result waits for ever.

    It decides where it has no seat of its own yet; where it has and has agreed, that counts for the other too.
    """
    found = session.get_one(EgressOpinion, due.subject)
    review = session.get_one(EgressReview, found.review_id, with_for_update=True, populate_existing=True)
    job = locked_job(session, review.job_id)
    opinions = opinions_of(session, review.id, lock=True)
    opinion = next(one for one in opinions if one.id == found.id)
    if job is None or review.status != "pending" or opinion.decision != "pending":
        return
    opinion.decision, opinion.decided_by, opinion.decided_at = "passed_on", SYSTEM.label, utc_now()
    session.add(opinion)
    seat = next((one for one in opinions if one.party == "data_authority"), None)
    if seat is None:
        seat = EgressOpinion(id=new_id("egop"), review_id=review.id, party="data_authority")
        session.add(seat)
    session.flush()
    names = parties.organisations_by_id(session, [opinion.organisation_id] if opinion.organisation_id else [])
    name = next(({"organisation": one.name_zh, "organisation_en": one.name_en} for one in names.values()), {"organisation": ""})
    authorities = [row.id for row in parties.list_organisations(session, kind="data_authority", limit=50)]
    for told in [*names, *authorities]:
        notices.tell(session, told, texts.PASSED_ON, review.id, role="reviewer", title=job.title or job.id, **name)
    add_log(session, job.id, "egress_passed_on", "warning")
    output = session.get_one(JobOutput, review.output_id)
    settled = seat.decision == "approved" and not any(one.decision == "pending" for one in opinions)
    if settled:
        _settle(session, SYSTEM, review, job, output, rules.REVIEW.check("time_up", review.status, SYSTEM).target, _leading(opinions))
    related = [review.id, output.id, job.grant_id]
    trust.append(session, Tag.EGRESS_PASSED_ON, SYSTEM, job.id, related=[*related, *names], data={"output_digest": output.digest})
    if settled:
        trust.append(session, Tag.EGRESS_APPROVED, SYSTEM, job.id, related=related, data={"output_digest": output.digest})


def _written(text: str) -> str:
    text = text.strip()[:2000]
    return text if storable(text) else ""


@work.source
def _work(session: Session, actor: Actor) -> Iterable[WorkItem]:
    """Results that wait for this actor's decision whether they leave the domain."""
    if actor.organisation_id is None or not rules.REVIEW.possible(rules.REVIEW.initial, actor):
        return
    asked = _asked(actor).where(EgressOpinion.decision == "pending")
    due = dict(session.exec(select(EgressOpinion.review_id, EgressOpinion.due_at).where(col(EgressOpinion.review_id).in_(asked),
                                                                                        EgressOpinion.party == actor.party)).all())
    rows = session.exec(select(EgressReview, Job).join(Job, col(Job.id) == col(EgressReview.job_id)).where(
        EgressReview.status == "pending", col(EgressReview.id).in_(asked)).order_by(col(EgressReview.id)).limit(100)).all()
    who = parties.persons(session, [actor.label, *(job.submitted_by for _review, job in rows)])
    for review, job in rows:
        if job.organisation_id != actor.organisation_id and who[job.submitted_by] != who[actor.label]:
            yield WorkItem("result.egress", review.id, job.title or job.id, "review:review_id", job.organisation_id, review.created_at,
                           due.get(review.id))
