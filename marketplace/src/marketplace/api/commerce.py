"""REST: orders, payments by bank and by card, refunds, entitlements, invoice preview."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlmodel import Session

from marketplace import db
from marketplace.api.auth import actor, required_key, scope
from marketplace.api.base import blueprint
from marketplace.api.problems import language
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, QueryIn, Time, listing
from marketplace.commerce import cards, refunds
from marketplace.commerce import service as commerce
from marketplace.metering import service as metering
from marketplace.settlement import service as settlement
from shuyan.problems import ProblemError

api = blueprint("commerce")


class OrderIn(In):
    product_id: str = Field(max_length=64)


class PaymentIn(In):
    bank_reference: str = Field(min_length=1, max_length=100)
    amount_fen: int


class RefundIn(In):
    """``bank_reference``: of the transfer that refunds an order paid by bank transfer; a card's money goes back by itself."""

    bank_reference: str | None = Field(None, min_length=1, max_length=100)


class TransferIn(In):
    bank_reference: str = Field(min_length=1, max_length=100)


class OrderQuery(PageQuery):
    status: str | None = Field(None, max_length=20)
    product_id: str | None = Field(None, max_length=64)


class EntitlementQuery(QueryIn):
    product_id: str | None = Field(None, max_length=64)
    cursor: str | None = Field(None, max_length=512)
    limit: int = Field(100, ge=1, le=100)


class OrderOut(Out):
    id: str
    number: str
    organisation_id: str
    product_id: str
    version_id: str
    amount_fen: int
    currency: str
    status: str
    created_at: Time
    paid_at: Time | None


class EntitlementOut(Out):
    id: str
    order_id: str
    organisation_id: str
    product_id: str
    included_calls: int
    call_fee_fen: int
    starts_at: Time
    ends_at: Time
    status: str


class CardOut(Out):
    """``url`` is Stripe's page to pay on, while it is open and for the buyer only. ``declined``: the last attempt there."""

    id: str
    order_id: str
    status: str
    url: str | None
    amount_fen: int
    currency: str
    declined: bool
    received_fen: int | None
    received_currency: str | None
    attention: str
    created_at: Time
    expires_at: Time


class RefundOut(Out):
    id: str
    order_id: str
    method: str
    amount_fen: int
    currency: str
    reason: str
    status: str
    error: str
    created_at: Time
    done_at: Time | None


class LineOut(Out):
    kind: str
    quantity: int
    unit_fen: int
    amount_fen: int


class ShareOut(Out):
    party: str
    organisation_id: str | None
    name_zh: str
    name_en: str
    share_percent: int
    rows: int | None
    amount_fen: int


class InvoicePreviewOut(Out):
    order_id: str
    order_number: str
    product_id: str
    version_id: str
    currency: str
    from_: Time | None = Field(serialization_alias="from")
    until: Time | None
    as_of: Time
    calls: int
    included_calls: int
    billable_calls: int
    lines: list[LineOut]
    total_fen: int
    shares: list[ShareOut]


def _order(session: Session, row: Any) -> dict[str, Any]:
    entitlement = commerce.entitlement_of_order(session, row.id)
    card = next(iter(commerce.card_payments_of_order(session, row.id)), None)
    return {**OrderOut.of(row), "actions": commerce.order_actions(row, actor()),
            "entitlement": EntitlementOut.of(entitlement) if entitlement else None,
            "card": _card(session, card) if card else None,
            "refunds": [RefundOut.of(one) for one in commerce.refunds_of_order(session, row.id)]}


def _card(session: Session, row: Any) -> dict[str, Any]:
    order = commerce.get_order(session, actor(), row.order_id)
    shown: dict[str, Any] = CardOut.of(row)
    if row.status != "open" or order.organisation_id != actor().organisation_id:
        shown["url"] = None
    return shown


def _order_now(order_id: str) -> dict[str, Any]:
    with db.reading() as session:
        return _order(session, commerce.get_order(session, actor(), order_id))


@api.post("/orders", summary="Order a product; needs an Idempotency-Key", responses={201: OrderOut})
@scope("orders")
def place_order(body: OrderIn) -> tuple[dict[str, Any], int]:
    key = required_key()
    with db.transaction() as session:
        row = commerce.place_order(session, actor(), product_id=body.product_id, idempotency_key=key)
        return _order(session, row), 201


@api.get("/orders", summary="The organisation's orders", responses={200: Listing[OrderOut]})
@scope("read")
def list_orders(query: OrderQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = commerce.list_orders(session, actor(), status=query.status, product_id=query.product_id,
                                    cursor=query.cursor, limit=query.limit)
        return listing([OrderOut.of(row) for row in page.items], page.next)


@api.get("/orders/<id>", summary="One order", responses={200: OrderOut})
@scope("read")
def get_order(path: IdPath) -> dict[str, Any]:
    return _order_now(path.id)


@api.post("/orders/<id>/payment", summary="Record that the bank transfer has arrived", responses={200: OrderOut})
@scope("operate")
def record_payment(path: IdPath, body: PaymentIn) -> dict[str, Any]:
    with db.transaction() as session:
        row = commerce.record_payment(session, actor(), path.id, bank_reference=body.bank_reference,
                                      amount_fen=body.amount_fen)
        return _order(session, row)


@api.post("/orders/<id>/cancel", summary="Cancel an unpaid order", responses={200: OrderOut})
def cancel_order(path: IdPath) -> dict[str, Any]:
    """The buyer needs the scope ``orders``; the operator ``operate``. An open card payment is closed first."""
    cards.cancel(actor(), path.id)
    return _order_now(path.id)


@api.post("/orders/<id>/card", summary="Pay by card: an open page of Stripe's to pay on", responses={200: CardOut})
@scope("orders")
def pay_by_card(path: IdPath) -> dict[str, Any]:
    """While a page is open, it is the one that is given again."""
    row = cards.pay(actor(), path.id, language=language())
    with db.reading() as session:
        return _card(session, row)


@api.get("/orders/<id>/card", summary="How the newest payment by card stands; Stripe is asked", responses={200: CardOut})
@scope("read")
def card_payment(path: IdPath) -> dict[str, Any]:
    row = cards.refresh(actor(), path.id)
    if row is None:
        raise ProblemError("not_found", what="card_payment")
    with db.reading() as session:
        return _card(session, row)


@api.post("/orders/<id>/refund", summary="Refund a paid order whose entitlement was never called", responses={200: OrderOut})
@scope("operate")
def refund(path: IdPath, body: RefundIn) -> dict[str, Any]:
    refunds.refund_order(actor(), path.id, bank_reference=body.bank_reference)
    return _order_now(path.id)


@api.post("/orders/<id>/give-back", summary="Give card money back that does not match the order", responses={200: OrderOut})
@scope("operate")
def give_back(path: IdPath) -> dict[str, Any]:
    refunds.give_back(actor(), path.id)
    return _order_now(path.id)


@api.post("/refunds/<id>/transfer", summary="Record the bank transfer that paid a refund Stripe could not", responses={200: RefundOut})
@scope("operate")
def transfer(path: IdPath, body: TransferIn) -> dict[str, Any]:
    with db.transaction() as session:
        return RefundOut.of(refunds.transfer(session, actor(), path.id, bank_reference=body.bank_reference))


@api.get("/orders/<id>/invoice-preview", summary="What the order costs so far, and everybody's share",
         responses={200: InvoicePreviewOut})
@scope("read")
def invoice_preview(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        commerce.get_order(session, actor(), path.id)
    metering.collect_now()
    with db.reading() as session:
        return InvoicePreviewOut.of(settlement.invoice_preview(session, actor(), path.id))


@api.get("/entitlements", summary="What the organisation may call", responses={200: Listing[EntitlementOut]})
@scope("read")
def entitlements(query: EntitlementQuery) -> dict[str, Any]:
    with db.reading() as session:
        rows = commerce.list_entitlements(session, actor(), product_id=query.product_id)
    return listing([EntitlementOut.of(row) for row in rows])
