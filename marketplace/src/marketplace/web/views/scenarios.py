"""Scenarios: proposing, checking, arguing; and which industry department answers for a sector."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.db import reading, transaction
from marketplace.parties import service as parties
from marketplace.sandboxes import service as sandboxes
from marketplace.web.blueprint import web
from marketplace.web.i18n import both
from marketplace.web.labels import choices
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, cursor, form_key, integer, new_key, organisation_names
from marketplace.web.views.opinions import table
from shuyan.problems import ProblemError


@web.get("/scenarios")
@signed_in()
def scenarios() -> Any:
    actor, status = current_actor(), request.args.get("status", "")
    with reading() as db:
        page = authorisation.list_scenarios(db, actor, status=status or None, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [row.organisation_id for row in page.items])
    return render_template("web/scenarios.html", items=page.items, names=names, next=page.next, first_page=cursor() is None,
                           status=status, may_propose=authorisation.may_propose(actor))


@web.get("/scenarios/new")
@signed_in("developer", "operator")
def new_scenario() -> Any:
    return render_template("web/scenario_form.html", row=None, values={"months": 12}, key=new_key(), sectors=choices("sector"))


@web.post("/scenarios")
@signed_in()
def propose_scenario() -> Any:
    try:
        with transaction() as db:
            row = authorisation.propose_scenario(db, current_actor(), _content(), key=form_key())
    except ProblemError as problem:
        return _again(None, problem)
    return _after(row.id)


@web.get("/scenarios/<scenario_id>")
@signed_in()
def scenario(scenario_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = authorisation.get_scenario(db, actor, scenario_id)
        names = organisation_names(db, [row.organisation_id])
        demands = authorisation.list_demands(db, actor, scenario_id=row.id, limit=50).items
        asked = table(db, actor, row)
        versions = authorisation.scenario_versions(db, actor, row.id)
        box = sandboxes.visible(db, actor, row.id)
        may_open = sandboxes.may_open(actor, row.organisation_id) and any(one.status in ("approved", "agreed", "granted") for one in demands)
    return render_template("web/scenario.html", row=row, organisation=names.get(row.organisation_id, "–"), demands=demands,
                           opinions=asked, versions=versions, sandbox=box, may_open=may_open, actions=authorisation.scenario_actions(actor, row),
                           may_ask=row.organisation_id == actor.organisation_id and row.status in ("accepted", "authorised"))


@web.get("/scenarios/<scenario_id>/edit")
@signed_in()
def edit_scenario(scenario_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = authorisation.get_scenario(db, actor, scenario_id)
        asked = table(db, actor, row)
    if "edit" not in authorisation.scenario_actions(actor, row):
        raise ProblemError("wrong_state", state=row.status, action="edit")
    return render_template("web/scenario_form.html", row=row, values=row.model_dump(), key="", sectors=choices("sector"),
                           opinions=asked)


@web.post("/scenarios/<scenario_id>/edit")
@signed_in()
def save_scenario(scenario_id: str) -> Any:
    try:
        with transaction() as db:
            authorisation.edit_scenario(db, current_actor(), scenario_id, _content())
    except ProblemError as problem:
        return _again(scenario_id, problem)
    return _after(scenario_id)


@web.post("/scenarios/<scenario_id>/<any(submit, revise, withdraw):action>")
@signed_in()
def act_on_scenario(scenario_id: str, action: str) -> Any:
    act = {"submit": authorisation.submit_scenario, "revise": authorisation.revise_scenario,
           "withdraw": authorisation.withdraw_scenario}[action]
    with transaction() as db:
        act(db, current_actor(), scenario_id)
    flash({"submit": _("The scenario is submitted."), "revise": _("You can change the scenario now; submit it when done."),
           "withdraw": _("The scenario is withdrawn.")}[action], "success")
    return redirect(url_for("web.scenario", scenario_id=scenario_id), 303)


def _content() -> authorisation.Content:
    form = request.form
    return authorisation.Content(
        title=form.get("title", ""), purpose=form.get("purpose", ""), sector=form.get("sector", ""),
        necessity=form.get("necessity", ""), public_benefit=bool(form.get("public_benefit")), benefit=form.get("benefit", ""),
        effect=form.get("effect", ""), months=integer("months", text=_("Duration in months"), default=0))


def _after(scenario_id: str) -> Any:
    """Saved; put forward at once where that button was pressed."""
    if request.form.get("then") == "submit":
        return act_on_scenario(scenario_id, "submit")
    flash(_("The draft is saved."), "success")
    return redirect(url_for("web.scenario", scenario_id=scenario_id), 303)


def _again(scenario_id: str | None, problem: ProblemError) -> Any:
    if problem.problem.status not in (400, 422):
        raise problem
    row = None
    if scenario_id is not None:
        with reading() as db:
            row = authorisation.get_scenario(db, current_actor(), scenario_id)
    return render_template("web/scenario_form.html", row=row, values=request.form, key=form_key(), sectors=choices("sector"),
                           problem=problem), problem.problem.status


# --- industry departments ---


@web.get("/sectors")
@signed_in("data_authority", "operator", "industry_department", "security_supervisor")
def sectors() -> Any:
    with reading() as db:
        answering = authorisation.sector_departments(db)
        departments = [(row.id, both(row, "name")) for row in parties.list_organisations(db, kind="industry_department", limit=200)
                       if row.status == "active"]
    return render_template("web/sectors.html", sectors=choices("sector"), answering=answering, departments=departments,
                           names=dict(departments), may_assign=authorisation.may_assign_sectors(current_actor()))


@web.post("/sectors")
@signed_in()
def assign_sector() -> Any:
    with transaction() as db:
        authorisation.assign_sector(db, current_actor(), request.form.get("sector", ""), request.form.get("organisation") or None)
    flash(_("Saved."), "success")
    return redirect(url_for("web.sectors"), 303)
