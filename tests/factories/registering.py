"""Organisations that register themselves, for tests: credit codes, evidence, and everything up to a submitted application."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

from sqlmodel import Session
from stdnum.cn import uscc

from marketplace import db
from marketplace.actor import Actor
from marketplace.clock import today
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.registration import holdings
from marketplace.registration import service as registration
from marketplace.registration.models import Registration

PDF = b"%PDF-1.7\n%evidence\n"
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


def credit_code(number: int | None = None) -> str:
    """A valid unified social credit code; another one each time without ``number``."""
    body = f"91450100MA5{next(_numbers) if number is None else number:06d}"
    return body + uscc.calc_check_digit(body)


def application(**changes: Any) -> dict[str, Any]:
    """What a visitor types to begin."""
    number = next(_numbers)
    return {"party": "developer", "name_zh": f"清源{number}科技有限公司", "name_en": f"Qingyuan {number} Ltd", "credit_code": credit_code(),
            "email": f"applicant{number}@example.org", "display_name": "王芳", "password": PASSWORD, **changes}


def begun(session: Session, **changes: Any) -> tuple[Registration, Actor]:
    """A draft, and its administrator."""
    row, member_id = registration.begin(session, **application(**changes))
    member = parties.get_member(session, member_id)
    assert member is not None
    return row, parties.actor_for_member(session, member)


def completed(session: Session, **changes: Any) -> tuple[Registration, Actor]:
    """A draft with all that it needs."""
    row, actor = begun(session, **changes)
    registration.edit(session, actor, row.id, {
        "contact_phone": "+86 772 1234567", "statement": "普惠金融风控模型研发", "no_incidents": True, "ownership_declared": True,
        "qualifications": [{"kind": "business_licence", "number": "L-1", "issuer": "市场监管局",
                            "valid_until": (today() + dt.timedelta(days=900)).isoformat()}]})
    registration.add_file(session, actor, row.id, name="执照.pdf", data=PDF)
    return row, actor


def submitted(session: Session, **changes: Any) -> tuple[Registration, Actor]:
    """An application in the operator's hands."""
    row, actor = completed(session, **changes)
    return registration.submit(session, actor, row.id), actor


def all_well(row: Registration) -> dict[str, dict[str, Any]]:
    """Every item passed."""
    return {item: {"ok": True} for item in registration.rules.CHECK_ITEMS[row.party]}


def owns(session: Session, authority: Actor, owner: str, owned: str, share_bp: int, since: dt.date | None = None) -> None:
    """A holding, entered by the authority."""
    holdings.declare(session, authority, owner_code=owner, owner_name=owner, owned_code=owned, owned_name=owned, share_bp=share_bp,
                     since=since or today(), organisation_id=authority.organisation_id or "")


def act(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """A use case in a transaction of its own."""
    with db.transaction() as session:
        return function(session, *arguments, **named)


def second(actor: Actor) -> Actor:
    """A colleague."""
    return dataclasses.replace(actor, member_id=new_id("mem"))


def state(registration_id: str) -> tuple[str, str]:
    """Of a registration, and of its organisation."""
    with db.reading() as session:
        row = session.get_one(Registration, registration_id)
        return row.status, parties.get_organisation(session, row.organisation_id).status
