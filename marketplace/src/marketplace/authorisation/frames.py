"""The agreements that a demand rests on: the operation agreement that covers its data, and the development agreement after it.

Agreements are locked before demands and grants: whoever ends one locks it first, and then what rests on it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from marketplace.actor import SYSTEM
from marketplace.agreements import service as agreements
from marketplace.authorisation.models import DataDemand, Scenario
from marketplace.authorisation.rules import Mode
from marketplace.catalogue import service as catalogue
from marketplace.db import utc_now
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class Frame:
    """An operation agreement in force."""

    operator_id: str
    mode: Mode
    agreement_id: str
    ends_at: dt.datetime


def for_sector(session: Session, sector: str) -> Frame | None:
    """The agreement whose operator looks at scenarios of a sector: one that covers it, else any in force; ``None``: none is."""
    found = _find(session, [{"id": "", "sector": sector, "organisation_id": ""}])
    if not isinstance(found, Frame):
        found = _find(session, [])
    return found if isinstance(found, Frame) else None


def for_resources(session: Session, ids: Iterable[str]) -> tuple[Frame | None, dict[str, str]]:
    """The one agreement that covers all of these resources, and of those that none covers the code of the problem, by id.

    Unknown resources are left out: what is wrong with them is said elsewhere.
    """
    rows = catalogue.resources_by_id(session, ids)
    wanted = [{"id": row.id, "sector": row.sector, "organisation_id": row.organisation_id} for row in rows.values()]
    found = _find(session, wanted)
    if isinstance(found, Frame):
        return found, {}
    alone = {item["id"]: _find(session, [item]) for item in wanted}
    return None, {id_: code for id_, code in alone.items() if isinstance(code, str)}


def _find(session: Session, wanted: Iterable[Mapping[str, Any]]) -> Frame | str:
    try:
        row = agreements.operation_for(session, resources=wanted, at=utc_now())
    except ProblemError as problem:
        return problem.code
    assert row.ends_at is not None  # it is in force
    return Frame(row.grantee_id, agreements.mode_of(row), row.id, row.ends_at)


def open_development(session: Session, demand: DataDemand, scenario: Scenario, resources: Iterable[str]) -> str | None:
    """Open the development agreement of an approved demand; its id, or ``None`` for the operator's own, which needs none.

    It runs as long as the scenario does, and ends with the operation agreement at the latest.

    Raises:
        ProblemError: ``agreement_missing``, ``agreement_expired`` if the operation agreement ended meanwhile.
    """
    ids = list(resources)
    operation = agreements.operation_for(session, resources=agreements.resource_facts(session, ids), at=utc_now())
    if operation.grantee_id == demand.organisation_id or operation.ends_at is None:
        return None
    until = min(utc_now() + dt.timedelta(days=-(-scenario.months * 365 // 12)), operation.ends_at)
    split = agreements.terms_in_force(session, operation).split.model_dump()
    return agreements.open_development(
        session, SYSTEM, demand_id=demand.id, scenario_id=scenario.id, operator_id=operation.grantee_id,
        developer_id=demand.organisation_id, until=until, terms={"split": split, "resources": ids}).id


def lock(session: Session, demand_id: str) -> None:
    """Keep the agreements under a demand from ending or being suspended until this transaction is over.

    Raises:
        ProblemError: ``agreement_not_in_force``.
    """
    row = session.get(DataDemand, demand_id)
    if agreements.require_for_demand(session, demand_id, utc_now()) is None and row is not None and row.operation_id:
        agreements.require_in_force(session, row.operation_id, utc_now())  # the operator's own demand rests on this alone


def latest_end(session: Session, demand: DataDemand) -> dt.datetime | None:
    """When the first of the agreements that a demand rests on ends."""
    found = agreements.by_id(session, [one for one in (demand.agreement_id, demand.operation_id) if one])
    return min((row.ends_at for row in found.values() if row.ends_at is not None), default=None)
