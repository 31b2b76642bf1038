"""Checking a job before it is queued: grant, app, parameters, resources and columns.

The nodes check all of this again for themselves; it is checked here so that a developer hears of a mistake at once, in
one sentence that names the field.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from shuyan.federation.apps import FederatedApp, InstalledApp

Schemas = dict[str, dict[str, dict[str, Any]]]
"""Node id → column name → the catalogue's description of the column."""


@dataclass(frozen=True)
class Checked:
    """A job fit to be queued: its parameters with ``domains`` filled in, and the digest of the app it will run."""

    params: dict[str, Any]
    app_digest: str


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
    installed = _granted_app(grant, app)
    model = installed.load()
    checked = _validated(model, params)
    resource = str(checked.get("resource", ""))
    granted = granted_resources(grant, resource)
    if not granted:
        raise ProblemError(errors.RESOURCE_NOT_GRANTED, field="params.resource", resource=resource)
    if len(granted) < grant.minimum_participants:
        raise ProblemError(errors.TOO_FEW_DEPARTMENTS, field="params.resource", count=len(granted),
                           minimum=grant.minimum_participants)
    return Checked(with_domains(model, checked, granted, _schemas(session, granted, grant)), installed.digest)


def granted_resources(grant: Grant, name: str) -> list[GrantedResource]:
    """The granted resources called ``name``, one a node, by node id."""
    return sorted((item for item in grant.resources if item.name == name), key=lambda item: item.node_id)


def with_domains(app: FederatedApp, params: dict[str, Any], granted: list[GrantedResource],
                 schemas: Schemas) -> dict[str, Any]:
    """``params`` with the declared values of every dimension, having checked every column they touch.

    Raises:
        ProblemError: see :func:`check_column`, with ``field`` naming where the column stands in ``params``.
    """
    columns = {}
    for name, _ in app.needs(app.params(params)):
        columns[name] = check_column(name, granted, schemas, field_of(params, name))
    # A column of words with declared values may be a category of a model; whether it is, the app says once it has them.
    wordy = {name: list(column["domain"]) for name, column in columns.items()
             if column["type"] not in NUMERIC and column["domain"]}
    domains = {}
    for name, need in app.needs(app.params(params | {"domains": wordy})):
        column, field = columns[name], field_of(params, name)
        if need == "number" and column["type"] not in NUMERIC:
            raise ProblemError(federation.WRONG_TYPE, field=field, column=name, expected="number")
        if need in ("dimension", "category"):
            if not column["domain"]:
                raise ProblemError(federation.NOT_A_DIMENSION, field=field, column=name)
            domains[name] = list(column["domain"])
    return params | {"domains": domains}


def check_column(name: str, granted: list[GrantedResource], schemas: Schemas, field: str) -> dict[str, Any]:
    """One column as all departments describe it.

    Raises:
        ProblemError: ``unknown_column``; ``column_not_granted``; ``column_types_differ``; ``domains_differ``.
    """
    columns = []
    for item in granted:
        column = schemas[item.node_id].get(name)
        if column is None:
            raise ProblemError(federation.UNKNOWN_COLUMN, field=field, column=name)
        if name not in item.columns or column["identifier"]:
            raise ProblemError(federation.COLUMN_NOT_GRANTED, field=field, column=name)
        columns.append(column)
    kinds = {column["type"] for column in columns}
    if len(kinds) > 1 and not kinds <= NUMERIC:
        raise ProblemError(errors.COLUMN_TYPES_DIFFER, field=field, column=name)
    if len({frozenset(column["domain"]) for column in columns}) > 1:
        raise ProblemError(errors.DOMAINS_DIFFER, field=field, column=name)
    return columns[0]


def field_of(value: Any, wanted: str, path: str = "params") -> str:
    """Where ``wanted`` stands in the parameters, as a dotted path; ``params`` if nowhere.

    >>> field_of({"resource": "air", "group_by": [["year"], ["station"]]}, "station")
    'params.group_by.1.0'
    """
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if path == "params" and key in ("resource", "domains"):
            continue
        if item == wanted:
            return f"{path}.{key}"
        if (inner := field_of(item, wanted, f"{path}.{key}")) != "params":
            return inner
    return "params"


def _schemas(session: Session, granted: list[GrantedResource], grant: Grant) -> Schemas:
    names = {node.node_id: node.name for node in grant.nodes}
    rows = catalogue.resources_by_id(session, [item.resource_id for item in granted])
    schemas: Schemas = {}
    for item in granted:
        row = rows.get(item.resource_id)
        if row is None or row.status != "active":
            raise ProblemError(errors.RESOURCE_UNAVAILABLE, field="params.resource", resource=item.name,
                               node=names.get(item.node_id, item.node_id))
        schemas[item.node_id] = {column["name"]: column for column in row.columns}
    return schemas


def _granted_app(grant: Grant, name: str) -> InstalledApp:
    # Flower costs the web tier a quarter of a second and 30 MB, so it is loaded by the first submission
    from shuyan.federation import apps

    installed = apps.installed().get(name)
    if installed is None:
        raise ProblemError(errors.APP_NOT_INSTALLED, field="app", app=name)
    if not any(item.name == name and item.digest == installed.digest for item in grant.apps):
        raise ProblemError(errors.APP_NOT_GRANTED, field="app", app=name)
    if installed.manifest.output_form not in grant.output_forms:
        raise ProblemError(errors.FORM_NOT_GRANTED, field="app", form=installed.manifest.output_form)
    return installed


def _validated(app: FederatedApp, params: dict[str, Any]) -> dict[str, Any]:
    # "domains" are the catalogue's to say, not the developer's
    raw = rfc8785.dumps({key: value for key, value in params.items() if key != "domains"})
    try:
        # as JSON, because strict models take JSON arrays for tuples but Python lists not
        checked = app.params_model.model_validate_json(raw)
    except ValidationError as error:
        raise _param_problem(error) from None
    return checked.model_dump(mode="json", exclude={"domains"})


def _param_problem(error: ValidationError) -> ProblemError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "params"
    code = {"missing": errors.PARAM_MISSING, "extra_forbidden": errors.PARAM_UNKNOWN}.get(first["type"])
    if code is None:
        code = errors.PARAM_WRONG_TYPE if first["type"].endswith("_type") else errors.PARAM_INVALID
    return ProblemError(code, field=f"params.{where}", name=where,
                        expected=first["type"].removesuffix("_type").removesuffix("_parsing"))
