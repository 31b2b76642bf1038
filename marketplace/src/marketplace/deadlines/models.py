"""The table of what shall happen by itself at a certain time."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import JSONType, UtcDateTime, utc_now


class Deadline(SQLModel, table=True):
    __tablename__ = "deadline"
    __table_args__ = (UniqueConstraint("kind", "subject", "number"),)
    id: str = Field(primary_key=True)
    kind: str  # what happens: one of service.HANDLERS
    subject: str = Field(index=True)  # id of what it happens to
    number: int = 0  # tells several of one kind and subject apart
    due_at: dt.datetime = Field(sa_type=UtcDateTime, index=True)
    data: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)
    status: str = Field(default="pending", index=True)  # pending | fired | cancelled
    fired_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = 0  # how often its handler failed since it was set
    retry_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)  # not before then, after a failure
    error: str = ""  # the kind of the last failure, never its text
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
