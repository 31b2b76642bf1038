"""Use cases of commerce: order, bank transfer, entitlement; money is booked in the same transaction.

Paying by card is in :mod:`.cards`, what goes back in :mod:`.refunds`.
"""

from __future__ import annotations

import datetime as dt
from operator import attrgetter
from typing import Any

from sqlalchemy import and_, exists, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace import work
from marketplace.access import require_organisation
from marketplace.actor import SYSTEM, Actor
from marketplace.commerce import booking, gateway, rules
from marketplace.commerce.errors import CARD_OPEN, NOT_ENTITLED
from marketplace.commerce.models import CardPayment, Entitlement, Order, Payment, Refund
from marketplace.db import utc_now
from marketplace.digests import digest
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.pricing import service as pricing
from marketplace.products import service as products
from marketplace.products.errors import NO_PRICE
from marketplace.trust import records
from marketplace.trust import service as trust
from marketplace.work import WorkItem
from shuyan.problems import ProblemError


def place_order(session: Session, actor: Actor, *, product_id: str, idempotency_key: str) -> Order:
    """Order a listed product at its price now. The same key again is the same order, however often it is sent.

    An order of nothing to pay is paid at once.

    Raises:
        ProblemError: ``not_signed_in``, ``scope_missing``, ``not_found``, ``product_not_listed``, ``price_missing``,
            ``agreement_not_in_force``, ``idempotency_mismatch``.
    """
    rules.PLACE.require(actor)
    buyer = require_organisation(actor)
    request_digest = digest({"product_id": product_id})
    found = _by_key(session, buyer, idempotency_key, request_digest)
    if found is not None:
        return found
    _product, version = products.hold_on_sale(session, product_id, utc_now())
    plan = pricing.active_plan(session, product_id)
    if plan is None:
        raise ProblemError(NO_PRICE)
    row = Order(id=new_id("ord"), number=rules.order_number(utc_now()), organisation_id=buyer, placed_by=actor.label,
                product_id=product_id, version_id=version.id, price_plan_id=plan.id, amount_fen=plan.access_fee_fen,
                currency=plan.currency, idempotency_key=idempotency_key, request_digest=request_digest)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # the same order arrived twice at the same moment
        found = _by_key(session, buyer, idempotency_key, request_digest)
        if found is None:
            raise
        return found
    entitlement = booking.entitle(session, row) if row.amount_fen == 0 else None
    trust.append(session, Tag.ORDER_PLACED, actor, row.id, related=[product_id, version.id, buyer],
                 data={"amount_fen": row.amount_fen, "currency": row.currency, "price_plan": plan.id})
    if entitlement is not None:
        booking.tell_granted(session, actor, entitlement)
    return row


def _by_key(session: Session, buyer: str, key: str, request_digest: str) -> Order | None:
    row = session.exec(select(Order).where(Order.organisation_id == buyer, Order.idempotency_key == key)).first()
    if row is not None and row.request_digest != request_digest:
        raise ProblemError("idempotency_mismatch")
    return row


def record_payment(session: Session, actor: Actor, order_id: str, *, bank_reference: str, amount_fen: int) -> Order:
    """Record that the bank transfer for an order has arrived; the operator does. Grants the entitlement and books it.

    The same reference and amount again changes nothing.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``amount_differs``, ``bank_reference_used``.
    """
    order = booking.locked(session, actor, order_id)
    reference = rules.check_reference(bank_reference)
    paid = session.exec(select(Payment).where(Payment.order_id == order_id)).first()
    state = "awaiting_payment" if paid is not None and (paid.method, paid.reference) == ("bank_transfer", reference) else order.status
    rules.ORDER.check("record_payment", state, actor, owner=order.organisation_id)
    rules.check_amount(order.amount_fen, amount_fen)
    if paid is not None:
        return order
    booking.book_payment(session, actor, order, method="bank_transfer", reference=reference)
    booking.close_card_soon(session, order_id)
    return order


def cancel_order(session: Session, actor: Actor, order_id: str) -> Order:
    """Cancel an order that is not paid yet. Doing it twice changes nothing.

    An open card payment has to be closed first, which :func:`marketplace.commerce.cards.cancel` does.

    Raises:
        ProblemError: ``not_found``, ``wrong_state``, ``card_payment_open``.
    """
    order = booking.locked(session, actor, order_id)
    again = order.status == "cancelled"
    rules.ORDER.check("cancel", "awaiting_payment" if again else order.status, actor, owner=order.organisation_id)
    if not again:
        if booking.live_card(session, order_id) is not None:
            raise ProblemError(CARD_OPEN)
        order.status = "cancelled"
        session.add(order)
        trust.append(session, Tag.ORDER_CANCELLED, actor, order_id, related=[order.product_id])
    return order


def get_order(session: Session, actor: Actor, order_id: str) -> Order:
    """The order, for its buyer and for those who oversee orders.

    Raises:
        ProblemError: ``not_found``: somebody else's order does not exist.
    """
    return booking.visible(session.get(Order, order_id), actor)


def order_actions(order: Order, actor: Actor) -> list[str]:
    """What this actor may do with the order now; paying by card only where the market takes cards, and for such an amount."""
    cards = gateway.configured() and order.amount_fen <= rules.CARD_MAXIMUM_FEN
    return [action for action in dict.fromkeys(rules.ORDER.possible(order.status, actor, owner=order.organisation_id))
            if action != "pay_by_card" or cards]


def list_orders(session: Session, actor: Actor, *, status: str | None = None, product_id: str | None = None,
                cursor: str | None = None, limit: int = 20) -> Page[Order]:
    """The organisation's own orders, newest first; overseers see everybody's."""
    limit = clamp(limit)
    query = select(Order).order_by(col(Order.id).desc())
    if actor.party not in rules.READERS:
        query = query.where(Order.organisation_id == require_organisation(actor))
    if status:
        query = query.where(Order.status == status)
    if product_id:
        query = query.where(Order.product_id == product_id)
    if cursor:
        query = query.where(col(Order.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query.limit(limit + 1)).all(), limit, lambda row: (row.id,))


@work.source
def waiting(session: Session, actor: Actor) -> list[WorkItem]:
    """Orders whose payment this actor could make or record."""
    query = select(Order).where(Order.status == "awaiting_payment").order_by(col(Order.id)).limit(200)
    if "record_payment" in rules.ORDER.possible("awaiting_payment", actor):
        kind = "order.confirm"
    elif rules.PLACE.held(actor) and actor.organisation_id is not None:
        kind, query = "order.pay", query.where(Order.organisation_id == actor.organisation_id)
    else:
        return []
    items = [WorkItem("order.look", order.id, order.number, "order:order_id", order.organisation_id, since)
             for order, since in _to_look_at(session)] if kind == "order.confirm" else []
    return items + [WorkItem(kind, row.id, row.number, "order:order_id", row.organisation_id, row.created_at) for row in session.exec(query)]


def _to_look_at(session: Session) -> list[tuple[Order, dt.datetime]]:
    """Orders of which money is not where it should be, which only a person can put right; since when."""
    cards = session.exec(select(Order, CardPayment.created_at).where(
        CardPayment.order_id == Order.id, or_(col(CardPayment.status) == "mismatched", col(CardPayment.attention) != "")).limit(200))
    refunds = session.exec(select(Order, Refund.created_at).where(Refund.order_id == Order.id, Refund.status == "failed").limit(200))
    return [*cards, *refunds]


def card_payments_of_order(session: Session, order_id: str) -> list[CardPayment]:
    """What was tried by card for an order, newest first."""
    return list(session.exec(select(CardPayment).where(CardPayment.order_id == order_id).order_by(col(CardPayment.id).desc())))


def refunds_of_order(session: Session, order_id: str) -> list[Refund]:
    """What goes or went back of an order's money, newest first."""
    return list(session.exec(select(Refund).where(Refund.order_id == order_id).order_by(col(Refund.id).desc())))


def payment_of_order(session: Session, order_id: str) -> Payment | None:
    """The payment of an order, once recorded."""
    return session.exec(select(Payment).where(Payment.order_id == order_id)).first()


def entitlement_of_order(session: Session, order_id: str) -> Entitlement | None:
    """The entitlement an order gave, once paid."""
    return session.exec(select(Entitlement).where(Entitlement.order_id == order_id)).first()


def list_entitlements(session: Session, actor: Actor, *, product_id: str | None = None) -> list[Entitlement]:
    """The organisation's own entitlements, newest first."""
    query = select(Entitlement).where(Entitlement.organisation_id == require_organisation(actor))
    if product_id:
        query = query.where(Entitlement.product_id == product_id)
    return list(session.exec(query.order_by(col(Entitlement.id).desc()).limit(500)))


def entitled_organisations(session: Session, product_id: str, now: dt.datetime) -> int:
    """How many organisations may call a product now."""
    return len(session.exec(select(Entitlement.organisation_id).where(
        Entitlement.product_id == product_id, Entitlement.status == "active", Entitlement.starts_at <= now,
        Entitlement.ends_at > now).distinct()).all())


def usable_entitlement(session: Session, organisation_id: str, product_id: str, now: dt.datetime) -> Entitlement:
    """The entitlement a call counts on: of those valid now, the one that ends first.

    Raises:
        ProblemError: ``not_entitled``.
    """
    row = session.exec(select(Entitlement).where(
        Entitlement.organisation_id == organisation_id, Entitlement.product_id == product_id,
        Entitlement.status == "active", Entitlement.starts_at <= now, Entitlement.ends_at > now,
    ).order_by(col(Entitlement.ends_at), col(Entitlement.id)).limit(1)).first()
    if row is None:
        raise ProblemError(NOT_ENTITLED)
    return row


def holders(session: Session, product_id: str) -> list[str]:
    """The organisations that may call a product now or could if it were delivered, by id."""
    return sorted(session.exec(select(Entitlement.organisation_id).where(
        Entitlement.product_id == product_id, Entitlement.status == "active", Entitlement.ends_at > utc_now()).distinct()))


def wind_up(session: Session, product_id: str) -> int:
    """End every right to call a product that is retired, and cancel what was ordered but not paid; how many rights ended.

    What was metered so far stays billable; a right's own term is kept as it was sold.
    """
    rows = session.exec(select(Entitlement).where(Entitlement.product_id == product_id, Entitlement.status == "active")
                        .order_by(col(Entitlement.id)).with_for_update()).all()
    orders = session.exec(select(Order).where(Order.product_id == product_id, Order.status == "awaiting_payment")
                          .order_by(col(Order.id)).with_for_update()).all()
    for row in rows:
        row.status = "ended"
    for order in orders:
        order.status = rules.ORDER.check("cancel", order.status, SYSTEM).target
        booking.close_card_soon(session, order.id)
    session.add_all([*rows, *orders])
    for row in rows:
        trust.append(session, Tag.ENTITLEMENT_ENDED, SYSTEM, row.id, related=[product_id, row.organisation_id])
    for order in orders:
        trust.append(session, Tag.ORDER_CANCELLED, SYSTEM, order.id, related=[product_id])
    return len(rows)


def entitlements_by_id(session: Session, ids: list[str]) -> dict[str, Entitlement]:
    """The entitlements with these ids; unknown ones are left out."""
    rows = session.exec(select(Entitlement).where(col(Entitlement.id).in_(ids)))
    return {row.id: row for row in rows}


def altered_records(session: Session) -> list[str]:
    """Orders, payments, refunds and entitlements that are not what the audit log says; see :func:`.records.altered`."""
    return [
        *records.altered(session, Tag.ORDER_PLACED, Order, {
            "amount_fen": attrgetter("amount_fen"), "currency": attrgetter("currency"),
            "price_plan": attrgetter("price_plan_id")}),
        *records.altered(session, Tag.PAYMENT_RECEIVED, Payment, {
            "amount_fen": attrgetter("amount_fen"), "currency": attrgetter("currency"),
            "reference_digest": lambda row: digest(row.reference)}),
        *records.altered(session, Tag.REFUND_DECIDED, Refund, {
            "amount_fen": attrgetter("amount_fen"), "currency": attrgetter("currency"), "method": attrgetter("method"),
            "payment": attrgetter("payment_id"), "reason": attrgetter("reason")}),
        *_unsupported(session),
        *records.altered(session, Tag.ENTITLEMENT_GRANTED, Entitlement, {
            "included_calls": attrgetter("included_calls"), "call_fee_fen": attrgetter("call_fee_fen"),
            "term_days": lambda row: (row.ends_at - row.starts_at).days}),
    ]


def _unsupported(session: Session) -> list[str]:
    """Orders whose state nothing bears out: paid or refunded without a payment, an entitlement or a refund that says so."""
    def has(*conditions: Any) -> Any:
        return exists().where(*conditions)

    payment, refund = has(Payment.order_id == Order.id), has(Refund.order_id == Order.id, Refund.payment_id == Payment.id, Payment.order_id == Order.id)
    active = has(Entitlement.order_id == Order.id, Entitlement.status == "active")
    sound = {
        "awaiting_payment": and_(~payment, ~has(Entitlement.order_id == Order.id)), "cancelled": and_(~payment, ~has(Entitlement.order_id == Order.id)),
        "paid": and_(or_(payment, col(Order.amount_fen) == 0), ~refund, has(Entitlement.order_id == Order.id)),
        "refunded": and_(payment, refund, ~active),
    }
    return list(session.exec(select(Order.id).where(~or_(*(and_(col(Order.status) == state, borne) for state, borne in sound.items())))
                             .order_by(col(Order.id))))
