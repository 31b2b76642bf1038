"""Tables of agreements: the row that lives, its numbered versions of terms, signatures, and requests for renewal."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import JSONType, UtcDateTime, utc_now


class Agreement(SQLModel, table=True):
    __tablename__ = "agreement"
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)  # operation | development
    grantor_id: str = Field(foreign_key="organisation.id", index=True)  # who authorises: the authority, or the operator
    grantee_id: str = Field(foreign_key="organisation.id", index=True)  # who is authorised: the operator, or the developer
    # a development agreement rests on an operation agreement and is about one demand of one scenario
    operation_id: str | None = Field(default=None, foreign_key="agreement.id", index=True)
    scenario_id: str | None = Field(default=None, foreign_key="scenario.id", index=True)
    demand_id: str | None = Field(default=None, foreign_key="data_demand.id", index=True)
    title_zh: str
    title_en: str
    status: str = Field(index=True)
    mode: str  # overall | field | scenario: of the terms that count; decides who reviews
    version: int = 1  # number of the terms that count
    drafted_by: str  # label of the member or program
    approved_by: str | None = None
    reason: str = ""  # of the last refusal, return, suspension or termination
    effective_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    ends_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)  # first moment at which it is over
    ended_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    changed_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)  # when it came into its state


class AgreementVersion(SQLModel, table=True):
    """Terms once written are never edited; ``digest`` is what is signed."""

    __tablename__ = "agreement_version"
    __table_args__ = (UniqueConstraint("agreement_id", "number"),)
    id: str = Field(primary_key=True)
    agreement_id: str = Field(foreign_key="agreement.id", index=True)
    number: int
    terms: dict[str, Any] = Field(sa_type=JSONType)  # agreements.rules.Terms
    digest: str
    proposed_by: str = Field(foreign_key="organisation.id")
    author: str  # label of the member or program
    note: str = ""
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class AgreementSignature(SQLModel, table=True):
    __tablename__ = "agreement_signature"
    __table_args__ = (UniqueConstraint("agreement_id", "number", "organisation_id"),)
    id: str = Field(primary_key=True)
    agreement_id: str = Field(foreign_key="agreement.id", index=True)
    number: int  # of the version signed
    digest: str
    organisation_id: str = Field(foreign_key="organisation.id")
    signed_by: str  # label of the member or program
    signed_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class AgreementRenewal(SQLModel, table=True):
    __tablename__ = "agreement_renewal"
    id: str = Field(primary_key=True)
    agreement_id: str = Field(foreign_key="agreement.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # who asks
    statement: str  # the work done and the wish to go on
    status: str = Field(index=True)
    version: int | None = None  # number of the terms offered
    reason: str = ""
    asked_by: str
    decided_by: str | None = None
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    changed_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
