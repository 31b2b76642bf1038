"""Tables of computing: nodes, jobs, their runs, outputs and egress reviews."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import LargeBinary
from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import BigInt, JSONType, UtcDateTime, utc_now


class NodeInvitation(SQLModel, table=True):
    __tablename__ = "node_invitation"
    code_hash: str = Field(primary_key=True)  # SHA-256 of the one-time code
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    node_name: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    expires_at: dt.datetime = Field(sa_type=UtcDateTime)
    used_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Node(SQLModel, table=True):
    __tablename__ = "node"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    name: str
    status: str = "active"  # active | revoked
    certificate_pem: str
    certificate_serial: str = Field(unique=True)
    signing_key: str  # base64url raw Ed25519
    agreement_key: str  # base64url raw X25519
    apps: list[dict[str, str]] = Field(default_factory=list, sa_type=JSONType)  # [{name, digest}] allow-listed there
    software_version: str = ""
    connected: bool = False
    connected_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_seen_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    revocations_seen: int = 0
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    revoked_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Job(SQLModel, table=True):
    __tablename__ = "job"
    __table_args__ = (UniqueConstraint("organisation_id", "idempotency_key"),)
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    submitted_by: str  # member or client id
    grant_id: str = Field(foreign_key="grant_record.id", index=True)
    title: str = ""
    app_name: str
    app_digest: str
    params: dict[str, Any] = Field(sa_type=JSONType)
    resources: list[str] = Field(default_factory=list, sa_type=JSONType)  # names of what it reads
    status: str = Field(default="queued", index=True)  # see computing.rules.JOB
    round: int = 0
    rounds: int = 0
    error_code: str | None = None
    error_args: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)
    cancel_requested: bool = False
    # node id -> id of the approval its department has to give before the job can go on
    waiting_for: dict[str, str] = Field(default_factory=dict, sa_type=JSONType)
    idempotency_key: str
    request_digest: str
    # sha256:<hex> of what is asked of what, see computing.submission; "": from before this was written down
    question_digest: str = Field(default="", index=True)
    sandbox_run_id: str | None = None  # the run in its scenario's sandbox that it is, unchanged
    reused_from: str | None = None  # the job whose stored result this one has
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    started_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Run(SQLModel, table=True):
    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("job_id", "attempt"),)
    id: str = Field(primary_key=True)
    job_id: str = Field(foreign_key="job.id", index=True)
    attempt: int
    participants: list[str] = Field(default_factory=list, sa_type=JSONType)  # node ids
    status: str = "running"  # running | finished | failed | cancelled | interrupted | waiting (ended, for an approval)
    error_code: str | None = None
    started_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    finished_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class RunRound(SQLModel, table=True):
    """A finished round of a job under way: from here a restarted coordinator goes on. Gone once the job has ended."""

    __tablename__ = "run_round"
    job_id: str = Field(foreign_key="job.id", primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    participants: list[str] = Field(sa_type=JSONType)  # node ids
    sums: bytes = Field(sa_type=LargeBinary)  # shuyan.federation.rounds.StoredRound
    size: int  # bytes of it
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class NodeBudget(SQLModel, table=True):
    """What may still be spent of privacy at a node, as the node said last; the node's own ledger is what counts."""

    __tablename__ = "node_budget"
    node_id: str = Field(foreign_key="node.id", primary_key=True)
    scope: str = Field(primary_key=True)  # resource | grantee | grant
    resource: str = Field(primary_key=True)  # its name on the node; "" for a grant, which covers all of its resources
    grantee: str = Field(primary_key=True)  # organisation id; "" for a resource's own budget
    grant_id: str = Field(primary_key=True)  # of scope grant only
    cap_nano: int = Field(sa_type=BigInt)  # 1e-9 of zCDP's ρ
    spent_nano: int = Field(sa_type=BigInt)  # in the present period
    renewal: str  # never | monthly | quarterly | yearly
    renews_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    delta: float  # the δ at which ε is to be shown
    told_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class JobLog(SQLModel, table=True):
    __tablename__ = "job_log"
    job_id: str = Field(foreign_key="job.id", primary_key=True)
    sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    level: str = "info"  # info | warning | error
    code: str  # a key of computing.progress.LINES, translated for the reader
    args: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)


class JobOutput(SQLModel, table=True):
    __tablename__ = "job_output"
    id: str = Field(primary_key=True)
    job_id: str = Field(foreign_key="job.id", unique=True)
    run_id: str = Field(foreign_key="run.id")
    form: str  # "statistics" | "model"
    content: dict[str, Any] = Field(sa_type=JSONType)
    digest: str  # sha256:<hex> over the canonical JSON of content
    participants: list[str] = Field(sa_type=JSONType)  # node ids whose data is in it
    rows: int = Field(sa_type=BigInt)  # the smallest cohort of its rounds, over all participants
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    disposed_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)  # its content was deleted at the end of its life


class EgressReview(SQLModel, table=True):
    __tablename__ = "egress_review"
    id: str = Field(primary_key=True)
    job_id: str = Field(foreign_key="job.id", unique=True)
    output_id: str = Field(foreign_key="job_output.id", unique=True)
    checks: list[dict[str, Any]] = Field(sa_type=JSONType)  # [{code, passed, args}]
    report: dict[str, Any] | None = Field(default=None, sa_type=JSONType)  # egress.report.build; None: from before there was one
    status: str = Field(default="pending", index=True)  # pending | approved | rejected
    decided_by: str | None = None
    decided_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    note: str = ""
    override_reason: str = ""  # why it was approved although the report has findings that stand against it
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class EgressOpinion(SQLModel, table=True):
    """What one of those who decide a review together is asked, and has said."""

    __tablename__ = "egress_opinion"
    __table_args__ = (UniqueConstraint("review_id", "organisation_id"),)
    id: str = Field(primary_key=True)
    review_id: str = Field(foreign_key="egress_review.id", index=True)
    party: str  # in what capacity it is asked
    # None: any organisation that is this party, until one has decided
    organisation_id: str | None = Field(default=None, foreign_key="organisation.id", index=True)
    decision: str = "pending"  # pending | approved | rejected | passed_on (to the data authority)
    decided_by: str | None = None
    decided_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    note: str = ""
    override_reason: str = ""  # why it agrees although the report has findings that stand against it
    due_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)  # None: asked before opinions were due
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
