"""Registrations, the standing of parties, hits on credit lists, filings of partners."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Session
from tests.factories.market import City
from tests.unit.marketplace.powers.adapters import Act, Adapter, noted, plain

from marketplace.actor import Actor
from marketplace.clock import today
from marketplace.ids import new_id
from marketplace.parties.models import Organisation
from marketplace.registration import credit, partners
from marketplace.registration import service as registration
from marketplace.registration.models import CreditHit, CreditList, PartnerFiling, Registration

CODE = "91310000MA1FL1A0XG"


def _registration(session: Session, city: City) -> Registration:
    organisation = session.get_one(Organisation, city["developer"].organisation_id)
    row = Registration(id=new_id("reg"), organisation_id=organisation.id, party="developer", name_zh="某公司", name_en="Company",
                       credit_code=CODE)
    session.add(row)
    session.flush()
    return row


def _standing(session: Session, city: City) -> Organisation:
    return session.get_one(Organisation, city["developer"].organisation_id)


def _hit(session: Session, city: City) -> CreditHit:
    listed = CreditList(id=new_id("list"), kind="dishonesty", source="test", published_on=today(), digest=new_id("d"), entries=1,
                        current=True, imported_by="somebody")
    session.add(listed)
    session.flush()
    row = CreditHit(id=new_id("hit"), organisation_id=city["developer"].organisation_id or "", kind="dishonesty", list_id=listed.id,
                    matched_by="name", status="flagged")
    session.add(row)
    session.flush()
    return row


def _filing(session: Session, city: City) -> PartnerFiling:
    row = PartnerFiling(id=new_id("partner"), organisation_id=city["operator"].organisation_id or "", name="某合作伙伴", credit_code=CODE,
                        cooperation="技术合作", qualifications="资质", duties="权责", starts_on=today(),
                        ends_on=today() + dt.timedelta(days=300))
    session.add(row)
    session.flush()
    return row


def _measure(action: str) -> Act:
    def run(session: Session, actor: Actor, row: Organisation) -> object:
        if action == "end" and actor.party in ("developer", "consumer") and actor.organisation_id == row.id:
            return registration.leave(session, actor, "说明")
        return registration.take_measure(session, actor, row.id, action, "说明")
    return run


def _act(action: Any) -> Act:
    return lambda session, actor, row: partners.act(session, actor, row.id, action, "说明")


def _edit_filing(session: Session, actor: Actor, row: PartnerFiling) -> object:
    return partners.edit(session, actor, row.id, {
        "name": row.name, "credit_code": row.credit_code, "cooperation": "x", "qualifications": "x", "duties": "x",
        "starts_on": row.starts_on, "ends_on": row.ends_on})


ADAPTERS: dict[str, Adapter] = {
    "registration": Adapter(_registration, {
        "edit": lambda session, actor, row: registration.edit(session, actor, row.id, {"statement": "说明"}),
        "submit": plain(registration.submit), "withdraw": plain(registration.withdraw), "reapply": plain(registration.reapply),
        "check": lambda session, actor, row: registration.check_items(session, actor, row.id, {"identity": {"ok": True, "note": ""}}),
        "return": lambda session, actor, row: registration.return_(session, actor, row.id, {"identity": "请更正"}),
        "refuse": noted(registration.refuse), "accept": plain(registration.accept)}),
    "standing": Adapter(_standing, {name: _measure(name) for name in ("suspend", "resume", "end", "bar")},
                        owner=lambda _session, row, _party: str(row.id)),
    "credit_hit": Adapter(_hit, {
        name: (lambda session, actor, row, name=name: credit.decide(session, actor, row.id, name, "说明"))  # type: ignore[misc]
        for name in ("confirm", "dismiss", "lift")}),
    "partner_filing": Adapter(_filing, {
        "edit": _edit_filing, **{name: _act(name) for name in ("submit", "withdraw", "return", "refuse", "accept", "end")}}),
}
