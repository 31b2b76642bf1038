"""Orders, apps, jobs, nodes, reviews, notices."""

from __future__ import annotations

from sqlmodel import Session
from tests.factories.market import STATISTICS, City, make_output, make_product
from tests.unit.marketplace.powers.adapters import Act, Adapter, noted, plain

from marketplace.actor import PUBLIC
from marketplace.commerce import cards, refunds
from marketplace.commerce import service as commerce
from marketplace.commerce.models import CardPayment, Order, Refund
from marketplace.computing import service as computing
from marketplace.computing.models import EgressReview, Job, Node
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.notices.models import Objection
from marketplace.parties import service as parties
from marketplace.programs import service as programs
from marketplace.programs.models import AppPackage, AppSubmission, DeveloperApp


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


def _authority(session: Session, _row: EgressReview, _party: str) -> str:
    return next(row.id for row in parties.list_organisations(session, kind="data_authority"))


def _objection(session: Session, city: City) -> Objection:
    operator = city["operator"]
    notices.CLOSINGS.setdefault("matrix", lambda *_: None)
    notice = notices.publish(session, operator, kind="matrix", subject="thing_1", organisation_id=operator.organisation_id or "",
                             title_zh="公示", title_en="Notice", working_days=5)
    return notices.object_to(session, PUBLIC, notice.id, "理由")


def _notice_of(session: Session, row: Objection, _party: str) -> str:
    return notices.get_notice(session, row.notice_id).organisation_id


def _card(session: Session, city: City) -> CardPayment:
    order = _order(session, city)
    row = CardPayment(id=new_id("card"), order_id=order.id, amount_fen=order.amount_fen, request={}, received_fen=1, received_currency="CNY",
                      opened_by="somebody", expires_at=order.created_at, look_at=order.created_at)
    session.add(row)
    session.flush()
    return row


def _refund(session: Session, city: City) -> Refund:
    card = _card(session, city)
    row = Refund(id=new_id("rfd"), order_id=card.order_id, card_payment_id=card.id, method="card", amount_fen=1, reason="mismatched",
                 decided_by="somebody")
    session.add(row)
    session.flush()
    return row


def _buyer(session: Session, row: CardPayment | Refund, _party: str) -> str:
    return session.get_one(Order, row.order_id).organisation_id


ADAPTERS: dict[str, Adapter] = {
    "card_payment": Adapter(_card, {"give_back": lambda session, actor, row: refunds.decide_mismatched(session, actor, row.order_id)},
                            owner=_buyer),
    "refund": Adapter(_refund, {"transfer": lambda session, actor, row: refunds.transfer(session, actor, row.id, bank_reference=new_id("ref"))},
                      owner=_buyer),
    "order": Adapter(_order, {
        "pay_by_card": plain(cards.begin), "refund": plain(refunds.decide),
        "record_payment": lambda session, actor, row: commerce.record_payment(
            session, actor, row.id, bank_reference=new_id("ref"), amount_fen=row.amount_fen),
        "cancel": plain(commerce.cancel_order)}),
    "app_submission": Adapter(_submission, {
        "withdraw": plain(programs.withdraw), "return": noted(programs.return_), "reject": noted(programs.reject),
        "accept": noted(programs.accept), "retire": noted(programs.retire)}),
    "job": Adapter(_job, {"cancel": plain(computing.cancel_job)},
                   elsewhere={"approve": "egress_review", "reject": "egress_review"}),
    "node": Adapter(lambda session, city: session.get_one(Node, city.nodes[0]), {"revoke": plain(computing.revoke_node)}),
    "egress_review": Adapter(_review, {"approve": _decide(True), "reject": _decide(False)}, owner=_authority),
    "objection": Adapter(_objection, {
        "uphold": lambda session, actor, row: notices.answer(session, actor, row.id, "uphold", "属实"),
        "dismiss": lambda session, actor, row: notices.answer(session, actor, row.id, "dismiss", "不成立")}, owner=_notice_of),
    "public_notice": Adapter(_objection, {}, elsewhere={"uphold": "objection"}),
}
