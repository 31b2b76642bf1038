"""谁授权谁审核: who authorised the use that a grant allows, and so answers for what leaves the domain under it."""

from __future__ import annotations

from collections.abc import Iterable
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
    return authorised(session, [grant_id])[grant_id]


def authorised(session: Session, grant_ids: Iterable[str]) -> dict[str, Authorised]:
    """The same of several grants, by id; three queries, however many there are."""
    wanted = set(grant_ids)
    modes = {id_: (demand_id, mode) for id_, demand_id, mode in session.exec(
        select(GrantRecord.id, GrantRecord.demand_id, GrantRecord.mode).where(col(GrantRecord.id).in_(wanted)))} if wanted else {}
    given: dict[str, list[Opinion]] = {}
    for one in session.exec(select(Opinion).join(
            DataDemand, (col(Opinion.subject) == col(DataDemand.id)) & (col(Opinion.version) == col(DataDemand.version))).where(
            Opinion.kind == "demand", col(Opinion.subject).in_({demand_id for demand_id, _mode in modes.values()}), Opinion.stage == "review",
            Opinion.status == "approved", col(Opinion.decided_for).is_(False)).order_by(col(Opinion.id))):
        given.setdefault(one.subject, []).append(one)
    active = {id_ for id_, row in parties.organisations_by_id(
        session, {one.organisation_id for rows in given.values() for one in rows}).items() if row.status == "active"}
    out = {}
    for id_, (demand_id, mode) in modes.items():
        lead, departments = rules.answers_for_egress(mode, [one for one in given.get(demand_id, ()) if one.organisation_id in active])
        out[id_] = (Authorised("data_authority", None, departments) if lead is None
                    else Authorised(lead.party, lead.organisation_id, departments))
    return out


def grants_authorised_by(session: Session, organisation_id: str) -> list[str]:
    """Ids of the grants whose lists an industry or source department reviewed and approved itself."""
    return list(session.exec(select(GrantRecord.id).join(DataDemand, col(DataDemand.id) == col(GrantRecord.demand_id)).join(
        Opinion, (col(Opinion.subject) == col(DataDemand.id)) & (col(Opinion.version) == col(DataDemand.version))).where(
        Opinion.kind == "demand", Opinion.stage == "review", Opinion.status == "approved", col(Opinion.decided_for).is_(False),
        Opinion.organisation_id == organisation_id).order_by(col(GrantRecord.id))))
