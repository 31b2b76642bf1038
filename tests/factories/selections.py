"""A call for operators in a test city: members who can be experts, and organisations that want to operate."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session
from tests.factories.agreements import PDF, SPLIT, colleague
from tests.factories.market import City, make_city

from marketplace.actor import SYSTEM, Actor
from marketplace.attachments import service as attachments
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.selection import service as selections

CRITERIA = [{"key": "security", "name_zh": "安全保障", "name_en": "Security", "weight": 50},
            {"key": "technique", "name_zh": "技术能力", "name_en": "Technical ability", "weight": 30},
            {"key": "funds", "name_zh": "资金实力", "name_en": "Funds", "weight": 20}]
NOTICE: dict[str, Any] = {"title_zh": "公共数据授权运营机构遴选", "title_en": "Selection of an operator",
                          "conditions": "整体授权，期限三年。申报单位须信誉良好。", "criteria": CRITERIA}
TERMS: dict[str, Any] = {"mode": "overall", "months": 36, "split": SPLIT, "usage_fee_fen": 1000}


@dataclass
class Call:
    """A city with a call for operators, who applies and who judges."""

    city: City
    authority: Actor
    reviewer: Actor
    applicants: list[Actor] = field(default_factory=list)
    experts: list[Actor] = field(default_factory=list)
    id: str = ""
    applications: list[str] = field(default_factory=list)


def person(session: Session, organisation_id: str, kind: str) -> Actor:
    """A member of an organisation, as an actor."""
    member = parties.add_member(session, SYSTEM, organisation_id=organisation_id, email=f"{new_id('p')}@example.org",
                                display_name="Somebody", password="a long enough pass-phrase")
    return Actor(kind, organisation_id, member_id=member.id)  # type: ignore[arg-type]


def make_call(session: Session, *, applicants: int = 2, experts: int = 3, published: bool = True) -> Call:
    """A call that is open for another ten days, its panel named; nobody has applied."""
    city = make_city(session)
    authority = city["data_authority"]
    call = Call(city, authority, colleague(authority))
    call.applicants = [city["operator"]]
    for number in range(1, applicants):
        row = parties.register_organisation(session, SYSTEM, kind="operator", name_zh=f"候选机构{number}", name_en=f"Candidate {number}")
        call.applicants.append(Actor("operator", row.id, member_id=new_id("mem")))
    call.experts = [person(session, city.departments[number % 3], "source_department") for number in range(experts)]
    call.id = selections.draft(session, authority, apply_until=utc_now() + dt.timedelta(days=10), notice=NOTICE).id
    for expert in call.experts:
        selections.name_expert(session, authority, call.id, expert.member_id or "")
    if published:
        selections.publish(session, call.reviewer, call.id)
    return call


def apply(session: Session, call: Call, applicant: Actor) -> str:
    """An application with a document."""
    file = attachments.store(session, applicant, name="方案.pdf", data=PDF).id
    made = selections.apply(session, applicant, call.id, statement="我们将安全地运营。", files=[file]).id
    call.applications.append(made)
    return made


def points(security: int, technique: int = 80, funds: int = 80) -> dict[str, int]:
    return {"security": security, "technique": technique, "funds": funds}
