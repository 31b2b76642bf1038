"""Tables of the ledger: double entry, append only. All money is integer fen."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel

from marketplace.db import BigInt, UtcDateTime, utc_now


class LedgerTransaction(SQLModel, table=True):
    __tablename__ = "ledger_transaction"
    id: str = Field(primary_key=True)
    idempotency_key: str = Field(unique=True)
    narration: str
    at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class LedgerPosting(SQLModel, table=True):
    __tablename__ = "ledger_posting"
    transaction_id: str = Field(foreign_key="ledger_transaction.id", primary_key=True)
    line: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    account: str = Field(index=True)
    amount_fen: int = Field(sa_type=BigInt)  # debit positive, credit negative; a transaction sums to zero
    currency: str = "CNY"
