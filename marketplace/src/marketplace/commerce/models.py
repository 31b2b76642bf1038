"""Tables of commerce: orders, payments, entitlements. All money is integer fen."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import BigInt, UtcDateTime, utc_now


class Order(SQLModel, table=True):
    __tablename__ = "purchase_order"
    __table_args__ = (UniqueConstraint("organisation_id", "idempotency_key"),)
    id: str = Field(primary_key=True)
    number: str = Field(unique=True)  # what the buyer writes on the transfer
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # the consumer
    placed_by: str
    product_id: str = Field(foreign_key="product.id", index=True)
    version_id: str = Field(foreign_key="product_version.id")
    price_plan_id: str = Field(foreign_key="price_plan.id")
    amount_fen: int = Field(sa_type=BigInt)
    currency: str = "CNY"
    status: str = Field(default="awaiting_payment", index=True)  # awaiting_payment | paid | cancelled
    idempotency_key: str
    request_digest: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    paid_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Payment(SQLModel, table=True):
    __tablename__ = "payment"
    id: str = Field(primary_key=True)
    order_id: str = Field(foreign_key="purchase_order.id", unique=True)
    method: str = "bank_transfer"
    amount_fen: int = Field(sa_type=BigInt)
    currency: str = "CNY"
    bank_reference: str = Field(unique=True)
    recorded_by: str
    received_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Entitlement(SQLModel, table=True):
    __tablename__ = "entitlement"
    id: str = Field(primary_key=True)
    order_id: str = Field(foreign_key="purchase_order.id", unique=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    product_id: str = Field(foreign_key="product.id", index=True)
    included_calls: int = 0
    call_fee_fen: int = Field(sa_type=BigInt)
    starts_at: dt.datetime = Field(sa_type=UtcDateTime)
    ends_at: dt.datetime = Field(sa_type=UtcDateTime)
    status: str = "active"  # active | ended
