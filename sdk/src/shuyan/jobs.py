"""A job before it is submitted: parameters checked, what departments declare filled in, and the digest that names it.

The marketplace does this with what its catalogue says, a sandbox with what it was told of that: the same code, so that what
the one refuses the other refuses, and what was tried is what is submitted. The nodes check all of it again for themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import rfc8785
from pydantic import ValidationError

from shuyan.federation import problems
from shuyan.federation.schema import Column
from shuyan.federation.units import same_unit
from shuyan.problems import ProblemError, define
from shuyan.trust.grants import Grant, GrantedResource

if TYPE_CHECKING:
    from shuyan.federation.apps import FederatedApp, InstalledApp, Need

APP_WITHOUT_NOISE: Final = define(
    "app_without_noise", 422, zh="授权凭证要求加噪发布，应用“{app}”不支持。",
    en="The grant asks for answers with noise, which the app “{app}” cannot give.")
RESOURCE_NOT_GRANTED: Final = define(
    "resource_not_granted", 403, zh="授权凭证未包含数据资源“{resource}”。",
    en="The grant does not cover the resource “{resource}”.")
COLUMN_TYPES_DIFFER: Final = define(
    "column_types_differ", 409, zh="各部门登记的字段“{column}”类型不一致，无法合并计算：{types}。",
    en="The departments have registered the column “{column}” with different types: {types}.")
UNITS_DIFFER: Final = define(
    "units_differ", 409, zh="各部门登记的字段“{column}”计量单位不一致，无法合并计算：{units}。请各部门以同一单位重新登记。",
    en="The departments have registered the column “{column}” in different units: {units}. Let each register it again in the "
       "same unit.")
TOO_FEW_DEPARTMENTS: Final = define(
    "too_few_departments", 409, zh="只有 {count} 个部门提供该资源，授权要求至少 {minimum} 个。",
    en="Only {count} departments offer this resource; the grant asks for at least {minimum}.")
PARAM_MISSING: Final = define("param_missing", 422, zh="缺少参数“{name}”。", en="The parameter “{name}” is missing.")
PARAM_UNKNOWN: Final = define(
    "param_unknown", 422, zh="应用没有名为“{name}”的参数。", en="The app has no parameter “{name}”.")
PARAM_WRONG_TYPE: Final = define(
    "param_wrong_type", 422, zh="参数“{name}”的类型有误，应为 {expected}。",
    en="The parameter “{name}” has the wrong type; it must be {expected}.")
PARAM_INVALID: Final = define(
    "param_invalid", 422, zh="参数“{name}”的值超出允许范围。", en="The parameter “{name}” is outside what is allowed.")
FORM_NOT_GRANTED: Final = define(
    "form_not_granted", 403, zh="授权凭证不允许输出形式“{form}”。", en="The grant does not allow the output form “{form}”.")

_NUMERIC: Final = frozenset({"integer", "number", "boolean"})

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

Describe = Callable[[list[GrantedResource]], list[Department]]
"""What is known of granted resources of one name, in their order."""


@dataclass(frozen=True)
class Filled:
    """A job as it would be put to the nodes.

    Attributes:
        params: with what the departments declare filled in.
        tables: what it reads, of the departments that can take part.
        departments: node id → name of those that have every resource it reads.
        parts: what the job is, apart from what departments declare; see :func:`parts_of`.
    """

    params: dict[str, Any]
    tables: Tables
    departments: dict[str, str]
    parts: dict[str, Any]


def digest_of(value: Any) -> str:
    """``sha256:<hex>`` over canonical JSON (RFC 8785).

    Raises:
        ProblemError: ``param_invalid`` for numbers that JSON cannot carry (NaN, integers ≥ 2^53).
    """
    try:
        return "sha256:" + hashlib.sha256(rfc8785.dumps(value)).hexdigest()
    except (rfc8785.CanonicalizationError, RecursionError):
        raise ProblemError(PARAM_INVALID, field="params", name="params") from None


def parts_of(app: InstalledApp, params: Mapping[str, Any]) -> dict[str, Any]:
    """What a job is: ``{app, app_digest, params, resources}``; :func:`digest_of` it is the job's digest.

    Args:
        params: filled in; what departments declare is left out again, for it is not the developer's.

    Returns:
        ``resources``: by name, the columns that are read, sorted.
    """
    return {"app": app.name, "app_digest": app.digest,
            "params": {name: value for name, value in params.items() if name not in FILLED},
            "resources": {name: sorted(columns) for name, columns in touched(app.load(), dict(params)).items()}}


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two jobs differ: ``app``, ``app_digest``, ``params.<name>``, ``resources.<name>``; empty if in nothing."""
    found = [name for name in ("app", "app_digest") if before.get(name) != now.get(name)]
    for part in ("params", "resources"):
        was, is_ = before.get(part) or {}, now.get(part) or {}
        found += [f"{part}.{name}" for name in sorted({*was, *is_}) if name not in was or name not in is_
                  or digest_of(was[name]) != digest_of(is_[name])]
    return found


def fill(app: InstalledApp, params: dict[str, Any], grant: Grant, describe: Describe) -> Filled:
    """Check a job's parameters against app and grant, and fill in what the departments declare.

    Args:
        describe: by granted resources of one name, what is known of them; raises ``resource_unavailable`` and its like.

    Raises:
        ProblemError: ``param_…``, ``app_without_noise``, ``form_not_granted``, ``resource_not_granted``, ``too_few_departments``,
            what :func:`check_column` raises, or the app's own, with ``field`` naming the field at fault.
    """
    model = app.load()
    if app.manifest.output_form not in grant.output_forms:
        raise ProblemError(FORM_NOT_GRANTED, field="app", form=app.manifest.output_form)
    if grant.release == "dp" and model.privacy is None:
        raise ProblemError(APP_WITHOUT_NOISE, field="app", app=app.name)
    guess = _guess(grant, params, describe)
    checked = _validated(model, params, guess)
    tables: Tables = {}
    for spelled in touched(model, checked | guess):
        resource = spelled if model.prepare is None else spelled.lower()  # SQL does not tell them apart
        granted = granted_resources(grant, resource)
        if granted:
            tables[resource] = describe(granted)
        elif model.prepare is None:  # which else says itself where in the parameters it is named
            raise ProblemError(RESOURCE_NOT_GRANTED, field="params.resource", resource=resource)
    if not tables and model.prepare is not None:
        prepared(model, checked, tables, grant)
    departments = departments_of(grant, tables)
    if len(departments) < grant.minimum_participants:
        raise ProblemError(TOO_FEW_DEPARTMENTS, field="params.resource", count=len(departments),
                           minimum=grant.minimum_participants)
    tables = {name: [one for one in have if one.item.node_id in departments] for name, have in tables.items()}
    if model.prepare is not None:
        filled = prepared(model, checked, tables, grant)
    else:
        filled = with_declarations(model, checked | guess, tables)
    return Filled(filled, tables, departments, parts_of(app, filled))


def _guess(grant: Grant, params: dict[str, Any], describe: Describe) -> dict[str, Any]:
    """``{"domains": …, "bounds": …}`` as declared of columns that are named in parameters of one resource, words and numbers: a
    first guess, for what a parameter means, and whether it is allowed, may depend on them."""
    named, ahead = set(), list(params.values())
    while ahead:
        value = ahead.pop()
        if isinstance(value, str):
            named.add(value)
        else:
            ahead += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    try:
        departments = describe(granted_resources(grant, str(params.get("resource", ""))))
    except ProblemError:  # it is said when the resource is looked at
        return {}
    domains: dict[str, list[list[str]]] = {}
    ends: dict[str, list[tuple[float, float]]] = {}
    for one in sorted(departments, key=lambda one: one.item.resource_id):
        for column in one.columns.values():
            name, lower, upper = column["name"], column.get("lower"), column.get("upper")
            if name not in named or column["identifier"]:
                continue
            if column["type"] not in _NUMERIC and column["domain"]:
                domains.setdefault(name, []).append(column["domain"])
            elif column["type"] in _NUMERIC and lower is not None and upper is not None and lower < upper:
                ends.setdefault(name, []).append((lower, upper))
    bounds = {name: [min(lower for lower, _ in all_), max(upper for _, upper in all_)]
              for name, all_ in ends.items() if len(all_) == len(departments)}
    return {**({"domains": {name: union(values) for name, values in domains.items()}} if domains else {}), **({"bounds": bounds} if bounds else {})}


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
    params = {name: value for name, value in params.items() if name not in FILLED or name in app.params_model.model_fields}
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
    wordy = {name: column["domain"] for (_, name), column in found.items() if column["type"] not in _NUMERIC and column["domain"]}
    known = set(app.params_model.model_fields)
    if "domains" in known:
        params = params | {"domains": wordy}
    domains: dict[str, list[list[str]]] = {}
    bounds: dict[str, list[float]] = {}
    for resource, used in uses(app, params).items():
        for name, need in used:
            field = field_of(params, name)
            column = found.get((resource, name)) or check_column(name, tables[resource], field)
            if need == "number" and column["type"] not in _NUMERIC:
                raise ProblemError(problems.WRONG_TYPE, field=field, column=name, expected="number")
            if need == "number" and (units := differing_units(name, tables[resource])):
                raise ProblemError(UNITS_DIFFER, field=field, column=name, units=units)
            if need in ("dimension", "category"):
                if not column["domain"]:
                    raise ProblemError(problems.NOT_A_DIMENSION, field=field, column=name)
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
        return ProblemError(COLUMN_TYPES_DIFFER, column=name, types=_grouped(name, declared, "type"))
    if units := differing_units(name, declared):
        return ProblemError(UNITS_DIFFER, column=name, units=units)
    return None if len(declared) == len(departments) else ProblemError("sql_column_not_granted")


def _column(column: dict[str, Any]) -> Column:
    return Column(column["name"], column["type"], bool(column["identifier"]), tuple(column["domain"]), column.get("lower"),
                  column.get("upper"), column.get("resolution"), str(column.get("unit") or ""),
                  column.get("classification") == "free", bool(column.get("required")))


def check_column(name: str, departments: list[Department], field: str) -> dict[str, Any]:
    """One column as all departments together describe it: the union of its values, the widest of its bounds.

    Raises:
        ProblemError: ``unknown_column``; ``column_not_granted``; ``column_types_differ``.
    """
    columns = []
    for one in departments:
        column = one.columns.get(name)
        if column is None:
            raise ProblemError(problems.UNKNOWN_COLUMN, field=field, column=name)
        if name not in one.item.columns or column["identifier"]:
            raise ProblemError(problems.COLUMN_NOT_GRANTED, field=field, column=name)
        columns.append(column)
    kinds = {column["type"] for column in columns}
    if len(kinds) > 1 and not kinds <= _NUMERIC:
        raise ProblemError(COLUMN_TYPES_DIFFER, field=field, column=name, types=_grouped(name, departments, "type"))
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


def _validated(app: FederatedApp, params: dict[str, Any], guess: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in guess.items() if name in app.params_model.model_fields}
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
    code = {"missing": PARAM_MISSING, "extra_forbidden": PARAM_UNKNOWN}.get(first["type"])
    if code is None:
        code = PARAM_WRONG_TYPE if first["type"].endswith("_type") else PARAM_INVALID
    return ProblemError(code, field=f"params.{where}", name=where,
                        expected=first["type"].removesuffix("_type").removesuffix("_parsing"))
