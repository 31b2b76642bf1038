"""Grants the authority issued, and their withdrawal by those responsible."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.db import reading, transaction, utc_now
from marketplace.web.blueprint import web
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import budgets, release
from marketplace.web.views._common import PAGE, app_titles, cursor, integer, organisation_names, resource_rows


@web.get("/grants")
@signed_in()
def grants() -> Any:
    actor = current_actor()
    with reading() as db:
        page = authorisation.list_grants(db, actor, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [row.organisation_id for row in page.items])
        items = [{"record": row, "title": authorisation.get_scenario(db, actor, row.scenario_id).title,
                  "organisation": names.get(row.organisation_id, "–"), "state": authorisation.grant_state(row, utc_now())} for row in page.items]
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
        holds = _holds(db, record.id)
        powers = authorisation.withdrawal_actions(db, current_actor(), record)
        stops = _stops(db, record.id)
    return render_template("web/grant.html", record=record, grant=claims, resources=resources, holds=holds, powers=powers,
                           stops=stops, stopping=_stopping(stops),
                           state=authorisation.grant_state(record, utc_now()),
                           apps=app_titles(), privacy=release.terms(claims.privacy), own_figures_reason=reason,
                           sole=[(entry.resource, entry.column, list(entry.values)) for entry in claims.sole_values],
                           left=left)


def _holds(db: Any, grant_id: str) -> list[dict[str, Any]]:
    rows = authorisation.grant_holds(db, current_actor(), grant_id)
    names = organisation_names(db, [row.organisation_id for row in rows if row.organisation_id])
    reached = authorisation.reached(db, [row.id for row in rows])
    return [{"hold": row, "reached": reached.get(row.id, 0), "organisation": names.get(row.organisation_id or "", _("The market")),
             "actions": [one for one in authorisation.hold_actions(current_actor(), row) if one in ("follow", "dismiss")]} for row in rows]


def _stops(db: Any, grant_id: str) -> list[dict[str, Any]]:
    rows = authorisation.stops(db, current_actor(), grant_id)
    names = organisation_names(db, {row.organisation_id for row in rows})
    return [{"stop": row, "organisation": names.get(row.organisation_id, "–")} for row in rows]


def _stopping(stops: list[dict[str, Any]]) -> bool:
    """Whether an answer is to be expected any moment, and the page should look again."""
    return any(one["stop"].seen_at is None and one["stop"].connected for one in stops)


@web.get("/grants/<grant_id>/stops")
@signed_in()
def grant_stops(grant_id: str) -> Any:
    """How far a withdrawal has got, again and again until every node that is linked has answered."""
    with reading() as db:
        stops = _stops(db, grant_id)
    return render_template("web/_stops.html", grant_id=grant_id, stops=stops, stopping=_stopping(stops))


@web.post("/grants/<grant_id>/<any(hold, release, ask):action>")
@signed_in()
def withdraw_grant(grant_id: str, action: str) -> Any:
    actor, reason = current_actor(), request.form.get("reason", "")
    with transaction() as db:
        if action == "hold":
            authorisation.hold_grant(db, actor, grant_id, reason)
        elif action == "ask":
            authorisation.ask_withdrawal(db, actor, grant_id, reason)
        else:
            authorisation.release_grant(db, actor, grant_id)
    flash({"hold": _("The grant is withdrawn; the nodes stop within seconds."), "ask": _("The data authority is asked."),
           "release": _("Your withdrawal is lifted.")}[action], "success")
    return redirect(url_for("web.grant", grant_id=grant_id), 303)


@web.post("/withdrawals/<hold_id>/<any(follow, dismiss):action>")
@signed_in()
def decide_withdrawal(hold_id: str, action: str) -> Any:
    with transaction() as db:
        row = authorisation.decide_withdrawal(db, current_actor(), hold_id, follow=action == "follow")
    flash(_("The grant is withdrawn; the nodes stop within seconds.") if action == "follow" else _("The grant goes on."), "success")
    return redirect(url_for("web.grant", grant_id=row.grant_id), 303)


# --- total volume ---


@web.get("/volumes")
@signed_in("source_department", "data_authority", "operator", "security_supervisor")
def volumes() -> Any:
    """How much of each resource may be in use, and is."""
    actor = current_actor()
    owner = actor.organisation_id if actor.party == "source_department" else None
    with reading() as db:
        rows = authorisation.limited_resources(db, owner)
        found = authorisation.volumes(db, [row.id for row in rows])
        names = organisation_names(db, {row.organisation_id for row in rows})
    return render_template("web/volumes.html", names=names, items=[
        {"resource": row, "volume": found.get(row.id), "may": authorisation.may_set_volume(actor, row.organisation_id)} for row in rows])


@web.post("/volumes/<resource_id>")
@signed_in()
def set_volume(resource_id: str) -> Any:
    def limit(name: str, text: str) -> int | None:
        return integer(name, text=text, least=1) if request.form.get(name, "").strip() else None

    with transaction() as db:
        authorisation.set_volume(db, current_actor(), resource_id, max_grants=limit("max_grants", _("Grants at once")),
                                 max_rows=limit("max_rows", _("Records in a period")), period=request.form.get("period", "year"))
    flash(_("Saved."), "success")
    return redirect(url_for("web.volumes"), 303)
