"""The way from a scenario to a demand that may be granted, through the services, with everybody who is asked agreeing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlmodel import Session, col, select
from tests.factories.agreements import operation_agreement, sign_by

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements.models import Agreement
from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import DataDemand, GrantRecord, Opinion, Scenario
from marketplace.computing import service as computing
from marketplace.computing.models import EgressReview
from marketplace.computing.routing import opinions_of
from marketplace.parties import service as parties
from marketplace.products import service as products
from marketplace.products.stages import CHECKLISTS
from shuyan.trust.grants import sign_grant

CONTENT: dict[str, Any] = {
    "title": "普惠金融", "purpose": "评估小微企业信用", "sector": "finance", "necessity": "现有渠道没有可用的统计口径。",
    "effect": "缩短评估周期。", "months": 36}
REASON = "计算统计量"


def reviewer(opinion: Opinion) -> Actor:
    """A person of the organisation that is asked, with the right to decide and no other."""
    return Actor(opinion.party, opinion.organisation_id, f"mem_reviewer_{opinion.organisation_id}",  # type: ignore[arg-type]
                 roles=frozenset({"reviewer"}))


def open_opinions(session: Session, subject: str) -> list[Opinion]:
    """What is still asked about a scenario or demand."""
    return list(session.exec(select(Opinion).where(Opinion.subject == subject, col(Opinion.status).in_(("pending", "overdue")))
                             .order_by(col(Opinion.id))))


def agree(session: Session, subject: str) -> None:
    """Everybody who is asked approves, stage by stage."""
    while found := open_opinions(session, subject):
        authorisation.give_opinion(session, reviewer(found[0]), found[0].id, "approve", note="同意")
        session.expire_all()


def operation(session: Session) -> None:
    """An operation agreement in force, made if there is none."""
    if session.exec(select(Agreement.id).where(Agreement.kind == "operation", Agreement.status == "effective")).first():
        return
    sides = [Actor(kind, next(row.id for row in parties.list_organisations(session, kind=kind)), f"mem_admin_{kind}")  # type: ignore[arg-type]
             for kind in ("data_authority", "operator")]
    operation_agreement(session, *sides)


def sign(session: Session, demand: DataDemand) -> None:
    """Both sides sign the development agreement of an approved demand."""
    if demand.agreement_id is not None:
        row = session.get_one(Agreement, demand.agreement_id)
        sign_by(session, row.id, Actor("operator", row.grantor_id, "mem_admin_operator"),
                Actor("developer", row.grantee_id, "mem_admin_developer"))
        session.refresh(demand)


def accepted_scenario(session: Session, applicant: Actor, **content: Any) -> Scenario:
    """A scenario that was argued and accepted."""
    operation(session)
    row = authorisation.propose_scenario(session, applicant, authorisation.Content(**{**CONTENT, **content}))
    authorisation.submit_scenario(session, applicant, row.id)
    agree(session, row.id)
    assert row.status == "accepted", row.status
    return row


def explained(body: Mapping[str, Any]) -> dict[str, Any]:
    """A list with a reason on each line."""
    return {**body, "resources": [{"reason": REASON, **item} for item in body["resources"]]}


def submitted_demand(session: Session, applicant: Actor, body: Mapping[str, Any], *, scenario_id: str | None = None,
                     **content: Any) -> DataDemand:
    """A list that waits for the operator's first check."""
    scenario_id = scenario_id or accepted_scenario(session, applicant, **content).id
    row = authorisation.draft_demand(session, applicant, scenario_id, explained(body))
    return authorisation.submit_demand(session, applicant, row.id)


def reviewed_demand(session: Session, applicant: Actor, body: Mapping[str, Any], *, scenario_id: str | None = None,
                    **content: Any) -> DataDemand:
    """A list that everybody approved and whose development agreement is in force: the authority may sign."""
    row = submitted_demand(session, applicant, body, scenario_id=scenario_id, **content)
    agree(session, row.id)
    sign(session, row)
    assert row.status == "agreed", row.status
    return row


def release(session: Session, review_id: str, note: str = "", override: str = "", *, leave: str = "") -> EgressReview:
    """Everybody who is asked lets a result leave the domain, but the party ``leave``."""
    review = session.get_one(EgressReview, review_id)
    for one in opinions_of(session, review_id):
        if one.decision == "pending" and one.party != leave:
            organisation = one.organisation_id or next(row.id for row in parties.list_organisations(session, kind=one.party))
            actor = Actor(one.party, organisation, f"mem_reviewer_{organisation}", roles=frozenset({"reviewer"}))  # type: ignore[arg-type]
            computing.decide_review(session, actor, review_id, True, note, override)
    return review


def pass_egress(session: Session, product_id: str, number: int = 1) -> None:
    """Everybody who decides on the egress of a version agrees."""
    seats = products.dossier(session, SYSTEM, product_id, number).seated
    for organisation in seats.organisations(session):
        party = parties.get_organisation(session, organisation).kind
        actor = Actor(party, organisation, f"mem_reviewer_{organisation}", roles=frozenset({"reviewer"}))  # type: ignore[arg-type]
        products.pass_stage(session, actor, product_id, number, ticked=CHECKLISTS["egress_review"], stage="egress_review")


def granted(session: Session, applicant: Actor, authority: Actor, key: Ed25519PrivateKey, body: Mapping[str, Any], *,
            claims: Mapping[str, Any] | None = None, **content: Any) -> GrantRecord:
    """A grant on all of a list; ``claims`` are changed before it is signed."""
    demand = reviewed_demand(session, applicant, body, **content)
    draft = authorisation.grant_draft(session, authority, demand.id).model_copy(update=dict(claims or {}))
    return authorisation.accept_grant(session, authority, demand.id, sign_grant(draft, key))
