"""Orders paid by card: the buyer, Stripe and the operator in every order, against the stand-in as its own process, on both databases."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlmodel import select
from stripe.params import RefundCreateParams
from stripe.params.checkout import SessionCreateParams
from tests.factories.cards import FEE, CardMarket
from tests.factories.stripe import NotTaken, StandIn, accepts, signed

from marketplace import db
from marketplace.commerce import cards, gateway, refunds, rules
from marketplace.commerce import service as commerce
from marketplace.commerce.models import CardPayment
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def refused(code: str) -> Any:
    return pytest.raises(ProblemError, match=rf"^{code}:")


def together(*acts: Callable[[], object]) -> list[str]:
    """Do things at the same moment; what each came to: a problem's code, or what it returned."""
    gate, found = threading.Barrier(len(acts)), [""] * len(acts)

    def run(number: int) -> None:
        gate.wait()
        try:
            found[number] = str(acts[number]())
        except ProblemError as problem:
            found[number] = problem.code

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_a_card_pays_an_order_once(market: CardMarket) -> None:
    card = market.begin()
    assert card.url.startswith(market.stripe.base)
    assert market.begin(card.order_id).session_id == card.session_id  # the page there is
    assert market.stripe.pay(card.session_id or "")
    [event] = market.new_events()
    assert [market.send(event), market.send(event)] == ["done", "repeated"]
    assert market.send({**event, "id": "evt_again"}) == "done"
    assert market.state(card.order_id) == ("paid", "paid", [])
    assert market.balance("assets:stripe") == FEE
    with db.reading() as session:
        payment = commerce.payment_of_order(session, card.order_id)
        assert payment is not None
        assert (payment.method, payment.reference[:3]) == ("card", "pi_")
        tags = [one.tag for one in trust.events_for(session, card.order_id, -1, 100)]
    assert tags == ["commerce:order:placed", "commerce:payment:received", "commerce:entitlement:granted"]
    with refused("wrong_state"):
        market.begin(card.order_id)
    with refused("wrong_state"):
        market.pay_by_bank(card.order_id)
    market.check()


def test_the_same_event_from_many_threads_books_once(market: CardMarket) -> None:
    card = market.begin()
    market.stripe.pay(card.session_id or "")
    [event] = market.new_events()
    outcomes = together(*[lambda: market.send(event)] * 6)
    assert sorted(outcomes) == ["done", *["repeated"] * 5]
    assert market.balance("assets:stripe") == FEE
    market.check()


def test_bank_and_card_at_once_pay_once_and_the_other_money_goes_back(market: CardMarket) -> None:
    card = market.begin()
    market.stripe.pay(card.session_id or "")
    [event] = market.new_events()
    together(lambda: market.send(event), lambda: market.pay_by_bank(card.order_id), lambda: cards.refresh(market.buyer, card.order_id))
    status, tried, going_back = market.state(card.order_id)
    assert (status, tried, going_back) in (("paid", "paid", []), ("paid", "given_back", ["done"]))
    assert market.balance("assets:stripe") + market.balance("assets:bank") == FEE
    market.check()


def test_paid_by_bank_while_the_page_was_open(market: CardMarket) -> None:
    """The page is closed; where the buyer was quicker, the money goes back."""
    open_one, paid_one = market.begin(), market.begin()
    for card in (open_one, paid_one):
        market.pay_by_bank(card.order_id)
    market.stripe.pay(paid_one.session_id or "")
    assert market.later(0) == 2
    assert market.state(open_one.order_id) == ("paid", "expired", [])
    assert market.state(paid_one.order_id) == ("paid", "given_back", ["done"])
    assert not market.stripe.pay(open_one.session_id or "")
    assert market.balance("assets:stripe") == 0
    with db.reading() as session:
        [refund] = commerce.refunds_of_order(session, paid_one.order_id)
    assert refund.reason == "order_not_waiting"
    assert [one["id"] for one in market.stripe.refunds(_card(paid_one.id).payment_intent or "")] == [refund.reference]
    market.check()


def _card(card_payment_id: str) -> CardPayment:
    with db.reading() as session:
        return session.get_one(CardPayment, card_payment_id)


def test_an_order_with_an_open_page_is_cancelled_after_it_is_closed(market: CardMarket) -> None:
    card = market.begin()
    with refused("card_payment_open"), db.transaction() as session:
        commerce.cancel_order(session, market.buyer, card.order_id)
    assert cards.cancel(market.buyer, card.order_id).status == "cancelled"
    assert not market.stripe.pay(card.session_id or "")
    assert market.tell() == ["done"]  # that it expired
    assert market.state(card.order_id) == ("cancelled", "expired", [])
    assert cards.cancel(market.buyer, card.order_id).status == "cancelled"
    market.check()


def test_an_order_that_is_paid_already_is_not_cancelled(market: CardMarket) -> None:
    card = market.begin()
    market.stripe.pay(card.session_id or "")
    with refused("wrong_state"):
        cards.cancel(market.buyer, card.order_id)
    assert market.state(card.order_id) == ("paid", "paid", [])
    assert market.tell() == ["done"]
    market.check()


def test_strangers_cannot_close_a_page(market: CardMarket) -> None:
    card = market.begin()
    for act in (cards.cancel, cards.pay, cards.refresh):
        with refused("not_found"):
            act(market.city["other"], card.order_id)
    assert market.stripe.pay(card.session_id or "")


def test_paid_for_an_order_whose_product_was_retired_meanwhile(market: CardMarket) -> None:
    card = market.begin()
    with db.transaction() as session:
        commerce.wind_up(session, market.product)
    market.stripe.pay(card.session_id or "")
    assert market.tell() == ["done"]
    assert market.state(card.order_id) == ("cancelled", "given_back", ["done"])
    assert market.balance("assets:stripe") == 0
    market.check()


@pytest.mark.parametrize("wrong", [{"amount_total": FEE - 1}, {"amount_total": FEE + 1}, {"currency": "usd"}])
def test_money_that_does_not_match_pays_nothing_and_waits_for_the_operator(market: CardMarket, wrong: dict[str, Any]) -> None:
    card = market.begin()
    market.stripe.pay(card.session_id or "")
    market.stripe.alter("checkout.session", card.session_id or "", **wrong)
    assert market.tell() == ["done"]
    assert market.state(card.order_id) == ("awaiting_payment", "mismatched", [])
    assert market.told() == ["order.money_mismatched"]
    market.check()
    with db.reading() as session:
        assert commerce.waiting(session, market.operator)[0].kind == "order.look"
        assert {item.kind for item in commerce.waiting(session, market.buyer)} == {"order.pay"}
    with refused("not_allowed"):
        refunds.give_back(market.buyer, card.order_id)
    for _again in range(2):
        refunds.give_back(market.operator, card.order_id)
    status, tried, going_back = market.state(card.order_id)
    assert (status, tried) == ("awaiting_payment", "given_back")
    # the stand-in's charge has the order's amount, so that more than that cannot go back by itself
    assert going_back == (["failed"] if wrong.get("amount_total", 0) > FEE else ["done"])
    market.check()
    market.pay_by_bank(card.order_id)  # or with another card
    market.check()


def test_a_declined_card_leaves_the_order_as_it_was(market: CardMarket) -> None:
    card = market.begin()
    market.stripe.pay(card.session_id or "", "declined")
    seen = cards.refresh(market.buyer, card.order_id)
    assert seen is not None
    assert (seen.status, seen.declined) == ("open", True)
    assert market.begin(card.order_id).session_id == card.session_id
    market.stripe.pay(card.session_id or "")
    seen = cards.refresh(market.buyer, card.order_id)
    assert seen is not None
    assert (seen.status, seen.declined) == ("paid", False)
    market.check()


def test_without_any_notification_the_sweep_books(market: CardMarket) -> None:
    paid, unpaid = market.begin(), market.begin()
    market.stripe.pay(paid.session_id or "")
    assert cards.sweep() == 0  # it is not time yet
    assert market.later() == 2
    assert market.state(paid.order_id) == ("paid", "paid", [])
    assert market.state(unpaid.order_id) == ("awaiting_payment", "open", [])
    assert market.later(60) == 1  # past its time: closed at Stripe, too
    assert market.state(unpaid.order_id) == ("awaiting_payment", "expired", [])
    assert not market.stripe.pay(unpaid.session_id or "")
    assert market.begin(unpaid.order_id).session_id != unpaid.session_id
    market.check()


def test_events_in_any_order(market: CardMarket) -> None:
    """That a session expired is told after that it was paid, or of one that is another order's: Stripe is asked, not believed."""
    card, other = market.begin(), market.begin()
    market.stripe.pay(card.session_id or "")
    [paid] = market.new_events()
    forged = {**paid, "id": "evt_forged", "type": "checkout.session.expired"}
    assert market.send(forged) == "done"
    assert market.state(card.order_id)[0] == "paid"
    claimed = {**paid, "id": "evt_claimed", "data": {"object": {**paid["data"]["object"], "client_reference_id": other.id}}}
    market.send(claimed)
    assert market.state(other.order_id) == ("awaiting_payment", "open", [])
    for kind, thing in (("customer.created", {"id": "cus_1"}), ("checkout.session.completed", {"id": "cs_1", "client_reference_id": None}),
                        ("charge.refunded", {"id": "ch_1", "payment_intent": None}), ("checkout.session.completed", {})):
        assert market.send({"object": "event", "id": "evt_other", "type": kind, "data": {"object": thing}}) == "ignored"
    market.check()


def test_a_session_whose_answer_was_lost_is_asked_for_again(market: CardMarket) -> None:
    order_id = market.order()
    market.stripe.faults(down=1)
    with refused("card_service_away"):
        market.begin(order_id)
    assert market.state(order_id) == ("awaiting_payment", "expired", [])  # it said so, and under the same key would say so again
    market.stripe.faults(lose=2)
    with refused("card_service_away"):
        market.begin(order_id)
    assert market.state(order_id) == ("awaiting_payment", "opening", [])
    card = market.begin(order_id)
    market.stripe.pay(card.session_id or "")
    assert market.tell() == ["done"]
    with db.reading() as session:
        assert len(commerce.card_payments_of_order(session, order_id)) == 2
    market.check()


def test_what_stripe_never_answered_is_given_up(market: CardMarket) -> None:
    order_id = market.order()
    market.stripe.faults(lose=2)
    with refused("card_service_away"):
        market.begin(order_id)
    market.later(11)
    assert market.state(order_id) == ("awaiting_payment", "expired", [])
    assert market.begin(order_id).status == "open"
    again = market.order()
    market.stripe.faults(lose=2)
    with refused("card_service_away"):
        market.begin(again)
    assert cards.cancel(market.buyer, again).status == "cancelled"


def test_while_stripe_is_away_nothing_changes(market: CardMarket) -> None:
    card = market.begin()
    market.stripe.pay(card.session_id or "")
    [event] = market.new_events()
    before = market.state(card.order_id)
    for act in (lambda: cards.cancel(market.buyer, card.order_id), lambda: market.begin(card.order_id), lambda: market.send(event),
                lambda: cards.refresh(market.buyer, card.order_id)):
        market.stripe.faults(down=1)
        with refused("card_service_away"):
            act()
        assert market.state(card.order_id) == before
    market.stripe.faults(down=1)
    assert market.later() == 1
    assert market.state(card.order_id) == before
    market.stripe.faults(down=0)
    assert market.send(event) == "done"
    assert market.state(card.order_id)[0] == "paid"
    market.check()


def test_two_ask_for_the_page_at_once(market: CardMarket) -> None:
    order_id = market.order()
    outcomes = together(*[lambda: market.begin(order_id).session_id] * 4)
    assert len(set(outcomes)) == 1
    assert outcomes[0].startswith("cs_")


def test_cancelling_and_paying_at_once(market: CardMarket) -> None:
    """One of the two happens; whoever paid and lost has the money back."""
    for card in [market.begin() for _round in range(3)]:
        together(partial(cards.cancel, market.buyer, card.order_id), partial(market.stripe.pay, card.session_id or ""))
        market.tell()
        market.later(0)
        assert market.state(card.order_id) in (("cancelled", "expired", []), ("paid", "paid", []))
    market.check()


# --- refunds ---


def test_a_card_payment_is_refunded_before_the_first_call(market: CardMarket) -> None:
    order_id = market.paid()
    with refused("not_allowed"):
        refunds.refund_order(market.buyer, order_id)
    with refused("refund_reference_unwanted"):
        refunds.refund_order(market.operator, order_id, bank_reference="ICBC-1")
    for _again in range(2):
        assert refunds.refund_order(market.operator, order_id).status == "refunded"
    assert market.state(order_id) == ("refunded", "given_back", ["done"])
    assert market.balance("assets:stripe") == market.balance(f"liabilities:unsettled:{market.product}") == 0
    with db.reading() as session:
        assert not [one for one in commerce.list_entitlements(session, market.buyer) if one.status == "active"]
        tags = [one.tag for one in trust.events_for(session, order_id, -1, 100)]
    assert tags[-2:] == ["commerce:refund:decided", "commerce:refund:paid"]
    market.check()


def test_a_refund_from_many_threads_is_one(market: CardMarket) -> None:
    order_id = market.paid()
    together(*[lambda: refunds.refund_order(market.operator, order_id).status] * 4)
    with db.reading() as session:
        payment = commerce.payment_of_order(session, order_id)
        assert payment is not None
    assert len(market.stripe.refunds(payment.reference)) == 1
    assert market.state(order_id) == ("refunded", "given_back", ["done"])
    market.check()


def test_a_bank_payment_is_refunded_by_a_transfer(market: CardMarket) -> None:
    order_id, second = market.order(), market.order()
    for one in (order_id, second):
        market.pay_by_bank(one)
    with refused("refund_reference_required"):
        refunds.refund_order(market.operator, order_id)
    refunds.refund_order(market.operator, order_id, bank_reference="ICBC-BACK-1")
    assert market.state(order_id) == ("refunded", "", ["done"])
    assert market.balance("assets:bank") == FEE
    with refused("bank_reference_used"):
        refunds.refund_order(market.operator, second, bank_reference="ICBC-BACK-1")
    assert market.state(second)[0] == "paid"
    market.check()


def test_stripe_away_a_refund_follows_later_and_is_not_made_twice(market: CardMarket) -> None:
    order_id = market.paid()
    market.stripe.faults(lose=2)  # done, and we never heard
    assert refunds.refund_order(market.operator, order_id).status == "refunded"
    assert market.state(order_id)[2] == ["under_way"]
    market.check()
    market.stripe.forget_keys()  # Stripe was away for days
    assert market.later() == 1
    assert market.state(order_id)[2] == ["done"]
    with db.reading() as session:
        payment = commerce.payment_of_order(session, order_id)
        assert payment is not None
    assert len(market.stripe.refunds(payment.reference)) == 1
    market.check()


def test_a_refund_that_stripe_could_not_do_is_asked_for_anew(market: CardMarket) -> None:
    order_id = market.paid()
    market.stripe.faults(down=1)
    refunds.refund_order(market.operator, order_id)
    assert market.state(order_id)[2] == ["under_way"]
    assert market.later() == 1
    assert market.state(order_id)[2] == ["done"]
    market.check()


def test_a_refund_that_takes_its_time(market: CardMarket) -> None:
    market.stripe.faults(refunds="pending")
    order_id = market.paid()
    refunds.refund_order(market.operator, order_id)
    assert market.state(order_id)[2] == ["under_way"]
    market.later()
    assert market.state(order_id)[2] == ["under_way"]
    with db.reading() as session:
        [refund] = commerce.refunds_of_order(session, order_id)
    market.stripe.alter("refund", refund.reference or "", status="succeeded")
    market.later()
    assert market.state(order_id)[2] == ["done"]
    market.check()


@pytest.mark.parametrize("how", ["failed", "refused", "later"])
def test_a_refund_that_fails_is_paid_by_bank(market: CardMarket, how: str) -> None:
    order_id = market.paid()
    market.stripe.faults(refunds="succeeded" if how == "later" else how)
    refunds.refund_order(market.operator, order_id)
    with db.reading() as session:
        [refund] = commerce.refunds_of_order(session, order_id)
        payment = commerce.payment_of_order(session, order_id)
        assert payment is not None
    if how == "later":  # the card was closed meanwhile, and its bank has sent the money back to Stripe
        market.stripe.alter("refund", refund.reference or "", status="failed")
        assert market.send({"object": "event", "id": f"evt_{refund.id}", "type": "refund.failed",
                            "data": {"object": {"id": refund.reference, "payment_intent": payment.reference}}}) == "done"
    assert market.state(order_id) == ("refunded", "given_back", ["failed"])
    assert market.told() == ["order.refund_failed", "order.money_goes_back"]
    assert market.balance("assets:stripe") == FEE
    market.check()
    with db.reading() as session:
        assert [item.kind for item in commerce.waiting(session, market.operator)] == ["order.look"]
    with refused("not_allowed"), db.transaction() as session:
        refunds.transfer(session, market.buyer, refund.id, bank_reference="ICBC-BACK-2")
    with db.transaction() as session:
        refunds.transfer(session, market.operator, refund.id, bank_reference="ICBC-BACK-2")
    assert market.state(order_id)[2] == ["done"]
    assert (market.balance("assets:stripe"), market.balance("assets:bank")) == (FEE, -FEE)
    market.check()


def test_what_was_called_is_not_refunded(market: CardMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    from marketplace.delivery import service as delivery
    from marketplace.metering import service as metering

    order_id = market.paid()
    delivery.deliver(market.buyer, market.product, {}, "key")
    metering.collect_now()
    with refused("entitlement_used"):
        refunds.refund_order(market.operator, order_id)
    assert market.state(order_id)[0] == "paid"
    # unless Stripe has taken the money already
    _attention(order_id, "dispute_lost")
    refunds.refund_order(market.operator, order_id)
    assert market.state(order_id) == ("refunded", "given_back", ["done"])
    market.check()


def _attention(order_id: str, word: str) -> None:
    with db.transaction() as session:
        row = session.exec(select(CardPayment).where(CardPayment.order_id == order_id)).one()
        row.attention = word
        session.add(row)


def test_what_happens_at_stripe_alone_is_shown_to_the_operator(market: CardMarket) -> None:
    order_id = market.paid()
    with db.reading() as session:
        payment = commerce.payment_of_order(session, order_id)
        assert payment is not None
        [card] = commerce.card_payments_of_order(session, order_id)

    def tell(kind: str, **thing: Any) -> str:
        market.send({"object": "event", "id": f"evt_{kind}_{order_id}", "type": kind, "data": {"object": {"payment_intent": payment.reference, **thing}}})
        return _card(card.id).attention

    assert tell("charge.dispute.created", status="needs_response") == "disputed"
    assert tell("charge.dispute.closed", status="won") == ""
    gateway.refund(f"by hand {order_id}", payment.reference, FEE)
    assert tell("charge.refunded") == "refunded_at_stripe"
    with db.reading() as session:
        assert [item.kind for item in commerce.waiting(session, market.operator)] == ["order.look"]
    refunds.refund_order(market.operator, order_id)
    assert len(market.stripe.refunds(payment.reference)) == 1
    assert _card(card.id).attention == ""
    assert market.state(order_id) == ("refunded", "given_back", ["done"])
    market.check()


# --- what is asked of Stripe, and what is believed ---


def test_a_notification_is_believed_for_its_signature(sqlite_database: Any, stripe: StandIn) -> None:
    event = {"object": "event", "id": "evt_1", "type": "customer.created", "data": {"object": {"id": "cus_1"}}}
    body, good = signed(event)
    assert gateway.read_notice(body, good).id == "evt_1"
    old = signed(event, at=int(time.time()) - 301)[1]
    for payload, signature in (
        (body, None), (body, ""), (body, "t=1,v1=00"), (body, "rubbish"), (body, signed(event, secret="whsec_other")[1]), (body, old),
        (body.replace(b"evt_1", b"evt_2"), good), (b"\xff", good), (signed({"no": "event"})[0], signed({"no": "event"})[1]),
        (b"", good), (body, good.replace("v1=", "v0=")),
    ):
        with refused("bad_webhook_signature"):
            gateway.read_notice(payload, signature)
    path = settings().stripe_webhook_secret_file
    assert path is not None
    path.write_text("whsec_new\nwhsec_old\n")  # being rolled: both are good
    for secret in ("whsec_new", "whsec_old"):
        assert gateway.read_notice(*signed(event, secret=secret)).id == "evt_1"


def test_requests_are_such_as_stripe_takes(sqlite_database: Any) -> None:
    now = dt.datetime.now(dt.UTC)
    request = gateway.session_request(card_payment_id="card_1", order_id="ord_1", order_number="20261120-7KQ2M9XA", title="企业税收统计" * 60,
                                      amount_fen=1, currency="CNY", language="zh", now=now)
    accepts(SessionCreateParams, request)
    accepts(RefundCreateParams, gateway.refund_request("rfd_1", "pi_1", 5))
    with pytest.raises(NotTaken):
        accepts(SessionCreateParams, {**request, "amount": 1})
    with pytest.raises(NotTaken):
        accepts(SessionCreateParams, {**request, "mode": "pay"})
    assert 1800 < request["expires_at"] - now.timestamp() <= 86400
    assert len(request["line_items"][0]["price_data"]["product_data"]["name"]) <= 250  # type: ignore[typeddict-item]
    for url in (request["success_url"], request["cancel_url"]):
        assert url == f"{settings().public_url}/orders/ord_1/card/return"  # nothing in it that a stranger could use


def test_a_market_without_keys_takes_no_cards(sqlite_database: Any) -> None:
    from tests.factories.market import make_city, make_product

    with db.transaction() as session:
        city = make_city(session)
        order = commerce.place_order(session, city["consumer"], product_id=make_product(session, city), idempotency_key="k")
        assert "pay_by_card" not in commerce.order_actions(order, city["consumer"])
    with refused("card_payment_off"):
        cards.pay(city["consumer"], order.id)
    with refused("card_payment_off"):
        gateway.read_notice(b"{}", "t=1,v1=1")
    assert cards.refresh(city["consumer"], order.id) is None
    assert cards.sweep() == 0


def test_amounts_that_cannot_be_paid_by_card(market: CardMarket) -> None:
    from tests.factories.market import make_product

    for fee, code in ((rules.CARD_MAXIMUM_FEN + 1, "card_amount_too_large"), (399, "card_service_refused")):
        with db.transaction() as session:
            product = make_product(session, market.city, access_fee_fen=fee)
            order = commerce.place_order(session, market.buyer, product_id=product, idempotency_key=str(fee))
            assert ("pay_by_card" in commerce.order_actions(order, market.buyer)) == (fee == 399)
        with refused(code):
            cards.pay(market.buyer, order.id)
        assert cards.cancel(market.buyer, order.id).status == "cancelled"


def test_a_key_that_stripe_does_not_take_is_told_to_nobody(market: CardMarket, capfd: pytest.CaptureFixture[str]) -> None:
    path = settings().stripe_secret_key_file
    assert path is not None
    path.write_text("no_key_at_all_1234")
    with refused("card_service_away") as told:
        market.begin()
    assert "no_key" not in str(told.value) + "".join(capfd.readouterr())


def test_a_secret_that_cannot_be_read_is_no_secret(market: CardMarket) -> None:
    for path in (settings().stripe_secret_key_file, settings().stripe_webhook_secret_file):
        assert path is not None
        path.unlink()
    with refused("card_service_away"):
        market.begin()
    with refused("card_service_away"):
        gateway.read_notice(*signed({"id": "evt_1"}))


def test_a_market_with_cards_off_again_can_still_cancel(market: CardMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    card = market.begin()
    monkeypatch.delenv("SHUYAN_STRIPE_SECRET_KEY_FILE")
    monkeypatch.delenv("SHUYAN_STRIPE_WEBHOOK_SECRET_FILE")
    settings.cache_clear()
    with refused("card_payment_off"):
        cards.cancel(market.buyer, card.order_id)
    market.later(61)
    assert cards.cancel(market.buyer, card.order_id).status == "cancelled"


def test_half_a_configuration_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUYAN_STRIPE_SECRET_KEY_FILE", "/etc/shuyan/stripe.key")
    settings.cache_clear()
    with pytest.raises(ValueError, match="SHUYAN_STRIPE_WEBHOOK_SECRET_FILE"):
        settings()
    monkeypatch.undo()
    settings.cache_clear()


