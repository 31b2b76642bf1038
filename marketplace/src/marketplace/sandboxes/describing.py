"""What a sandbox is told: approved columns as the catalogue declares them, missing shares, approved marginals, terms."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.clock import CITY
from marketplace.sandboxes import errors, marginals
from marketplace.sandboxes.models import Sandbox
from marketplace.settings import settings
from shuyan.mockdata import Described, Description, MadeColumn, Marginal, Quota, Terms, kind_of
from shuyan.mockdata.description import Department
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant


def quota() -> Quota:
    """What every sandbox may use."""
    config = settings()
    return Quota(runs_a_day=config.sandbox_runs_a_day, rows=config.sandbox_rows, storage_mb=config.sandbox_storage_mb)


def describe(session: Session, box: Sandbox) -> Description:
    """A sandbox's description as of now.

    Raises:
        ProblemError: ``sandbox_nothing_approved``.
    """
    found = authorisation.approved(session, box.scenario_id)
    if found is None:
        raise ProblemError(errors.NOTHING_APPROVED)
    grant = found.grant
    rows = catalogue.resources_by_id(session, [item.resource_id for item in grant.resources])
    spread = marginals.approved(session, rows)
    units = grant.privacy.unit_columns if grant.privacy is not None else {}
    resources = []
    for item in grant.resources:
        row = rows.get(item.resource_id)
        if row is None or row.status != "active":
            continue
        missing = {one["name"]: 100 - int(one["completeness"]) for one in (row.profile or {}).get("columns", ())}
        columns = [_column(one, granted=one["name"] in item.columns, missing=missing.get(one["name"], 0),
                           marginal=spread.get(row.id, {}).get(one["name"]))
                   for one in row.columns
                   if (one["name"] in item.columns and not one["identifier"]) or one["name"] == units.get(item.name)]
        if any(column.granted for column in columns):
            resources.append(Described(resource_id=row.id, node_id=item.node_id, name=item.name, title=row.title, columns=tuple(columns)))
    if not resources:
        raise ProblemError(errors.NOTHING_APPROVED)
    months = [str((row.profile or {}).get("latest_month") or "") for row in rows.values()]
    return Description(
        sandbox=box.id, scenario=box.scenario_id, title=box.title, basis=found.kind, basis_id=found.id, seed=box.seed,
        until=_until(max(months, default=""), box.created_at).isoformat(), terms=_terms(grant),
        departments=tuple(Department(node_id=node.node_id, name=node.name) for node in grant.nodes), resources=tuple(resources),
        quota=quota())


def _column(row: Mapping[str, Any], *, granted: bool, missing: int, marginal: Marginal | None) -> MadeColumn:
    wordy = row["type"] == "string" and not row["domain"]
    body: dict[str, Any] = {
        "name": row["name"], "type": row["type"], "title": row.get("title") or "", "identifier": bool(row["identifier"]),
        "domain": tuple(row["domain"]), "unit": str(row.get("unit") or ""), "classification": row.get("classification") or "",
        **{bound: row.get(bound) for bound in ("lower", "upper", "resolution")},
        "kind": kind_of([row["name"], row.get("title") or "", row.get("element") or ""]) if wordy else "",
        "required": bool(row.get("required")), "missing": 0 if row["identifier"] or row.get("required") else missing, "granted": granted}
    try:
        return MadeColumn(**body, marginal=marginal)
    except ValidationError:  # declared anew since it was approved
        return MadeColumn(**body)


def _terms(grant: Grant) -> Terms:
    return Terms(**{name: getattr(grant, name) for name in (
        "purpose", "grantee", "apps", "minimum_cohort", "minimum_participants", "output_forms", "max_output_values", "release",
        "privacy", "own_figures", "sole_values")})


def _until(month: str, opened: dt.datetime) -> dt.date:
    """The last day that mock dates fall on: of the latest month measured, else the day the sandbox was opened."""
    try:
        year, number = (int(part) for part in month.split("-"))
        return dt.date(year, number, calendar.monthrange(year, number)[1])
    except ValueError:
        return opened.astimezone(CITY).date()
