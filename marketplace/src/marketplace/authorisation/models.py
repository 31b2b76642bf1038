"""Tables of the authorisation chain: scenario → data demand → review → grant → hold and revocation list."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlmodel import Field, Index, SQLModel, UniqueConstraint

from marketplace.db import BigInt, JSONType, UtcDateTime, utc_now

CLAIMS_VERSION: Final = 2


class Scenario(SQLModel, table=True):
    __tablename__ = "scenario"
    __table_args__ = (Index("uq_scenario_form_key", "organisation_id", "form_key", unique=True),)
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    title: str
    purpose: str
    sector: str
    public_benefit: bool = False
    necessity: str = ""
    benefit: str = ""  # what the public gains; needed where public benefit is claimed
    effect: str = ""  # what is expected to come of it
    months: int = 12
    version: int = 1  # of what is or was submitted last
    form_key: str | None = None  # of the request that made it: sent twice, it makes one
    submitted_by: str = ""
    status: str = Field(default="draft", index=True)  # see rules.SCENARIO
    reason: str = ""  # of a return or refusal
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ScenarioVersion(SQLModel, table=True):
    """What was submitted, as it was submitted."""

    __tablename__ = "scenario_version"
    __table_args__ = (UniqueConstraint("scenario_id", "version"),)
    id: str = Field(primary_key=True)
    scenario_id: str = Field(foreign_key="scenario.id", index=True)
    version: int
    content: dict[str, Any] = Field(sa_type=JSONType)
    submitted_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class DataDemand(SQLModel, table=True):
    __tablename__ = "data_demand"
    __table_args__ = (Index("uq_data_demand_form_key", "organisation_id", "form_key", unique=True),)
    id: str = Field(primary_key=True)
    scenario_id: str = Field(foreign_key="scenario.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    # authorisation.asking.DemandBody; of a draft, as far as it is filled in
    body: dict[str, Any] = Field(sa_type=JSONType)
    version: int = 1
    follows_id: str | None = None  # the demand that this one changes
    form_key: str | None = None
    submitted_by: str = ""
    status: str = Field(default="draft", index=True)  # see rules.DEMAND
    struck: list[str] = Field(default_factory=list, sa_type=JSONType)  # ids of resources that the review did not approve
    reason: str = ""
    mode: str = ""  # of the operation agreement it was reviewed under: overall | field | scenario
    operation_id: str | None = None  # that agreement
    agreement_id: str | None = None  # the development agreement
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    submitted_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class DemandVersion(SQLModel, table=True):
    """A list as it was submitted."""

    __tablename__ = "demand_version"
    __table_args__ = (UniqueConstraint("demand_id", "version"),)
    id: str = Field(primary_key=True)
    demand_id: str = Field(foreign_key="data_demand.id", index=True)
    version: int
    body: dict[str, Any] = Field(sa_type=JSONType)
    submitted_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Opinion(SQLModel, table=True):
    """One organisation's opinion on one version of a scenario or demand: asked once, given once."""

    __tablename__ = "review_opinion"
    __table_args__ = (UniqueConstraint("subject", "version", "stage", "organisation_id"),)
    id: str = Field(primary_key=True)
    kind: str  # scenario | demand
    subject: str = Field(index=True)
    version: int
    stage: str  # check: the operator's first | review
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    party: str  # in what capacity it is asked
    status: str = Field(default="pending", index=True)  # see rules.OPINION
    struck: list[str] = Field(default_factory=list, sa_type=JSONType)  # resource ids
    comments: dict[str, str] = Field(default_factory=dict, sa_type=JSONType)  # by resource id
    note: str = ""
    asked_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    due_at: dt.datetime = Field(sa_type=UtcDateTime)
    decided_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    decided_by: str | None = None
    decided_for: bool = False  # by the authority, in place of one that was overdue


class SectorDepartment(SQLModel, table=True):
    """Which industry department answers for a sector."""

    __tablename__ = "sector_department"
    sector: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    set_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class VolumeLimit(SQLModel, table=True):
    """How much of a resource may be in use at once, as its department has said."""

    __tablename__ = "volume_limit"
    resource_id: str = Field(primary_key=True, foreign_key="data_resource.id")
    max_grants: int | None = None  # active at the same time
    max_rows: int | None = Field(default=None, sa_type=BigInt)  # read by runs in a period; a run reads all of a resource's rows
    period: str = "year"  # month | quarter | year
    set_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class VolumeUse(SQLModel, table=True):
    """That a run read a resource."""

    __tablename__ = "volume_use"
    __table_args__ = (UniqueConstraint("run_id", "resource_id"),)
    id: str = Field(primary_key=True)
    run_id: str
    resource_id: str = Field(foreign_key="data_resource.id", index=True)
    rows: int = Field(sa_type=BigInt)
    at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)


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
    status: str = "active"  # active | held | revoked; expiry follows from the clock
    revoked_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    revocation_reason: str = ""
    revoked_in: int | None = None  # number of the list that revoked it
    # of the claims: 1 said nothing of how answers are released, and is enforced by nobody any more
    claims_version: int = CLAIMS_VERSION
    release: str = "exact"  # exact | dp, as the claims say
    own_figures: bool = False
    mode: str = ""  # how its demand was reviewed: overall | field | scenario; "": before demands were
    operation_id: str | None = None  # the operation agreement
    agreement_id: str | None = None  # the development agreement
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class GrantedLine(SQLModel, table=True):
    """A resource of a grant: what its department is asked, counted and told by."""

    __tablename__ = "granted_line"
    grant_id: str = Field(primary_key=True, foreign_key="grant_record.id")
    resource_id: str = Field(primary_key=True, foreign_key="data_resource.id", index=True)
    node_id: str = Field(foreign_key="node.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)


class GrantHold(SQLModel, table=True):
    """A withdrawal by one of those responsible, until it lifts it; or what the operator asks the authority to withdraw."""

    __tablename__ = "grant_hold"
    id: str = Field(primary_key=True)
    grant_id: str = Field(foreign_key="grant_record.id", index=True)
    organisation_id: str | None = Field(default=None, foreign_key="organisation.id", index=True)  # None: the system's
    party: str
    status: str = Field(default="placed", index=True)  # see rules.HOLD
    cause: str = "withdrawn"  # withdrawn | replaced | agreement_ended | agreement_suspended | standing
    agreement_id: str | None = Field(default=None, foreign_key="agreement.id")  # whose suspension it is
    reason: str
    placed_by: str
    placed_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ended_by: str | None = None
    ended_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class StopSeen(SQLModel, table=True):
    """That a node has answered that it takes no task under a grant any more."""

    __tablename__ = "stop_seen"
    cause_id: str = Field(primary_key=True)  # the hold; of a revocation the grant
    node_id: str = Field(primary_key=True, foreign_key="node.id")
    seen_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class RevocationListRecord(SQLModel, table=True):
    __tablename__ = "revocation_list"
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    jws: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
