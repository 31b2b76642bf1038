"""Tables of the catalogue: what the departments' nodes have registered, and what was claimed, measured, barred and objected to."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, Index, SQLModel, UniqueConstraint

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
    # [{name, type, title, identifier, domain: [str], unit, lower, upper, classification, resolution, element?, source?}]
    # as in link.proto's Column
    columns: list[dict[str, Any]] = Field(sa_type=JSONType)
    profile: dict[str, Any] | None = Field(default=None, sa_type=JSONType)  # as in link.proto's Profile; None: not measured
    approval: str = "manual"
    standard: str = ""  # what it was made after, such as "GB/T 2261.2-2003"
    frequency: str = ""  # one of rules.FREQUENCIES; "": not declared
    steward: str = ""  # the office that answers for it, never a person
    tags: list[str] = Field(default_factory=list, sa_type=JSONType)
    code: str | None = Field(default=None, unique=True)  # registration code, for good
    status: str = "active"  # active | withdrawn
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ResourceIndex(SQLModel, table=True):
    """What active resources are found, filtered, counted and sorted by; narrow, for it is read by the ten thousand.

    The words stand in ``resource_words`` under the same number: see :mod:`.index`.
    """

    __tablename__ = "resource_index"
    __table_args__ = (
        Index("ix_resource_index_title", "title", "number"),
        Index("ix_resource_index_row_count", "row_count", "number"),
        Index("ix_resource_index_quality", "quality", "number"),
        Index("ix_resource_index_updated", "updated", "number"),
        {"sqlite_autoincrement": True},
    )
    number: int | None = Field(default=None, primary_key=True, sa_type=BigInt)  # grows with every registration
    resource_id: str = Field(foreign_key="data_resource.id", unique=True)
    title: str
    row_count: int = Field(sa_type=BigInt)
    quality: int  # the least of what was measured, in percent; -1: not measured
    updated: int = Field(sa_type=BigInt)  # index of the last change's audit event
    sector: str
    grade: int
    organisation_id: str = Field(index=True)
    frequency: str
    standard: str
    tags: str  # one a line
    poor: bool  # something measured is below what the market asks for


class ResourceCount(SQLModel, table=True):
    """How many active resources have a value of a facet: what the unfiltered catalogue shows, without counting it every time."""

    __tablename__ = "resource_count"
    facet: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    count: int


class ResourceChange(SQLModel, table=True):
    """What changed in a resource's entry, beside the audit event that proves when."""

    __tablename__ = "resource_change"
    index: int = Field(primary_key=True, sa_type=BigInt, sa_column_kwargs={"autoincrement": False})  # of the audit event
    resource_id: str = Field(foreign_key="data_resource.id", index=True)
    kind: str  # registered | changed | withdrawn
    # [{field, before, after}] of short fields; {field} alone of long ones; [{column, change}] of columns
    changes: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)
    at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Element(SQLModel, table=True):
    """One datum that should have one authoritative source (一数一源), such as 自然人.婚姻状况."""

    __tablename__ = "element"
    name: str = Field(primary_key=True)
    status: str = Field(default="clear", index=True)  # clear | conflict | settled
    resource_id: str | None = Field(default=None, foreign_key="data_resource.id")  # the authoritative source's
    column: str | None = None
    conflict_since: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ElementClaim(SQLModel, table=True):
    """A column that holds an element; ``source``: its department claims to be the authoritative source."""

    __tablename__ = "element_claim"
    __table_args__ = (UniqueConstraint("resource_id", "column"),)
    id: str = Field(primary_key=True)
    element: str = Field(index=True)
    resource_id: str = Field(foreign_key="data_resource.id")
    column: str
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    source: bool
    active: bool = True
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ElementDecision(SQLModel, table=True):
    """Who the authority said is the authoritative source of an element, and why."""

    __tablename__ = "element_decision"
    id: str = Field(primary_key=True)
    element: str = Field(index=True)
    resource_id: str = Field(foreign_key="data_resource.id")
    column: str
    organisation_id: str = Field(foreign_key="organisation.id")
    claimants: list[str] = Field(sa_type=JSONType)  # organisations that had claimed it
    reason: str
    decided_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class NegativeEntry(SQLModel, table=True):
    """What can be authorised to nobody: a resource, a column, or all that a pattern fits."""

    __tablename__ = "negative_entry"
    id: str = Field(primary_key=True)
    version: int = 1
    kind: str  # resource | column | pattern
    resource_id: str | None = Field(default=None, foreign_key="data_resource.id", index=True)
    column: str = ""
    field: str = ""  # of a pattern: name | title | element | classification | resource_name | resource_title
    pattern: str = ""
    reason: str
    effective_from: dt.datetime = Field(sa_type=UtcDateTime)
    status: str = Field(default="active", index=True)  # active | withdrawn
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class NegativeVersion(SQLModel, table=True):
    """A version of an entry of the negative list as it was decided; never changed."""

    __tablename__ = "negative_version"
    entry_id: str = Field(primary_key=True, foreign_key="negative_entry.id")
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    body: dict[str, Any] = Field(sa_type=JSONType)  # the entry's fields, effective_from in ISO 8601
    decided_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class QualityReport(SQLModel, table=True):
    """Quality as measured at the node, in whole percents."""

    __tablename__ = "quality_report"
    __table_args__ = (UniqueConstraint("resource_id", "measured_at"),)
    id: str = Field(primary_key=True)
    resource_id: str = Field(foreign_key="data_resource.id", index=True)
    measured_at: dt.datetime = Field(sa_type=UtcDateTime)
    row_count: int = Field(sa_type=BigInt)
    completeness: int
    validity: int
    uniqueness: int
    timeliness: int | None = None  # None: no date column, or no frequency declared
    columns: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)  # [{name, completeness, validity}]
    below: list[str] = Field(default_factory=list, sa_type=JSONType)  # measures under the market's thresholds
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class QualityObjection(SQLModel, table=True):
    __tablename__ = "quality_objection"
    id: str = Field(primary_key=True)
    resource_id: str = Field(foreign_key="data_resource.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # who objects
    department_id: str = Field(foreign_key="organisation.id", index=True)  # who is responsible
    column: str = ""
    measure: str  # one of rules.MEASURES
    text: str
    status: str = Field(default="open", index=True)
    due_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ObjectionStep(SQLModel, table=True):
    """One step of an objection's history; never changed."""

    __tablename__ = "quality_objection_step"
    objection_id: str = Field(primary_key=True, foreign_key="quality_objection.id")
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    action: str
    status: str  # the state it led to
    organisation_id: str | None = Field(default=None, foreign_key="organisation.id")  # None: time did
    text: str = ""
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
