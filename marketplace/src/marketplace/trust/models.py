"""Tables of the audit log: RFC 6962 Merkle tree over canonical JSON events, checkpoints, cosignatures."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field, SQLModel

from marketplace.db import BigInt, UtcDateTime, utc_now


class AuditEvent(SQLModel, table=True):
    __tablename__ = "audit_event"
    index: int = Field(primary_key=True, sa_type=BigInt, sa_column_kwargs={"autoincrement": False})  # leaf index
    tag: str = Field(index=True)
    subject: str = Field(index=True)
    leaf: str  # canonical JSON (RFC 8785): {at, tag, actor, subject, related, data}
    leaf_hash: str
    at: dt.datetime = Field(sa_type=UtcDateTime)


class AuditSubject(SQLModel, table=True):
    """Which events speak of which thing: an event belongs to its subject and to everything in ``related``."""

    __tablename__ = "audit_subject"
    subject: str = Field(primary_key=True)
    index: int = Field(primary_key=True, sa_type=BigInt, foreign_key="audit_event.index",
                       sa_column_kwargs={"autoincrement": False})


class MerkleNode(SQLModel, table=True):
    """Hashes of complete subtrees only: level 0 are leaves, ``index`` counts within the level."""

    __tablename__ = "merkle_node"
    level: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    index: int = Field(primary_key=True, sa_type=BigInt, sa_column_kwargs={"autoincrement": False})
    hash: str


class LogHead(SQLModel, table=True):
    """One row: the size of the log. Locked by whoever appends."""

    __tablename__ = "log_head"
    id: int = Field(default=1, primary_key=True)
    size: int = Field(default=0, sa_type=BigInt)


class Checkpoint(SQLModel, table=True):
    __tablename__ = "checkpoint"
    size: int = Field(primary_key=True, sa_type=BigInt, sa_column_kwargs={"autoincrement": False})
    root: str
    note: str  # C2SP signed note, without cosignatures
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Cosignature(SQLModel, table=True):
    __tablename__ = "cosignature"
    size: int = Field(primary_key=True, sa_type=BigInt, foreign_key="checkpoint.size",
                      sa_column_kwargs={"autoincrement": False})
    node_id: str = Field(foreign_key="node.id", primary_key=True)
    line: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
