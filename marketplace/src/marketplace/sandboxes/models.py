"""Tables of sandboxes: one a scenario, the runs that were told of, and what departments approved of how values spread."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field, SQLModel

from marketplace.db import JSONType, UtcDateTime, utc_now


class Sandbox(SQLModel, table=True):
    __tablename__ = "sandbox"
    id: str = Field(primary_key=True)
    scenario_id: str = Field(foreign_key="scenario.id", unique=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    title: str
    seed: str  # of its mock data, random
    status: str = "open"  # see rules.SANDBOX
    opened_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class SandboxRun(SQLModel, table=True):
    """A run on mock data, as its developer told of it. What a job is stands here; nothing of data or results does."""

    __tablename__ = "sandbox_run"
    id: str = Field(primary_key=True)
    sandbox_id: str = Field(foreign_key="sandbox.id", index=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    submitted_by: str
    app: str
    app_digest: str
    params: dict[str, Any] = Field(sa_type=JSONType)
    resources: dict[str, Any] = Field(sa_type=JSONType)  # name -> columns
    digest: str = Field(index=True)  # shuyan.jobs.digest_of(parts)
    description_digest: str
    rows: int
    status: str = "running"  # see rules.RUN
    error_code: str | None = None
    duration_ms: int | None = None
    result_digest: str | None = None
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    finished_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)

    @property
    def parts(self) -> dict[str, Any]:
        """What the job is; see :func:`shuyan.jobs.parts_of`."""
        return {"app": self.app, "app_digest": self.app_digest, "params": self.params, "resources": self.resources}


class ResourceMarginals(SQLModel, table=True):
    """How a resource's values spread, as its node sent it after its administrator approved that."""

    __tablename__ = "resource_marginals"
    resource_id: str = Field(primary_key=True, foreign_key="data_resource.id")
    organisation_id: str = Field(foreign_key="organisation.id", index=True)  # the department
    status: str = Field(default="offered", index=True)  # see rules.MARGINALS
    method: str  # measured: with noise, small cells left out | declared: written by hand
    epsilon: float | None = None
    columns: list[dict[str, Any]] = Field(sa_type=JSONType)  # [{name, labels | edges | days, weights}]
    digest: str
    measured_at: dt.datetime = Field(sa_type=UtcDateTime)
    offered_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    decided_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    decided_by: str | None = None
    note: str = ""
