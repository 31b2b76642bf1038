"""Jobs that wait for a department to approve this use of its data. Use cases for the coordinator alone; each repeatable.

A waiting job holds nothing: its run has ended and no department remembers it. What a department decides about its own
approval number sends the job back to the queue or ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM
from marketplace.authorisation import service as authorisation
from marketplace.computing import rules
from marketplace.computing.jobs import add_log, end_cancelled, locked_job
from marketplace.computing.models import Job
from marketplace.computing.nodes import nodes_by_id
from marketplace.computing.runs import fail_job, open_run
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.trust import service as trust
from shuyan.federation import problems
from shuyan.problems import ProblemError


def wait(session: Session, run_id: str, approvals: Mapping[str, str], names: Mapping[str, str]) -> None:
    """A run ends because departments have to approve it first; its job waits for them.

    Args:
        approvals: node id → the approval's id there.
        names: node id → the department's name.
    """
    run, job = open_run(session, run_id)
    if run is None or job is None:
        return
    run.status, run.error_code, run.finished_at = "waiting", problems.APPROVAL_PENDING, utc_now()
    session.add(run)
    session.flush()
    trust.append(session, Tag.RUN_WAITING, SYSTEM, run.id, related=[job.id, job.grant_id],
                 data={"attempt": run.attempt, "nodes": sorted(approvals)})
    if job.cancel_requested:
        end_cancelled(session, job, SYSTEM)
        return
    job.status = rules.JOB.check("wait", job.status, SYSTEM).target
    job.round = job.rounds = 0
    job.waiting_for = {node_id: rules.clean_text(approval, 64) for node_id, approval in sorted(approvals.items())}
    session.add(job)
    for node_id, approval in job.waiting_for.items():
        add_log(session, job.id, "awaiting_approval", "warning", node=names.get(node_id, node_id), approval=approval)


def waited_for(session: Session, node_id: str | None = None) -> list[str]:
    """Ids of jobs that wait for an approval, of one node if given; in the order in which jobs are locked."""
    waiting = session.exec(select(Job.id, Job.waiting_for).where(Job.status == "awaiting_approval").order_by(col(Job.id)))
    return [job_id for job_id, approvals in waiting if node_id is None or node_id in approvals]


def decided(session: Session, node_id: str, decisions: Mapping[str, bool]) -> None:
    """A department has decided: approval id → whether it approved. What no job waits for is nobody's concern."""
    node = nodes_by_id(session, [node_id])[node_id]
    for job in list(_locked(session, waited_for(session, node_id))):
        approved = decisions.get(job.waiting_for.get(node_id, ""))
        if approved is None:
            continue
        data = {"node": node_id, "approval": job.waiting_for[node_id]}
        if approved:
            trust.append(session, Tag.USE_APPROVED, SYSTEM, job.id, related=[job.grant_id], data=data)
            add_log(session, job.id, "approval_given", node=node.name)
            _go_on_without(session, job, {node_id})
        else:
            trust.append(session, Tag.USE_REJECTED, SYSTEM, job.id, related=[job.grant_id], data=data)
            fail_job(session, job, problems.APPROVAL_REJECTED, {"node": node.name})


def look_after(session: Session) -> None:
    """Waiting is pointless under a grant that has ended, and for a node that was revoked."""
    for job in list(_locked(session, waited_for(session))):
        try:
            authorisation.usable_grant(session, job.grant_id, utc_now())
        except ProblemError as problem:
            fail_job(session, job, problem.code, dict(problem.args_))
            continue
        gone = {node_id: node.name for node_id, node in nodes_by_id(session, job.waiting_for).items()
                if node.status != "active"}
        for name in sorted(gone.values()):
            add_log(session, job.id, "department_lost", "warning", node=name, reason=problems.NODE_REVOKED)
        if gone:
            _go_on_without(session, job, set(gone))


def _locked(session: Session, job_ids: Sequence[str]) -> Iterator[Job]:
    for job_id in job_ids:
        job = locked_job(session, job_id)
        if job is not None and job.status == "awaiting_approval":
            yield job


def _go_on_without(session: Session, job: Job, nodes: set[str]) -> None:
    job.waiting_for = {node_id: approval for node_id, approval in job.waiting_for.items() if node_id not in nodes}
    if not job.waiting_for:
        job.status = rules.JOB.check("resume", job.status, SYSTEM).target
    session.add(job)
    session.flush()
