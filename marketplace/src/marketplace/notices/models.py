"""Tables of what people and the public are told."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import JSONType, UtcDateTime, utc_now


class PublicNotice(SQLModel, table=True):
    __tablename__ = "public_notice"
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)  # registration | selection | agreement | price | partner …
    subject: str = Field(index=True)  # id of what it is about
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # who gives notice
    title_zh: str
    title_en: str
    facts: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)  # [{label_zh, label_en, value_zh, value_en}]
    status: str = Field(default="open", index=True)  # open | passed | upheld | withdrawn
    published_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    closes_at: dt.datetime = Field(sa_type=UtcDateTime)
    closed_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Objection(SQLModel, table=True):
    """Anyone may object to a public notice. Who did is kept apart from the notice and never published."""

    __tablename__ = "objection"
    id: str = Field(primary_key=True)
    notice_id: str = Field(foreign_key="public_notice.id", index=True)
    organisation_id: str | None = Field(default=None, foreign_key="organisation.id")
    contact: str = ""
    text: str
    status: str = Field(default="open", index=True)  # open | upheld | dismissed
    answer: str = ""
    answered_by: str | None = None
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    answered_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Message(SQLModel, table=True):
    """One notice to an organisation's members, read in the page and sent by e-mail."""

    __tablename__ = "message"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    role: str | None = None  # only members with this role; None: all
    kind: str  # one of texts.KINDS
    subject: str = Field(index=True)
    params: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class MessageReading(SQLModel, table=True):
    __tablename__ = "message_reading"
    __table_args__ = (UniqueConstraint("message_id", "member_id"),)
    id: str = Field(primary_key=True)
    message_id: str = Field(foreign_key="message.id", index=True)
    member_id: str = Field(foreign_key="member.id", index=True)
    read_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class OutgoingMail(SQLModel, table=True):
    """Mail that is to be sent: written in the transaction that gives cause for it, sent by the coordinator afterwards."""

    __tablename__ = "outgoing_mail"
    id: str = Field(primary_key=True)
    recipient: str
    locale: str
    title: str
    body: str  # "" once a sealed one is handed over
    sealed: bool = False  # the body holds a secret, and is kept encrypted
    status: str = Field(default="queued", index=True)  # queued | sending | sent | unsure | failed
    attempts: int = 0
    error: str = ""  # what the mail server said last: its code, never its text
    next_attempt_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    sent_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class MailWish(SQLModel, table=True):
    """What a person said about mail; whoever said nothing gets it."""

    __tablename__ = "mail_wish"
    account_id: str = Field(primary_key=True, foreign_key="account.id")
    wanted: bool
