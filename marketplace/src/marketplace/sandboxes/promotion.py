"""From a sandbox to the nodes: a job that must have been tried is let through only as it was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select

from marketplace.authorisation import service as authorisation
from marketplace.programs import service as programs
from marketplace.sandboxes import errors, rules
from marketplace.sandboxes.models import Sandbox, SandboxRun
from marketplace.settings import settings
from shuyan.jobs import changed, digest_of
from shuyan.problems import ProblemError


def tried(session: Session, organisation_id: str, grant_id: str, parts: Mapping[str, Any], run_id: str = "") -> str | None:
    """The run in its scenario's sandbox that a job is, unchanged; ``None`` if there is none and none is needed.

    Args:
        parts: what the job is: :func:`shuyan.jobs.parts_of`.
        run_id: the run it is said to be; without it any that succeeded with the same digest.

    Raises:
        ProblemError: ``not_found``; ``not_tried_in_sandbox``; ``changed_since_sandbox``, naming what changed.
    """
    scenario_id, digest = authorisation.scenario_of_grant(session, grant_id), digest_of(dict(parts))
    if run_id:
        run = session.get(SandboxRun, run_id)
        if run is None or run.organisation_id != organisation_id:
            raise ProblemError("not_found", what="sandbox_run", field="sandbox_run")
        if run.status != "succeeded" or session.get_one(Sandbox, run.sandbox_id).scenario_id != scenario_id:
            raise ProblemError(errors.NOT_TRIED, field="sandbox_run")
        if run.digest != digest:
            raise ProblemError(errors.CHANGED, field="sandbox_run", what=changed(run.parts, parts))
        return run.id
    found = session.exec(select(SandboxRun.id).join(Sandbox, col(Sandbox.id) == col(SandboxRun.sandbox_id)).where(
        Sandbox.scenario_id == scenario_id, SandboxRun.organisation_id == organisation_id, SandboxRun.digest == digest,
        SandboxRun.status == "succeeded").order_by(col(SandboxRun.id).desc()).limit(1)).first()
    if found is None and rules.must_be_tried(settings().sandbox_required, programs.is_built_in(str(parts["app"]))):
        raise ProblemError(errors.NOT_TRIED, field="app")
    return found
