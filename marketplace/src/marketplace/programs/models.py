"""Tables of developers' apps: whose a name is, and every package that was ever submitted under it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import LargeBinary
from sqlmodel import Field, SQLModel

from marketplace.db import JSONType, UtcDateTime, utc_now


class DeveloperApp(SQLModel, table=True):
    """A name, taken by the first package submitted under it, for good."""

    __tablename__ = "developer_app"
    name: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class AppSubmission(SQLModel, table=True):
    """One package on its way through review, or past it."""

    __tablename__ = "app_submission"
    id: str = Field(primary_key=True)
    name: str = Field(foreign_key="developer_app.name", index=True)
    version: str
    digest: str = Field(index=True)  # sha256:<hex> of the package file, computed here
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    submitted_by: str  # member or client id
    title_zh: str
    title_en: str
    output_form: str  # statistics | model
    size: int
    findings: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)  # [{path, line, rule, zh, en}]
    status: str = Field(default="submitted", index=True)  # submitted | returned | rejected | withdrawn | accepted | retired
    note: str = ""  # what the developer, then the reviewer had to say
    decided_by: str | None = None
    decided_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    signature: str | None = None  # the operator's compact JWS over name, version and digest
    signer: str | None = None
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class AppPackage(SQLModel, table=True):
    """A package file's bytes. Apart from the submission, so that lists do not read them."""

    __tablename__ = "app_package"
    submission_id: str = Field(primary_key=True, foreign_key="app_submission.id")
    data: bytes = Field(sa_type=LargeBinary)
