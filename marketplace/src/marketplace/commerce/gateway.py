"""Stripe, as far as commerce needs it: Checkout Sessions, refunds, and the signatures of its notifications.

Nothing is decided here and nothing stored. Each request that changes something carries an idempotency key, so that asking again after
a lost answer is asking once. Secrets come from files and go into Stripe's client only; errors are logged by kind, never by text.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from marketplace.commerce.errors import BAD_SIGNATURE, CARD_AWAY, CARD_REFUSED, CARDS_OFF
from marketplace.commerce.rules import CARD_MINUTES, Seen
from marketplace.logging import get_logger
from marketplace.settings import settings
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from stripe import StripeClient
    from stripe.checkout import Session
    from stripe.params import RefundCreateParams
    from stripe.params.checkout import SessionCreateParams

log = get_logger("stripe")

TIMEOUT_SECONDS: Final = 10.0
_RETRIES: Final = 1


@dataclass(frozen=True)
class Returned:
    """A refund as Stripe has it. ``error`` says why one failed, in Stripe's word for it."""

    reference: str
    status: Literal["done", "under_way", "failed"]
    error: str = ""


@dataclass(frozen=True)
class Notice:
    """A notification whose signature is Stripe's. ``thing`` is what it is about, as it was then."""

    id: str
    type: str
    thing: dict[str, Any]


class NotDone(ProblemError):
    """Stripe has answered that it did not do it. Asked again under the same idempotency key, it says the same for a day."""


def configured() -> bool:
    """Whether this market takes cards."""
    return settings().stripe_secret_key_file is not None


def session_request(*, card_payment_id: str, order_id: str, order_number: str, title: str, amount_fen: int, currency: str,
                    language: str, now: dt.datetime) -> SessionCreateParams:
    """What Stripe is asked for: a page of its own that takes this amount once, by card, until an hour from now.

    Of the buyer it says nothing; the order's number is what both sides know it by.
    """
    names = {"order": order_id, "order_number": order_number, "card_payment": card_payment_id}
    back = f"{settings().public_url}/orders/{order_id}/card/return"
    return {
        "mode": "payment", "allowed_payment_method_types": ["card"], "client_reference_id": card_payment_id, "metadata": names,
        "line_items": [{"quantity": 1, "price_data": {
            "currency": currency.lower(), "unit_amount": amount_fen, "product_data": {"name": f"{title} · {order_number}"[:250]}}}],
        "payment_intent_data": {"description": order_number, "metadata": names},
        "adaptive_pricing": {"enabled": False},  # else Stripe may charge in the card's own currency
        "locale": "zh" if language == "zh" else "en", "success_url": back, "cancel_url": back,
        "expires_at": int((now + dt.timedelta(minutes=CARD_MINUTES)).timestamp()),
    }


def open_session(card_payment_id: str, request: Mapping[str, Any]) -> Seen:
    """A Checkout Session. The same request for the same payment is the same session.

    Raises:
        ProblemError: ``card_payment_off``, ``card_service_away``, ``card_service_refused``.
    """
    same = json.loads(json.dumps(request, sort_keys=True))  # to the byte: PostgreSQL keeps no order of names
    with _asking():
        return _seen(_client().v1.checkout.sessions.create(cast("SessionCreateParams", same), {"idempotency_key": card_payment_id}))


def session(session_id: str) -> Seen:
    """A Checkout Session as it is now. Raises as :func:`open_session`."""
    with _asking():
        return _seen(_client().v1.checkout.sessions.retrieve(session_id, {"expand": ["payment_intent"]}))


def expire(session_id: str) -> Seen:
    """Let a Checkout Session end, if it has not been paid; and what it is then. Raises as :func:`open_session`."""
    from stripe import InvalidRequestError

    with _asking():
        try:
            return _seen(_client().v1.checkout.sessions.expire(session_id))
        except InvalidRequestError:  # it has ended already, one way or the other
            return session(session_id)


def refund_request(refund_id: str, payment_intent: str, amount_fen: int) -> RefundCreateParams:
    """What Stripe is asked for when money goes back."""
    return {"payment_intent": payment_intent, "amount": amount_fen, "metadata": {"refund": refund_id}}


def refund(refund_id: str, payment_intent: str, amount_fen: int, attempt: int = 0) -> Returned:
    """Give a payment back, all of it. Asked again, it finds what it did before: nothing can be given back twice.

    Args:
        attempt: counted up when Stripe could not do it; under the same idempotency key it would only say so again.

    Raises:
        ProblemError: ``card_payment_off``, ``card_service_away``, ``card_service_refused``.
    """
    from stripe import InvalidRequestError

    with _asking():
        try:
            return _returned(_client().v1.refunds.create(refund_request(refund_id, payment_intent, amount_fen), {"idempotency_key": f"{refund_id}-{attempt}"}))
        except InvalidRequestError:
            found = _client().v1.refunds.list({"payment_intent": payment_intent, "limit": 100}).data
            ours = [one for one in found if one.metadata is not None and getattr(one.metadata, "refund", None) == refund_id]
            # or somebody has given it back in Stripe's own pages
            same = [one for one in found if one.amount == amount_fen and one.status in ("succeeded", "pending")]
            if not (ours or same):
                raise
            return _returned((ours or same)[0])


def refund_status(reference: str) -> Returned:
    """A refund of ours as it is now. Raises as :func:`refund`."""
    with _asking():
        return _returned(_client().v1.refunds.retrieve(reference))


def read_notice(body: bytes, signature: str | None) -> Notice:
    """A notification, after its signature and its age (five minutes at most) are found good.

    Raises:
        ProblemError: ``bad_webhook_signature``, ``card_payment_off``, ``card_service_away``: the secret cannot be read.
    """
    from stripe import SignatureVerificationError, Webhook, WebhookSignature

    path = settings().stripe_webhook_secret_file
    if path is None:
        raise ProblemError(CARDS_OFF)
    for secret in _secret(path).split():
        try:
            WebhookSignature.verify_header(body, signature, secret, Webhook.DEFAULT_TOLERANCE)
            event = json.loads(body)
            return Notice(str(event["id"]), str(event["type"]), dict(event["data"]["object"]))
        except SignatureVerificationError:
            continue
        except (ValueError, KeyError, TypeError, RecursionError):  # no text, or none of Stripe's events
            break
    raise ProblemError(BAD_SIGNATURE)


@lru_cache(maxsize=2)
def _client_of(key: str, base: str) -> StripeClient:
    import stripe

    stripe.enable_telemetry = False
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=_RETRIES,
                               http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS))


def _client() -> StripeClient:
    found = settings()
    if found.stripe_secret_key_file is None:
        raise ProblemError(CARDS_OFF)
    return _client_of(_secret(found.stripe_secret_key_file).strip(), found.stripe_api_base)


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        log.error("a secret of Stripe's cannot be read", path=str(path), error=type(error).__name__)
        raise ProblemError(CARD_AWAY) from None


@contextmanager
def _asking() -> Iterator[None]:
    """Stripe's errors as ours: away for the moment, or not taken."""
    import stripe

    try:
        yield
    except stripe.StripeError as error:
        refused = isinstance(error, stripe.InvalidRequestError | stripe.CardError | stripe.IdempotencyError)
        log.error("stripe refused" if refused else "stripe is away", error=type(error).__name__, code=error.code, status=error.http_status,
                  request=error.request_id)
        if refused:
            raise NotDone(CARD_REFUSED, reason=error.code or type(error).__name__) from None
        # a key that is not taken (any more) is the operator's to mend; the buyer can only wait, too
        raise (NotDone if error.http_status else ProblemError)(CARD_AWAY) from None


def _seen(one: Session) -> Seen:
    intent = one.payment_intent
    failed = getattr(intent, "last_payment_error", None) is not None
    return Seen(one.id, one.client_reference_id or "", one.status or "", one.payment_status == "paid", one.amount_total or 0,
                (one.currency or "").upper(), intent if isinstance(intent, str) else intent.id if intent is not None else None,
                one.url or "", failed and one.payment_status != "paid")


def _returned(one: Any) -> Returned:
    if one.status == "succeeded":
        return Returned(one.id, "done")
    if one.status in ("failed", "canceled"):
        return Returned(one.id, "failed", getattr(one, "failure_reason", None) or one.status)
    return Returned(one.id, "under_way")
