"""REST: sandboxes of scenarios, the runs told of, and marginals that departments decide on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field
from sqlmodel import Session

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, PathIn, Time, listing
from marketplace.computing import service as computing
from marketplace.sandboxes import service as sandboxes

api = blueprint("sandboxes")

_DIGEST = r"^sha256:[0-9a-f]{64}$"


class SandboxIn(In):
    scenario_id: str = Field(max_length=64)


class SandboxQuery(PageQuery):
    status: str | None = Field(None, max_length=20)
    scenario_id: str | None = Field(None, max_length=64)


class QuotaOut(Out):
    runs_a_day: int
    runs_today: int = Field(description="Begun since the city's midnight.")
    rows: int = Field(description="Of mock data a resource of a department, at most.")
    storage_mb: int = Field(description="Of files on the developer's machine.")


class SandboxOut(Out):
    id: str
    scenario_id: str
    organisation_id: str
    title: str
    status: Literal["open", "closed"]
    created_at: Time


class SandboxDetailOut(SandboxOut):
    quota: QuotaOut
    basis: dict[str, str] | None = Field(description="{kind, id} of the approved list it has; null where nothing is approved, or it is not yours.")
    actions: list[str] = Field(description="What the caller may do now.")


class DescriptionOut(Out):
    description: dict[str, Any] = Field(description="Approved resources and columns, declarations, approved marginals, terms, seed.")
    digest: str = Field(description="Over it, without the quota.")


class RunIn(In):
    app: str = Field(min_length=1, max_length=64)
    app_digest: str = Field(pattern=_DIGEST)
    params: dict[str, Any] = Field(description="Without what departments declare.")
    resources: dict[str, list[str]] = Field(description="By name, the columns that are read, sorted.")
    digest: str = Field(pattern=_DIGEST, description="Over the canonical JSON (RFC 8785) of the four above.")
    description_digest: str = Field(pattern=_DIGEST)
    rows: int = Field(ge=1, le=2**31 - 1, description="Of mock data a resource of a department.")


class FinishIn(In):
    duration_ms: int = Field(ge=0, le=2**31 - 1)
    error_code: str | None = Field(None, max_length=64, pattern=r"^[a-z0-9_]+$", description="Why it failed; without it, it succeeded.")
    result_digest: str | None = Field(None, pattern=_DIGEST)


class RunOut(Out):
    id: str
    sandbox_id: str
    app: str
    app_digest: str
    params: dict[str, Any]
    resources: dict[str, list[str]]
    digest: str
    description_digest: str
    rows: int
    status: Literal["running", "succeeded", "failed"]
    error_code: str | None
    duration_ms: int | None
    result_digest: str | None
    jobs: list[str] = Field(description="Jobs that were submitted as this run, unchanged.")
    created_at: Time
    finished_at: Time | None


class RunPath(PathIn):
    id: str = Field(max_length=64)
    run_id: str = Field(max_length=64)


class MarginalsOut(Out):
    resource_id: str
    organisation_id: str
    status: str
    method: Literal["measured", "declared"] = Field(description="At the node with noise and small cells left out, or written by hand.")
    epsilon: float | None
    columns: list[dict[str, Any]] = Field(description="{name, labels | edges | days, weights}; weights in per mille.")
    digest: str
    note: str
    measured_at: Time
    offered_at: Time
    decided_at: Time | None


class MarginalsDetailOut(MarginalsOut):
    actions: list[str]


class ApproveIn(In):
    digest: str = Field(pattern=_DIGEST, description="Of the marginals that were looked at.")


class NoteIn(In):
    note: str = Field("", max_length=2000)


def _detail(session: Session, row: Any) -> dict[str, Any]:
    found = sandboxes.basis_of(session, actor(), row)
    basis = {"kind": found[0], "id": found[1]} if found is not None else None
    return {**SandboxOut.of(row), "quota": asdict(sandboxes.use_of(session, row)), "basis": basis, "actions": sandboxes.actions(actor(), row)}


def _marginals(row: Any) -> dict[str, Any]:
    return {**MarginalsOut.of(row), "actions": sandboxes.marginals_actions(actor(), row)}


def _run(row: Any, jobs: dict[str, list[str]]) -> dict[str, Any]:
    return RunOut.of(row, jobs=jobs.get(row.id, []))


@api.post("/sandboxes", summary="The sandbox of one's scenario, opened if there is none", responses={201: SandboxDetailOut})
@scope("jobs")
def open_sandbox(body: SandboxIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return _detail(session, sandboxes.open_sandbox(session, actor(), body.scenario_id)), 201


@api.get("/sandboxes", summary="Sandboxes, newest first", responses={200: Listing[SandboxOut]})
@scope("read")
def list_sandboxes(query: SandboxQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = sandboxes.list_sandboxes(session, actor(), status=query.status, scenario_id=query.scenario_id, cursor=query.cursor,
                                        limit=query.limit)
        return listing([SandboxOut.of(row) for row in page.items], page.next)


@api.get("/sandboxes/<id>", summary="One sandbox: state, quota, what it rests on", responses={200: SandboxDetailOut})
@scope("read")
def get_sandbox(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return _detail(session, sandboxes.get_sandbox(session, actor(), path.id))


@api.get("/sandboxes/<id>/description", summary="What a sandbox works on; for its tenant alone", responses={200: DescriptionOut})
@scope("jobs")
def get_description(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        told = sandboxes.describe(session, actor(), path.id)
        return {"description": told.model_dump(mode="json"), "digest": told.digest}


@api.post("/sandboxes/<id>/close", summary="Stop using a sandbox; its runs stay on record", responses={200: SandboxDetailOut})
@scope("jobs")
def close_sandbox(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _detail(session, sandboxes.close_sandbox(session, actor(), path.id))


@api.post("/sandboxes/<id>/reopen", summary="Use a closed sandbox again", responses={200: SandboxDetailOut})
@scope("jobs")
def reopen_sandbox(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _detail(session, sandboxes.reopen_sandbox(session, actor(), path.id))


@api.get("/sandboxes/<id>/runs", summary="Runs in a sandbox, newest first", responses={200: Listing[RunOut]})
@scope("read")
def list_runs(path: IdPath, query: PageQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = sandboxes.list_runs(session, actor(), path.id, cursor=query.cursor, limit=query.limit)
        jobs = computing.jobs_of_runs(session, [row.id for row in page.items])
        return listing([_run(row, jobs) for row in page.items], page.next)


@api.post("/sandboxes/<id>/runs", summary="Tell of a run before it begins; it counts against the day's quota", responses={201: RunOut})
@scope("jobs")
def begin_run(path: IdPath, body: RunIn) -> tuple[dict[str, Any], int]:
    parts = {"app": body.app, "app_digest": body.app_digest, "params": body.params, "resources": body.resources}
    with db.transaction() as session:
        return _run(sandboxes.begin_run(session, actor(), path.id, parts=parts, digest=body.digest,
                                        description_digest=body.description_digest, rows=body.rows), {}), 201


@api.post("/sandboxes/<id>/runs/<run_id>/finish", summary="Tell how a run ended", responses={200: RunOut})
@scope("jobs")
def finish_run(path: RunPath, body: FinishIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _run(sandboxes.finish_run(session, actor(), path.id, path.run_id, duration_ms=body.duration_ms,
                                         error_code=body.error_code, result_digest=body.result_digest), {})


@api.get("/resources/<id>/marginals", summary="How a resource's values spread, as its node sent it; for its department",
         responses={200: MarginalsDetailOut})
@scope("read")
def get_marginals(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return _marginals(sandboxes.get_marginals(session, actor(), path.id))


@api.post("/resources/<id>/marginals/approve", summary="Let sandboxes make mock data of them", responses={200: MarginalsDetailOut})
@scope("review")
def approve_marginals(path: IdPath, body: ApproveIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _marginals(sandboxes.decide_marginals(session, actor(), path.id, "approve", digest=body.digest))


@api.post("/resources/<id>/marginals/refuse", summary="Keep them from sandboxes", responses={200: MarginalsDetailOut})
@scope("review")
def refuse_marginals(path: IdPath, body: NoteIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _marginals(sandboxes.decide_marginals(session, actor(), path.id, "refuse", note=body.note))


@api.post("/resources/<id>/marginals/withdraw", summary="Take approved ones back", responses={200: MarginalsDetailOut})
@scope("review")
def withdraw_marginals(path: IdPath, body: NoteIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _marginals(sandboxes.decide_marginals(session, actor(), path.id, "withdraw", note=body.note))
