"""localstripe with what it lacks and we need: Checkout Sessions, idempotency keys, refunds that wait or fail. Its own process.

``python stripe_stand_in.py`` binds a free port of this machine and prints it. Requests are validated against the parameter types of the stripe
package, so a parameter that the real Stripe does not know is refused here too. What a buyer does on Stripe's page is done on a page under
``/_config/pay/…``; ``/_config/faults`` makes the next requests go wrong.
"""

from __future__ import annotations

import asyncio
import html
import json
import socket
import time
import types
from typing import Any

from aiohttp import web
from localstripe import resources, server, webhooks
from localstripe.errors import UserError
from localstripe.resources import Event, PaymentIntent, PaymentMethod, Refund, StripeObject, store
from stripe.params import RefundCreateParams
from stripe.params.checkout import SessionCreateParams
from tests.factories.stripe import NotTaken, accepts

resources.Store.dump_to_disk = lambda _self: None  # nothing of a test outlives it
_now = asyncio.sleep
webhooks.asyncio = types.SimpleNamespace(sleep=lambda _seconds: _now(0), ensure_future=asyncio.ensure_future)

CARDS = {"good": "4242424242424242", "declined": "4000000000000341"}
FAULTS: dict[str, Any] = {"down": 0, "lose": 0, "refunds": "succeeded"}


def _check(kind: Any, values: dict[str, Any]) -> None:
    try:
        accepts(kind, values)
    except NotTaken as problem:
        raise UserError(400, str(problem), {"code": "parameter_unknown"}) from None


class CheckoutSession(StripeObject):
    """https://docs.stripe.com/api/checkout/sessions, as far as a single payment by card needs it."""

    object = "checkout.session"
    _id_prefix = "cs_test_"

    def __init__(self, **asked: Any) -> None:
        _check(SessionCreateParams, asked)
        if not 1800 - 60 <= int(asked["expires_at"]) - time.time() <= 86400:
            raise UserError(400, "expires_at must be between 30 minutes and 24 hours from now", {"code": "parameter_invalid_integer"})
        price = asked["line_items"][0]["price_data"]
        super().__init__()
        self.amount_total = int(price["unit_amount"]) * int(asked["line_items"][0]["quantity"])
        self.currency = price["currency"]
        if self.amount_total < 400:
            raise UserError(400, "The amount is too small", {"code": "amount_too_small"})
        self.client_reference_id = asked["client_reference_id"]
        self.metadata, self.success_url, self.cancel_url = asked["metadata"], asked["success_url"], asked["cancel_url"]
        self.mode, self.locale, self.expires_at = asked["mode"], asked["locale"], int(asked["expires_at"])
        self.status, self.payment_status, self.payment_intent = "open", "unpaid", None
        self._name = price["product_data"]["name"]
        self._intent_data = asked["payment_intent_data"]

    @property
    def url(self) -> str | None:
        return f"{BASE}/_config/pay/{self.id}" if self.status == "open" else None

    @classmethod
    def _api_expire(cls, id: str, **_kwargs: Any) -> CheckoutSession:
        found = cls._api_retrieve(id)
        if found.status != "open":
            raise UserError(400, "Only Checkout Sessions with a status in [open] can be expired.", {"code": "resource_missing"})
        found._end("expired", "checkout.session.expired")
        return found

    def _end(self, status: str, event: str) -> None:
        self.status = status
        webhooks.schedule_webhook(Event(event, self))

    def _pay(self, card: str) -> bool:
        if self.status != "open":
            raise UserError(400, "This session is over", {})
        method = PaymentMethod(type="card", card={"number": CARDS[card], "exp_month": 12, "exp_year": 2034, "cvc": "123"})
        intent = PaymentIntent._api_retrieve(self.payment_intent) if self.payment_intent else PaymentIntent(
            amount=self.amount_total, currency=self.currency, metadata=self._intent_data["metadata"])
        intent.payment_method, intent.latest_charge, self.payment_intent = method.id, None, intent.id
        intent._confirm(on_failure_now=lambda: None)
        if intent.status != "succeeded":
            return False
        self.payment_status = "paid"
        self._end("complete", "checkout.session.completed")
        return True


def _refund(**asked: Any) -> Refund:
    _check(RefundCreateParams, asked)
    charge = PaymentIntent._api_retrieve(asked["payment_intent"]).latest_charge
    if charge.amount_refunded + int(asked["amount"]) > charge.amount:
        raise UserError(400, f"Charge {charge.id} has already been refunded.", {"code": "charge_already_refunded"})
    if FAULTS["refunds"] == "refused":
        raise UserError(400, "Insufficient funds in your Stripe balance.", {"code": "balance_insufficient"})
    made = Refund(**asked)
    made.status = FAULTS["refunds"]
    webhooks.schedule_webhook(Event("charge.refunded", charge))
    return made


BASE = ""
_answers: dict[str, tuple[str, int, bytes]] = {}


@web.middleware
async def _faulty(request: web.Request, handler: Any) -> web.StreamResponse:
    """Idempotency keys as https://docs.stripe.com/api/idempotent_requests has them, and faults on order."""
    if not request.path.startswith("/v1/"):
        return await handler(request)
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    asked = f"{request.path} {(await request.read()).decode()}"
    if FAULTS["down"]:
        FAULTS["down"] -= 1
        failed = json.dumps({"error": {"type": "api_error", "message": "down"}}).encode()
        if key is not None:  # an answer is an answer
            _answers[key] = asked, 500, failed
        return web.Response(status=500, body=failed, content_type="application/json", headers={"Stripe-Should-Retry": "false"})
    if key is None:
        return await handler(request)
    if key not in _answers:
        try:
            answer = await handler(request)
        except UserError as error:
            answer = error.to_response()
        _answers[key] = asked, answer.status, answer.body
    before, status, body = _answers[key]
    if before != asked:
        return web.json_response({"error": {"type": "idempotency_error", "message": "other parameters"}}, status=400)
    if FAULTS["lose"]:
        FAULTS["lose"] -= 1
        request.transport.close()  # done, and the answer lost
    return web.Response(status=status, body=body, content_type="application/json", headers={"Stripe-Should-Retry": "false"})


async def _page(request: web.Request) -> web.Response:
    found = CheckoutSession._api_retrieve(request.match_info["id"])
    if found.status != "open":
        return web.Response(text="<!doctype html><title>Over</title><p>This session is over.", content_type="text/html")
    buttons = "".join(f'<button name="card" value="{card}">{card}</button>' for card in CARDS)
    return web.Response(content_type="text/html", text=(
        f"<!doctype html><title>Stand-in for Stripe</title><h1>{html.escape(found._name)}</h1><p>{found.amount_total} {found.currency}</p>"
        f'<form method="post">{buttons}</form><a href="{html.escape(found.cancel_url)}">Back</a>'))


async def _pay(request: web.Request) -> web.Response:
    found = CheckoutSession._api_retrieve(request.match_info["id"])
    data = await request.post()
    paid = found._pay(str(data.get("card", "good")))
    return web.Response(status=303, headers={"Location": found.success_url if paid else f"{BASE}/_config/pay/{found.id}"})


async def _alter(request: web.Request) -> web.Response:
    """Set attributes of a stored object, and send events about it."""
    data = await request.json()
    found = store[f"{data['object']}:{data['id']}"]
    for name, value in data.get("set", {}).items():
        setattr(found, name, value)
    for kind in data.get("events", []):
        webhooks.schedule_webhook(Event(kind, found))
    return web.json_response({})


async def _faults(request: web.Request) -> web.Response:
    FAULTS.update(await request.json())
    return web.json_response({})


async def _forget_keys(_request: web.Request) -> web.Response:
    """Keys are remembered for a day or so."""
    _answers.clear()
    return web.json_response({})


async def _events(_request: web.Request) -> web.Response:
    return web.json_response([json.loads(json.dumps(one._export())) for name, one in list(store.items()) if name.startswith("event:")])


def main() -> None:
    global BASE
    app = server.app
    app.middlewares.insert(0, _faulty)
    for method, path, function in (
        ("POST", "/v1/checkout/sessions", server.api_create(CheckoutSession, "")),
        ("GET", "/v1/checkout/sessions/{id}", server.api_retrieve(CheckoutSession, "")),
        ("POST", "/v1/checkout/sessions/{id}/expire", server.api_extra(CheckoutSession._api_expire, "")),
        ("GET", "/_config/pay/{id}", _page), ("POST", "/_config/pay/{id}", _pay), ("POST", "/_config/alter", _alter),
        ("POST", "/_config/faults", _faults), ("POST", "/_config/forget-keys", _forget_keys), ("GET", "/_config/events", _events),
    ):
        app.router.add_route(method, path, function)
    Refund._api_create = staticmethod(_refund)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    BASE = f"http://127.0.0.1:{listening.getsockname()[1]}"
    print(BASE, flush=True)
    web.run_app(app, sock=listening, print=None)


if __name__ == "__main__":
    main()
