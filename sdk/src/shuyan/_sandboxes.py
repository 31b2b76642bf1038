"""Sandboxes at the market: opening them, what they work on, the runs that were told, and approved marginals."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import Field

from shuyan._collection import Collection
from shuyan._models import Record


class SandboxInfo(Record):
    """A scenario's sandbox. ``quota`` is ``{runs_a_day, runs_today, rows, storage_mb}``; ``basis`` the approved list it has,
    ``{kind, id}``, or ``None`` while nothing is approved."""

    id: str
    scenario_id: str
    organisation_id: str
    title: str = ""
    status: str
    basis: dict[str, str] | None = None
    quota: dict[str, int] = Field(default_factory=dict)
    created_at: dt.datetime | None = None


class SandboxRun(Record):
    """A run on mock data, as it was told to the market; ``digest`` is the job's."""

    id: str
    sandbox_id: str
    app: str
    app_digest: str
    params: dict[str, Any] = Field(default_factory=dict)
    resources: dict[str, list[str]] = Field(default_factory=dict)
    digest: str
    description_digest: str = ""
    rows: int = 0
    status: str
    error_code: str | None = None
    duration_ms: int | None = None
    jobs: list[str] = Field(default_factory=list)
    """Jobs that were submitted on the strength of it."""
    created_at: dt.datetime | None = None


class Marginals(Record):
    """How a resource's values spread, as its node offered and its department decided on."""

    resource_id: str
    status: str
    digest: str
    method: str
    epsilon: float | None = None
    columns: list[dict[str, Any]] = Field(default_factory=list)
    note: str = ""
    measured_at: dt.datetime | None = None
    decided_at: dt.datetime | None = None


class Sandboxes(Collection[SandboxInfo]):
    """Sandboxes of scenarios; :meth:`shuyan.Market.sandbox` works in one."""

    _path, _kind = "/sandboxes", SandboxInfo

    def open(self, scenario_id: str) -> SandboxInfo:
        """The sandbox of a scenario, opened if there is none; it needs an approved demand."""
        return self._record(self._api.post(self._path, {"scenario_id": scenario_id}))

    def description(self, id: str) -> dict[str, Any]:
        """What it works on: ``{description, digest}``; see :mod:`shuyan.mockdata`."""
        found: dict[str, Any] = self._api.get(f"{self._path}/{quote(id, safe='')}/description")
        return found

    def close(self, id: str) -> SandboxInfo:
        """Stop using it; its runs stay on record, and it can be reopened."""
        return self._do(id, "close")

    def reopen(self, id: str) -> SandboxInfo:
        return self._do(id, "reopen")

    def runs(self, id: str, *, limit: int | None = None) -> builtins.list[SandboxRun]:
        """Its runs, newest first."""
        return [SandboxRun.model_validate(item) for item in self._api.pages(f"{self._path}/{quote(id, safe='')}/runs", limit=limit)]

    def begin(self, id: str, parts: Mapping[str, Any], digest: str, *, description_digest: str, rows: int) -> SandboxRun:
        """Tell of a run before it begins; it counts against the quota from now on.

        Args:
            parts: what the job is: :func:`shuyan.jobs.parts_of`; ``digest`` is over it.
        """
        return SandboxRun.model_validate(self._api.post(f"{self._path}/{quote(id, safe='')}/runs", {
            **parts, "digest": digest, "description_digest": description_digest, "rows": rows}))

    def finish(self, run: SandboxRun, *, duration_ms: int, error_code: str | None = None, result_digest: str | None = None) -> SandboxRun:
        """Tell how it ended: with a result, or with an error."""
        body = {"duration_ms": duration_ms, **({"error_code": error_code} if error_code else {"result_digest": result_digest})}
        return SandboxRun.model_validate(self._api.post(
            f"{self._path}/{quote(run.sandbox_id, safe='')}/runs/{quote(run.id, safe='')}/finish", body))


class MarginalsOf:
    """Marginals of resources, and deciding on those of one's own. For departments; developers see the approved ones."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def get(self, resource_id: str) -> Marginals:
        return Marginals.model_validate(self._api.get(f"/resources/{quote(resource_id, safe='')}/marginals"))

    def approve(self, resource_id: str, digest: str) -> Marginals:
        """Let sandboxes have them; ``digest`` is of those that were looked at."""
        return self._decide(resource_id, "approve", {"digest": digest})

    def refuse(self, resource_id: str, note: str) -> Marginals:
        return self._decide(resource_id, "refuse", {"note": note})

    def withdraw(self, resource_id: str, note: str) -> Marginals:
        """Take approved ones back; no sandbox is told of them from now on."""
        return self._decide(resource_id, "withdraw", {"note": note})

    def _decide(self, resource_id: str, action: str, body: dict[str, str]) -> Marginals:
        return Marginals.model_validate(self._api.post(f"/resources/{quote(resource_id, safe='')}/marginals/{action}", body))
