"""A buyer's orders: how to pay, what it came to, how to call; and the operator's desk for payments."""

from __future__ import annotations

import json
from typing import Any

from flask import flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.commerce import cards, refunds
from marketplace.commerce import service as commerce
from marketplace.db import reading, transaction
from marketplace.delivery import service as delivery
from marketplace.parties import service as parties
from marketplace.products import service as products
from marketplace.settings import settings
from marketplace.settlement import service as settlement
from marketplace.web import present
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import both, language
from marketplace.web.labels import label
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, cursor, decimal, new_key, organisation_names, yuan_to_fen
from marketplace.web.views.store import input_fields, version_titles
from shuyan.problems import ProblemError


def _titles(db: Any, rows: list[Any]) -> dict[str, str]:
    return {key: both(row, "title") for key, row in products.products_by_id(db, [row.product_id for row in rows]).items()}


@web.get("/orders")
@signed_in()
def orders() -> Any:
    with reading() as db:
        page = commerce.list_orders(db, current_actor(), cursor=cursor(), limit=PAGE)
        titles = _titles(db, page.items)
    return render_template("web/orders.html", items=page.items, next=page.next, first_page=cursor() is None,
                           products=titles)


@web.get("/orders/<order_id>")
@signed_in()
def order(order_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = commerce.get_order(db, actor, order_id)
        product = products.products_by_id(db, [row.product_id])[row.product_id]
        version = products.versions_by_id(db, [row.version_id])[row.version_id]
        titles = version_titles(db, version)
        preview = settlement.invoice_preview(db, actor, order_id)
        payment = commerce.payment_of_order(db, order_id)
        entitlement = commerce.entitlement_of_order(db, order_id)
        tried = commerce.card_payments_of_order(db, order_id)
        going_back = commerce.refunds_of_order(db, order_id)
        operators = parties.list_organisations(db, kind="operator", limit=1)
        buyer = organisation_names(db, [row.organisation_id]).get(row.organisation_id, "–")
    example = version.sample.get("request", {})
    return render_template(
        "web/order.html", order=row, product=product, buyer=buyer, payee=both(operators[0], "name") if operators else "–",
        payment=payment, card=tried[0] if tried else None, odd=[one for one in tried if one.status == "mismatched" or one.attention],
        refundable=not preview.calls or any(one.attention in refunds.GONE for one in tried), refunds=going_back, may_give_back=refunds.may_give_back(actor), may_transfer=refunds.may_transfer(actor),
        entitlement=entitlement, preview=preview, actions=commerce.order_actions(row, actor),
        own=row.organisation_id == actor.organisation_id, curl=_curl(product.id, json.dumps(example, ensure_ascii=False)), python=_python(product.id, example),
        fields=input_fields(version, titles), example=example.get("features", {}), chart=_share_chart(preview),
        lines=[(_line(item.kind), item) for item in preview.lines])


def _line(kind: str) -> str:
    return str({"access_fee": _("Access fee"), "calls": _("Calls beyond the included ones"), "refund": _("Refund")}.get(kind, kind))


def _share_chart(preview: Any) -> dict[str, Any]:
    groups: dict[str, int] = {}
    for share in preview.shares:
        groups[share.party] = groups.get(share.party, 0) + share.amount_fen
    # shares of the picture only; amounts stay integer fen in the table
    return {"kind": "pie", "data": [{"name": label("share", party), "value": fen} for party, fen in groups.items()]}


def _curl(product_id: str, body: str) -> str:
    base = settings().public_url
    return (f"TOKEN=$(curl -s {base}/oauth/token -u \"$CLIENT_ID:$CLIENT_SECRET\" \\\n"
            "  -d grant_type=client_credentials -d scope=deliver | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"access_token\"])')\n"
            f"curl {base}/api/v1/products/{product_id}/calls \\\n"
            "  -H \"Authorization: Bearer $TOKEN\" -H \"Content-Type: application/json\" \\\n"
            f"  -H \"Idempotency-Key: $(uuidgen)\" \\\n  -d '{body}'")


def _python(product_id: str, body: dict[str, Any]) -> str:
    arguments = "".join(f",\n    {name}={value!r}" for name, value in body.items())
    base = settings().public_url
    return ("import shuyan\n\n"
            f"market = shuyan.connect(\"{base}\", client_id=\"…\", client_secret=\"…\")\n"
            f"answer = market.products.call(\"{product_id}\"{arguments})\nprint(answer)")


@web.post("/orders/<order_id>/cancel")
@signed_in()
def cancel_order(order_id: str) -> Any:
    cards.cancel(current_actor(), order_id)
    flash(_("The order is cancelled."), "success")
    return redirect(url_for("web.order", order_id=order_id), 303)


@web.post("/orders/<order_id>/card")
@signed_in()
def pay_by_card(order_id: str) -> Any:
    cards.pay(current_actor(), order_id, language=language())
    return redirect(url_for("web.card_page", order_id=order_id), 303)


@web.get("/orders/<order_id>/card")
@signed_in()
def card_page(order_id: str) -> Any:
    """Leads on to Stripe's page. A page of our own in between, since the policy that forms go nowhere else holds for where they lead, too."""
    actor = current_actor()
    with reading() as db:
        row = commerce.get_order(db, actor, order_id)
        card = next((one for one in commerce.card_payments_of_order(db, order_id) if one.status == "open"), None)
    if card is None or row.status != "awaiting_payment" or row.organisation_id != actor.organisation_id:
        return redirect(url_for("web.order", order_id=order_id), 303)
    response = make_response(render_template("web/pay_by_card.html", order=row, card=card))
    response.headers["Cache-Control"] = "no-store"
    return response


@web.get("/orders/<order_id>/card/return")
@signed_in()
def card_return(order_id: str) -> Any:
    """Where Stripe sends the buyer, paid or not: Stripe is asked, and the order's page shows what is so."""
    card = cards.refresh(current_actor(), order_id)
    if card is not None and card.status == "paid":
        flash(_("The payment has arrived. Thank you."), "success")
    elif card is not None and card.declined:
        flash(_("The card was declined and nothing was charged. You can try again, use another card, or pay by bank transfer."), "danger")
    elif card is not None and card.status in ("open", "expired"):
        flash(_("Nothing was paid. The order still awaits payment."), "info")
    return redirect(url_for("web.order", order_id=order_id), 303)


@web.post("/orders/<order_id>/refund")
@signed_in()
def refund_order(order_id: str) -> Any:
    row = refunds.refund_order(current_actor(), order_id, bank_reference=request.form.get("bank_reference", "").strip() or None)
    flash(_("Order %(number)s is refunded.", number=row.number), "success")
    return redirect(url_for("web.order", order_id=order_id), 303)


@web.post("/orders/<order_id>/give-back")
@signed_in()
def give_back(order_id: str) -> Any:
    refunds.give_back(current_actor(), order_id)
    flash(_("The money is on its way back."), "success")
    return redirect(url_for("web.order", order_id=order_id), 303)


@web.post("/refunds/<refund_id>/transfer")
@signed_in()
def refund_by_transfer(refund_id: str) -> Any:
    with transaction() as db:
        row = refunds.transfer(db, current_actor(), refund_id, bank_reference=request.form.get("bank_reference", ""))
    flash(_("The transfer is recorded."), "success")
    return redirect(url_for("web.order", order_id=row.order_id), 303)


@web.post("/orders/<order_id>/try")
@signed_in()
def try_order(order_id: str) -> Any:
    """One real, metered call from the page; answers a fragment."""
    actor = current_actor()
    with reading() as db:
        row = commerce.get_order(db, actor, order_id)
        version = products.versions_by_id(db, [row.version_id])[row.version_id]
        titles = version_titles(db, version)
    try:
        answer = delivery.deliver(actor, row.product_id, _call_body(version), new_key())
    except ProblemError as problem:
        return render_template("web/_answer.html", problem=say(problem))
    content = answer.content
    return render_template("web/_answer.html", problem=None, answer=answer,
                           score=content.get("score") if "score" in content else None, outcome=content.get("label"),
                           parts=present.sections(content, titles), raw=json.dumps(content, ensure_ascii=False, indent=2))


def _call_body(version: Any) -> dict[str, Any]:
    fields = input_fields(version)
    given = {field["name"]: request.form.get(f"x-{field['name']}", "").strip() for field in fields}
    if version.manifest.get("form") != "model":
        group = {name: value for name, value in given.items() if value}
        return {"group": group} if group else {}
    features: dict[str, Any] = {}
    for field in fields:
        value = given[field["name"]]
        features[field["name"]] = value if field["type"] == "string" else decimal(f"x-{field['name']}", text=field["name"])
    return {"features": features}


@web.get("/desk/orders")
@signed_in("operator")
def desk_orders() -> Any:
    status = request.args.get("status", "awaiting_payment")
    with reading() as db:
        page = commerce.list_orders(db, current_actor(), status=status or None, cursor=cursor(), limit=PAGE)
        titles = _titles(db, page.items)
        names = organisation_names(db, [row.organisation_id for row in page.items])
    return render_template("web/desk_orders.html", items=page.items, next=page.next, first_page=cursor() is None,
                           products=titles, buyers=names, status=status)


@web.post("/orders/<order_id>/payment")
@signed_in()
def record_payment(order_id: str) -> Any:
    amount = yuan_to_fen("amount", text=_("Amount received"))
    with transaction() as db:
        row = commerce.record_payment(db, current_actor(), order_id, amount_fen=amount,
                                      bank_reference=request.form.get("bank_reference", ""))
    flash(_("Payment of order %(number)s is recorded.", number=row.number), "success")
    return redirect(url_for("web.order", order_id=order_id), 303)
