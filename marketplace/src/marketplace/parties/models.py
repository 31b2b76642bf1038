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
    email_verified_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)  # None: nobody has proved to read its mail
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Member(SQLModel, table=True):
    """A membership: what one person is in one organisation. Ended ones are kept, for what they decided names them."""

    __tablename__ = "member"
    __table_args__ = (UniqueConstraint("account_id", "organisation_id"),)
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    roles: list[str] = Field(default_factory=list, sa_type=JSONType)
    status: str = "active"  # active | suspended | ended
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ended_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ApiClient(SQLModel, table=True):
    __tablename__ = "api_client"
    client_id: str = Field(primary_key=True)
    organisation_id: str | None = Field(default=None, foreign_key="organisation.id", index=True)  # None: comes with the product
    name: str
    secret_hash: str | None = None  # None: a public client, which can keep no secret (RFC 6749, section 2.1)
    scope: str  # space separated, RFC 6749
    grants: list[str] = Field(default_factory=lambda: ["client_credentials"], sa_type=JSONType)
    redirect_uris: list[str] = Field(default_factory=list, sa_type=JSONType)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    revoked_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class AccessToken(SQLModel, table=True):
    __tablename__ = "access_token"
    token_hash: str = Field(primary_key=True)  # SHA-256; the token itself is never stored
    client_id: str = Field(foreign_key="api_client.client_id", index=True)
    connection_id: str | None = Field(default=None, foreign_key="app_connection.id", index=True)  # None: the program's own
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


class GuessCounter(SQLModel, table=True):
    """Attempts that may be guesses, counted by what they aim at or come from; keys are digests."""

    __tablename__ = "guess_counter"
    key: str = Field(primary_key=True)
    attempts: int = 0
    last_at: dt.datetime = Field(sa_type=UtcDateTime, index=True)
    blocked_until: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class RecoveryCode(SQLModel, table=True):
    __tablename__ = "recovery_code"
    code_hash: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    used_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ResetLink(SQLModel, table=True):
    """A mailed link with which a forgotten password can be replaced, once."""

    __tablename__ = "reset_link"
    token_hash: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    used_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class EmailChange(SQLModel, table=True):
    """A link mailed to the address that a person wants, with which it becomes theirs, once."""

    __tablename__ = "email_change"
    token_hash: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    email: str
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    used_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class MemberInvitation(SQLModel, table=True):
    """An organisation's mailed invitation to a person."""

    __tablename__ = "member_invitation"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    email: str
    roles: list[str] = Field(default_factory=list, sa_type=JSONType)
    token_hash: str = Field(unique=True)  # of the mailed link: who follows it reads the mail
    link_hash: str = Field(unique=True)  # of the link shown to the administrator, which proves nothing
    status: str = "open"  # open | accepted | withdrawn
    invited_by: str
    member_id: str | None = Field(default=None, foreign_key="member.id")  # what became of it
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    closed_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ExternalIdentity(SQLModel, table=True):
    """A person as the external OpenID provider knows them."""

    __tablename__ = "external_identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)
    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    issuer: str
    subject: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class AppConnection(SQLModel, table=True):
    """What one person allowed one app, as one of their memberships; every token that came of it belongs to it."""

    __tablename__ = "app_connection"
    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    member_id: str = Field(foreign_key="member.id", index=True)
    client_id: str = Field(foreign_key="api_client.client_id", index=True)
    scope: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    issued_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)  # of its last token
    revoked_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class RefreshToken(SQLModel, table=True):
    __tablename__ = "refresh_token"
    token_hash: str = Field(primary_key=True)
    connection_id: str = Field(foreign_key="app_connection.id", index=True)
    scope: str
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    used_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class AuthorisationCode(SQLModel, table=True):
    __tablename__ = "authorisation_code"
    code_hash: str = Field(primary_key=True)
    connection_id: str = Field(foreign_key="app_connection.id", index=True)
    client_id: str
    redirect_uri: str
    code_challenge: str  # S256 always
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    used_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class DeviceCode(SQLModel, table=True):
    __tablename__ = "device_code"
    device_hash: str = Field(primary_key=True)
    user_code: str = Field(unique=True)
    client_id: str = Field(foreign_key="api_client.client_id")
    scope: str
    status: str = "pending"  # pending | approved | denied | used
    connection_id: str | None = Field(default=None, foreign_key="app_connection.id")
    interval: int = 5  # seconds between polls
    polled_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
