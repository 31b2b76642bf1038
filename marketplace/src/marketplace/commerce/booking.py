"""What a payment does, however it came: the order is paid, entitles, and is booked and logged, in one transaction."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.commerce import rules
from marketplace.commerce.errors import REFERENCE_USED
from marketplace.commerce.models import CardPayment, Entitlement, Order, Payment
from marketplace.db import utc_now
from marketplace.digests import digest
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.pricing import service as pricing
from marketplace.settlement import service as settlement
from marketplace.settlement.rules import Posting
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

ACCOUNTS: Final = {"bank_transfer": "assets:bank", "card": "assets:stripe"}
"""Where the money of each method lies. What Stripe keeps or pays out to the bank is not booked here: see docs/decisions.md."""


def visible(row: Order | None, actor: Actor) -> Order:
    """The order, if this actor may know of it. Raises ``not_found``."""
    if row is None or (actor.party not in rules.READERS and row.organisation_id != actor.organisation_id):
        raise ProblemError("not_found", what="order")
    return row


def locked(session: Session, actor: Actor, order_id: str) -> Order:
    """The order, which nobody else changes until this transaction ends. Everything of an order is locked after the order."""
    return visible(session.exec(select(Order).where(Order.id == order_id).with_for_update()
                                .execution_options(populate_existing=True)).first(), actor)


def book_payment(session: Session, actor: Actor, order: Order, *, method: str, reference: str) -> None:
    """Book the whole amount of a locked order that awaits payment.

    Raises:
        ProblemError: ``bank_reference_used``.
    """
    row = Payment(id=new_id("pay"), order_id=order.id, method=method, amount_fen=order.amount_fen, currency=order.currency,
                  reference=reference, recorded_by=actor.label)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise ProblemError(REFERENCE_USED, field="bank_reference") from None
    # revenue stays owed to those who share it until a settlement pays it out
    settlement.post(session, idempotency_key=f"payment:{row.id}", narration=f"payment for order {order.number}",
                    postings=[Posting(ACCOUNTS[method], row.amount_fen),
                              Posting(f"liabilities:unsettled:{order.product_id}", -row.amount_fen)])
    entitlement = entitle(session, order)
    trust.append(session, Tag.PAYMENT_RECEIVED, actor, row.id, related=[order.id, order.product_id],
                 data={"amount_fen": row.amount_fen, "currency": row.currency, "reference_digest": digest(reference)})
    tell_granted(session, actor, entitlement)


def entitle(session: Session, order: Order) -> Entitlement:
    """Mark a locked order as paid and give what was bought."""
    plan = pricing.get_plan(session, order.price_plan_id)
    now = utc_now()
    order.status, order.paid_at = "paid", now
    row = Entitlement(id=new_id("ent"), order_id=order.id, organisation_id=order.organisation_id,
                      product_id=order.product_id, included_calls=plan.included_calls, call_fee_fen=plan.call_fee_fen,
                      starts_at=now, ends_at=now + dt.timedelta(days=plan.term_days))
    session.add_all([order, row])
    session.flush()
    return row


def tell_granted(session: Session, actor: Actor, row: Entitlement) -> None:
    """Log what an entitlement gives."""
    trust.append(session, Tag.ENTITLEMENT_GRANTED, actor, row.id,
                 related=[row.order_id, row.product_id, row.organisation_id],
                 data={"included_calls": row.included_calls, "call_fee_fen": row.call_fee_fen,
                       "term_days": (row.ends_at - row.starts_at).days})


def live_card(session: Session, order_id: str) -> CardPayment | None:
    """The card payment of a locked order that Stripe may still take, if there is one."""
    return session.exec(select(CardPayment).where(CardPayment.order_id == order_id, col(CardPayment.status).in_(("opening", "open")))
                        .order_by(col(CardPayment.id).desc()).limit(1).with_for_update()
                        .execution_options(populate_existing=True)).first()


def close_card_soon(session: Session, order_id: str) -> None:
    """Let the sweep close what card payment is open for a locked order, which does not await payment any more."""
    row = live_card(session, order_id)
    if row is not None:
        row.look_at = utc_now()
        session.add(row)
