"""Tables of the catalogue: what the departments' nodes have registered."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import BigInt, JSONType, UtcDateTime, utc_now


class DataResource(SQLModel, table=True):
    __tablename__ = "data_resource"
    __table_args__ = (UniqueConstraint("node_id", "name"),)
    id: str = Field(primary_key=True)
    node_id: str = Field(foreign_key="node.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    name: str
    title: str
    title_en: str = ""
    description: str = ""
    sector: str
    grade: int
    row_count: int = Field(sa_type=BigInt)
    # [{name, type, title, identifier, domain: [str], unit, lower, upper, classification, resolution}] as in link.proto's Column
    columns: list[dict[str, Any]] = Field(sa_type=JSONType)
    profile: dict[str, Any] | None = Field(default=None, sa_type=JSONType)  # as in link.proto's Profile; None: not measured
    approval: str = "manual"
    status: str = "active"  # active | withdrawn
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
