"""Use cases of paying by card: a page of Stripe's takes the money, and what Stripe then says of it is booked here, once.

Stripe is asked between transactions, never inside one. Whatever gives cause to look (a notification, the buyer coming back, the sweep),
what is booked is what Stripe's interface says when it is asked, under the order's lock; so messages that are lost, doubled, late or in
another order change nothing, and a notification alone pays for nothing.
"""

from __future__ import annotations

import datetime as dt

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.commerce import booking, gateway, refunds, rules, service
from marketplace.commerce.errors import CARD_AWAY, CARD_OPEN, CARDS_OFF
from marketplace.commerce.models import CardPayment, Order, Refund, StripeEvent
from marketplace.db import reading, transaction, utc_now
from marketplace.ids import new_id
from marketplace.logging import get_logger
from marketplace.products import service as products
from shuyan.problems import ProblemError

log = get_logger("cards")


def pay(actor: Actor, order_id: str, *, language: str = "zh") -> CardPayment:
    """An open page of Stripe's on which this order can be paid: the one there is, or a new one.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state`` (also when it turns out to be paid already), ``card_payment_off``,
            ``card_amount_too_large``, ``card_service_away``, ``card_service_refused``.
    """
    with transaction() as session:
        row = begin(session, actor, order_id, language=language)
    if row.status == "open":
        _look(row.id)
        with reading() as session:
            row = session.get_one(CardPayment, row.id)
        if row.status == "open" and row.expires_at > utc_now():
            return row
        if row.status == "open":
            _close(row)
        with transaction() as session:  # that one has ended: a new one, unless it has paid
            row = begin(session, actor, order_id, language=language)
    try:
        seen = gateway.open_session(row.id, row.request)
    except gateway.NotDone:
        _close(row)
        raise
    with transaction() as session:
        order = booking.locked(session, actor, order_id)
        row = session.get_one(CardPayment, row.id, with_for_update=True, populate_existing=True)
        if row.status == "opening":
            row.status, row.session_id, row.url = rules.CARD_PAYMENT.check("begin", row.status, SYSTEM).target, seen.id, seen.url
            row.look_at = rules.next_look(row.created_at, utc_now())
            session.add(row)
    if row.status != "open" or order.status != "awaiting_payment":  # cancelled or paid meanwhile
        _apply(row.id, gateway.expire(seen.id))
        raise ProblemError("wrong_state", state=order.status, action="pay_by_card")
    return row


def begin(session: Session, actor: Actor, order_id: str, *, language: str = "zh") -> CardPayment:
    """Write down that a card payment begins, before Stripe hears of it; or the one that is open. Raises as :func:`pay`."""
    order = booking.locked(session, actor, order_id)
    rules.ORDER.check("pay_by_card", order.status, actor, owner=order.organisation_id)
    if not gateway.configured():
        raise ProblemError(CARDS_OFF)
    rules.check_card_amount(order.amount_fen)
    now = utc_now()
    row = booking.live_card(session, order_id)
    if row is not None and row.status == "opening" and row.created_at < now - dt.timedelta(minutes=rules.OPENING_MINUTES):
        _give_up(session, row)
        row = None
    if row is not None:
        return row
    product = products.products_by_id(session, [order.product_id])[order.product_id]
    card_payment_id = new_id("card")
    request = gateway.session_request(
        card_payment_id=card_payment_id, order_id=order.id, order_number=order.number, amount_fen=order.amount_fen, currency=order.currency,
        title=product.title_zh if language == "zh" else product.title_en or product.title_zh, language=language, now=now)
    row = CardPayment(id=card_payment_id, order_id=order.id, amount_fen=order.amount_fen, currency=order.currency, request=dict(request),
                      opened_by=actor.label, created_at=now, expires_at=dt.datetime.fromtimestamp(request["expires_at"], dt.UTC),
                      look_at=now + dt.timedelta(minutes=rules.OPENING_MINUTES))
    session.add(row)
    session.flush()
    return row


def _give_up(session: Session, row: CardPayment) -> None:
    row.status = rules.CARD_PAYMENT.check("expire", row.status, SYSTEM).target
    session.add(row)


def cancel(actor: Actor, order_id: str) -> Order:
    """Cancel an order that is not paid; an open card payment is closed at Stripe first, so that not both can happen.

    Raises:
        ProblemError: as :func:`marketplace.commerce.service.cancel_order`, ``wrong_state`` also if the card has paid by then;
            ``card_service_away``: nothing has changed.
    """
    for _try in range(3):
        try:
            with transaction() as session:
                return service.cancel_order(session, actor, order_id)
        except ProblemError as problem:
            if problem.code != CARD_OPEN:
                raise
        with reading() as session:
            rows = [one for one in service.card_payments_of_order(session, order_id) if one.status in ("opening", "open")]
        for row in rows:
            _close(row)
    raise ProblemError(CARD_OPEN)


def _close(row: CardPayment) -> None:
    """End a card payment: at Stripe, where it has got that far."""
    if row.session_id is not None and (gateway.configured() or row.expires_at > utc_now()):
        _apply(row.id, gateway.expire(row.session_id))
        return
    with transaction() as session:  # nobody was given its address; or it is past its time, and there is nobody left to ask
        booking.locked(session, SYSTEM, row.order_id)
        row = session.get_one(CardPayment, row.id, with_for_update=True, populate_existing=True)
        if row.status == "opening" or (row.status == "open" and not gateway.configured()):
            _give_up(session, row)


def refresh(actor: Actor, order_id: str) -> CardPayment | None:
    """Ask Stripe how the newest card payment of an order stands, and book it; the payment as it is then.

    Raises:
        ProblemError: ``not_found``, ``card_service_away``.
    """
    with reading() as session:
        service.get_order(session, actor, order_id)
        row = next(iter(service.card_payments_of_order(session, order_id)), None)
    if row is None or row.status not in ("opening", "open") or row.session_id is None or not gateway.configured():
        return row
    _look(row.id)
    with reading() as session:
        return session.get_one(CardPayment, row.id)


def take_notice(notice: gateway.Notice) -> str:
    """Do what a notification of Stripe's gives cause for: ``done``, ``repeated`` or ``ignored``.

    Raises:
        ProblemError: ``card_service_away``: it has to come again.
    """
    kind, thing = notice.type, notice.thing
    if kind.startswith("checkout.session."):
        with reading() as session:
            row = session.get(CardPayment, str(thing.get("client_reference_id") or ""))
            known = session.get(StripeEvent, notice.id) is not None
        if row is None:
            return "ignored"
        return "repeated" if known else _look(row.id, session_id=str(thing.get("id") or ""), notice=notice)
    if kind.startswith(("charge.dispute.", "refund.")) or kind == "charge.refunded":
        return _told_of_payment(notice, str(thing.get("payment_intent") or "-"))
    return "ignored"


def _look(card_payment_id: str, *, session_id: str = "", notice: gateway.Notice | None = None) -> str:
    with reading() as session:
        row = session.get_one(CardPayment, card_payment_id)
    known = row.session_id or session_id
    return _apply(card_payment_id, gateway.session(known), notice) if known else "ignored"


def _apply(card_payment_id: str, seen: rules.Seen, notice: gateway.Notice | None = None) -> str:
    """Book what Stripe says of a card payment, and that a notification has had its effect, in one transaction."""
    with transaction() as session:
        order_id = session.get_one(CardPayment, card_payment_id).order_id
        order = booking.locked(session, SYSTEM, order_id)
        row = session.get_one(CardPayment, card_payment_id, with_for_update=True, populate_existing=True)
        if seen.card_payment_id != row.id or (row.session_id or seen.id) != seen.id:
            log.error("a session of Stripe's is not the one of this payment", card_payment=row.id)
            return "ignored"
        if notice is not None and not _first(session, notice, row):
            return "repeated"
        row.session_id, row.url = seen.id, row.url or seen.url
        row.declined = seen.declined
        verdict = rules.judge(row.status, order.status, row.amount_fen, row.currency, seen)
        if verdict in ("settle", "mismatch", "give_back"):
            row.payment_intent, row.received_fen, row.received_currency = seen.payment_intent, seen.amount, seen.currency
        session.add(row)
        if verdict == "settle":
            rules.ORDER.check("settle_card", order.status, SYSTEM)
            row.status = rules.CARD_PAYMENT.check("settle_card", row.status, SYSTEM).target
            session.flush()
            booking.book_payment(session, SYSTEM, order, method="card", reference=seen.payment_intent or seen.id)
        elif verdict == "mismatch":
            refunds.hold(session, order, row)
        elif verdict == "give_back":
            refunds.owe_stray(session, order, row)
        elif verdict == "expire":
            _give_up(session, row)
        elif row.status in ("opening", "open"):
            row.status, row.look_at = "open", rules.next_look(row.created_at, utc_now())
    if verdict == "give_back":
        refunds.carry_out_now(order_id)
    return "done"


def _first(session: Session, notice: gateway.Notice, row: CardPayment) -> bool:
    """Write down that a notification has had its effect, under the order's lock; whether it had none before."""
    if session.get(StripeEvent, notice.id) is not None:
        return False
    session.add(StripeEvent(id=notice.id, type=notice.type[:100], card_payment_id=row.id))
    return True


def _told_of_payment(notice: gateway.Notice, payment_intent: str) -> str:
    """Refunds and disputes. What we decided ourselves is looked at anew; what we had no part in is for a person to look at."""
    with reading() as session:
        found = session.exec(select(CardPayment).where(CardPayment.payment_intent == payment_intent)).first()
        if found is None:
            return "ignored"
        ours = session.exec(select(Refund.id).where(Refund.card_payment_id == found.id)).first()
    if ours is not None:
        refunds.carry_out(ours, again=True)
    with transaction() as session:
        booking.locked(session, SYSTEM, found.order_id)
        row = session.get_one(CardPayment, found.id, with_for_update=True, populate_existing=True)
        if not _first(session, notice, row):
            return "repeated"
        if row.status == "paid":
            row.attention = _attention(notice, row.attention)
            session.add(row)
    return "done"


def _attention(notice: gateway.Notice, before: str) -> str:
    if notice.type == "charge.refunded":
        return "refunded_at_stripe"
    if notice.type == "charge.dispute.closed":
        return "dispute_lost" if notice.thing.get("status") == "lost" else ""
    return "disputed" if notice.type == "charge.dispute.created" and not before else before


def sweep() -> int:
    """Look at everything whose time has come: payments whose notification never came, those of orders that do not wait any more,
    refunds under way. How many were looked at; called by the coordinator again and again.
    """
    if not gateway.configured():
        return 0
    with reading() as session:
        rows = session.exec(select(CardPayment).where(col(CardPayment.status).in_(("opening", "open")), CardPayment.look_at <= utc_now())
                            .order_by(col(CardPayment.look_at)).limit(20)).all()
        waiting = set(session.exec(select(Order.id).where(
            col(Order.id).in_([row.order_id for row in rows]), Order.status == "awaiting_payment")))
        due = refunds.due(session)
    for row in rows:
        try:
            if row.order_id not in waiting or row.session_id is None or row.expires_at <= utc_now():
                _close(row)
            else:
                _look(row.id)
        except ProblemError as problem:
            log.warning("a card payment waits", card_payment=row.id, error=problem.code)
            with transaction() as session:
                late = session.get_one(CardPayment, row.id, with_for_update=True)
                late.look_at = utc_now() + dt.timedelta(minutes=1)
                session.add(late)
            if problem.code == CARD_AWAY:
                break
    for refund_id in due:
        try:
            refunds.carry_out(refund_id)
        except ProblemError as problem:
            log.warning("a refund waits", refund=refund_id, error=problem.code)
    return len(rows) + len(due)


