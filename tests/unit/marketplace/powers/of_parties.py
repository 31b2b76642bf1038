"""Members of organisations, and whom they invite."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from sqlmodel import Session
from tests.factories.market import City
from tests.unit.marketplace.powers.adapters import Adapter, plain

from marketplace.actor import SYSTEM, Actor
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.parties import invitations, memberships
from marketplace.parties import service as parties
from marketplace.parties.models import Member, MemberInvitation


def _member(session: Session, city: City) -> Member:
    return parties.add_member(session, SYSTEM, organisation_id=city["developer"].organisation_id or "", email="colleague@example.org",
                              display_name="同事", password="correct horse battery", roles=["handler"])


def _invitation(session: Session, city: City) -> MemberInvitation:
    row = MemberInvitation(id=new_id("inv"), organisation_id=city["developer"].organisation_id or "", email="guest@example.org",
                           roles=["handler"], token_hash="t", link_hash="l", invited_by="mem_1", expires_at=utc_now() + dt.timedelta(days=1))
    session.add(row)
    session.flush()
    return row


def _leave(session: Session, actor: Actor, row: Member) -> Member:
    return memberships.end_membership(session, replace(actor, member_id=row.id), row.id)


ADAPTERS: dict[str, Adapter] = {
    "member": Adapter(_member, {
        "change_roles": lambda session, actor, row: memberships.change_roles(session, actor, row.id, ["reviewer"]),
        "suspend": plain(memberships.suspend), "resume": plain(memberships.resume), "end": plain(memberships.end_membership),
        "leave": _leave}),
    "invitation": Adapter(_invitation, {"withdraw": plain(invitations.withdraw)}),
}
