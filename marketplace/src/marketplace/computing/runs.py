"""Use cases of execution, for the coordinator alone: each is idempotent by (job, attempt) and one transaction.

A job is executed in attempts, each with a :class:`Run`. Whatever the coordinator repeats after a crash finds here what
it had already recorded and changes nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy import func
from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM
from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import egress, rounds, routing, rules
from marketplace.computing.errors import COORDINATOR_INTERRUPTED, EGRESS_CHECKS_FAILED
from marketplace.computing.jobs import add_log, end_cancelled, locked_job, resources_of
from marketplace.computing.models import EgressReview, Job, JobOutput, Run
from marketplace.computing.nodes import nodes_by_id
from marketplace.computing.submission import departments_of, digest_of
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.trust import service as trust
from shuyan.federation.apps.base import installed
from shuyan.federation.problems import GRANT_HELD
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant

_COUNTING = ("statistics", "query")  # apps whose results show counts of groups
_EARLIER = 50  # released results that a new one is compared with


@dataclass(frozen=True)
class Order:
    """All that is needed to execute one attempt.

    Attributes:
        departments: node id → name of the nodes that have what is read.
        kept: the departments of the last finished round of an earlier attempt; empty: there is none.
    """

    job_id: str
    run_id: str
    attempt: int
    grant_jws: str
    grant: Grant
    app_name: str
    app_digest: str
    params: dict[str, Any]
    departments: dict[str, str]
    kept: tuple[str, ...]


def queued_jobs(session: Session, limit: int = 50) -> dict[str, int]:
    """Jobs waiting to be run, oldest first, and the number of the attempt that is due."""
    jobs = list(session.exec(select(Job.id).where(Job.status == "queued").order_by(col(Job.id)).limit(limit)))
    return {job_id: attempt + 1 for job_id, attempt in _latest_attempts(session, jobs).items()}


def running_jobs(session: Session) -> dict[str, int]:
    """Jobs under way and their latest attempt (0: none recorded)."""
    return _latest_attempts(
        session, list(session.exec(select(Job.id).where(Job.status == "running").order_by(col(Job.id)))))


def _latest_attempts(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    attempts = dict.fromkeys(job_ids, 0)
    if attempts:
        for job_id, attempt in session.exec(select(Run.job_id, Run.attempt).where(col(Run.job_id).in_(job_ids))):
            attempts[job_id] = max(attempts[job_id], attempt)
    return attempts


def cancel_requests(session: Session) -> list[str]:
    """Running jobs somebody wants stopped."""
    return list(session.exec(select(Job.id).where(Job.status == "running", col(Job.cancel_requested).is_(True))))


def withdrawn(session: Session, job_ids: Sequence[str]) -> list[str]:
    """Of these jobs, those that run under a grant that cannot be used any more: withdrawn, or over."""
    out = []
    for job_id, grant_id in session.exec(select(Job.id, Job.grant_id).where(
            Job.status == "running", col(Job.id).in_(job_ids)).order_by(col(Job.id))).all():
        try:
            authorisation.usable_grant(session, grant_id, utc_now())
        except ProblemError:
            out.append(job_id)
    return out


def begin(session: Session, job_id: str, attempt: int) -> str | None:
    """Start an attempt: the job is running, its :class:`Run` exists. The run's id, or ``None`` if nothing is to be run.

    Repeating it gives the same run again as long as that run is open.
    """
    job = locked_job(session, job_id)
    if job is None or job.status not in ("queued", "running"):
        return None
    run = _run_of(session, job_id, attempt)
    if run is not None:
        return run.id if run.status == "running" else None
    if job.cancel_requested:
        end_cancelled(session, job, SYSTEM)
        return None
    if job.status == "queued":
        job.status = rules.JOB.check("start", job.status, SYSTEM).target
        job.started_at = job.started_at or utc_now()
    job.round = job.rounds = 0
    session.add(job)
    run = Run(id=new_id("run"), job_id=job_id, attempt=attempt)
    session.add(run)
    if attempt > 1:
        before = _run_of(session, job_id, attempt - 1)
        if before is not None and before.status == "waiting":
            add_log(session, job_id, "run_resuming", attempt=attempt)
        else:
            add_log(session, job_id, "run_restarting", "warning", attempt=attempt)
    session.flush()
    trust.append(session, Tag.RUN_STARTED, SYSTEM, run.id, related=[job_id, job.grant_id], data={"attempt": attempt})
    return run.id


def order(session: Session, job_id: str, run_id: str) -> Order:
    """What to execute.

    Raises:
        ProblemError: the grant can no longer be used (expired, revoked).
    """
    job, run = session.get_one(Job, job_id), session.get_one(Run, run_id)
    record, grant = authorisation.usable_grant(session, job.grant_id, utc_now())
    departments = departments_of(grant, resources_of(job))
    active = {node_id for node_id, node in nodes_by_id(session, departments).items() if node.status == "active"}
    return Order(job_id=job.id, run_id=run.id, attempt=run.attempt, grant_jws=record.jws, grant=grant,
                 app_name=job.app_name, app_digest=job.app_digest, params=dict(job.params),
                 departments={node_id: name for node_id, name in departments.items() if node_id in active},
                 kept=rounds.participants(session, job_id))


@dataclass(frozen=True)
class ProgressLine:
    """One line of a running job; an empty ``code`` says nothing, ``round`` 0 leaves the job's counters alone."""

    code: str
    args: dict[str, Any]
    level: str = "info"
    round: int = 0
    rounds: int = 0


def record_progress(session: Session, job_id: str, lines: Sequence[ProgressLine]) -> None:
    """Append log lines and move the job's round counters; nothing once the job has ended."""
    job = locked_job(session, job_id)
    if job is None or job.status != "running":
        return
    for line in lines:
        if line.code:
            add_log(session, job_id, line.code, line.level, **line.args)
        if line.round:
            job.round, job.rounds = line.round, line.rounds
    session.add(job)


def set_participants(session: Session, run_id: str, node_ids: Sequence[str]) -> None:
    """The departments a run starts with, whose resources it is about to read.

    Raises:
        ProblemError: ``volume_exhausted`` if a department lets no more of a resource be read in this period.
    """
    run = session.get_one(Run, run_id)
    run.participants = sorted(node_ids)
    session.add(run)
    job = session.get_one(Job, run.job_id)
    _, grant = authorisation.usable_grant(session, job.grant_id, utc_now())
    read = set(resources_of(job))
    rows = catalogue.resources_by_id(session, [item.resource_id for item in grant.resources
                                               if item.name in read and item.node_id in run.participants])
    authorisation.record_use(session, run_id, {id_: row.row_count for id_, row in rows.items()})


def finish(session: Session, run_id: str, *, form: str, content: dict[str, Any], participants: Sequence[str],
           rows: int, content_model: type[BaseModel] | None = None) -> bool:
    """Take a run's candidate output through the automatic checks: to review, or the job fails and nothing is kept.

    Args:
        content_model: the app's own strict model of its content.

    Returns:
        whether the output went to review. Repeating it on a closed run changes nothing.
    """
    run, job = open_run(session, run_id)
    if run is None or job is None:
        return False
    try:
        _, grant = authorisation.usable_grant(session, job.grant_id, utc_now(), lock=True)
    except ProblemError as problem:  # withdrawn or expired while it ran: what it gave may not be used
        _fail(session, run, job, problem.code, dict(problem.args_))
        return False
    checks = egress.check_output(form, content, grant, participants=len(participants), rows=rows,
                                 content_model=content_model)
    wrong = egress.failed(checks)
    trust.append(session, Tag.EGRESS_CHECKED, SYSTEM, run.id, related=[job.id, job.grant_id],
                 data={"passed": not wrong, "failed": wrong})
    if wrong:
        add_log(session, job.id, "checks_failed", "error", checks=wrong)
        _fail(session, run, job, EGRESS_CHECKS_FAILED, {"checks": ", ".join(wrong)})
        return False
    run.status, run.finished_at, run.participants = "finished", utc_now(), sorted(participants)
    rounds.forget(session, job.id)
    output = JobOutput(id=new_id("out"), job_id=job.id, run_id=run.id, form=form, content=content,
                       digest=digest_of(content), participants=sorted(participants), rows=rows)
    session.add(run)
    session.add(output)
    session.flush()
    report = _report(session, job, run, output, grant)
    review = EgressReview(id=new_id("rev"), job_id=job.id, output_id=output.id,
                          checks=[check.as_json() for check in checks], report=report)
    session.add(review)
    job.status = rules.JOB.check("finish", job.status, SYSTEM).target
    session.add(job)
    session.flush()
    routing.ask(session, review, job)
    add_log(session, job.id, "run_finished", departments=len(participants), rows=rows)
    add_log(session, job.id, "checks_passed", count=len(checks))
    session.flush()
    trust.append(session, Tag.RUN_FINISHED, SYSTEM, run.id, related=[job.id, job.grant_id, output.id, review.id], data={
        "output_digest": output.digest, "form": form, "participants": output.participants, "rows": rows,
        "report_digest": digest_of(report), "severity": report["severity"], "findings_against": egress.blocking(report)})
    return True


def _report(session: Session, job: Job, run: Run, output: JobOutput, grant: Grant) -> dict[str, Any]:
    """What the reviewer is told of a candidate output, and where it is from."""
    nodes = nodes_by_id(session, output.participants)
    record = authorisation.get_grant(session, SYSTEM, job.grant_id)
    read = resources_of(job)
    columns: dict[str, set[str]] = {name: set() for name in read}
    for resource in grant.resources:
        if resource.name in columns:
            columns[resource.name] |= set(resource.columns)
    app = installed().get(job.app_name)
    return egress.build(output.form, output.content, grant, egress.Origin(
        job_id=job.id, run_id=run.id, grant_id=job.grant_id, grant_digest=record.digest, app=job.app_name,
        app_version=app.version if app else "", app_digest=job.app_digest, output_digest=output.digest,
        departments=[{"node_id": node_id, "name": nodes[node_id].name if node_id in nodes else node_id,
                      "software_version": nodes[node_id].software_version if node_id in nodes else ""}
                     for node_id in output.participants],
        resources=[{"name": name, "columns": sorted(columns[name])} for name in read]), rows=output.rows,
        params=job.params, earlier=_released_before(session, job, output))


def _released_before(session: Session, job: Job, output: JobOutput) -> list[egress.Released]:
    """Statistics and tables of the same resource that the same organisation was let have, the latest first."""
    read = resources_of(job)
    if output.content.get("kind") not in ("statistics", "table") or len(read) != 1:
        return []
    rows = session.exec(
        select(JobOutput, Job).join(Job, col(Job.id) == col(JobOutput.job_id)).join(
            EgressReview, col(EgressReview.output_id) == col(JobOutput.id))
        .where(Job.organisation_id == job.organisation_id, col(Job.app_name).in_(_COUNTING), Job.id != job.id,
               EgressReview.status == "approved")
        .order_by(col(JobOutput.created_at).desc()).limit(_EARLIER))
    return [egress.Released(before.content, asked.params) for before, asked in rows if resources_of(asked) == read]


def fail(session: Session, run_id: str, code: str, args: dict[str, Any]) -> None:
    """A run and its job end with an error of the catalogue. Repeating it on a closed run changes nothing."""
    run, job = open_run(session, run_id)
    if run is not None and job is not None:
        _fail(session, run, job, code, args)


def stopped_by_withdrawal(session: Session, run_id: str) -> None:
    """A run was stopped because its grant cannot be used any more; it fails with what the grant says.

    Where the withdrawal was lifted in the same moment it has failed all the same: departments were told to stop.
    """
    run, job = open_run(session, run_id)
    if run is None or job is None:
        return
    code: str = GRANT_HELD
    args: dict[str, Any] = {}
    try:
        authorisation.usable_grant(session, job.grant_id, utc_now(), lock=True)
    except ProblemError as problem:
        code, args = problem.code, dict(problem.args_)
    _fail(session, run, job, code, args)


def cancelled(session: Session, run_id: str) -> None:
    """A run was stopped because its job is cancelled. Repeating it on a closed run changes nothing."""
    run, job = open_run(session, run_id)
    if run is not None and job is not None:
        run.status, run.finished_at = "cancelled", utc_now()
        session.add(run)
        end_cancelled(session, job, SYSTEM)


def interrupted(session: Session, job_id: str, attempt: int) -> int | None:
    """The coordinator went away under an attempt: its run is closed as ``interrupted``.

    Returns:
        the number of the next attempt, or ``None`` if there is none: the job has ended, was to be cancelled, or was
        interrupted :data:`.rules.MAX_ATTEMPTS` times without finishing a round and now fails with
        ``coordinator_interrupted``. Repeatable.
    """
    job = locked_job(session, job_id)
    if job is None or job.status != "running":
        return None
    run = _run_of(session, job_id, attempt)
    if run is not None and run.status == "running":
        # Who finished rounds before it was cut off is no reason to give the job up.
        came_on = rounds.kept_since(session, job_id, run.started_at)
        run.status, run.error_code, run.finished_at = "interrupted", None if came_on else COORDINATOR_INTERRUPTED, utc_now()
        session.add(run)
        session.flush()
        trust.append(session, Tag.RUN_FAILED, SYSTEM, run.id, related=[job.id, job.grant_id],
                     data={"code": COORDINATOR_INTERRUPTED, "attempt": attempt})
    if job.cancel_requested:
        end_cancelled(session, job, SYSTEM)
        return None
    times = session.exec(select(func.count()).select_from(Run).where(
        Run.job_id == job_id, Run.status == "interrupted", Run.error_code == COORDINATOR_INTERRUPTED)).one()
    if times >= rules.MAX_ATTEMPTS:  # runs that ended to wait for an approval do not count
        fail_job(session, job, COORDINATOR_INTERRUPTED, {"attempts": times})
        return None
    return attempt + 1


def _run_of(session: Session, job_id: str, attempt: int) -> Run | None:
    return session.exec(select(Run).where(Run.job_id == job_id, Run.attempt == attempt)
                        .execution_options(populate_existing=True)).first()


def open_run(session: Session, run_id: str) -> tuple[Run | None, Job | None]:
    """A run and its locked job if both still go on, else nothing."""
    run = session.get(Run, run_id)
    job = locked_job(session, run.job_id) if run is not None else None
    if run is None or job is None or job.status != "running":
        return None, None
    session.refresh(run)
    return (run, job) if run.status == "running" else (None, None)


def _fail(session: Session, run: Run, job: Job, code: str, args: dict[str, Any]) -> None:
    run.status, run.error_code, run.finished_at = "failed", code, utc_now()
    session.add(run)
    session.flush()
    trust.append(session, Tag.RUN_FAILED, SYSTEM, run.id, related=[job.id, job.grant_id],
                 data={"code": code, "attempt": run.attempt})
    fail_job(session, job, code, args)


def fail_job(session: Session, job: Job, code: str, args: dict[str, Any]) -> None:
    """A locked job ends with an error of the catalogue."""
    rounds.forget(session, job.id)
    job.status, job.finished_at, job.waiting_for = rules.JOB.check("fail", job.status, SYSTEM).target, utc_now(), {}
    job.error_code, job.error_args = code, {
        key: [str(item) for item in value] if isinstance(value, (list, tuple)) else str(value)
        for key, value in args.items()}
    session.add(job)
    add_log(session, job.id, "job_failed", "error", code=code, **job.error_args)
