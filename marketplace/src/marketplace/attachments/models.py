"""The table of uploaded files: evidence, plans, agreements. They are small and few, so they live in the database."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import LargeBinary
from sqlmodel import Field, SQLModel

from marketplace.db import UtcDateTime, utc_now


class Attachment(SQLModel, table=True):
    __tablename__ = "attachment"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # whose it is
    subject: str = Field(default="", index=True)  # id of what it belongs to, once that is there
    name: str
    media_type: str  # as found in the content, not as the browser said
    size: int
    digest: str  # sha256:<hex>
    data: bytes = Field(sa_type=LargeBinary)
    uploaded_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
