"""A market that takes cards, with what a buyer, Stripe and time do to it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import text
from sqlmodel import select
from tests.factories.market import make_city, make_product
from tests.factories.stripe import StandIn, signed

from marketplace import db
from marketplace.commerce import cards, gateway
from marketplace.commerce import service as commerce
from marketplace.commerce.models import CardPayment, Entitlement, Order, Payment, Refund, StripeEvent
from marketplace.ids import new_id
from marketplace.notices import inbox
from marketplace.settlement import service as settlement
from marketplace.settlement.models import LedgerPosting

FEE = 100_000


class CardMarket:
    def __init__(self, stripe: StandIn) -> None:
        self.stripe = stripe
        with db.transaction() as session:
            self.city = make_city(session)
            self.product = make_product(session, self.city, access_fee_fen=FEE)
        self.buyer, self.operator = self.city["consumer"], self.city["operator"]
        self.seen = len(stripe.events())  # by markets before this one

    def order(self) -> str:
        with db.transaction() as session:
            return commerce.place_order(session, self.buyer, product_id=self.product, idempotency_key=new_id("key")).id

    def begin(self, order_id: str | None = None) -> CardPayment:
        """An order with Stripe's page open."""
        return cards.pay(self.buyer, order_id or self.order())

    def paid(self) -> str:
        """An order that was paid by card."""
        card = self.begin()
        assert self.stripe.pay(card.session_id or "")
        assert self.tell() == ["done"]
        return card.order_id

    def new_events(self) -> list[dict[str, Any]]:
        """What Stripe would send of sessions, and has not sent yet."""
        found = self.stripe.events()
        fresh, self.seen = found[self.seen:], len(found)
        return [one for one in fresh if one["type"].startswith("checkout.session.")]

    def tell(self) -> list[str]:
        return [self.send(one) for one in self.new_events()]

    def send(self, event: dict[str, Any]) -> str:
        body, signature = signed(event)
        return cards.take_notice(gateway.read_notice(body, signature))

    def pay_by_bank(self, order_id: str) -> None:
        with db.transaction() as session:
            commerce.record_payment(session, self.operator, order_id, bank_reference=new_id("bank"), amount_fen=FEE)

    def later(self, minutes: int = 5) -> int:
        """Let the time go by, as far as the sweep is concerned; how many it looked at."""
        with db.transaction() as session:
            for row in [*session.exec(select(CardPayment)), *session.exec(select(Refund))]:
                row.look_at -= dt.timedelta(minutes=minutes)
                if isinstance(row, CardPayment):
                    row.created_at -= dt.timedelta(minutes=minutes)
                    row.expires_at -= dt.timedelta(minutes=minutes)
                session.add(row)
        return cards.sweep()

    def state(self, order_id: str) -> tuple[str, str, list[str]]:
        """An order's state, that of its newest card payment, and those of its refunds."""
        with db.reading() as session:
            tried = commerce.card_payments_of_order(session, order_id)
            return (session.get_one(Order, order_id).status, tried[0].status if tried else "",
                    [one.status for one in commerce.refunds_of_order(session, order_id)])

    def balance(self, account: str) -> int:
        with db.reading() as session:
            return settlement.balance(session, account)

    def told(self) -> list[str]:
        """What the buyer's people have been told, newest first, by kind."""
        with db.reading() as session:
            return [one.row.kind for one in inbox.messages(session, self.buyer).items]

    def stripe_money(self) -> int:
        """What lies at Stripe of this market's, by Stripe's own account: charges less refunds that did not fail."""
        with db.reading() as session:
            tried = session.exec(select(CardPayment).where(CardPayment.payment_intent != None)).all()  # noqa: E711
        back = sum(one["amount"] for row in tried for one in self.stripe.refunds(row.payment_intent or "") if one["status"] == "succeeded")
        return sum(row.received_fen or 0 for row in tried) - back

    def check(self) -> None:
        """What is always so, whatever happened in whatever order."""
        with db.reading() as session:
            assert settlement.unbalanced(session) == []
            assert commerce.altered_records(session) == []
            payments, refunds = session.exec(select(Payment)).all(), session.exec(select(Refund)).all()
            assert len({one.order_id for one in payments}) == len(payments)
            received = {one.payment_intent: (one.received_fen, one.received_currency) for one in session.exec(select(CardPayment))}
            assert all(received[one.reference] == (one.amount_fen, one.currency) for one in payments if one.method == "card")
            strays = sum(one.received_fen or 0 for one in session.exec(select(CardPayment)) if one.received_currency == "CNY" and not any(
                payment.reference == one.payment_intent for payment in payments))
            left = sum(one.amount_fen for one in refunds if one.status == "done" and one.currency == "CNY")
            held = settlement.balance(session, "assets:bank") + settlement.balance(session, "assets:stripe")
            assert held == sum(one.amount_fen for one in payments) + strays - left
            refunded = {one.payment_id for one in refunds}
            assert -settlement.balance(session, f"liabilities:unsettled:{self.product}") == sum(
                one.amount_fen for one in payments if one.id not in refunded)
            assert sum(session.exec(select(LedgerPosting.amount_fen))) == 0
            entitled = {one.order_id for one in session.exec(select(Entitlement).where(Entitlement.status == "active"))}
            assert entitled == {one.id for one in session.exec(select(Order).where(Order.status == "paid"))}
            assert len(session.exec(select(StripeEvent.id)).all()) == session.execute(text("SELECT count(DISTINCT id) FROM stripe_event")).scalar()
