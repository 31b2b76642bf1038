"""The operator's partners: filed by the operator, decided by the data authority, read by the supervisor."""

from __future__ import annotations

import datetime as dt
from typing import Any, cast, get_args

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import reading, transaction
from marketplace.registration import partners
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import acted, organisation_names
from marketplace.web.views.uploads import download
from shuyan.problems import ProblemError

_READERS = ("operator", "data_authority", "security_supervisor")


@web.get("/partners")
@signed_in(*_READERS)
def partner_filings() -> Any:
    with reading() as db:
        rows = partners.list_filings(db, current_actor())
        names = organisation_names(db, {row.organisation_id for row in rows})
    return render_template("web/partners.html", rows=rows, names=names)


@web.get("/partners/new")
@signed_in("operator")
def new_partner() -> Any:
    return render_template("web/partner_form.html", values={}, row=None, problem=None)


@web.post("/partners/new")
@signed_in("operator")
def draft_partner() -> Any:
    try:
        with transaction() as db:
            row = partners.draft(db, current_actor(), _values())
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        return render_template("web/partner_form.html", values=request.form, row=None, problem=say(problem)), 422
    flash(_("The draft is saved. Add evidence, then submit it."), "success")
    return redirect(url_for("web.partner", filing_id=row.id), 303)


def _values() -> dict[str, Any]:
    values: dict[str, Any] = {name: request.form.get(name, "") for name in ("name", "credit_code", "cooperation", "qualifications", "duties")}
    for name, text in (("starts_on", _("From")), ("ends_on", _("To"))):
        try:
            values[name] = dt.date.fromisoformat(request.form.get(name, ""))
        except ValueError:
            raise ProblemError("invalid_input", field=text, reason=_("is not a date")) from None
    return values


@web.get("/partners/<filing_id>")
@signed_in(*_READERS)
def partner(filing_id: str) -> Any:
    return _page(filing_id)


def _page(filing_id: str, problem: ProblemError | None = None) -> str:
    with reading() as db:
        row, files, actions = partners.get(db, current_actor(), filing_id)
        names = organisation_names(db, [row.organisation_id])
    return render_template("web/partner.html", row=row, files=files, actions=list(dict.fromkeys(actions)), problem=say(problem) if problem else None,
                           operator=names.get(row.organisation_id, "–"), typed=request.form, needing=("return", "refuse", "end"))


@web.get("/partners/<filing_id>/edit")
@signed_in("operator")
def edit_partner(filing_id: str) -> Any:
    with reading() as db:
        row, _files, actions = partners.get(db, current_actor(), filing_id)
    if "edit" not in actions:
        raise ProblemError("not_allowed")
    return render_template("web/partner_form.html", values={name: getattr(row, name) for name in partners.FIELDS}, row=row, problem=None)


@web.post("/partners/<filing_id>/edit")
@signed_in("operator")
def save_partner(filing_id: str) -> Any:
    try:
        with transaction() as db:
            partners.edit(db, current_actor(), filing_id, _values())
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        with reading() as db:
            row, _files, _actions = partners.get(db, current_actor(), filing_id)
        return render_template("web/partner_form.html", values=request.form, row=row, problem=say(problem)), 422
    return redirect(url_for("web.partner", filing_id=filing_id), 303)


@web.post("/partners/<filing_id>/files")
@signed_in("operator")
def add_partner_file(filing_id: str) -> Any:
    with transaction() as db:
        for file in request.files.getlist("file"):
            if file.filename:
                partners.add_file(db, current_actor(), filing_id, name=file.filename, data=file.read())
    return redirect(url_for("web.partner", filing_id=filing_id), 303)


@web.get("/partners/<filing_id>/files/<file_id>")
@signed_in(*_READERS)
def partner_file(filing_id: str, file_id: str) -> Any:
    with reading() as db:
        return download(partners.read_file(db, current_actor(), filing_id, file_id))


@web.post("/partners/<filing_id>")
@signed_in(*_READERS)
def act_on_partner(filing_id: str) -> Any:
    action = request.form.get("action", "")
    if action not in get_args(partners.Action):
        raise ProblemError("bad_request")
    return acted(lambda db: partners.act(db, current_actor(), filing_id, cast(partners.Action, action), request.form.get("reason", "")),
                 page=lambda problem: _page(filing_id, problem), done=lambda _row: _("Recorded."),
                 back=url_for("web.partner", filing_id=filing_id))
