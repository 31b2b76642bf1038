"""Tables of the parties: organisations, people's accounts and memberships, sessions, programs and what they were allowed."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel, UniqueConstraint

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


class Account(SQLModel, table=True):
    """A person, whichever organisations they belong to."""

    __tablename__ = "account"
    id: str = Field(primary_key=True)
    email: str = Field(unique=True)  # trimmed, case folded
    display_name: str
    password_hash: str | None = None  # argon2id, PHC string; None: signs in through the external provider only
    locale: str | None = None  # zh | en
    time_zone: str | None = None  # IANA name
    totp_sealed: str | None = None  # RFC 6238 secret, encrypted with the key file
    totp_pending: str | None = None  # the same, shown but not yet proven
    totp_step: int = 0  # time step of the last accepted code: none is accepted twice
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Member(SQLModel, table=True):
    """A membership: what one person is in one organisation. Ended ones are kept, for what they decided names them."""

    __tablename__ = "member"
    __table_args__ = (UniqueConstraint("account_id", "organisation_id"),)
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    roles: list[str] = Field(default_factory=list, sa_type=JSONType)
    status: str = "active"  # active | ended
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ended_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


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


class AccountSession(SQLModel, table=True):
    """A signed-in browser. The cookie holds the token, we only its hash."""

    __tablename__ = "account_session"
    id: str = Field(primary_key=True)
    token_hash: str = Field(unique=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    member_id: str | None = Field(default=None, foreign_key="member.id")  # as whom the person acts
    stage: str = "full"  # second_factor: the password was right, the code is still to come | full
    address: str = ""
    device: str = ""  # User-Agent, cut
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    last_seen_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime, index=True)  # absolute, whatever is done meanwhile
    ended_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
