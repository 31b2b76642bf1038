"""Tables of commerce: orders, payments by bank and by card, refunds, entitlements. All money is integer fen."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import BigInt, JSONType, UtcDateTime, utc_now


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
    status: str = Field(default="awaiting_payment", index=True)  # of rules.ORDER
    idempotency_key: str
    request_digest: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    paid_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Payment(SQLModel, table=True):
    __tablename__ = "payment"
    id: str = Field(primary_key=True)
    order_id: str = Field(foreign_key="purchase_order.id", unique=True)
    method: str = "bank_transfer"  # bank_transfer | card
    amount_fen: int = Field(sa_type=BigInt)
    currency: str = "CNY"
    reference: str = Field(unique=True)  # the bank's, or Stripe's payment intent
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


class CardPayment(SQLModel, table=True):
    """One Checkout Session at Stripe, and what became of it."""

    __tablename__ = "card_payment"
    id: str = Field(primary_key=True)  # Stripe's client_reference_id, and the idempotency key of asking for the session
    order_id: str = Field(foreign_key="purchase_order.id", index=True)
    amount_fen: int = Field(sa_type=BigInt)
    currency: str = "CNY"
    status: str = Field(default="opening", index=True)  # of rules.CARD_PAYMENT
    request: dict[str, Any] = Field(sa_type=JSONType)  # what Stripe was asked for: asked again, it is asked the same
    session_id: str | None = Field(default=None, unique=True)
    url: str = ""
    payment_intent: str | None = Field(default=None, unique=True)
    received_fen: int | None = Field(default=None, sa_type=BigInt)  # in the smallest unit of received_currency
    received_currency: str | None = None
    declined: bool = False  # the last attempt at Stripe's page
    attention: str = ""  # refunded_at_stripe | disputed: what Stripe told of a paid one that we had no part in
    opened_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    look_at: dt.datetime = Field(sa_type=UtcDateTime)  # when the sweep asks Stripe next


class Refund(SQLModel, table=True):
    """Money that goes back, from the decision until it has arrived: a payment's, or card money that paid nothing."""

    __tablename__ = "refund"
    id: str = Field(primary_key=True)
    order_id: str = Field(foreign_key="purchase_order.id", index=True)
    payment_id: str | None = Field(default=None, foreign_key="payment.id", unique=True)
    card_payment_id: str | None = Field(default=None, foreign_key="card_payment.id", unique=True)
    method: str  # bank_transfer | card
    amount_fen: int = Field(sa_type=BigInt)
    currency: str = "CNY"
    reason: str  # refunded | order_not_waiting | mismatched
    status: str = Field(default="under_way", index=True)  # of rules.REFUND
    reference: str | None = Field(default=None, unique=True)  # the bank's, or Stripe's refund
    decided_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    done_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = 0
    look_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    error: str = ""


class StripeEvent(SQLModel, table=True):
    """An event of Stripe's that has had its effect; the same one again has none."""

    __tablename__ = "stripe_event"
    id: str = Field(primary_key=True)
    type: str
    card_payment_id: str = Field(foreign_key="card_payment.id", index=True)
    received_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
