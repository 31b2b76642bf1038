"""Operator selection: the public notice and ranking, applying, scoring, and what the authority does."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.clock import CITY
from marketplace.db import reading, transaction
from marketplace.notices import service as notices
from marketplace.selection import service as selections
from marketplace.web.blueprint import web
from marketplace.web.labels import choices, label
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import uploads
from marketplace.web.views._common import PAGE, cursor, integer, organisation_names, yuan_to_fen
from marketplace.web.views.agreements import SHARES
from shuyan.problems import ProblemError

ROWS = 8
"""Lines for criteria in the form."""


@web.get("/selections")
def selections_list() -> Any:
    actor = current_actor()
    with reading() as db:
        page = selections.list_selections(db, actor, status=request.args.get("status") or None, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [row.organisation_id for row in page.items])
    return render_template("web/selections.html", items=page.items, names=names, next=page.next, first_page=cursor() is None,
                           may_draft=selections.may_draft(actor))


@web.get("/selections/new")
@signed_in("data_authority")
def new_selection() -> Any:
    return render_template("web/selection_notice.html", row=None, until="", rows=ROWS)


@web.post("/selections/new")
@signed_in("data_authority")
def draft_selection() -> Any:
    with transaction() as db:
        row = selections.draft(db, current_actor(), apply_until=_until(), notice=_notice())
    flash(_("Drafted. Another person of your organisation publishes it."), "success")
    return redirect(url_for("web.selection", selection_id=row.id), 303)


@web.get("/selections/<selection_id>/notice")
@signed_in("data_authority")
def selection_notice(selection_id: str) -> Any:
    with reading() as db:
        row = selections.get_selection(db, current_actor(), selection_id)
    until = (row.apply_until.astimezone(CITY) - dt.timedelta(microseconds=1)).date().isoformat()
    return render_template("web/selection_notice.html", row=row, until=until, rows=max(ROWS, len(row.criteria)))


@web.post("/selections/<selection_id>/notice")
@signed_in("data_authority")
def edit_selection(selection_id: str) -> Any:
    with transaction() as db:
        selections.edit(db, current_actor(), selection_id, apply_until=_until(), notice=_notice())
    flash(_("Saved."), "success")
    return redirect(url_for("web.selection", selection_id=selection_id), 303)


def _until() -> dt.datetime:
    """The end of the day that was typed, in the city."""
    try:
        day = dt.date.fromisoformat(request.form.get("apply_until", ""))
        return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), CITY).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ProblemError("invalid_input", field=_("Last day for applications"), reason=_("a date")) from None


def _notice() -> dict[str, Any]:
    form, criteria = request.form, []
    for place in range(20):
        name_zh, name_en = form.get(f"name_zh.{place}", "").strip(), form.get(f"name_en.{place}", "").strip()
        if name_zh or name_en or form.get(f"weight.{place}", "").strip():
            criteria.append({"key": f"c{place + 1}", "name_zh": name_zh, "name_en": name_en or name_zh,
                             "weight": integer(f"weight.{place}", text=_("Weight"), least=1)})
    return {"title_zh": form.get("title_zh", "").strip(), "title_en": form.get("title_en", "").strip(),
            "conditions": form.get("conditions", "").strip(), "criteria": criteria}


@web.get("/selections/<selection_id>")
def selection(selection_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        page = selections.page(db, actor, selection_id)
        row = page.selection
        names = organisation_names(db, [row.organisation_id, *(one["organisation_id"] for one in page.ranking),
                                        *(one.application.organisation_id for one in page.applications),
                                        *(one.organisation_id for one in page.experts)])
        people = selections.names(db, [one.member_id for one in page.experts])
        notice = next(iter(notices.list_notices(db, subject=row.id, limit=1).items), None)
    candidate = next((one["organisation_id"] for one in page.ranking if one["application_id"] == row.candidate_id), None)
    return render_template("web/selection.html", page=page, row=row, names=names, people=people, notice=notice, candidate=candidate,
                           modes=choices("mode"), shares=[(name, label("share", name)) for name in SHARES])


@web.post("/selections/<selection_id>")
@signed_in()
def act_on_selection(selection_id: str) -> Any:
    actor, form = current_actor(), request.form
    reason = form.get("reason", "")
    with transaction() as db:
        match form.get("act"):
            case "publish":
                selections.publish(db, actor, selection_id)
                told = _("Published: applications may come in.")
            case "apply":
                selections.apply(db, actor, selection_id, statement=form.get("statement", ""), files=uploads.stored(db, actor, "files"))
                told = _("Your application is in.")
            case "withdraw":
                selections.withdraw(db, actor, form.get("application", ""))
                told = _("Your application is withdrawn.")
            case "set_aside":
                selections.set_aside(db, actor, form.get("application", ""), reason)
                told = _("The application is set aside.")
            case "name_expert":
                member = selections.member_by_email(db, form.get("email", ""))
                selections.name_expert(db, actor, selection_id, member)
                told = _("The expert is on the panel.")
            case "dismiss_expert":
                selections.dismiss_expert(db, actor, selection_id, form.get("expert", ""))
                told = _("The expert is off the panel.")
            case "score":
                row = selections.get_selection(db, actor, selection_id)
                points = {one["key"]: integer(f"points.{one['key']}", text=str(one["name_zh"])) for one in row.criteria}
                selections.score(db, actor, form.get("application", ""), points, form.get("comment", ""))
                told = _("Your score is kept.")
            case "negotiate":
                selections.negotiate(db, actor, selection_id)
                told = _("The first in the ranking is invited.")
            case "next":
                row = selections.next_candidate(db, actor, selection_id, reason)
                told = _("The next in the ranking is invited.") if row.status == "negotiating" else _("Nobody is left: the selection has failed.")
            case "conclude":
                selections.conclude(db, actor, selection_id, _terms())
                told = _("The terms go to a reviewer.")
            case "return":
                selections.return_(db, actor, selection_id, reason)
                told = _("Returned to negotiation.")
            case "approve":
                selections.approve(db, actor, selection_id)
                told = _("Approved: the public notice has begun.")
            case "cancel":
                selections.cancel(db, actor, selection_id, reason)
                told = _("The selection is cancelled.")
            case _:
                raise ProblemError("bad_request")
    flash(told, "success")
    return redirect(url_for("web.selection", selection_id=selection_id), 303)


def _terms() -> dict[str, Any]:
    return {"mode": request.form.get("mode", "overall"), "sectors": request.form.getlist("sectors"),
            "months": integer("months", text=_("Term in months"), least=1),
            "usage_fee_fen": yuan_to_fen("usage_fee", text=_("Usage fee a year")),
            "split": {name: integer(f"split.{name}", text=label("share", name)) for name in SHARES},
            "conditions": request.form.get("conditions", "").strip()}


@web.get("/applications/<application_id>/files/<file_id>")
@signed_in()
def application_file(application_id: str, file_id: str) -> Any:
    with reading() as db:
        return uploads.download(selections.file(db, current_actor(), application_id, file_id))
