"""What Stripe tells us: ``POST /webhooks/stripe``, believed for its signature and nothing else.

2xx says that it need not be sent again: it had its effect, had it before, or does not concern us. 503 asks for it again later.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from marketplace.api.limits import FAILED_WEBHOOK_LIMIT, WEBHOOK_LIMIT, limiter
from marketplace.commerce import cards, gateway

webhooks = Blueprint("webhooks", __name__, url_prefix="/webhooks")


@webhooks.post("/stripe")
@limiter.limit(WEBHOOK_LIMIT)  # type: ignore[untyped-decorator]
@limiter.limit(FAILED_WEBHOOK_LIMIT, deduct_when=lambda response: response.status_code == 400)  # type: ignore[untyped-decorator]
def stripe() -> Response:
    notice = gateway.read_notice(request.get_data(), request.headers.get("Stripe-Signature"))
    return jsonify({"outcome": cards.take_notice(notice)})
