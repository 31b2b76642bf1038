"""Agreements and their renewals."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Session
from tests.factories.agreements import SPLIT, operation_agreement, terms
from tests.factories.market import STATISTICS, City, make_output
from tests.unit.marketplace.powers.adapters import Act, Adapter, noted, plain

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import rules
from marketplace.agreements import service as agreements
from marketplace.agreements.models import Agreement, AgreementRenewal
from marketplace.authorisation import service as authorisation
from marketplace.computing.models import Job
from marketplace.db import utc_now
from marketplace.ids import new_id


def _agreement(session: Session, city: City) -> Agreement:
    authority = city["data_authority"]
    return agreements.draft(session, authority, operator_id=city["operator"].organisation_id or "", terms=terms(session, authority))


def _development(session: Session, city: City) -> Agreement:
    operation_agreement(session, city["data_authority"], city["operator"])
    job = session.get_one(Job, make_output(session, city, STATISTICS))
    grant = authorisation.get_grant(session, SYSTEM, job.grant_id)
    return agreements.open_development(
        session, city["operator"], demand_id=grant.demand_id, scenario_id=grant.scenario_id,
        operator_id=city["operator"].organisation_id or "", developer_id=city["developer"].organisation_id or "",
        until=utc_now() + dt.timedelta(days=90), terms={"split": SPLIT})


def _renewal(session: Session, city: City) -> AgreementRenewal:
    row = session.get_one(Agreement, operation_agreement(session, city["data_authority"], city["operator"]))
    made = AgreementRenewal(id=new_id("renewal"), agreement_id=row.id, organisation_id=row.grantee_id, statement="继续", status="asked",
                            version=1, asked_by="somebody")
    session.add(made)
    session.flush()
    return made


def _side(session: Session, row: Agreement | AgreementRenewal, party: str) -> str:
    found = row if isinstance(row, Agreement) else session.get_one(Agreement, row.agreement_id)
    return found.grantor_id if party == rules.SIDES[found.kind][0] else found.grantee_id


def _with_terms(act: Any, **fixed: Any) -> Act:
    """An act with terms; the files of those that stand are kept."""
    def run(session: Session, actor: Actor, row: Agreement) -> object:
        kept = agreements.page(session, SYSTEM, row.id).terms
        files = {name: one.id for name in ("plan", "text") if (one := getattr(kept, name, None)) is not None}
        given = {"mode": "overall", "months": 12, "usage_fee_fen": 1, "split": SPLIT, **files} if row.kind == "operation" else {"split": SPLIT}
        return act(session, actor, row.id, given, **fixed)
    return run


def _sign(session: Session, actor: Actor, row: Agreement) -> object:
    return agreements.sign(session, actor, row.id, agreements.page(session, SYSTEM, row.id).versions[-1].version.digest)


_AGREEMENT_ACTS: dict[str, Act] = {
    "edit": _with_terms(agreements.edit), "propose": lambda session, actor, row: agreements.propose(session, actor, row.id),
    "withdraw": lambda session, actor, row: agreements.withdraw(session, actor, row.id), "counter": _with_terms(agreements.counter),
    "accept_terms": lambda session, actor, row: agreements.accept(session, actor, row.id),
    "return": lambda session, actor, row: agreements.return_(session, actor, row.id, "说明"),
    "approve": lambda session, actor, row: agreements.approve(session, actor, row.id), "sign": _sign,
    "break_off": lambda session, actor, row: agreements.refuse(session, actor, row.id, "说明"),
    "suspend": lambda session, actor, row: agreements.suspend(session, actor, row.id, "说明"),
    "resume": lambda session, actor, row: agreements.resume(session, actor, row.id),
    "terminate": lambda session, actor, row: agreements.terminate(session, actor, row.id, "说明"),
}


ADAPTERS: dict[str, Adapter] = {
    "operation_agreement": Adapter(_agreement, _AGREEMENT_ACTS, owner=_side),
    "development_agreement": Adapter(_development, {
        name: act for name, act in _AGREEMENT_ACTS.items() if name in ("counter", "accept_terms", "sign", "break_off", "suspend", "resume", "terminate")},
        owner=_side),
    "agreement_renewal": Adapter(_renewal, {
        "withdraw": plain(agreements.renewal.withdraw), "decline": noted(agreements.renewal.decline),
        "offer": lambda session, actor, row: agreements.renewal.offer(session, actor, row.id, months=12)},
        elsewhere={"sign": "operation_agreement"}, owner=_side),
}
