"""What is approved for a scenario now: what its sandbox may describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM
from marketplace.authorisation import grants
from marketplace.authorisation.models import DataDemand, GrantRecord, Scenario
from marketplace.db import utc_now
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant


@dataclass(frozen=True)
class Approved:
    """An approved list: a grant in force, or a demand that is approved and waits for its grant, with the claims it will have."""

    kind: Literal["grant", "demand"]
    id: str
    grant: Grant


def approved(session: Session, scenario_id: str) -> Approved | None:
    """The list of a scenario that was approved last and still holds; ``None`` if there is none.

    A grant that was withdrawn, revoked or is over counts no more, nor a demand of which something no longer holds (a resource
    withdrawn, a grade raised, an agreement ended).
    """
    rows = session.exec(select(DataDemand).where(
        DataDemand.scenario_id == scenario_id, col(DataDemand.status).in_(("approved", "agreed", "granted")))
        .order_by(col(DataDemand.id).desc()))
    for row in rows:
        try:
            if row.status != "granted":
                return Approved("demand", row.id, grants.drafted(session, SYSTEM, row))
            record = session.exec(select(GrantRecord).where(GrantRecord.demand_id == row.id)).first()
            if record is not None:
                return Approved("grant", record.id, grants.usable_grant(session, record.id, utc_now())[1])
        except ProblemError:
            continue
    return None


def scenario_of(session: Session, scenario_id: str) -> tuple[str, str, str] | None:
    """Owner, title and state of a scenario, for the other domains, which decide themselves who may ask."""
    row = session.get(Scenario, scenario_id)
    return None if row is None else (row.organisation_id, row.title, row.status)


def scenario_of_grant(session: Session, grant_id: str) -> str:
    """The scenario that a grant is for."""
    return session.get_one(GrantRecord, grant_id).scenario_id
