"""Use cases of the egress review: a person of the data authority decides what leaves the domain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.computing import cards, costs, egress, rules
from marketplace.computing.errors import NOTE_REQUIRED, OWN_REVIEW, REVIEW_BLOCKED
from marketplace.computing.jobs import add_log, locked_job
from marketplace.computing.models import EgressReview, Job, JobOutput
from marketplace.computing.submission import digest_of
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class ReviewDetail:
    """What a reviewer looks at: the review with its checks and report, the job behind it, and the candidate output.

    Attributes:
        card: the model card as it would be published; None where the output is no model or was deleted.
        cost: what a rejection would cost, see :func:`.costs.of_rejection`.
        blocking: codes of the report's findings against which an approval needs a written reason.
    """

    review: EgressReview
    job: Job
    output: JobOutput
    card: dict[str, Any] | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    blocking: list[str] = field(default_factory=list)


def list_reviews(session: Session, actor: Actor, *, status: str | None = None, cursor: str | None = None,
                 limit: int = 20) -> tuple[list[EgressReview], str | None]:
    """Reviews, newest first, and the cursor of the next page (``None`` on the last).

    Raises:
        ProblemError: ``not_allowed``.
    """
    if not rules.may_see_reviews(actor):
        raise ProblemError("not_allowed")
    query = select(EgressReview).order_by(col(EgressReview.id).desc())
    if status:
        query = query.where(EgressReview.status == status)
    if cursor:
        query = query.where(col(EgressReview.id) < cursor)
    rows = list(session.exec(query.limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def get_review(session: Session, actor: Actor, review_id: str) -> ReviewDetail:
    """One review with its candidate output.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``.
    """
    if not rules.may_see_reviews(actor):
        raise ProblemError("not_allowed")
    review = session.get(EgressReview, review_id)
    if review is None:
        raise ProblemError("not_found", what="review")
    job, output = session.get_one(Job, review.job_id), session.get_one(JobOutput, review.output_id)
    card = cards.build(session, job, output, review) if output.form == "model" and output.content else None
    return ReviewDetail(review, job, output, card, costs.of_rejection(session, job, output), egress.blocking(review.report))


def review_of_job(session: Session, job_id: str) -> EgressReview | None:
    """The review of a job, if it has come to one, for pages that show the job's state."""
    job = session.get(Job, job_id)
    computed = job_id if job is None else job.reused_from or job_id
    return session.exec(select(EgressReview).where(EgressReview.job_id == computed)).first()


def review_actions(actor: Actor, detail: ReviewDetail) -> list[str]:
    """``approve`` and ``reject`` if this actor may decide now."""
    if detail.job.organisation_id == actor.organisation_id:
        return []
    return rules.REVIEW.possible(detail.review.status, actor)


def decide_review(session: Session, actor: Actor, review_id: str, approve: bool, note: str = "",
                  override: str = "") -> EgressReview:
    """Approve or reject a candidate output; a rejected one is deleted, only its digest stays.

    Args:
        override: why it is approved although findings of the report stand against it; kept with the review, and an event of
            its own says that it happened.

    Raises:
        ProblemError: ``not_found``; ``not_allowed``; ``own_review``; ``wrong_state`` once decided; ``note_required``
            when rejecting without a reason; ``review_blocked`` when approving against the report without one.
    """
    review = session.exec(select(EgressReview).where(EgressReview.id == review_id).with_for_update()).first()
    if review is None:
        raise ProblemError("not_found", what="review")
    action = "approve" if approve else "reject"
    step = rules.REVIEW.check(action, review.status, actor)
    job = locked_job(session, review.job_id)
    if job is None:
        raise ProblemError("not_found", what="job")
    if job.organisation_id == actor.organisation_id:
        raise ProblemError(OWN_REVIEW)
    note = note.strip()[:2000]
    if not approve and not note:
        raise ProblemError(NOTE_REQUIRED, field="note")
    output = session.get_one(JobOutput, review.output_id)
    against = egress.blocking(review.report) if approve else []
    override = override.strip()[:2000] if against else ""
    if against and not override:
        raise ProblemError(REVIEW_BLOCKED, field="override", count=len(against), codes=", ".join(against))
    if override:
        review.override_reason = override
        trust.append(session, Tag.EGRESS_OVERRIDDEN, actor, review.id, related=[job.id, output.id, job.grant_id], data={
            "findings": against, "reason_digest": digest_of(override)})
    review.status, review.decided_by, review.decided_at, review.note = step.target, actor.label, utc_now(), note
    job.status, job.finished_at = rules.JOB.check(action, job.status, actor).target, utc_now()
    if not approve:
        output.content = {}
        session.add(output)
    session.add(review)
    session.add(job)
    if override:
        add_log(session, job.id, "egress_overridden", "warning", count=len(against))
    add_log(session, job.id, "egress_approved" if approve else "egress_rejected", "info" if approve else "warning")
    if step.event:
        trust.append(session, step.event, actor, job.id, related=[review.id, output.id, job.grant_id],
                     data={"output_digest": output.digest})
    return review
