"""How each kind of subject is made and acted on through its domain's service, for the matrix test.

An adapter makes one subject; the matrix puts it into every state in turn. An act gets the service to do it as this actor;
what else the service may find wrong (a missing price, a missing signature) does not matter: only whether it was let in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session
from tests.factories.agreements import SPLIT, operation_agreement, terms
from tests.factories.market import STATISTICS, City, make_output, make_product

from marketplace.actor import PUBLIC, SYSTEM, Actor
from marketplace.agreements import rules
from marketplace.agreements import service as agreements
from marketplace.agreements.models import Agreement, AgreementRenewal
from marketplace.authorisation import service as authorisation
from marketplace.commerce import service as commerce
from marketplace.commerce.models import Order
from marketplace.computing import service as computing
from marketplace.computing.models import EgressReview, Job, Node
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.notices.models import Objection
from marketplace.programs import service as programs
from marketplace.programs.models import AppPackage, AppSubmission, DeveloperApp

Act = Callable[[Session, Actor, Any], object]


@dataclass(frozen=True)
class Adapter:
    """One lifecycle's subjects.

    Attributes:
        make: a subject in any state; returns its table row.
        acts: by action, what does it. Actions of the system alone are left out.
        state: the attribute that holds the state.
        owner: the organisation that a party's ``own`` means: for most the one it belongs to, for agreements the party's side.
        before: sets what else a state implies (a version listed has a code …).
    """

    make: Callable[[Session, City], Any]
    acts: dict[str, Act]
    state: str = "status"
    owner: Callable[[Session, Any, str], str] = lambda _session, row, _party: str(row.organisation_id)
    before: Callable[[Session, Any, str], None] = lambda _session, _row, _state: None
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Actions that another lifecycle's act carries out, and which."""


def _order(session: Session, city: City) -> Order:
    product = make_product(session, city)
    return commerce.place_order(session, city["consumer"], product_id=product, idempotency_key=new_id("key"))


def _submission(session: Session, city: City) -> AppSubmission:
    owner = city["developer"].organisation_id or ""
    name = new_id("app").replace("_", "")[:20]
    session.add(DeveloperApp(name=name, organisation_id=owner))
    session.flush()
    row = AppSubmission(id=new_id("app"), name=name, version="1.0", digest=f"sha256:{new_id('d')}", organisation_id=owner,
                        submitted_by="somebody", title_zh="应用", title_en="App", output_form="statistics", size=1, findings=[],
                        status="submitted", note="")
    session.add(row)
    session.flush()
    session.add(AppPackage(submission_id=row.id, data=b"x"))
    session.flush()
    return row


def _job(session: Session, city: City) -> Job:
    return session.get_one(Job, make_output(session, city, STATISTICS, approved=False))


def _review(session: Session, city: City) -> EgressReview:
    job = _job(session, city)
    job.status = "reviewing"
    session.add(job)
    session.flush()
    review = computing.review_of_job(session, job.id)
    assert review is not None
    return review


def _decide(approve: bool) -> Act:
    return lambda session, actor, row: computing.decide_review(session, actor, row.id, approve, note="说明")


def _objection(session: Session, city: City) -> Objection:
    operator = city["operator"]
    notices.CLOSINGS.setdefault("matrix", lambda *_: None)
    notice = notices.publish(session, operator, kind="matrix", subject="thing_1", organisation_id=operator.organisation_id or "",
                             title_zh="公示", title_en="Notice", working_days=5)
    return notices.object_to(session, PUBLIC, notice.id, "理由")


def _notice_of(session: Session, row: Objection, _party: str) -> str:
    return notices.get_notice(session, row.notice_id).organisation_id


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
    "accept": lambda session, actor, row: agreements.accept(session, actor, row.id),
    "return": lambda session, actor, row: agreements.return_(session, actor, row.id, "说明"),
    "approve": lambda session, actor, row: agreements.approve(session, actor, row.id), "sign": _sign,
    "refuse": lambda session, actor, row: agreements.refuse(session, actor, row.id, "说明"),
    "suspend": lambda session, actor, row: agreements.suspend(session, actor, row.id, "说明"),
    "resume": lambda session, actor, row: agreements.resume(session, actor, row.id),
    "terminate": lambda session, actor, row: agreements.terminate(session, actor, row.id, "说明"),
}


def noted(act: Callable[[Session, Actor, str, str], object]) -> Act:
    """An act that takes the subject's id and a note."""
    return lambda session, actor, row: act(session, actor, row.id, "说明")


def plain(act: Callable[[Session, Actor, str], object]) -> Act:
    """An act that takes the subject's id."""
    return lambda session, actor, row: act(session, actor, row.id)


ADAPTERS: dict[str, Adapter] = {
    "order": Adapter(_order, {
        "record_payment": lambda session, actor, row: commerce.record_payment(
            session, actor, row.id, bank_reference=new_id("ref"), amount_fen=row.amount_fen),
        "cancel": plain(commerce.cancel_order)}),
    "app_submission": Adapter(_submission, {
        "withdraw": plain(programs.withdraw), "return": noted(programs.return_), "reject": noted(programs.reject),
        "accept": noted(programs.accept), "retire": noted(programs.retire)}),
    "job": Adapter(_job, {"cancel": plain(computing.cancel_job)},
                   elsewhere={"approve": "egress_review", "reject": "egress_review"}),
    "node": Adapter(lambda session, city: session.get_one(Node, city.nodes[0]), {"revoke": plain(computing.revoke_node)}),
    "egress_review": Adapter(_review, {"approve": _decide(True), "reject": _decide(False)}, owner=lambda *_: "org_nobodys"),
    "objection": Adapter(_objection, {
        "uphold": lambda session, actor, row: notices.answer(session, actor, row.id, "uphold", "属实"),
        "dismiss": lambda session, actor, row: notices.answer(session, actor, row.id, "dismiss", "不成立")}, owner=_notice_of),
    "operation_agreement": Adapter(_agreement, _AGREEMENT_ACTS, owner=_side),
    "development_agreement": Adapter(_development, {
        name: act for name, act in _AGREEMENT_ACTS.items() if name in ("counter", "accept", "sign", "refuse", "suspend", "resume", "terminate")},
        owner=_side),
    "agreement_renewal": Adapter(_renewal, {
        "withdraw": plain(agreements.renewal.withdraw), "decline": noted(agreements.renewal.decline),
        "offer": lambda session, actor, row: agreements.renewal.offer(session, actor, row.id, months=12)},
        elsewhere={"sign": "operation_agreement"}, owner=_side),
    "public_notice": Adapter(_objection, {}, elsewhere={"uphold": "objection"}),
}
