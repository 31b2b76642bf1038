"""Tables of pricing. All money is integer fen."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel

from marketplace.db import BigInt, UtcDateTime, utc_now


class PricePlan(SQLModel, table=True):
    __tablename__ = "price_plan"
    id: str = Field(primary_key=True)
    product_id: str = Field(foreign_key="product.id", index=True)
    access_fee_fen: int = Field(sa_type=BigInt)  # paid once for the term
    call_fee_fen: int = Field(sa_type=BigInt)  # for each call beyond the included ones
    included_calls: int = 0
    term_days: int = 365
    currency: str = "CNY"
    status: str = "active"  # active | replaced
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
