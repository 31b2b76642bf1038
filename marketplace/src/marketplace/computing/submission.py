"""Checking a job before it is queued: grant, app, parameters, resources and columns.

The nodes check all of this again for themselves; it is checked here so that a developer hears of a mistake at once, in
one sentence that names the field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import rfc8785
from pydantic import ValidationError
from sqlmodel import Session

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import NUMERIC
from marketplace.computing import errors
from marketplace.db import utc_now
from marketplace.programs import service as programs
from shuyan.federation import problems as federation
from shuyan.federation.schema import Column
from shuyan.federation.units import same_unit
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, GrantedResource

if TYPE_CHECKING:
    from marketplace.computing.probing import Probe
    from shuyan.federation.apps import AppManifest, FederatedApp, InstalledApp, Need

Schema = dict[str, dict[str, Any]]
"""Column name → the catalogue's description of the column."""

FILLED: Final = ("domains", "bounds", "schemas")
"""Parameters that say how the departments declare their data: the catalogue's to fill in, never the developer's."""


@dataclass(frozen=True)
class Department:
    """One department's resource under a grant, as the catalogue describes it."""

    name: str
    item: GrantedResource
    columns: Schema


Tables = dict[str, list[Department]]
"""Resource name → the departments that have it, by node id."""


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
    installed = _granted_app(session, grant, app)
    model = installed.load()
    if grant.release == "dp" and model.privacy is None:
        raise ProblemError(errors.APP_WITHOUT_NOISE, field="app", app=app)
    words = _words(session, grant, params)
    checked = _validated(model, params, words)
    tables: Tables = {}
    for spelled in touched(model, checked | words):
        resource = spelled if model.prepare is None else spelled.lower()  # SQL does not tell them apart
        granted = granted_resources(grant, resource)
        if granted:
            tables[resource] = _departments(session, granted, grant)
        elif model.prepare is None:  # which else says itself where in the parameters it is named
            raise ProblemError(errors.RESOURCE_NOT_GRANTED, field="params.resource", resource=resource)
    if not tables and model.prepare is not None:
        prepared(model, checked, tables, grant)
    departments = departments_of(grant, tables)
    if len(departments) < grant.minimum_participants:
        raise ProblemError(errors.TOO_FEW_DEPARTMENTS, field="params.resource", count=len(departments),
                           minimum=grant.minimum_participants)
    tables = {name: [one for one in have if one.item.node_id in departments] for name, have in tables.items()}
    if model.prepare is not None:
        filled = prepared(model, checked, tables, grant)
    else:
        filled = with_declarations(model, checked | words, tables)
    probed = _probe(installed, grant, filled, list(departments))
    digest = digest_of({
        "grant": record.digest, "app": app, "app_digest": installed.digest, "params": filled,
        "resources": {one.item.resource_id: digest_of(one.columns) for have in tables.values() for one in have}})
    return Checked(filled, installed.digest, digest, sorted(tables), grant, model, departments,
                   installed.manifest, probed)


def granted_resources(grant: Grant, name: str) -> list[GrantedResource]:
    """The granted resources called ``name``, one a node, by node id."""
    return sorted((item for item in grant.resources if item.name == name), key=lambda item: item.node_id)


def departments_of(grant: Grant, resources: Iterable[str]) -> dict[str, str]:
    """Node id → name of the departments that have every one of ``resources`` under a grant."""
    names = {node.node_id: node.name for node in grant.nodes}
    have = [{item.node_id for item in granted_resources(grant, name)} for name in resources]
    return {node_id: names.get(node_id, node_id) for node_id in sorted(set.intersection(*have) if have else set())}


def touched(app: FederatedApp, params: dict[str, Any]) -> dict[str, dict[str, Need]]:
    """The resources that given parameters touch, and how they use each column; see :func:`uses`."""
    return {name: dict(columns) for name, columns in uses(app, params).items()}


def uses(app: FederatedApp, params: dict[str, Any]) -> dict[str, tuple[tuple[str, Need], ...]]:
    """The resources that given parameters touch, and every use of every column.

    Raises:
        ProblemError: the app's own, with ``field`` naming where in the parameters.
    """
    if "domains" not in app.params_model.model_fields:
        params = {name: value for name, value in params.items() if name != "domains"}
    try:
        found = app.tables(app.params(params))
    except ProblemError as problem:
        where = problem.field or ""
        problem.field = where if where.startswith("params") else f"params.{where}" if where else "params"
        raise
    return found


def with_declarations(app: FederatedApp, params: dict[str, Any], tables: Tables) -> dict[str, Any]:
    """``params`` with what the departments declare, having checked every column they touch.

    Dimensions get the union of the departments' values, numbers the widest of their bounds, as far as the app's
    parameters have a place for them.

    Raises:
        ProblemError: see :func:`check_column`, with ``field`` naming where the column stands in ``params``.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for resource, needs in touched(app, params).items():
        for name in needs:
            found[resource, name] = check_column(name, tables[resource], field_of(params, name))
    # A column of words with declared values may be a category of a model; whether it is, the app says once it has them.
    wordy = {name: column["domain"] for (_, name), column in found.items() if column["type"] not in NUMERIC and column["domain"]}
    known = set(app.params_model.model_fields)
    if "domains" in known:
        params = params | {"domains": wordy}
    domains: dict[str, list[list[str]]] = {}
    bounds: dict[str, list[float]] = {}
    for resource, used in uses(app, params).items():
        for name, need in used:
            field = field_of(params, name)
            column = found.get((resource, name)) or check_column(name, tables[resource], field)
            if need == "number" and column["type"] not in NUMERIC:
                raise ProblemError(federation.WRONG_TYPE, field=field, column=name, expected="number")
            if need == "number" and (units := differing_units(name, tables[resource])):
                raise ProblemError(errors.UNITS_DIFFER, field=field, column=name, units=units)
            if need in ("dimension", "category"):
                if not column["domain"]:
                    raise ProblemError(federation.NOT_A_DIMENSION, field=field, column=name)
                domains.setdefault(name, []).append(column["domain"])
            if column["lower"] is not None and column["upper"] is not None and column["lower"] < column["upper"]:
                low, high = bounds.get(name, [column["lower"], column["upper"]])
                bounds[name] = [min(low, column["lower"]), max(high, column["upper"])]
    filled = {"domains": {name: union(values) for name, values in domains.items()}, "bounds": bounds}
    return {**{name: value for name, value in params.items() if name not in FILLED},
            **{name: value for name, value in filled.items() if name in known}}


def prepared(app: FederatedApp, params: dict[str, Any], tables: Tables, grant: Grant) -> dict[str, Any]:
    """``params`` as the app itself fills them in from what the departments declare of the granted columns.

    Raises:
        ProblemError: the app's own, with the place at fault; for a column that it is not shown, why: ``column_types_differ``,
            ``units_differ``, ``sql_column_not_granted``, ``sql_identifier_column``.
    """
    if app.prepare is None:
        raise TypeError("the app leaves this to the market")
    hidden: dict[str, ProblemError] = {}
    schemas: dict[str, list[dict[str, Column]]] = {}
    for resource, departments in tables.items():
        shown = set(departments[0].columns)
        for name in {name for one in departments for name in one.columns}:
            if why := _kept_from(name, departments):
                hidden[name.lower()] = why
                shown.discard(name)
        schemas[resource] = [{name: _column(one.columns[name]) for name in one.columns if name in shown} for one in departments]
    sole = {(entry.resource, entry.column): frozenset(entry.values) for entry in grant.sole_values}
    try:
        return app.prepare(params, schemas, sole, grant.release == "dp")
    except ProblemError as problem:
        why = hidden.get(str(problem.args_.get("name", "")).lower())
        if why is not None and problem.code == "sql_unknown_column":
            place: dict[str, Any] = {name: problem.args_[name] for name in ("line", "column", "clause")}
            problem = why if why.args_ else ProblemError(why.code, **place, name=problem.args_["name"])
            problem.field = "sql"
        problem.field = f"params.{problem.field}" if problem.field else "params"
        raise problem from None


def _kept_from(name: str, departments: list[Department]) -> ProblemError | None:
    """Why an app is not shown a column; ``None`` where it is."""
    columns = [one.columns.get(name) for one in departments]
    if any(column is not None and column["identifier"] for column in columns):
        return ProblemError("sql_identifier_column")
    if not all(name in one.item.columns for one in departments):
        return ProblemError("sql_column_not_granted")
    declared = [one for one in departments if name in one.columns]
    if len({one.columns[name]["type"] for one in declared}) > 1:
        return ProblemError(errors.COLUMN_TYPES_DIFFER, column=name, types=_grouped(name, declared, "type"))
    if units := differing_units(name, declared):
        return ProblemError(errors.UNITS_DIFFER, column=name, units=units)
    return None if len(declared) == len(departments) else ProblemError("sql_column_not_granted")


def _column(column: dict[str, Any]) -> Column:
    return Column(column["name"], column["type"], bool(column["identifier"]), tuple(column["domain"]), column.get("lower"),
                  column.get("upper"), column.get("resolution"), str(column.get("unit") or ""),
                  column.get("classification") == "free")


def check_column(name: str, departments: list[Department], field: str) -> dict[str, Any]:
    """One column as all departments together describe it: the union of its values, the widest of its bounds.

    Raises:
        ProblemError: ``unknown_column``; ``column_not_granted``; ``column_types_differ``.
    """
    columns = []
    for one in departments:
        column = one.columns.get(name)
        if column is None:
            raise ProblemError(federation.UNKNOWN_COLUMN, field=field, column=name)
        if name not in one.item.columns or column["identifier"]:
            raise ProblemError(federation.COLUMN_NOT_GRANTED, field=field, column=name)
        columns.append(column)
    kinds = {column["type"] for column in columns}
    if len(kinds) > 1 and not kinds <= NUMERIC:
        raise ProblemError(errors.COLUMN_TYPES_DIFFER, field=field, column=name, types=_grouped(name, departments, "type"))
    # What only some departments declare holds for none of the others.
    declared = all(column["domain"] for column in columns)
    lower = [column["lower"] for column in columns if column.get("lower") is not None]
    upper = [column["upper"] for column in columns if column.get("upper") is not None]
    return {**columns[0], "type": "number" if len(kinds) > 1 else columns[0]["type"],
            "domain": union([column["domain"] for column in columns]) if declared else [],
            "lower": min(lower) if len(lower) == len(columns) else None,
            "upper": max(upper) if len(upper) == len(columns) else None}


def differing_units(name: str, departments: list[Department]) -> list[str]:
    """The units in which departments count a column, each with those that use it; empty if all use one."""
    units = [str(one.columns[name].get("unit") or "") for one in departments]
    if all(same_unit(unit, units[0]) for unit in units):
        return []
    return _grouped(name, departments, "unit")


def _grouped(name: str, departments: list[Department], what: str) -> list[str]:
    """``number（甲、乙）``: the departments by what they declare of a column."""
    found: dict[str, list[str]] = {}
    for one in departments:
        found.setdefault(str(one.columns[name].get(what) or "—"), []).append(one.name)
    return [f"{value}（{'、'.join(names)}）" for value, names in found.items()]


def union(domains: Sequence[Sequence[str]]) -> list[str]:
    """All values of several lists, each once. Lists that are in order, of numbers or of words, give one in order; else
    values stand as they first appear.

    >>> union([["2013", "2015"], ["2014"]]), union([["low", "high"], ["low", "middle"]])
    (['2013', '2014', '2015'], ['low', 'high', 'middle'])
    """
    merged = list(dict.fromkeys(value for values in domains for value in values))
    for key in (_number, str):
        try:
            if all(list(values) == sorted(values, key=key) for values in domains):
                return sorted(merged, key=key)
        except ValueError:
            continue
    return merged


def _number(value: str) -> float:
    return float(value)


def field_of(value: Any, wanted: str, path: str = "params") -> str:
    """Where ``wanted`` stands in the parameters, as a dotted path; ``params`` if nowhere.

    >>> field_of({"resource": "air", "group_by": [["year"], ["station"]]}, "station")
    'params.group_by.1.0'
    """
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if path == "params" and key in ("resource", *FILLED):
            continue
        if item == wanted:
            return f"{path}.{key}"
        if (inner := field_of(item, wanted, f"{path}.{key}")) != "params":
            return inner
    return "params"


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
    if installed.manifest.output_form not in grant.output_forms:
        raise ProblemError(errors.FORM_NOT_GRANTED, field="app", form=installed.manifest.output_form)
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


def _words(session: Session, grant: Grant, params: dict[str, Any]) -> dict[str, Any]:
    """``{"domains": …}`` with the declared values of columns of words that are named in parameters of one resource, as a
    first guess: what a parameter means may depend on whether a column has declared values."""
    named, ahead = set(), list(params.values())
    while ahead:
        value = ahead.pop()
        if isinstance(value, str):
            named.add(value)
        else:
            ahead += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    rows = catalogue.resources_by_id(
        session, [item.resource_id for item in granted_resources(grant, str(params.get("resource", "")))])
    found: dict[str, list[list[str]]] = {}
    for _, row in sorted(rows.items()):
        for column in row.columns:
            if column["name"] in named and column["type"] not in NUMERIC and column["domain"] and not column["identifier"]:
                found.setdefault(column["name"], []).append(column["domain"])
    return {"domains": {name: union(domains) for name, domains in found.items()}} if found else {}


def _validated(app: FederatedApp, params: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    known = words if "domains" in app.params_model.model_fields else {}
    raw = rfc8785.dumps({key: value for key, value in params.items() if key not in FILLED} | known)
    try:
        # as JSON, because strict models take JSON arrays for tuples but Python lists not
        checked = app.params_model.model_validate_json(raw)
    except ValidationError as error:
        raise _param_problem(error) from None
    except ProblemError as problem:  # a model may say better what is wrong
        where = problem.field or ""
        problem.field = field_of(params, where) if where else "params"
        raise
    return checked.model_dump(mode="json", exclude=set(FILLED))


def _param_problem(error: ValidationError) -> ProblemError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "params"
    code = {"missing": errors.PARAM_MISSING, "extra_forbidden": errors.PARAM_UNKNOWN}.get(first["type"])
    if code is None:
        code = errors.PARAM_WRONG_TYPE if first["type"].endswith("_type") else errors.PARAM_INVALID
    return ProblemError(code, field=f"params.{where}", name=where,
                        expected=first["type"].removesuffix("_type").removesuffix("_parsing"))
