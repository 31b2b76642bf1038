"""Agreements of a test city, brought into force through every real step by the people who take them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, select

from marketplace.actor import Actor
from marketplace.agreements import service as agreements
from marketplace.attachments import service as attachments
from marketplace.deadlines import service as deadlines
from marketplace.ids import new_id
from marketplace.notices.models import PublicNotice
from marketplace.notices.service import _closes

PDF = b"%PDF-1.7\n% a plan\n"
SPLIT = {"treasury": 10, "operator": 20, "source_departments": 30, "developer": 40}


def colleague(actor: Actor) -> Actor:
    """Another member of the same organisation: whoever drafted may not approve."""
    return dataclasses.replace(actor, member_id=new_id("mem"))


def terms(session: Session, actor: Actor, **changes: Any) -> dict[str, Any]:
    """Terms that hold, with files that ``actor`` has just uploaded."""
    files = {name: attachments.store(session, actor, name=f"{name}.pdf", data=PDF).id for name in ("plan", "text") if name not in changes}
    return {"mode": "overall", "months": 36, "usage_fee_fen": 100_000_00, "split": SPLIT, **files, **changes}


def pass_notice(session: Session, subject: str) -> None:
    """The end of an open public notice, in this transaction, as the coordinator brings it about."""
    notice = session.exec(select(PublicNotice).where(PublicNotice.subject == subject, PublicNotice.status == "open")).one()
    due = deadlines.put(session, "notice.closes", notice.id, notice.closes_at)
    due.status = "fired"
    session.add(due)
    _closes(session, due)


def operation_agreement(session: Session, authority: Actor, operator: Actor, **changes: Any) -> str:
    """An operation agreement in force; returns its id. ``changes`` are terms other than :func:`terms`' own."""
    row = agreements.draft(session, authority, operator_id=operator.organisation_id or "", terms=terms(session, authority, **changes))
    agreements.propose(session, authority, row.id)
    agreements.accept(session, operator, row.id)
    agreements.approve(session, colleague(authority), row.id)
    pass_notice(session, row.id)
    return sign_by(session, row.id, authority, operator)


def development_agreement(session: Session, operator: Actor, developer: Actor, *, demand_id: str, scenario_id: str,
                          until: dt.datetime, given: Mapping[str, Any] | None = None) -> str:
    """A development agreement in force; returns its id."""
    row = agreements.open_development(
        session, operator, demand_id=demand_id, scenario_id=scenario_id, operator_id=operator.organisation_id or "",
        developer_id=developer.organisation_id or "", until=until, terms={"split": SPLIT, **(given or {})})
    return sign_by(session, row.id, operator, developer)


def sign_by(session: Session, agreement_id: str, *sides: Actor) -> str:
    """Sign what waits for signatures, for each side."""
    for actor in sides:
        waiting = agreements.page(session, actor, agreement_id).waiting
        assert waiting is not None
        agreements.sign(session, actor, agreement_id, waiting.digest)
    return agreement_id
