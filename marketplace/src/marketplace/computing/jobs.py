"""Use cases of jobs: submitting, cancelling, looking. Running them is :mod:`.runs`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation import service as authorisation
from marketplace.computing import rounds, rules, submission
from marketplace.computing.errors import KEY_INVALID, RESULT_DISPOSED, RESULT_NOT_RELEASED
from marketplace.computing.models import EgressReview, Job, JobLog, JobOutput, Run
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.sandboxes import service as sandboxes
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def submit_job(session: Session, actor: Actor, *, grant_id: str, app: str, params: dict[str, Any], title: str = "",
               idempotency_key: str, fresh: bool = False, sandbox_run: str = "",
               checked: submission.Checked | None = None) -> Job:
    """Queue a job under a grant. The same key with the same body is the same job; nothing is queued twice.

    ``params`` are checked by the app's own model and against grant and catalogue; the declared values of every
    dimension are put in as ``domains``.

    Where the organisation has put the same question before, of data that are described as they were, and its result was
    released, the job is ``completed`` at once with that result (``reused_from``): no department is asked.

    Args:
        fresh: compute it again all the same. Answers with noise are never bought twice, whatever is asked.
        sandbox_run: the run in the scenario's sandbox that it is said to be.
        checked: what :func:`check_job` found of the same job a moment before, so that no writer waits for it.

    Raises:
        ProblemError: ``not_allowed``; ``idempotency_mismatch``; ``not_found`` or ``grant_…`` if the grant cannot be
            used by this organisation now; ``app_…``, ``param_…``, ``unknown_column``, ``wrong_type`` and their like,
            with ``field`` naming the field at fault; ``not_tried_in_sandbox``, ``changed_since_sandbox``.
    """
    grantee = rules.SUBMIT.acting(actor)
    if not 1 <= len(idempotency_key) <= 128:
        raise ProblemError(KEY_INVALID, field="idempotency_key")
    digest = submission.request_digest(grant_id=grant_id, app=app, params=params, title=title,
                                       **({"fresh": True} if fresh else {}), **({"sandbox_run": sandbox_run} if sandbox_run else {}))
    if earlier := _same_key(session, grantee, idempotency_key):
        return _same_or_mismatch(earlier, digest)
    authorisation.hold_agreement(session, grant_id, utc_now())
    if checked is None:
        checked = submission.check(session, grantee, grant_id=grant_id, app=app, params=params)
    else:
        authorisation.usable_grant(session, grant_id, utc_now())
    run = sandboxes.tried(session, grantee, grant_id, checked.parts, sandbox_run)
    job = Job(id=new_id("job"), organisation_id=grantee, submitted_by=actor.label, grant_id=grant_id,
              title=rules.clean_text(title.strip(), 200), app_name=app, app_digest=checked.app_digest, params=checked.params,
              resources=checked.resources, idempotency_key=idempotency_key, request_digest=digest,
              question_digest=checked.question_digest, sandbox_run_id=run)
    try:
        with session.begin_nested():
            session.add(job)
    except IntegrityError:  # another request with the same key was faster
        earlier = _same_key(session, grantee, idempotency_key)
        if earlier is None:
            raise
        return _same_or_mismatch(earlier, digest)
    reusable = not fresh or checked.grant.release == "dp"
    earlier = answered_job(session, job.organisation_id, job.question_digest) if reusable else None
    data = {"app": app, "app_digest": job.app_digest, "params_digest": submission.digest_of(job.params)}
    if earlier is None:
        add_log(session, job.id, "job_queued")
    else:
        job.status, job.reused_from = rules.JOB.check("reuse", job.status, SYSTEM).target, earlier.id
        job.started_at = job.finished_at = utc_now()
        job.round, job.rounds = earlier.round, earlier.rounds
        session.add(job)
        add_log(session, job.id, "job_reused", job=earlier.id)
        data["reused_from"] = earlier.id
    trust.append(session, Tag.JOB_SUBMITTED, actor, job.id, data=data, related=[
        grant_id, job.organisation_id, *([earlier.id] if earlier else []), *([run] if run else [])])
    return job


def check_job(session: Session, actor: Actor, *, grant_id: str, app: str, params: dict[str, Any],
              idempotency_key: str) -> submission.Checked | None:
    """All of :func:`submit_job` that takes its time, to be done before a transaction that writes; nothing is changed.

    Returns:
        what to hand to :func:`submit_job`; ``None`` where the key is one that was used, and it will say what is to be done.

    Raises:
        ProblemError: see :func:`submit_job`.
    """
    grantee = rules.SUBMIT.acting(actor)
    if _same_key(session, grantee, idempotency_key):
        return None
    return submission.check(session, grantee, grant_id=grant_id, app=app, params=params)


def answered_job(session: Session, organisation_id: str, question_digest: str) -> Job | None:
    """The organisation's latest job that computed an answer to the same question, and whose result was released."""
    return session.exec(select(Job).where(
        Job.organisation_id == organisation_id, Job.question_digest == question_digest, Job.status == "completed",
        col(Job.reused_from).is_(None), col(Job.id).not_in(select(JobOutput.job_id).where(col(JobOutput.disposed_at).is_not(None)))
    ).order_by(col(Job.id).desc()).limit(1)).first()


def cancel_job(session: Session, actor: Actor, job_id: str) -> Job:
    """Cancel a job: a running one is stopped by the coordinator within a second, others end at once. Twice changes nothing.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state`` once it has ended or waits for review.
    """
    job = locked_job(session, job_id)
    if job is None or not rules.may_see_job(actor, job.organisation_id):
        raise ProblemError("not_found", what="job")
    if job.status == "cancelled":
        return job
    rules.JOB.check("cancel", job.status, actor, owner=job.organisation_id)
    if job.status != "running":
        end_cancelled(session, job, actor)
    elif not job.cancel_requested:
        job.cancel_requested = True
        session.add(job)
        add_log(session, job.id, "cancel_requested")
    return job


def get_job(session: Session, actor: Actor, job_id: str) -> Job:
    """One job of the actor's organisation, or any for those who oversee the zone.

    Raises:
        ProblemError: ``not_found``.
    """
    job = session.get(Job, job_id)
    if job is None or not rules.may_see_job(actor, job.organisation_id):
        raise ProblemError("not_found", what="job")
    return job


def list_jobs(session: Session, actor: Actor, *, status: str | None = None, app: str | None = None,
              grant_id: str | None = None, cursor: str | None = None, limit: int = 20) -> tuple[list[Job], str | None]:
    """Jobs the actor may see, newest first, and the cursor of the next page (``None`` on the last)."""
    if actor.party == "public":
        raise ProblemError("not_signed_in")
    query = select(Job).order_by(col(Job.id).desc())
    if actor.party not in rules.OVERSEERS:
        query = query.where(Job.organisation_id == actor.organisation_id)
    if status:
        query = query.where(Job.status == status)
    if app:
        query = query.where(Job.app_name == app)
    if grant_id:
        query = query.where(Job.grant_id == grant_id)
    if cursor:
        query = query.where(col(Job.id) < cursor)
    rows = list(session.exec(query.limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def job_actions(actor: Actor, job: Job) -> list[str]:
    """What the actor can do with a job now: ``cancel``, or nothing. Reviews have actions of their own."""
    if job.cancel_requested:
        return []
    return [action for action in rules.JOB.possible(job.status, actor, owner=job.organisation_id)
            if action == "cancel"][:1]


def job_log(session: Session, actor: Actor, job_id: str, after: int = 0) -> list[JobLog]:
    """The log lines of a job after sequence ``after``, oldest first; told by :func:`.progress.sentence`."""
    get_job(session, actor, job_id)
    query = select(JobLog).where(JobLog.job_id == job_id, col(JobLog.sequence) > after)
    return list(session.exec(query.order_by(col(JobLog.sequence))))


def taking_part(session: Session, actor: Actor, job_id: str) -> list[str]:
    """Node ids of the departments in the latest attempt at a job; empty before the first."""
    job = get_job(session, actor, job_id)
    run = session.exec(select(Run).where(Run.job_id == (job.reused_from or job.id)).order_by(col(Run.attempt).desc()).limit(1)).first()
    return list(run.participants) if run else []


def job_result(session: Session, actor: Actor, job_id: str) -> JobOutput:
    """The approved output of a job, for its organisation, the authority and the security supervisor.

    Raises:
        ProblemError: ``not_found``; ``result_not_released`` before the egress review has approved it.
    """
    job = get_job(session, actor, job_id)
    if job.organisation_id != actor.organisation_id and not rules.may_see_reviews(actor):
        raise ProblemError("not_found", what="result")
    return approved_output(session, job_id)


def approved_output(session: Session, job_id: str) -> JobOutput:
    """The output of a job that passed its egress review, for the other domains.

    Raises:
        ProblemError: ``not_found``; ``result_not_released`` otherwise.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise ProblemError("not_found", what="job")
    output = session.exec(
        select(JobOutput).join(EgressReview, col(EgressReview.output_id) == col(JobOutput.id))
        .where(JobOutput.job_id == (job.reused_from or job_id), EgressReview.status == "approved")).first()
    if output is None or job.status != "completed":
        raise ProblemError(RESULT_NOT_RELEASED, state=job.status)
    if output.disposed_at is not None:
        raise ProblemError(RESULT_DISPOSED)
    return output


def dispose_output(session: Session, job_id: str) -> str | None:
    """Delete the content of a job's output for good, at the end of what was made of it; its digest, if there was one, stays.

    Whoever calls has decided that nothing else uses it. Doing it twice changes nothing.
    """
    job = session.get(Job, job_id)
    if job is None:
        return None
    output = session.exec(select(JobOutput).where(JobOutput.job_id == (job.reused_from or job_id)).with_for_update()).first()
    if output is None:
        return None
    if output.disposed_at is None:
        output.content, output.disposed_at = {}, utc_now()
        session.add(output)
        add_log(session, job_id, "result_disposed", "warning")
    return output.digest


def output_digest(session: Session, job_id: str) -> str | None:
    """The digest of a job's approved output, worked out anew from its content; ``None`` if there is none.

    Of one that was disposed of only the digest is left.
    """
    try:
        return submission.digest_of(approved_output(session, job_id).content)
    except ProblemError as problem:
        if problem.code != RESULT_DISPOSED:
            return None
        job = session.get_one(Job, job_id)
        return session.exec(select(JobOutput.digest).where(JobOutput.job_id == (job.reused_from or job_id))).first()


def resources_of(job: Job) -> list[str]:
    """Names of the resources that a job reads."""
    return job.resources or [str(job.params.get("resource", ""))]  # jobs of the first version read one


def jobs_of_runs(session: Session, run_ids: Iterable[str]) -> dict[str, list[str]]:
    """By id of a run in a sandbox, the jobs that were submitted as it."""
    found: dict[str, list[str]] = {}
    for job in session.exec(select(Job).where(col(Job.sandbox_run_id).in_(set(run_ids))).order_by(col(Job.id))):
        found.setdefault(job.sandbox_run_id or "", []).append(job.id)
    return found


def find_job(session: Session, job_id: str) -> Job | None:
    """A job by id for the other domains, which decide themselves who may ask."""
    return session.get(Job, job_id)


def jobs_by_id(session: Session, ids: Iterable[str]) -> dict[str, Job]:
    """The same of several, by id, in one query; unknown ones are left out."""
    wanted = set(ids)
    return {row.id: row for row in session.exec(select(Job).where(col(Job.id).in_(wanted)))} if wanted else {}


# --- shared with runs and reviews ---


def locked_job(session: Session, job_id: str) -> Job | None:
    """The job, its row locked until the transaction ends."""
    return session.exec(select(Job).where(Job.id == job_id).with_for_update()
                        .execution_options(populate_existing=True)).first()


def add_log(session: Session, job_id: str, code: str, level: str = "info", /, **args: Any) -> None:
    """Append one line to a job's log. The caller holds the job's lock, or has just made the job."""
    session.flush()
    last = session.scalar(select(func.max(JobLog.sequence)).where(JobLog.job_id == job_id))
    session.add(JobLog(job_id=job_id, sequence=(last or 0) + 1, level=level, code=code, args=args))
    session.flush()


def grant_of_job(session: Session, job_id: str) -> str:
    """The id of the grant a job runs under."""
    return session.get_one(Job, job_id).grant_id


def jobs_under(session: Session, grant_ids: Iterable[str]) -> list[str]:
    """Ids of all jobs ever run under grants."""
    return list(session.exec(select(Job.id).where(col(Job.grant_id).in_(set(grant_ids))).order_by(col(Job.id))))


def end_cancelled(session: Session, job: Job, actor: Actor) -> None:
    """A locked job ends as cancelled."""
    rounds.forget(session, job.id)
    job.status, job.finished_at, job.waiting_for = "cancelled", utc_now(), {}
    session.add(job)
    add_log(session, job.id, "job_cancelled", "warning")
    trust.append(session, Tag.JOB_CANCELLED, actor, job.id, related=[job.grant_id, job.organisation_id])


def _same_key(session: Session, organisation_id: str, key: str) -> Job | None:
    return session.exec(select(Job).where(Job.organisation_id == organisation_id, Job.idempotency_key == key)).first()


def _same_or_mismatch(job: Job, digest: str) -> Job:
    if job.request_digest != digest:
        raise ProblemError("idempotency_mismatch")
    return job
