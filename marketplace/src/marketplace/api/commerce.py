"""REST: orders, payments, entitlements, invoice preview."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sqlmodel import Session

from marketplace import db
from marketplace.api.auth import actor, required_key, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, QueryIn, Time, listing
from marketplace.commerce import service as commerce
from marketplace.metering import service as metering
from marketplace.settlement import service as settlement

api = blueprint("commerce")


class OrderIn(In):
    product_id: str = Field(max_length=64)


class PaymentIn(In):
    bank_reference: str = Field(min_length=1, max_length=100)
    amount_fen: int


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
    return {**OrderOut.of(row), "actions": commerce.order_actions(row, actor()),
            "entitlement": EntitlementOut.of(entitlement) if entitlement else None}


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
    with db.reading() as session:
        return _order(session, commerce.get_order(session, actor(), path.id))


@api.post("/orders/<id>/payment", summary="Record that the bank transfer has arrived", responses={200: OrderOut})
@scope("operate")
def record_payment(path: IdPath, body: PaymentIn) -> dict[str, Any]:
    with db.transaction() as session:
        row = commerce.record_payment(session, actor(), path.id, bank_reference=body.bank_reference,
                                      amount_fen=body.amount_fen)
        return _order(session, row)


@api.post("/orders/<id>/cancel", summary="Cancel an unpaid order", responses={200: OrderOut})
def cancel_order(path: IdPath) -> dict[str, Any]:
    """The buyer needs the scope ``orders``; the operator ``operate``."""
    with db.transaction() as session:
        return _order(session, commerce.cancel_order(session, actor(), path.id))


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
