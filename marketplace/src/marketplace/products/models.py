"""Tables of products and their versions."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import JSONType, UtcDateTime, utc_now


class Product(SQLModel, table=True):
    __tablename__ = "product"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    tier: int  # 1 | 2
    sector: str = Field(index=True)
    delivery_form: str  # api | model | report
    title_zh: str
    title_en: str
    summary_zh: str = ""
    summary_en: str = ""
    description_zh: str = ""
    description_en: str = ""
    status: str = Field(default="draft", index=True)  # draft | listed | suspended | retired
    current_version_id: str | None = None
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    listed_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ProductVersion(SQLModel, table=True):
    __tablename__ = "product_version"
    __table_args__ = (UniqueConstraint("product_id", "number"),)
    id: str = Field(primary_key=True)
    product_id: str = Field(foreign_key="product.id", index=True)
    number: int
    job_id: str = Field(foreign_key="job.id")
    output_id: str = Field(foreign_key="job_output.id")
    # what the version is made of: output digest, app digest, grant digest, participants, input schema
    manifest: dict[str, Any] = Field(sa_type=JSONType)
    manifest_digest: str
    sample: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)
    status: str = "draft"  # draft | registered | listed | superseded
    registration_code: str | None = Field(default=None, unique=True)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    registered_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
