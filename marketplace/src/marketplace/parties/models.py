"""Tables of the parties: organisations, their members and their programs."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel

from marketplace.db import JSONType, UtcDateTime, utc_now


class Organisation(SQLModel, table=True):
    __tablename__ = "organisation"
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)  # a party of domain.md
    name_zh: str
    name_en: str
    credit_code: str | None = Field(default=None, unique=True)  # GB 32100-2015
    status: str = "active"
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Member(SQLModel, table=True):
    __tablename__ = "member"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    email: str = Field(unique=True)
    display_name: str
    password_hash: str  # argon2id, PHC string
    roles: list[str] = Field(default_factory=list, sa_type=JSONType)
    locale: str | None = None
    session_epoch: int = 0  # raised to end every session of the member
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ApiClient(SQLModel, table=True):
    __tablename__ = "api_client"
    client_id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    name: str
    secret_hash: str
    scope: str  # space separated, RFC 6749
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    revoked_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class AccessToken(SQLModel, table=True):
    __tablename__ = "access_token"
    token_hash: str = Field(primary_key=True)  # SHA-256; the token itself is never stored
    client_id: str = Field(foreign_key="api_client.client_id", index=True)
    scope: str
    issued_at: dt.datetime = Field(sa_type=UtcDateTime)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime, index=True)
    revoked_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
