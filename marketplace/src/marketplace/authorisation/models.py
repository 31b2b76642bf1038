"""Tables of the authorisation chain: scenario → data demand → grant → revocation list."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlmodel import Field, SQLModel

from marketplace.db import JSONType, UtcDateTime, utc_now

CLAIMS_VERSION: Final = 2


class Scenario(SQLModel, table=True):
    __tablename__ = "scenario"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    title: str
    purpose: str
    sector: str
    public_benefit: bool = False
    status: str = "proposed"
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class DataDemand(SQLModel, table=True):
    __tablename__ = "data_demand"
    id: str = Field(primary_key=True)
    scenario_id: str = Field(foreign_key="scenario.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    # authorisation.rules.DemandBody
    body: dict[str, Any] = Field(sa_type=JSONType)
    status: str = "submitted"  # submitted | granted | refused
    reason: str = ""
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class GrantRecord(SQLModel, table=True):
    __tablename__ = "grant_record"
    id: str = Field(primary_key=True)  # the grant's jti
    demand_id: str = Field(foreign_key="data_demand.id", unique=True)
    scenario_id: str = Field(foreign_key="scenario.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # the grantee
    jws: str
    digest: str = Field(unique=True)  # sha256:<hex> over the compact JWS
    not_before: dt.datetime = Field(sa_type=UtcDateTime)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    status: str = "active"  # active | revoked; expiry follows from the clock
    revoked_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    revocation_reason: str = ""
    # of the claims: 1 said nothing of how answers are released, and is enforced by nobody any more
    claims_version: int = CLAIMS_VERSION
    release: str = "exact"  # exact | dp, as the claims say
    own_figures: bool = False
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class RevocationListRecord(SQLModel, table=True):
    __tablename__ = "revocation_list"
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    jws: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
