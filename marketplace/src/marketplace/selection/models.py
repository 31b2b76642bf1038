"""Tables of operator selection: the notice, applications, the expert panel, scores."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import JSONType, UtcDateTime, utc_now


class Selection(SQLModel, table=True):
    __tablename__ = "selection"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # the data authority
    title_zh: str
    title_en: str
    conditions: str  # scope, requirements, what an application holds
    criteria: list[dict[str, Any]] = Field(sa_type=JSONType)  # [{key, name_zh, name_en, weight}]
    status: str = Field(index=True)
    apply_until: dt.datetime = Field(sa_type=UtcDateTime)
    drafted_by: str
    published_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    ranking: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)  # [{application_id, organisation_id, total, parts}]
    candidate_id: str | None = None  # application with whom terms are negotiated
    terms: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)  # agreements.rules.Proposal, as negotiated
    concluded_by: str | None = None
    approved_by: str | None = None
    agreement_id: str | None = Field(default=None, foreign_key="agreement.id", index=True)
    reason: str = ""
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    changed_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class SelectionApplication(SQLModel, table=True):
    __tablename__ = "selection_application"
    __table_args__ = (UniqueConstraint("selection_id", "organisation_id"),)
    id: str = Field(primary_key=True)
    selection_id: str = Field(foreign_key="selection.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    statement: str
    status: str = Field(index=True)
    submitted_by: str
    reason: str = ""  # why it was set aside, or why the negotiation failed
    submitted_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class SelectionExpert(SQLModel, table=True):
    __tablename__ = "selection_expert"
    __table_args__ = (UniqueConstraint("selection_id", "member_id"),)
    id: str = Field(primary_key=True)
    selection_id: str = Field(foreign_key="selection.id", index=True)
    member_id: str = Field(foreign_key="member.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    named_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class SelectionScore(SQLModel, table=True):
    __tablename__ = "selection_score"
    __table_args__ = (UniqueConstraint("application_id", "expert_id"),)
    id: str = Field(primary_key=True)
    selection_id: str = Field(foreign_key="selection.id", index=True)
    application_id: str = Field(foreign_key="selection_application.id", index=True)
    expert_id: str = Field(foreign_key="selection_expert.id", index=True)
    points: dict[str, int] = Field(sa_type=JSONType)  # by criterion, 0 to 100
    comment: str = ""
    scored_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
