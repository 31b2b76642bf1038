"""Tables of the registration of parties: who applied with what, credit lists and their hits, ownership, measures, partners."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import JSONType, UtcDateTime, utc_now


class Registration(SQLModel, table=True):
    """An organisation's application to take part. Contact data are personal: they never enter the log."""

    __tablename__ = "registration"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", unique=True)
    party: str  # developer | consumer
    status: str = Field(default="draft", index=True)
    name_zh: str
    name_en: str
    credit_code: str = Field(index=True)  # kept here when a refusal frees it in the organisation
    contact_name: str = ""
    contact_phone: str = ""
    contact_email: str = ""
    statement: str = ""  # what the organisation does, and what it wants to do here
    qualifications: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)  # [{kind, number, issuer, valid_until}]
    no_incidents: bool = False  # declares: no security incident or violation in three years
    ownership_declared: bool = False  # declares: every shareholder that must be named is
    checks: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)  # item -> {ok, note}
    comments: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)  # of the last return: [{item, text}]
    reason: str = ""  # of a refusal or block
    round: int = 0  # how often it was submitted
    submitted_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    submitted_by: str = ""
    checked_by: str = ""
    decided_by: str = ""
    decided_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    changed_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class StandingMeasure(SQLModel, table=True):
    """One change of an organisation's standing, and why."""

    __tablename__ = "standing_measure"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    action: str  # activate | suspend | resume | end | bar
    cause: str  # registration | credit | control | authority | own
    reason: str = ""
    status: str  # what the organisation became
    made_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class CreditList(SQLModel, table=True):
    """One import of a credit list; the one of a kind that was published last is in force."""

    __tablename__ = "credit_list"
    __table_args__ = (UniqueConstraint("kind", "digest"),)
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)  # dishonesty | tax | procurement
    source: str
    published_on: dt.date
    digest: str  # of what was imported
    entries: int
    current: bool = Field(index=True)
    imported_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class CreditEntry(SQLModel, table=True):
    __tablename__ = "credit_entry"
    id: int | None = Field(default=None, primary_key=True)
    list_id: str = Field(foreign_key="credit_list.id", index=True)
    name: str = Field(index=True)
    credit_code: str | None = Field(default=None, index=True)
    reason: str = ""
    until: dt.date | None = None  # the last day it counts


class CreditHit(SQLModel, table=True):
    """An organisation found on a list."""

    __tablename__ = "credit_hit"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    kind: str  # of the list
    list_id: str = Field(foreign_key="credit_list.id")  # in which it was seen last
    matched_by: str  # code | name
    reason: str = ""
    status: str = Field(index=True)  # flagged | blocking | removed | lifted | dismissed
    decided_by: str = ""
    note: str = ""
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    changed_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Shareholding(SQLModel, table=True):
    """``owner_code`` holds ``share_bp`` of ``owned_code``, as declared; one of them need not take part in the market."""

    __tablename__ = "shareholding"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # who declared it
    owner_code: str = Field(index=True)
    owner_name: str
    owned_code: str = Field(index=True)
    owned_name: str
    share_bp: int  # basis points, 1 to 10000
    since: dt.date
    until: dt.date | None = None  # the last day
    declared_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class PartnerFiling(SQLModel, table=True):
    """A partner of the operator, filed with the data authority."""

    __tablename__ = "partner_filing"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # the operator
    status: str = Field(default="draft", index=True)
    name: str
    credit_code: str
    cooperation: str  # mode of cooperation
    qualifications: str
    duties: str  # who has which rights and duties
    starts_on: dt.date
    ends_on: dt.date
    submitted_by: str = ""
    submitted_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    decided_by: str = ""
    reason: str = ""
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
