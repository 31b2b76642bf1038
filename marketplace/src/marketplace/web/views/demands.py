"""Data demands: the list, who reviews it, and what became of it."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.db import reading, transaction
from marketplace.web.blueprint import web
from marketplace.web.labels import label
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import release
from marketplace.web.views._common import PAGE, app_titles, cursor, organisation_names, resource_rows
from marketplace.web.views.opinions import table


@web.get("/demands")
@signed_in()
def demands() -> Any:
    actor, status = current_actor(), request.args.get("status", "")
    with reading() as db:
        page = authorisation.list_demands(db, actor, status=status or None, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [row.organisation_id for row in page.items])
        items = [{"demand": row, "scenario": authorisation.get_scenario(db, actor, row.scenario_id),
                  "organisation": names.get(row.organisation_id, "–")} for row in page.items]
    return render_template("web/demands.html", items=items, next=page.next, first_page=cursor() is None, status=status)


@web.get("/demands/<demand_id>")
@signed_in()
def demand(demand_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = authorisation.get_demand(db, actor, demand_id)
        scenario = authorisation.get_scenario(db, actor, row.scenario_id)
        names = organisation_names(db, [row.organisation_id])
        resources = resource_rows(db, row.body.get("resources", []))
        asked = table(db, actor, row)
        differences = authorisation.changes(db, row)
        gone = resource_rows(db, [{"resource_id": one["key"]} for one in differences
                                  if one["what"] != "term" and one["after"] is None])
        grant = next(iter(authorisation.grants_of_demand(db, row.id)), None)
    titles = {item["id"]: f"{item['title']} · {item['organisation']}" for item in (*gone, *resources)}
    return render_template(
        "web/demand.html", demand=row, scenario=scenario, resources=resources, organisation=names.get(row.organisation_id, "–"),
        conditions=_conditions(row.body), actions=authorisation.demand_actions(actor, row), opinions=asked, titles=titles,
        changes=[_change(one, titles) for one in differences], grant=grant, may_issue=authorisation.may_issue(actor))


def _change(one: dict[str, Any], titles: dict[str, str]) -> dict[str, str]:
    return {"what": titles.get(one["key"], one["key"]) if one["what"] != "term" else label("demand_field", one["key"]),
            "part": label("demand_field", one["what"]) if one["what"] != "term" else "",
            "before": _shown(one["before"]), "after": _shown(one["after"])}


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(_("Yes") if value else _("No"))
    if isinstance(value, list):
        return str(_(", ")).join(str(one) for one in value)
    if isinstance(value, dict):
        return str(_(", ")).join(f"{key}: {one}" for key, one in value.items() if one is not None)
    return str(value)


def _conditions(body: dict[str, Any]) -> list[tuple[str, str]]:
    titles, comma = app_titles(), _(", ")
    out = [
        (_("Apps"), comma.join(titles.get(name, name) for name in body.get("apps", []))),
        (_("Smallest group"), _("%(count)d records", count=body.get("minimum_cohort") or 0)),
        (_("Fewest departments"), str(body.get("minimum_participants", ""))),
        (_("Output forms"), comma.join(label("form", form) for form in body.get("output_forms", []))),
        (_("Term"), _("%(days)d days", days=body.get("term_days") or 0)),
        (_("Answers"), label("release", body.get("release", "exact"))),
        *release.demanded(body.get("privacy")),
        (_("Single departments' figures"), _("asked to be shown") if body.get("own_figures") else _("not shown")),
        (_("Reason given for it"), str(body.get("own_figures_reason", "")) if body.get("own_figures") else ""),
    ]
    return [(name, value) for name, value in out if value]


@web.post("/demands/<demand_id>/<any(submit, withdraw):action>")
@signed_in()
def act_on_demand(demand_id: str, action: str) -> Any:
    with transaction() as db:
        if action == "submit":
            authorisation.submit_demand(db, current_actor(), demand_id)
        else:
            authorisation.withdraw_demand(db, current_actor(), demand_id)
    flash(_("The data demand is submitted.") if action == "submit" else _("The data demand is withdrawn."), "success")
    return redirect(url_for("web.demand", demand_id=demand_id), 303)


@web.post("/demands/<demand_id>/revise")
@signed_in()
def revise_demand(demand_id: str) -> Any:
    with transaction() as db:
        row = authorisation.revise_demand(db, current_actor(), demand_id)
    flash(_("A new version is begun. It is reviewed on its own; what is granted goes on until it takes its place."), "success")
    return redirect(url_for("web.edit_demand", demand_id=row.id), 303)
