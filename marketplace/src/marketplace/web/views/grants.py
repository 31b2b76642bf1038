"""Data demands and the grants the authority issued on them."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.db import reading, transaction, utc_now
from marketplace.web.blueprint import web
from marketplace.web.labels import label
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import budgets, release
from marketplace.web.views._common import PAGE, app_titles, cursor, organisation_names, resource_rows


@web.get("/demands")
@signed_in()
def demands() -> Any:
    actor = current_actor()
    with reading() as db:
        page = authorisation.list_demands(db, actor, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [row.organisation_id for row in page.items])
        items = [{"demand": row, "scenario": authorisation.get_scenario(db, actor, row.scenario_id),
                  "organisation": names.get(row.organisation_id, "–")} for row in page.items]
    return render_template("web/demands.html", items=items, next=page.next, first_page=cursor() is None)


@web.get("/demands/<demand_id>")
@signed_in()
def demand(demand_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = authorisation.get_demand(db, actor, demand_id)
        scenario = authorisation.get_scenario(db, actor, row.scenario_id)
        names = organisation_names(db, [row.organisation_id])
        resources = resource_rows(db, row.body.get("resources", []))
    return render_template("web/demand.html", demand=row, scenario=scenario, resources=resources,
                           organisation=names.get(row.organisation_id, "–"), conditions=_conditions(row.body),
                           actions=authorisation.demand_actions(actor, row))


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


@web.post("/demands/<demand_id>/refuse")
@signed_in()
def refuse_demand(demand_id: str) -> Any:
    with transaction() as db:
        authorisation.refuse_demand(db, current_actor(), demand_id, request.form.get("reason", "").strip())
    flash(_("The data demand is refused."), "success")
    return redirect(url_for("web.demand", demand_id=demand_id), 303)


@web.post("/demands/<demand_id>/withdraw")
@signed_in()
def withdraw_demand(demand_id: str) -> Any:
    with transaction() as db:
        authorisation.withdraw_demand(db, current_actor(), demand_id)
    flash(_("The data demand is withdrawn."), "success")
    return redirect(url_for("web.demand", demand_id=demand_id), 303)


def _state(record: Any) -> str:
    if record.status != "active":
        return str(record.status)
    return "active" if record.expires_at > utc_now() else "expired"


@web.get("/grants")
@signed_in()
def grants() -> Any:
    actor = current_actor()
    with reading() as db:
        page = authorisation.list_grants(db, actor, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [row.organisation_id for row in page.items])
        items = [{"record": row, "title": authorisation.get_scenario(db, actor, row.scenario_id).title,
                  "organisation": names.get(row.organisation_id, "–"), "state": _state(row)} for row in page.items]
    return render_template("web/grants.html", items=items, next=page.next, first_page=cursor() is None)


def _reason(db: Any, record: Any) -> str:
    """Why single departments' figures may show, as the demand said."""
    demand = authorisation.get_demand(db, current_actor(), record.demand_id)
    return str(demand.body.get("own_figures_reason", ""))


@web.get("/grants/<grant_id>")
@signed_in()
def grant(grant_id: str) -> Any:
    with reading() as db:
        record = authorisation.get_grant(db, current_actor(), grant_id)
        claims = authorisation.read_grant(record)
        left = budgets.told(db, computing.grant_budgets(db, current_actor(), grant_id)) if claims.privacy else []
        reason = _reason(db, record) if claims.own_figures else ""
        resources = resource_rows(db, claims.resources, {node.node_id: node.name for node in claims.nodes})
    return render_template("web/grant.html", record=record, grant=claims, resources=resources, state=_state(record),
                           apps=app_titles(), privacy=release.terms(claims.privacy), own_figures_reason=reason,
                           sole=[(entry.resource, entry.column, list(entry.values)) for entry in claims.sole_values],
                           left=left)
