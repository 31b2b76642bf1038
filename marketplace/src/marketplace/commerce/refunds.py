"""Use cases of refunds: what was paid goes back. The decision is one transaction, with everything that ends by it; the money follows.

From the decision on the market owes the amount (``liabilities:returns:…``); when it has left, that debt is booked off. Nothing booked
before is changed.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.commerce import booking, gateway, rules, texts
from marketplace.commerce.errors import (
    CARD_REFUSED,
    ENTITLEMENT_USED,
    NOTHING_PAID,
    REFERENCE_NEEDED,
    REFERENCE_UNWANTED,
    REFERENCE_USED,
)
from marketplace.commerce.models import CardPayment, Entitlement, Order, Payment, Refund
from marketplace.db import reading, transaction, utc_now
from marketplace.digests import digest
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.logging import get_logger
from marketplace.metering import service as metering
from marketplace.notices import service as notices
from marketplace.settlement import service as settlement
from marketplace.settlement.rules import Posting
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

log = get_logger("refunds")

GONE: Final = frozenset({"refunded_at_stripe", "dispute_lost"})
"""Stripe has taken the money already, so it does not matter any more how much of the entitlement was used."""


def may_give_back(actor: Actor) -> bool:
    """Whether this actor may give card money back that does not match."""
    return "give_back" in rules.CARD_PAYMENT.possible("mismatched", actor)


def may_transfer(actor: Actor) -> bool:
    """Whether this actor may record the transfer of a refund that Stripe could not make."""
    return "transfer" in rules.REFUND.possible("failed", actor)


def refund_order(actor: Actor, order_id: str, *, bank_reference: str | None = None) -> Order:
    """:func:`decide`, and the money on its way; where Stripe is away it follows later."""
    with transaction() as session:
        order = decide(session, actor, order_id, bank_reference=bank_reference)
    carry_out_now(order_id)
    return _again(order)


def give_back(actor: Actor, order_id: str) -> Order:
    """:func:`decide_mismatched`, and the money on its way."""
    with transaction() as session:
        order = decide_mismatched(session, actor, order_id)
    carry_out_now(order_id)
    return _again(order)


def _again(order: Order) -> Order:
    with reading() as session:
        return session.get_one(Order, order.id)


def decide(session: Session, actor: Actor, order_id: str, *, bank_reference: str | None = None) -> Order:
    """Refund a paid order in full, before its entitlement was called for the first time; the entitlement ends.

    A payment by card goes back through Stripe. A bank transfer goes back by another one, whose reference is recorded here. Refunding again
    changes nothing.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``entitlement_used``, ``nothing_to_refund``,
            ``refund_reference_required``, ``refund_reference_unwanted``, ``bad_bank_reference``, ``bank_reference_used``.
    """
    order = booking.locked(session, actor, order_id)
    again = order.status == "refunded"
    rules.ORDER.check("refund", "paid" if again else order.status, actor, owner=order.organisation_id)
    payment = session.exec(select(Payment).where(Payment.order_id == order_id)).first()
    entitlement = session.exec(select(Entitlement).where(Entitlement.order_id == order_id).with_for_update()).first()
    if again:
        return order
    if payment is None or entitlement is None:
        raise ProblemError(NOTHING_PAID)
    card = session.exec(select(CardPayment).where(CardPayment.payment_intent == payment.reference).with_for_update()).first() \
        if payment.method == "card" else None
    calls = metering.calls(session, entitlement.id)
    if calls and (card is None or card.attention not in GONE):
        raise ProblemError(ENTITLEMENT_USED, calls=calls)
    if (card is None) != bool(bank_reference):
        raise ProblemError(REFERENCE_NEEDED if card is None else REFERENCE_UNWANTED, field="bank_reference")
    reference = rules.check_reference(bank_reference) if bank_reference else None
    if card is not None and card.attention == "dispute_lost":
        reference = f"dispute:{card.payment_intent}"  # the card's bank has taken it back
    order.status = "refunded"
    ends, entitlement.status = entitlement.status == "active", "ended"
    session.add_all([order, entitlement])
    row = _owe(session, actor, order, payment=payment, card=card, reason="refunded", reference=reference)
    if ends:
        trust.append(session, Tag.ENTITLEMENT_ENDED, actor, entitlement.id, related=[order.product_id, order.organisation_id])
    if reference is not None:
        _finish(session, actor, row, reference)
    return order


def decide_mismatched(session: Session, actor: Actor, order_id: str) -> Order:
    """Give back card money that does not match an order. Doing it twice changes nothing.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``: there is no such money.
    """
    order = booking.locked(session, actor, order_id)
    rows = list(session.exec(select(CardPayment).where(CardPayment.order_id == order_id, col(CardPayment.status).in_(("mismatched", "given_back")))
                             .order_by(col(CardPayment.id)).with_for_update()))
    found = next((row for row in rows if row.status == "mismatched"), None)
    state = found.status if found else "mismatched" if rows else "paid"
    rules.CARD_PAYMENT.check("give_back", state, actor, owner=order.organisation_id)
    if found is not None:
        _owe(session, actor, order, payment=None, card=found, reason="mismatched")
    return order


def owe_stray(session: Session, order: Order, card: CardPayment) -> None:
    """Card money came for a locked order that does not await payment: it is owed back at once."""
    _book_stray(session, card)
    _owe(session, SYSTEM, order, payment=None, card=card, reason="order_not_waiting")


def hold(session: Session, order: Order, card: CardPayment) -> None:
    """Card money came that is not what the order costs: it pays nothing, and waits for the operator's finance."""
    card.status = "mismatched"
    session.add(card)
    _book_stray(session, card)
    trust.append(session, Tag.CARD_MONEY_MISMATCHED, SYSTEM, card.id, related=[order.id],
                 data={"amount": card.received_fen, "currency": card.received_currency, "expected_fen": card.amount_fen})
    notices.tell(session, order.organisation_id, texts.MISMATCHED, order.id, number=order.number)


def _book_stray(session: Session, card: CardPayment) -> None:
    # the books are kept in CNY; what came in another currency is in the log only, until it has gone back
    if card.received_currency == "CNY" and card.received_fen:
        settlement.post(session, idempotency_key=f"card:{card.id}", narration=f"card money {card.id} that pays no order", postings=[
            Posting("assets:stripe", card.received_fen), Posting(f"liabilities:returns:{card.order_id}", -card.received_fen)])


def _owe(session: Session, actor: Actor, order: Order, *, payment: Payment | None, card: CardPayment | None, reason: str,
         reference: str | None = None) -> Refund:
    """Write the debt down. A ``reference`` is of money that has left already: it is taken before the log is touched, which all wait for."""
    amount, currency = (payment.amount_fen, payment.currency) if payment is not None else \
        (card.received_fen or 0, card.received_currency or "") if card is not None else (0, "")
    row = Refund(id=new_id("rfd"), order_id=order.id, payment_id=payment.id if payment else None, card_payment_id=card.id if card else None,
                 amount_fen=amount, currency=currency, method="card" if card is not None else "bank_transfer", reason=reason,
                 reference=reference, decided_by=actor.label)
    _add(session, row)
    if card is not None:
        card.status, card.attention = "given_back", ""
        session.add(card)
    if payment is not None:
        settlement.post(session, idempotency_key=f"refund:{row.id}", narration=f"refund of order {order.number} decided", postings=[
            Posting(f"liabilities:unsettled:{order.product_id}", amount), Posting(f"liabilities:returns:{order.id}", -amount)])
    trust.append(session, Tag.REFUND_DECIDED, actor, row.id, related=[order.id, order.product_id],
                 data={"amount_fen": amount, "currency": currency, "method": row.method, "payment": row.payment_id, "reason": reason})
    notices.tell(session, order.organisation_id, texts.GOES_BACK, order.id, number=order.number)
    return row


def _add(session: Session, row: Refund) -> None:
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise ProblemError(REFERENCE_USED, field="bank_reference") from None


def _finish(session: Session, actor: Actor, row: Refund, reference: str, account: str = "") -> None:
    row.status, row.done_at, row.reference, row.error = "done", utc_now(), reference, ""
    _add(session, row)
    _book_left(session, row, account or booking.ACCOUNTS[row.method], row.amount_fen, f"returned:{row.id}:{reference}")
    trust.append(session, Tag.REFUND_PAID, actor, row.id, related=[row.order_id],
                 data={"amount_fen": row.amount_fen, "currency": row.currency, "reference_digest": digest(reference)})


def _fail(session: Session, row: Refund, error: str) -> None:
    if row.status == "done":  # it had left, and came back
        _book_left(session, row, booking.ACCOUNTS[row.method], -row.amount_fen, f"came back:{row.id}:{row.reference}")
    row.status, row.error, row.done_at = rules.REFUND.check("fail", row.status, SYSTEM).target, error[:100], None
    session.add(row)
    trust.append(session, Tag.REFUND_FAILED, SYSTEM, row.id, related=[row.order_id], data={"amount_fen": row.amount_fen})
    order = session.get_one(Order, row.order_id)
    notices.tell(session, order.organisation_id, texts.REFUND_FAILED, order.id, number=order.number)


def _book_left(session: Session, row: Refund, account: str, amount_fen: int, key: str) -> None:
    if row.currency == "CNY" and amount_fen:
        settlement.post(session, idempotency_key=key, narration=f"refund {row.id}", postings=[
            Posting(f"liabilities:returns:{row.order_id}", amount_fen), Posting(account, -amount_fen)])


def transfer(session: Session, actor: Actor, refund_id: str, *, bank_reference: str) -> Refund:
    """Record the bank transfer by which the operator has paid a refund that Stripe could not (the card no longer exists).

    What Stripe could not give back stays with Stripe, as the operator's.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``bad_bank_reference``, ``bank_reference_used``.
    """
    found = session.get(Refund, refund_id)
    order = booking.locked(session, actor, found.order_id if found else "")
    row = session.get_one(Refund, refund_id, with_for_update=True, populate_existing=True)
    reference = rules.check_reference(bank_reference)
    rules.REFUND.check("transfer", row.status, actor, owner=order.organisation_id)
    _finish(session, actor, row, reference, booking.ACCOUNTS["bank_transfer"])
    return row


def carry_out(refund_id: str, *, again: bool = False) -> str:
    """Ask Stripe for a refund that was decided, or how it stands; what it says is booked. The refund's state afterwards.

    Args:
        again: ask even of one that had arrived.

    Raises:
        ProblemError: ``card_service_away``, ``card_payment_off``: it is tried again later.
    """
    with reading() as session:
        row = session.get_one(Refund, refund_id)
        card = session.get(CardPayment, row.card_payment_id) if row.card_payment_id else None
    asked = row.status == "under_way" or (again and row.status == "done" and (row.reference or "").startswith("re_"))
    if card is None or not asked:
        return row.status
    before = row.status
    try:
        if row.reference is not None:
            said = gateway.refund_status(row.reference)
        else:
            said = gateway.refund(row.id, card.payment_intent or "", row.amount_fen, row.attempts)
    except ProblemError as error:
        if error.code == CARD_REFUSED:
            said = gateway.Returned("", "failed", str(error.args_.get("reason", "")))
        else:
            with transaction() as session:
                row = session.get_one(Refund, refund_id, with_for_update=True)
                row.attempts, row.error = row.attempts + 1, error.code
                row.look_at = rules.next_try(row.attempts, utc_now())
                session.add(row)
            raise
    with transaction() as session:
        booking.locked(session, SYSTEM, row.order_id)
        row = session.get_one(Refund, refund_id, with_for_update=True, populate_existing=True)
        if row.status not in ("under_way", before) or row.status == said.status == "done":
            return row.status
        if said.status == "failed":
            _fail(session, row, said.error)
        elif said.status == "done":
            rules.REFUND.check("finish", row.status, SYSTEM)
            _finish(session, SYSTEM, row, said.reference)
        elif row.status == "under_way":
            row.attempts, row.reference = row.attempts + 1, said.reference
            row.look_at = rules.next_try(row.attempts, utc_now())
        session.add(row)
        return row.status


def carry_out_now(order_id: str) -> None:
    """Try at once what is decided for an order; what Stripe cannot do now, the sweep does later."""
    with reading() as session:
        ids = session.exec(select(Refund.id).where(Refund.order_id == order_id, Refund.status == "under_way")).all()
    for refund_id in ids:
        try:
            carry_out(refund_id)
        except ProblemError as error:
            log.warning("a refund waits", refund=refund_id, error=error.code)


def due(session: Session, limit: int = 20) -> list[str]:
    """Refunds under way whose time to be looked at has come."""
    return list(session.exec(select(Refund.id).where(Refund.status == "under_way", Refund.look_at <= utc_now())
                             .order_by(col(Refund.look_at)).limit(limit)))
