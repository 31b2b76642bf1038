"""Checking a job before it is queued: grant, app, parameters, resources and columns.

The nodes check all of this again for themselves; it is checked here so that a developer hears of a mistake at once, in
one sentence that names the field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import rfc8785
from pydantic import ValidationError
from sqlmodel import Session

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import NUMERIC
from marketplace.computing import errors
from marketplace.db import utc_now
from shuyan.federation import problems as federation
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, GrantedResource


@dataclass(frozen=True)
class Checked:
    """A job fit to be queued: its parameters with ``domains`` filled in, and the digest of the app it will run."""

    params: dict[str, Any]
    app_digest: str


@dataclass(frozen=True)
class Use:
    """One column a job uses. ``role`` is ``number``, ``dimension`` or ``feature`` (a number or a dimension)."""

    column: str
    role: str
    field: str


def request_digest(**body: Any) -> str:
    """What tells whether two requests are the same one.

    Raises:
        ProblemError: ``param_invalid`` if the body holds numbers JSON cannot carry (RFC 8785: NaN, integers ≥ 2^53).
    """
    return digest_of(body)


def digest_of(value: Any) -> str:
    """``sha256:<hex>`` over canonical JSON (RFC 8785)."""
    try:
        return "sha256:" + hashlib.sha256(rfc8785.dumps(value)).hexdigest()
    except (rfc8785.CanonicalizationError, RecursionError):
        raise ProblemError(errors.PARAM_INVALID, field="params", name="params") from None


def check(session: Session, organisation_id: str, *, grant_id: str, app: str, params: dict[str, Any]) -> Checked:
    """Everything that must hold for a job of ``organisation_id``; see :func:`.jobs.submit_job` for what is raised."""
    record, grant = authorisation.usable_grant(session, grant_id, utc_now())
    if record.organisation_id != organisation_id or grant.grantee != organisation_id:
        raise ProblemError(errors.GRANT_NOT_YOURS, field="grant_id")
    digest, checked = _check_app(grant, app, params)
    granted = granted_resources(grant, str(checked.get("resource", "")))
    if not granted:
        raise ProblemError(errors.RESOURCE_NOT_GRANTED, field="params.resource", resource=checked.get("resource"))
    if len(granted) < grant.minimum_participants:
        raise ProblemError(errors.TOO_FEW_DEPARTMENTS, field="params.resource", count=len(granted),
                           minimum=grant.minimum_participants)
    domains = check_columns(granted, _schemas(session, granted, grant), list(uses(checked)))
    return Checked(checked | {"domains": domains}, digest)


def granted_resources(grant: Grant, name: str) -> list[GrantedResource]:
    """The granted resources called ``name``, one a node, by node id."""
    return sorted((item for item in grant.resources if item.name == name), key=lambda item: item.node_id)


def uses(params: dict[str, Any]) -> Iterator[Use]:
    """The columns a job's parameters name. The keys mean the same in every app."""
    for position, column in enumerate(params.get("columns") or ()):
        yield Use(column, "number", f"params.columns.{position}")
    for position, histogram in enumerate(params.get("histograms") or ()):
        yield Use(histogram["column"], "number", f"params.histograms.{position}.column")
    for position, dimensions in enumerate(params.get("group_by") or ()):
        for inner, column in enumerate(dimensions):
            yield Use(column, "dimension", f"params.group_by.{position}.{inner}")
    if params.get("target"):
        yield Use(params["target"], "number", "params.target")
    for position, column in enumerate(params.get("features") or ()):
        yield Use(column, "feature", f"params.features.{position}")


def check_columns(granted: list[GrantedResource], schemas: dict[str, dict[str, dict[str, Any]]],
                  used: list[Use]) -> dict[str, list[str]]:
    """Each used column exists everywhere, is granted everywhere and has one fitting type; returns the domains.

    Args:
        schemas: node id → column name → the catalogue's description of the column.
    """
    domains: dict[str, list[str]] = {}
    for use in used:
        columns = []
        for item in granted:
            column = schemas[item.node_id].get(use.column)
            if column is None:
                raise ProblemError(federation.UNKNOWN_COLUMN, field=use.field, column=use.column)
            if use.column not in item.columns or column["identifier"]:
                raise ProblemError(federation.COLUMN_NOT_GRANTED, field=use.field, column=use.column)
            columns.append(column)
        kinds = {column["type"] for column in columns}
        numeric = kinds <= NUMERIC
        if not numeric and len(kinds) > 1:
            raise ProblemError(errors.COLUMN_TYPES_DIFFER, field=use.field, column=use.column)
        if use.role == "number" and not numeric:
            raise ProblemError(federation.WRONG_TYPE, field=use.field, column=use.column, expected="number")
        if use.role == "dimension" or (use.role == "feature" and not numeric):
            declared = {tuple(column["domain"]) for column in columns}
            if () in declared:
                raise ProblemError(federation.NOT_A_DIMENSION, field=use.field, column=use.column)
            if len({frozenset(domain) for domain in declared}) > 1:
                raise ProblemError(errors.DOMAINS_DIFFER, field=use.field, column=use.column)
            domains[use.column] = list(columns[0]["domain"])
    return domains


def _schemas(session: Session, granted: list[GrantedResource], grant: Grant) -> dict[str, dict[str, dict[str, Any]]]:
    names = {node.node_id: node.name for node in grant.nodes}
    rows = catalogue.resources_by_id(session, [item.resource_id for item in granted])
    schemas = {}
    for item in granted:
        row = rows.get(item.resource_id)
        if row is None or row.status != "active":
            raise ProblemError(errors.RESOURCE_UNAVAILABLE, field="params.resource", resource=item.name,
                               node=names.get(item.node_id, item.node_id))
        schemas[item.node_id] = {column["name"]: column for column in row.columns}
    return schemas


def _check_app(grant: Grant, name: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    # Flower costs the web tier a quarter of a second and 30 MB, so it is loaded by the first submission
    from shuyan.federation import apps

    installed = apps.installed().get(name)
    if installed is None:
        raise ProblemError(errors.APP_NOT_INSTALLED, field="app", app=name)
    if not any(item.name == name and item.digest == installed.digest for item in grant.apps):
        raise ProblemError(errors.APP_NOT_GRANTED, field="app", app=name)
    if installed.manifest.output_form not in grant.output_forms:
        raise ProblemError(errors.FORM_NOT_GRANTED, field="app", form=installed.manifest.output_form)
    model = installed.load().params_model
    try:
        # as JSON, because strict models take JSON arrays for tuples but Python lists not
        checked = model.model_validate_json(rfc8785.dumps({k: v for k, v in params.items() if k != "domains"}))
    except ValidationError as error:
        raise _param_problem(error) from None
    return installed.digest, checked.model_dump(mode="json")


def _param_problem(error: ValidationError) -> ProblemError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "params"
    code = {"missing": errors.PARAM_MISSING, "extra_forbidden": errors.PARAM_UNKNOWN}.get(first["type"])
    if code is None:
        code = errors.PARAM_WRONG_TYPE if first["type"].endswith("_type") else errors.PARAM_INVALID
    return ProblemError(code, field=f"params.{where}", name=where,
                        expected=first["type"].removesuffix("_type").removesuffix("_parsing"))
