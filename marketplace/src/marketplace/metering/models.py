"""Tables of metering: one row a billable call, counted exactly once."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel

from marketplace.db import BigInt, UtcDateTime


class UsageRecord(SQLModel, table=True):
    __tablename__ = "usage_record"
    # (entitlement, idempotency key) is the identity of a call: a retry is the same call
    entitlement_id: str = Field(foreign_key="entitlement.id", primary_key=True)
    idempotency_key: str = Field(primary_key=True)
    product_version_id: str = Field(foreign_key="product_version.id")
    client_id: str
    at: dt.datetime = Field(sa_type=UtcDateTime, index=True)
    request_digest: str
    # leaf index of the audit event that sealed this record; null until the next sealing
    seal_index: int | None = Field(default=None, sa_type=BigInt, index=True)
