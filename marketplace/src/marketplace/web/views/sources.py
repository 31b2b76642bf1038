"""Authoritative sources, the negative list, and objections to the quality of data."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import ENTER, MEASURES
from marketplace.clock import CITY
from marketplace.db import reading, transaction
from marketplace.web import labels
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, cursor, organisation_names
from shuyan.problems import ProblemError

# --- elements ---


@web.get("/elements")
def elements() -> Any:
    status = request.args.get("status", "")
    status = status if status in ("clear", "conflict", "settled") else ""
    with reading() as db:
        page = catalogue.list_elements(db, current_actor(), status=status or None, cursor=cursor(), limit=PAGE)
        rows = catalogue.resources_by_id(db, [row.resource_id for row in page.items if row.resource_id])
        names = organisation_names(db, [row.organisation_id for row in rows.values()])
    return render_template("web/elements.html", items=page.items, next=page.next, first_page=cursor() is None, status=status,
                           resources=rows, organisations=names)


@web.get("/elements/<path:name>")
def element(name: str) -> Any:
    return _element(name)


def _element(name: str, problem: ProblemError | None = None) -> str:
    with reading() as db:
        page = catalogue.get_element(db, current_actor(), name)
        names = organisation_names(db, {claim.organisation_id for claim in page.claims} | {one.organisation_id for one in page.decisions})
        decided = catalogue.resources_by_id(db, [one.resource_id for one in page.decisions])
    return render_template("web/element.html", page=page, element=page.element, organisations=names, decided=decided,
                           problem=say(problem) if problem else None, reason=request.form.get("reason", ""),
                           source=request.form.get("source", ""))


@web.post("/elements/<path:name>")
@signed_in()
def settle_element(name: str) -> Any:
    resource_id, _space, column = request.form.get("source", "").partition(" ")
    try:
        with transaction() as db:
            catalogue.settle_element(db, current_actor(), name, resource_id=resource_id, column=column, reason=request.form.get("reason", ""))
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        return _element(name, problem), 422
    flash(_("Decided; the departments are told."), "success")
    return redirect(url_for("web.element", name=name), 303)


# --- the negative list ---


@web.get("/negative-list")
def negative_list() -> Any:
    return _negative_list()


def _negative_list(problem: ProblemError | None = None) -> str:
    actor, status = current_actor(), request.args.get("status", "active")
    status = status if status in ("active", "withdrawn") else "active"
    with reading() as db:
        page = catalogue.list_negative(db, actor, status=status, cursor=cursor(), limit=PAGE)
        rows = catalogue.resources_by_id(db, [row.resource_id for row in page.items if row.resource_id])
    return render_template("web/negative_list.html", items=page.items, next=page.next, first_page=cursor() is None, status=status,
                           resources=rows, may_enter=ENTER.held(actor), problem=say(problem) if problem else None, form=request.form,
                           kinds=labels.choices("negative_kind"), fields=labels.choices("pattern_field"))


@web.post("/negative-list")
@signed_in()
def enter_negative() -> Any:
    try:
        with transaction() as db:
            row = catalogue.enter(db, current_actor(), **_body(), effective_from=_day())
    except ProblemError as problem:
        if problem.problem.status not in (404, 422):
            raise
        return _negative_list(problem), problem.problem.status
    flash(_("Entered on the negative list."), "success")
    return redirect(url_for("web.negative_entry", entry_id=row.id), 303)


def _body() -> dict[str, str]:
    return {name: request.form.get(name, "") for name in ("kind", "reason", "resource_id", "column", "field", "pattern")}


def _day() -> dt.datetime | None:
    """The midnight in the city at which an entry takes effect; ``None``: at once."""
    raw = request.form.get("effective_from", "").strip()
    if not raw:
        return None
    try:
        day = dt.date.fromisoformat(raw)
    except ValueError:
        raise ProblemError("invalid_input", field=_("Takes effect"), reason=_("a date such as 2026-12-31")) from None
    return dt.datetime.combine(day, dt.time(), CITY).astimezone(dt.UTC)


@web.get("/negative-list/<entry_id>")
def negative_entry(entry_id: str) -> Any:
    return _negative_entry(entry_id)


def _negative_entry(entry_id: str, problem: ProblemError | None = None) -> str:
    actor = current_actor()
    with reading() as db:
        row, versions, actions = catalogue.get_negative(db, actor, entry_id)
        resource = catalogue.resources_by_id(db, [row.resource_id] if row.resource_id else []).get(row.resource_id or "")
        grants = catalogue.grants_hit(db, row.id) if actions else []
    return render_template("web/negative_entry.html", entry=row, versions=versions, actions=actions, resource=resource, grants=grants,
                           problem=say(problem) if problem else None, reason=request.form.get("reason", ""))


@web.post("/negative-list/<entry_id>")
@signed_in()
def decide_negative(entry_id: str) -> Any:
    reason = request.form.get("reason", "")
    try:
        with transaction() as db:
            if request.form.get("action") == "withdraw":
                catalogue.withdraw(db, current_actor(), entry_id, reason)
            else:
                catalogue.revise(db, current_actor(), entry_id, reason=reason or " ", pattern=request.form.get("pattern") or None,
                                 column=request.form.get("column") or None)
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        return _negative_entry(entry_id, problem), 422
    flash(_("The decision is written down as a new version."), "success")
    return redirect(url_for("web.negative_entry", entry_id=entry_id), 303)


# --- objections to quality ---


@web.get("/quality-objections")
@signed_in()
def quality_objections() -> Any:
    status = request.args.get("status", "")
    with reading() as db:
        page = catalogue.list_objections(db, current_actor(), status=status if status in labels.known("state") else None, cursor=cursor(),
                                         limit=PAGE)
        rows = catalogue.resources_by_id(db, [row.resource_id for row in page.items])
        names = organisation_names(db, {each for row in page.items for each in (row.organisation_id, row.department_id)})
    return render_template("web/quality_objections.html", items=page.items, next=page.next, first_page=cursor() is None, resources=rows,
                           organisations=names)


@web.get("/resources/<resource_id>/object")
@signed_in()
def new_quality_objection(resource_id: str) -> Any:
    return _new_objection(resource_id)


def _new_objection(resource_id: str, problem: ProblemError | None = None) -> str:
    with reading() as db:
        row = catalogue.get_resource(db, current_actor(), resource_id)
    return render_template("web/quality_objection_new.html", resource=row, problem=say(problem) if problem else None, form=request.form,
                           measures=[(name, labels.label("measure", name)) for name in MEASURES])


@web.post("/resources/<resource_id>/object")
@signed_in()
def raise_quality_objection(resource_id: str) -> Any:
    try:
        with transaction() as db:
            row = catalogue.raise_objection(db, current_actor(), resource_id, measure=request.form.get("measure", ""),
                                            text=request.form.get("text", ""), column=request.form.get("column", ""))
    except ProblemError as problem:
        if problem.problem.status not in (409, 422):
            raise
        return _new_objection(resource_id, problem), problem.problem.status
    flash(_("The objection is with the department, which has to answer in time."), "success")
    return redirect(url_for("web.quality_objection", objection_id=row.id), 303)


@web.get("/quality-objections/<objection_id>")
@signed_in()
def quality_objection(objection_id: str) -> Any:
    return _objection(objection_id)


def _objection(objection_id: str, problem: ProblemError | None = None) -> str:
    with reading() as db:
        page = catalogue.get_objection(db, current_actor(), objection_id)
        names = organisation_names(db, {page.objection.organisation_id, page.objection.department_id,
                                        *(step.organisation_id for step in page.steps if step.organisation_id)})
    return render_template("web/quality_objection.html", page=page, objection=page.objection, organisations=names,
                           problem=say(problem) if problem else None, text=request.form.get("text", ""))


@web.post("/quality-objections/<objection_id>")
@signed_in()
def act_on_quality_objection(objection_id: str) -> Any:
    try:
        with transaction() as db:
            catalogue.act(db, current_actor(), objection_id, request.form.get("action", ""), request.form.get("text", ""))
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        return _objection(objection_id, problem), 422
    flash(_("Done; the other side is told."), "success")
    return redirect(url_for("web.quality_objection", objection_id=objection_id), 303)
