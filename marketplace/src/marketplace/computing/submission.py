"""Checking a job before it is queued: grant, app, parameters, resources and columns.

The nodes check all of this again for themselves; it is checked here so that a developer hears of a mistake at once, in
one sentence that names the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import errors
from marketplace.db import utc_now
from marketplace.programs import service as programs
from shuyan.jobs import FILLED as FILLED
from shuyan.jobs import Department, departments_of, digest_of, field_of, fill, touched, union
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, GrantedResource

if TYPE_CHECKING:
    from marketplace.computing.probing import Probe
    from shuyan.federation.apps import AppManifest, FederatedApp, InstalledApp

__all__ = ["FILLED", "Checked", "check", "departments_of", "digest_of", "field_of", "request_digest", "touched", "union"]


@dataclass(frozen=True)
class Checked:
    """A job fit to be queued.

    Attributes:
        params: with what the departments declare filled in.
        app_digest: of the app it will run.
        question_digest: over all that the answer depends on, as far as it is known here.
        resources: names of those it reads.
        departments: node id → name of those that have every resource it reads.
        probe: what it would ask first.
        parts: what it is: see :func:`shuyan.jobs.parts_of`.
    """

    params: dict[str, Any]
    app_digest: str
    question_digest: str
    resources: list[str]
    grant: Grant
    app: FederatedApp
    departments: dict[str, str]
    manifest: AppManifest
    probe: Probe | None
    parts: dict[str, Any]


def request_digest(**body: Any) -> str:
    """What tells whether two requests are the same one.

    Raises:
        ProblemError: ``param_invalid`` if the body holds numbers JSON cannot carry (RFC 8785: NaN, integers ≥ 2^53).
    """
    return digest_of(body)


def check(session: Session, organisation_id: str, *, grant_id: str, app: str, params: dict[str, Any]) -> Checked:
    """Everything that must hold for a job of ``organisation_id``; see :func:`.jobs.submit_job` for what is raised."""
    record, grant = authorisation.usable_grant(session, grant_id, utc_now())
    if record.organisation_id != organisation_id or grant.grantee != organisation_id:
        raise ProblemError(errors.GRANT_NOT_YOURS, field="grant_id")
    installed = _granted_app(session, grant, app)
    filled = fill(installed, params, grant, lambda granted: _departments(session, granted, grant))
    probed = _probe(installed, grant, filled.params, list(filled.departments))
    digest = digest_of({
        "grant": record.digest, "app": app, "app_digest": installed.digest, "params": filled.params,
        "resources": {one.item.resource_id: digest_of(one.columns) for have in filled.tables.values() for one in have}})
    return Checked(filled.params, installed.digest, digest, sorted(filled.tables), grant, installed.load(), filled.departments,
                   installed.manifest, probed, filled.parts)


def _departments(session: Session, granted: list[GrantedResource], grant: Grant) -> list[Department]:
    names = {node.node_id: node.name for node in grant.nodes}
    rows = catalogue.resources_by_id(session, [item.resource_id for item in granted])
    found = []
    for item in granted:
        row = rows.get(item.resource_id)
        name = names.get(item.node_id, item.node_id)
        if row is None or row.status != "active":
            raise ProblemError(errors.RESOURCE_UNAVAILABLE, field="params.resource", resource=item.name, node=name)
        found.append(Department(name, item, {column["name"]: column for column in row.columns}))
    return found


def _granted_app(session: Session, grant: Grant, name: str) -> InstalledApp:
    # The very version that was granted: a later one of a developer's app may be here as well.
    for item in grant.apps:
        installed = programs.find(session, name, item.digest) if item.name == name else None
        if installed is not None:
            break
    else:
        known = name in programs.installed(session)
        raise ProblemError(errors.APP_NOT_GRANTED if known else errors.APP_NOT_INSTALLED, field="app", app=name)
    return installed


def _probe(app: InstalledApp, grant: Grant, params: dict[str, Any], departments: list[str]) -> Probe | None:
    """What the job would ask first. What the app refuses before it asks anybody is refused here."""
    if not programs.is_built_in(app.name):
        return None  # a developer's code runs shut in with its job, never here
    from marketplace.computing.probing import probe

    try:
        return probe(app, grant, params, departments)
    except ProblemError as problem:
        problem.field = f"params.{problem.field}" if problem.field else "params"
        raise
