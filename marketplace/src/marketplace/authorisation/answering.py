"""谁授权谁审核: who authorised the use that a grant allows, and so answers for what leaves the domain under it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, select

from marketplace.authorisation import rules
from marketplace.authorisation.models import DataDemand, GrantRecord, Opinion
from marketplace.parties import service as parties


@dataclass(frozen=True)
class Authorised:
    """Who authorised a grant.

    Attributes:
        party: ``industry_department`` in mode ``field`` where one answers for the sector, else ``data_authority``.
        organisation_id: which industry department; ``None``: any organisation that is the data authority.
        departments: source departments that reviewed and approved the list themselves.
    """

    party: str
    organisation_id: str | None
    departments: frozenset[str]


def authorised_by(session: Session, grant_id: str) -> Authorised:
    """Who authorised a grant, of those who may still act; of one from before lists were reviewed, the data authority."""
    record = session.get_one(GrantRecord, grant_id)
    demand = session.get_one(DataDemand, record.demand_id)
    given = session.exec(select(Opinion).where(
        Opinion.kind == "demand", Opinion.subject == demand.id, Opinion.version == demand.version, Opinion.stage == "review",
        Opinion.status == "approved", col(Opinion.decided_for).is_(False)).order_by(col(Opinion.id))).all()
    active = {id_ for id_, row in parties.organisations_by_id(session, [one.organisation_id for one in given]).items()
              if row.status == "active"}
    lead, departments = rules.answers_for_egress(record.mode, [one for one in given if one.organisation_id in active])
    if lead is None:
        return Authorised("data_authority", None, departments)
    return Authorised(lead.party, lead.organisation_id, departments)


def grants_authorised_by(session: Session, organisation_id: str) -> list[str]:
    """Ids of the grants whose lists an industry or source department reviewed and approved itself."""
    return list(session.exec(select(GrantRecord.id).join(DataDemand, col(DataDemand.id) == col(GrantRecord.demand_id)).join(
        Opinion, (col(Opinion.subject) == col(DataDemand.id)) & (col(Opinion.version) == col(DataDemand.version))).where(
        Opinion.kind == "demand", Opinion.stage == "review", Opinion.status == "approved", col(Opinion.decided_for).is_(False),
        Opinion.organisation_id == organisation_id).order_by(col(GrantRecord.id))))
