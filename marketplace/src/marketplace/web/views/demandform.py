"""Writing a list of data, with what would be refused shown while it is written.

A line of the form is a table, asked of some departments with the same columns for the same reason; in the demand it is one
line a department. Lines are numbered; what the form sends for line 3 is ``departments-3``, ``columns-3`` and ``reason-3``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.db import reading, transaction
from marketplace.web.blueprint import web
from marketplace.web.i18n import language, title_of
from marketplace.web.labels import choices
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import form_key, new_key, organisation_names
from shuyan.problems import ProblemError

FOUND = 12
_MOST_LINES = 60


@dataclass
class FormLine:
    """A table in the form. ``offered`` are all departments that have it: (resource id, name, grade)."""

    number: int
    name: str
    title: str = ""
    offered: list[tuple[str, str, int]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    departments: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    reason: str = ""
    findings: list[str] = field(default_factory=list)


@web.get("/scenarios/<scenario_id>/demands/new")
@signed_in("developer", "operator")
def new_demand(scenario_id: str) -> Any:
    with reading() as db:
        scenario = authorisation.get_scenario(db, current_actor(), scenario_id)
        return _page(db, scenario, None, [], {"minimum_cohort": 10, "minimum_participants": 3, "term_days": 365, "release": "exact",
                                              "delta": "1e-6", "output_forms": ["statistics"]}, key=new_key())


@web.get("/demands/<demand_id>/edit")
@signed_in()
def edit_demand(demand_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = authorisation.get_demand(db, actor, demand_id)
        if "edit" not in authorisation.demand_actions(actor, row):
            raise ProblemError("wrong_state", state=row.status, action="edit")
        scenario = authorisation.get_scenario(db, actor, row.scenario_id)
        found = authorisation.preview(db, actor, scenario.id, row.body, demand_id=row.id)
        lines = _from_body(db, row.body)
        return _page(db, scenario, row, lines, _terms_of(row.body), key="", body=row.body, found=found)


@web.post("/scenarios/<scenario_id>/demands")
@signed_in()
def draft_demand(scenario_id: str) -> Any:
    """Save a new list, or change the form: add a table, take one out, look for one."""
    if (changed := _changed(scenario_id, None)) is not None:
        return changed
    try:
        with transaction() as db:
            row = authorisation.draft_demand(db, current_actor(), scenario_id, _body(), key=form_key())
    except ProblemError as problem:
        return _refused(scenario_id, None, problem)
    return _saved(row.id)


@web.post("/demands/<demand_id>/edit")
@signed_in()
def save_demand(demand_id: str) -> Any:
    with reading() as db:
        row = authorisation.get_demand(db, current_actor(), demand_id)
    if (changed := _changed(row.scenario_id, demand_id)) is not None:
        return changed
    try:
        with transaction() as db:
            authorisation.edit_demand(db, current_actor(), demand_id, _body())
    except ProblemError as problem:
        return _refused(row.scenario_id, demand_id, problem)
    return _saved(demand_id)


@web.post("/scenarios/<scenario_id>/demands/preview")
@signed_in()
def preview_demand(scenario_id: str) -> Any:
    """What stands against the list as it is written now: beside the form, and under each line."""
    demand_id = request.form.get("demand") or None
    with reading() as db:
        body = _body()
        found = authorisation.preview(db, current_actor(), scenario_id, body, demand_id=demand_id)
        lines = _from_form(db)
    general = _attach(lines, body, found)
    return render_template("web/_findings.html", lines=lines, general=general, count=len(found), swapped=True)


def _saved(demand_id: str) -> Any:
    if request.form.get("then") == "submit":
        try:
            with transaction() as db:
                authorisation.submit_demand(db, current_actor(), demand_id)
        except ProblemError as problem:
            if problem.problem.status >= 500:
                raise
            flash(problem.text(language()), "danger")
            return redirect(url_for("web.edit_demand", demand_id=demand_id), 303)
        flash(_("The data demand is submitted."), "success")
    else:
        flash(_("The draft is saved."), "success")
    return redirect(url_for("web.demand", demand_id=demand_id), 303)


def _changed(scenario_id: str, demand_id: str | None) -> Any:
    """The form again, with a table more or less, or with what a search found; ``None``: it is to be saved."""
    add, drop, search = request.form.get("add"), request.form.get("drop"), "search" in request.form
    if not (add or drop or search):
        return None
    actor = current_actor()
    with reading() as db:
        scenario = authorisation.get_scenario(db, actor, scenario_id)
        row = authorisation.get_demand(db, actor, demand_id) if demand_id else None
        lines = [line for line in _from_form(db) if str(line.number) != drop]
        if add and len(lines) < _MOST_LINES:
            lines += _added(db, add, 1 + max((line.number for line in lines), default=0))
        return _page(db, scenario, row, lines, request.form, key=form_key(), offers=_offers(db) if search else [])


def _refused(scenario_id: str, demand_id: str | None, problem: ProblemError) -> Any:
    if problem.problem.status not in (400, 422):
        raise problem
    actor = current_actor()
    with reading() as db:
        scenario = authorisation.get_scenario(db, actor, scenario_id)
        row = authorisation.get_demand(db, actor, demand_id) if demand_id else None
        return _page(db, scenario, row, _from_form(db), request.form, key=form_key(), body=_body(), found=[problem]), 422


def _page(db: Any, scenario: Any, row: Any, lines: list[FormLine], values: Any, *, key: str, body: dict[str, Any] | None = None,
          found: list[ProblemError] | None = None, offers: list[dict[str, str]] | None = None) -> str:
    general = _attach(lines, body, found) if body is not None and found is not None else []

    def several(name: str) -> list[str]:
        return list(values.getlist(name) if hasattr(values, "getlist") else values.get(name, []))

    return render_template(
        "web/demand_form.html", scenario=scenario, row=row, lines=lines, values=values, key=key, general=general,
        count=None if found is None else len(found), offers=offers, apps=computing.list_apps(db, current_actor()), chosen_apps=several("apps"),
        forms=several("output_forms"), names=sorted({line.name for line in lines}), periods=choices("release"))


# --- the form and the list ---


def _body() -> dict[str, Any]:
    """The list that the form describes, as it is: what is wrong with it the service says."""
    form = request.form
    body: dict[str, Any] = {
        "resources": [{"resource_id": id_, "columns": form.getlist(f"columns-{number}"), "reason": form.get(f"reason-{number}", "").strip()}
                      for number in _numbers() for id_ in form.getlist(f"departments-{number}")],
        "apps": form.getlist("apps"), "output_forms": form.getlist("output_forms"), "release": form.get("release", "exact"),
        "own_figures": bool(form.get("own_figures")), "own_figures_reason": form.get("own_figures_reason", "").strip(),
        **{name: _whole(form.get(name, "")) for name in ("minimum_cohort", "minimum_participants", "term_days")}}
    if body["release"] == "dp":
        names = {form.get(f"name-{number}", "") for number in _numbers()}
        body["privacy"] = {
            "unit": form.get("unit", "").strip(), "unit_columns": {name: form.get(f"unit-{name}", "").strip() for name in sorted(names)},
            "max_rows_per_unit": _whole(form.get("max_rows_per_unit") or "1"),
            "max_groups_per_unit": _whole(form.get("max_groups_per_unit") or "1"),
            "delta": _number(form.get("delta", "")), "epsilon": _number(form.get("epsilon", ""))}
    return body


def _numbers() -> list[int]:
    found = [int(text) for text in request.form.getlist("line") if text.isascii() and text.isdigit() and len(text) < 5]
    return list(dict.fromkeys(found))[:_MOST_LINES]


def _whole(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def _terms_of(body: dict[str, Any]) -> dict[str, Any]:
    """The form's fields from a list."""
    privacy = body.get("privacy") or {}
    units = {f"unit-{name}": column for name, column in (privacy.get("unit_columns") or {}).items()}
    return {**body, **{name: value for name, value in privacy.items() if name != "unit_columns"}, **units}


def _from_body(db: Any, body: dict[str, Any]) -> list[FormLine]:
    """Departments asked for the same columns of a table for the same reason are one line of the form."""
    rows = catalogue.resources_by_id(db, [item["resource_id"] for item in body.get("resources", [])])
    groups: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for item in body.get("resources", []):
        name = rows[item["resource_id"]].name if item["resource_id"] in rows else item["resource_id"]
        groups.setdefault((name, tuple(item["columns"]), item.get("reason", "")), []).append(item["resource_id"])
    return [_line(db, number, name, ids, list(columns), reason)
            for number, ((name, columns, reason), ids) in enumerate(groups.items(), start=1)]


def _from_form(db: Any) -> list[FormLine]:
    form = request.form
    return [_line(db, number, form.get(f"name-{number}", ""), form.getlist(f"departments-{number}"), form.getlist(f"columns-{number}"),
                  form.get(f"reason-{number}", "")) for number in _numbers()]


def _added(db: Any, resource_id: str, number: int) -> list[FormLine]:
    row = catalogue.resources_by_id(db, [resource_id]).get(resource_id)
    if row is None:
        return []
    line = _line(db, number, row.name, [], [], "")
    line.departments = [id_ for id_, _department, _grade in line.offered]
    return [line]


def _line(db: Any, number: int, name: str, departments: list[str], chosen: list[str], reason: str) -> FormLine:
    rows = [row for row in catalogue.list_resources(db, current_actor(), q=name, limit=100)[0] if row.name == name] if name else []
    rows += [row for id_, row in sorted(catalogue.resources_by_id(db, departments).items()) if id_ not in {one.id for one in rows}]
    names = organisation_names(db, [row.organisation_id for row in rows])
    columns: dict[str, dict[str, Any]] = {}
    for row in rows:
        for column in row.columns:
            columns.setdefault(column["name"], column)
    for missing in chosen:
        columns.setdefault(missing, {"name": missing, "title": ""})
    return FormLine(number, name, title_of(rows[0]) if rows else name,
                    [(row.id, names.get(row.organisation_id, "–"), row.grade) for row in rows], list(columns.values()), departments,
                    chosen, reason)


def _attach(lines: list[FormLine], body: dict[str, Any], found: list[ProblemError]) -> list[str]:
    """Put what is about a line under it; what is about the whole list is returned."""
    of_resource = {id_: line for line in lines for id_ in line.departments}
    general: list[str] = []
    resources = body.get("resources", [])
    for problem in found:
        parts = (problem.field or "").split(".")
        line = None
        if parts[0] == "resources" and len(parts) > 1 and parts[1].isdigit() and int(parts[1]) < len(resources):
            line = of_resource.get(resources[int(parts[1])]["resource_id"])
        told, text = (line.findings, problem.text(language())) if line else (general, problem.text(language()))
        if text not in told:
            told.append(text)
    return general


def _offers(db: Any) -> list[dict[str, str]]:
    """Tables that a search found, each once, however many departments have it."""
    rows, _next = catalogue.list_resources(db, current_actor(), q=request.form.get("q", "").strip(), limit=100)
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    return [{"id": have[0].id, "name": name, "title": title_of(have[0]), "count": str(len(have)), "sector": have[0].sector}
            for name, have in list(found.items())[:FOUND]]
