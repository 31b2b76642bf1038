"""Finished rounds of jobs under way: from them a new attempt goes on after the coordinator was restarted.

They are sums over all departments, as the coordinator saw them before; they are gone once the job has ended.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from marketplace.computing.models import Job, RunRound

if TYPE_CHECKING:
    from shuyan.federation.rounds import StoredRound

MAX_ROUND_BYTES: Final = 32 * 2**20
"""A larger round is not kept: asking the departments again costs less than writing it down."""

MAX_JOB_BYTES: Final = 512 * 2**20
"""What one job's rounds may take up in all; later ones are asked again after a restart."""


def save(session: Session, job_id: str, number: int, stored: StoredRound) -> bool:
    """Keep a round of a running job. ``False``: it is too large, follows one that is missing, or the job has ended.

    Keeping the same round twice changes nothing.
    """
    data = stored.to_bytes()
    if len(data) > MAX_ROUND_BYTES:
        return False
    # Not the job's own row: whoever cancels it must not wait for rounds.
    if session.scalar(select(Job.status).where(Job.id == job_id)) != "running":
        return False
    kept, size = session.execute(select(func.count(), func.coalesce(func.sum(col(RunRound.size)), 0)).select_from(RunRound).where(
        RunRound.job_id == job_id)).one()
    if kept != number - 1 or size + len(data) > MAX_JOB_BYTES:
        return False
    session.add(RunRound(job_id=job_id, number=number, participants=list(stored.participants), sums=data, size=len(data)))
    session.flush()
    return True


def load(session: Session, job_id: str, number: int) -> bytes | None:
    """A kept round, as :meth:`StoredRound.to_bytes` wrote it."""
    row = session.get(RunRound, (job_id, number))
    return None if row is None else row.sums


def participants(session: Session, job_id: str) -> tuple[str, ...]:
    """The departments of a job's last kept round; empty if none is kept."""
    last = session.exec(select(RunRound.participants).where(RunRound.job_id == job_id)
                        .order_by(col(RunRound.number).desc()).limit(1)).first()
    return tuple(last or ())


def kept_since(session: Session, job_id: str, moment: dt.datetime) -> bool:
    """Whether a round of the job was kept after a moment."""
    return session.exec(select(RunRound.number).where(RunRound.job_id == job_id, RunRound.created_at >= moment).limit(1)
                        ).first() is not None


def forget(session: Session, job_id: str, from_number: int = 1) -> None:
    """Delete a job's kept rounds from a number on."""
    session.execute(delete(RunRound).where(col(RunRound.job_id) == job_id, col(RunRound.number) >= from_number))
