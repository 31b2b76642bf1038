"""Paying by card and being refunded, through the REST face, the SDK's paths and Stripe's notifications."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from tests.factories.apps import shared_app
from tests.factories.cards import FEE, CardMarket
from tests.factories.market import make_token
from tests.factories.stripe import StandIn, accept_cards, signed

from marketplace import db
from marketplace.api import limits
from marketplace.commerce import service as commerce


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    running = StandIn()
    yield running
    running.stop()


class Faces:
    def __init__(self, stripe: StandIn) -> None:
        self.market, self.client = CardMarket(stripe), shared_app().test_client()
        self.buyer, self.operator = (make_token(who, scope) for who, scope in (
            (self.market.buyer, "orders read"), (self.market.operator, "operate read")))

    def __call__(self, token: str, method: str, path: str, body: Any = None) -> Any:
        options = {"json": body} if body is not None else {}
        return self.client.open(f"/api/v1{path}", method=method, headers={"Authorization": f"Bearer {token}", "Accept-Language": "en"}, **options)

    def notify(self, event: dict[str, Any], **changes: Any) -> Any:
        body, signature = signed(event, **changes)
        return self.client.post("/webhooks/stripe", data=body, headers={"Stripe-Signature": signature, "Content-Type": "application/json"})


@pytest.fixture
def faces(sqlite_database: Any, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faces]:
    with accept_cards(stand_in, tmp_path, monkeypatch):
        made = Faces(stand_in)
        limits.limiter.reset()
        yield made


def test_from_the_page_to_the_notification_to_the_refund(faces: Faces) -> None:
    order_id = faces.market.order()
    order = faces(faces.buyer, "GET", f"/orders/{order_id}").json
    assert "pay_by_card" in order["actions"]
    assert order["card"] is None
    assert faces(faces.buyer, "GET", f"/orders/{order_id}/card").status_code == 404
    card = faces(faces.buyer, "POST", f"/orders/{order_id}/card").json
    assert (card["status"], card["amount_fen"]) == ("open", FEE)
    assert card["url"].startswith(faces.market.stripe.base)
    assert faces(faces.buyer, "POST", f"/orders/{order_id}/card").json["id"] == card["id"]
    assert faces(faces.operator, "GET", f"/orders/{order_id}").json["card"]["url"] is None  # it is the buyer's to use
    session_id = card["url"].rsplit("/", 1)[-1]
    faces.market.stripe.pay(session_id, "declined")
    assert faces(faces.buyer, "GET", f"/orders/{order_id}/card").json["declined"]
    faces.market.stripe.pay(session_id)
    [event] = faces.market.new_events()
    for outcome in ("done", "repeated"):
        answer = faces.notify(event)
        assert (answer.status_code, answer.json) == (200, {"outcome": outcome})
    paid = faces(faces.buyer, "GET", f"/orders/{order_id}").json
    assert (paid["status"], paid["card"]["status"], paid["card"]["url"]) == ("paid", "paid", None)
    assert paid["entitlement"]["status"] == "active"
    assert faces(faces.buyer, "POST", f"/orders/{order_id}/refund", {}).json["code"] == "scope_missing"
    refunded = faces(faces.operator, "POST", f"/orders/{order_id}/refund", {}).json
    assert (refunded["status"], [one["status"] for one in refunded["refunds"]]) == ("refunded", ["done"])
    preview = faces(faces.buyer, "GET", f"/orders/{order_id}/invoice-preview").json
    assert (preview["total_fen"], [line["kind"] for line in preview["lines"]]) == (0, ["access_fee", "calls", "refund"])
    faces.market.check()


def test_money_that_does_not_match_and_refunds_that_fail(faces: Faces) -> None:
    card = faces.market.begin()
    faces.market.stripe.pay(card.session_id or "")
    faces.market.stripe.alter("checkout.session", card.session_id or "", amount_total=FEE - 1)
    [event] = faces.market.new_events()
    assert faces.notify(event).status_code == 200
    shown = faces(faces.buyer, "GET", f"/orders/{card.order_id}").json
    assert (shown["status"], shown["card"]["status"], shown["card"]["received_fen"]) == ("awaiting_payment", "mismatched", FEE - 1)
    assert "order.look" in {item["kind"] for item in faces(faces.operator, "GET", "/work").json["items"]}
    faces.market.stripe.faults(refunds="failed")
    [refund] = faces(faces.operator, "POST", f"/orders/{card.order_id}/give-back").json["refunds"]
    assert refund["status"] == "failed"
    done = faces(faces.operator, "POST", f"/refunds/{refund['id']}/transfer", {"bank_reference": "ICBC-BACK"}).json
    assert done["status"] == "done"
    assert faces(faces.operator, "POST", f"/refunds/{refund['id']}/transfer", {"bank_reference": "ICBC-MORE"}).json["code"] == "wrong_state"
    faces.market.check()


def test_cancelling_by_rest_closes_the_page(faces: Faces) -> None:
    card = faces.market.begin()
    assert faces(faces.buyer, "POST", f"/orders/{card.order_id}/cancel", {}).json["status"] == "cancelled"
    assert not faces.market.stripe.pay(card.session_id or "")


def test_while_stripe_is_away_the_caller_is_told_so(faces: Faces) -> None:
    order_id = faces.market.order()
    faces.market.stripe.faults(down=1)
    answer = faces(faces.buyer, "POST", f"/orders/{order_id}/card")
    assert (answer.status_code, answer.get_json(force=True)["code"]) == (503, "card_service_away")
    assert faces(faces.buyer, "POST", f"/orders/{order_id}/card").status_code == 200


def test_notifications_that_are_not_stripes(faces: Faces) -> None:
    card = faces.market.begin()
    faces.market.stripe.pay(card.session_id or "")
    [event] = faces.market.new_events()
    for answer in (faces.notify(event, secret="whsec_wrong"), faces.notify(event, at=1), faces.client.post("/webhooks/stripe", json=event)):
        assert (answer.status_code, answer.get_json(force=True)["code"]) == (400, "bad_webhook_signature")
    assert faces.market.state(card.order_id)[0] == "awaiting_payment"
    assert faces.client.post("/webhooks/stripe", data=b"x" * 600_000).status_code == 413
    assert faces.client.get("/webhooks/stripe").status_code == 405
    assert faces.notify({**event, "type": "invoice.paid", "id": "evt_other"}).json == {"outcome": "ignored"}
    for _guess in range(60):
        faces.notify(event, secret="whsec_wrong")
    assert faces.notify(event, secret="whsec_wrong").status_code == 429


def test_what_cannot_be_done_now_is_asked_for_again(faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe repeats what is not answered with 2xx: while the database is away, and while Stripe's interface is."""
    card = faces.market.begin()
    faces.market.stripe.pay(card.session_id or "")
    [event] = faces.market.new_events()
    faces.market.stripe.faults(down=1)
    assert faces.notify(event).status_code == 503
    with monkeypatch.context() as patch:
        patch.setattr(db, "_engines", _gone)
        assert faces.notify(event).status_code == 503
    assert faces.market.state(card.order_id)[0] == "awaiting_payment"
    assert faces.notify(event).json == {"outcome": "done"}
    with db.reading() as session:
        assert commerce.payment_of_order(session, card.order_id) is not None
    faces.market.check()


def _gone(_url: str) -> Any:
    raise OperationalError("SELECT 1", {}, Exception("connection refused"))


def test_no_secret_is_in_what_is_answered_or_logged(faces: Faces, capfd: pytest.CaptureFixture[str]) -> None:
    card = faces.market.begin()
    faces.notify({"object": "event", "id": "evt_x", "type": "checkout.session.completed", "data": {"object": {}}}, secret="whsec_wrong")
    faces.market.stripe.faults(down=1)
    faces(faces.buyer, "POST", f"/orders/{card.order_id}/card")
    shown = json.dumps(faces(faces.buyer, "GET", f"/orders/{card.order_id}").json) + "".join(capfd.readouterr())
    assert "sk_test" not in shown
    assert "whsec" not in shown
