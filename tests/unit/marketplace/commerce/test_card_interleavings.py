"""Whatever happens to orders in whatever order, each is paid once at most, the books balance, and money without an order goes back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.factories.cards import FEE, CardMarket
from tests.factories.stripe import StandIn

from marketplace import db
from marketplace.commerce import cards, refunds, rules
from marketplace.commerce import service as commerce
from marketplace.ids import new_id
from shuyan.problems import ProblemError

ACTS = st.sampled_from(("open", "card", "decline", "tell", "tell again", "bank", "cancel", "retire", "refund", "wrong amount", "away", "lost",
                        "pending", "sweep", "return"))


@given(acts=st.lists(ACTS, min_size=3, max_size=12))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_course_of_events_books_each_payment_once(sqlite_database: Any, stripe: StandIn, acts: list[str]) -> None:
    stripe.faults(down=0, lose=0, refunds="succeeded")
    market = _MARKETS.get(str(sqlite_database.url)) or CardMarket(stripe)
    _MARKETS[str(sqlite_database.url)] = market
    market.new_events()
    order_id, told = market.order(), []

    def newest() -> Any:
        with db.reading() as session:
            return next(iter(commerce.card_payments_of_order(session, order_id)), None)

    def at_stripe(card: str = "good", **changes: Any) -> None:
        found = newest()
        if found is not None and found.session_id:
            stripe.pay(found.session_id, card)
            if changes and found.status == "open":
                stripe.alter("checkout.session", found.session_id, **changes)

    def tell(again: bool = False) -> None:
        told.extend(market.new_events())
        for event in reversed(told) if again else told:
            market.send(event)

    def retire() -> None:
        with db.transaction() as session:
            order = commerce.get_order(session, market.operator, order_id)
            if order.status == "awaiting_payment":  # as winding up its product does, which others here still need
                order.status = rules.ORDER.check("cancel", order.status, _system()).target
                session.add(order)

    def refund() -> None:
        with db.reading() as session:
            payment = commerce.payment_of_order(session, order_id)
        by_bank = payment is not None and payment.method == "bank_transfer"
        refunds.refund_order(market.operator, order_id, bank_reference=new_id("back") if by_bank else None)

    does: dict[str, Callable[[], Any]] = {
        "open": lambda: market.begin(order_id), "card": at_stripe, "decline": lambda: at_stripe("declined"), "tell": tell,
        "tell again": lambda: tell(again=True), "bank": lambda: market.pay_by_bank(order_id), "cancel": lambda: cards.cancel(market.buyer, order_id),
        "retire": retire, "refund": refund, "wrong amount": lambda: at_stripe(amount_total=FEE - 7),
        "away": lambda: stripe.faults(down=1), "lost": lambda: stripe.faults(lose=1), "pending": lambda: stripe.faults(refunds="pending"),
        "sweep": lambda: market.later(7), "return": lambda: cards.refresh(market.buyer, order_id),
    }
    for act in ("open", *acts):
        with contextlib.suppress(ProblemError):
            does[act]()
        market.check()
    # in the end, with Stripe there and every notification lost, all that came in has paid its order, waits to be looked at, or went back
    stripe.faults(down=0, lose=0, refunds="succeeded")
    for _look in range(3):
        market.later(70)
    market.check()
    status, tried, _refunds = market.state(order_id)
    assert tried not in ("opening", "open")
    if tried == "paid":
        assert status == "paid"
    assert market.stripe_money() == market.balance("assets:stripe")


_MARKETS: dict[str, CardMarket] = {}


def _system() -> Any:
    from marketplace.actor import SYSTEM

    return SYSTEM
