"""Giving opinions on scenarios and demands."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.db import transaction, utc_now
from marketplace.web.blueprint import web
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import organisation_names
from shuyan.problems import ProblemError


def table(db: Any, actor: Any, row: Any) -> list[dict[str, Any]]:
    """Who is asked about the present version: their state, the words this reader may see, and what this reader may decide."""
    readable = {one.id for one in authorisation.opinions(db, actor, row)}
    asked, now = authorisation.review_progress(db, row), utc_now()
    names = organisation_names(db, [one.organisation_id for one in asked])
    return [{"opinion": one, "organisation": names.get(one.organisation_id, "–"), "readable": one.id in readable,
             "late": one.decided_at is None and one.due_at <= now, "actions": authorisation.opinion_actions(actor, row, one),
             "lines": authorisation.strikable(db, one, row)} for one in asked]


@web.post("/opinions/<opinion_id>")
@signed_in()
def give_opinion(opinion_id: str) -> Any:
    decisions: dict[str, authorisation.Decision] = {"approve": "approve", "return": "return", "refuse": "refuse"}
    action = decisions.get(request.form.get("decision", ""))
    if action is None:
        raise ProblemError("bad_request")
    comments = {name.removeprefix("comment-"): text for name, text in request.form.items() if name.startswith("comment-")}
    with transaction() as db:
        row = authorisation.give_opinion(db, current_actor(), opinion_id, action, note=request.form.get("note", ""),
                                         struck=request.form.getlist("struck"), comments=comments)
    flash(_("Your opinion is recorded."), "success")
    if row.kind == "scenario":
        return redirect(url_for("web.scenario", scenario_id=row.subject), 303)
    return redirect(url_for("web.demand", demand_id=row.subject), 303)
