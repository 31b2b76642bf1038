"""Developers' apps: handing in a package, its review, and downloading what was accepted."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import reading, transaction
from marketplace.programs import service as programs
from marketplace.web.blueprint import web
from marketplace.web.i18n import language
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, cursor, organisation_names
from shuyan.problems import ProblemError


@web.get("/submissions")
@signed_in()
def submissions() -> Any:
    actor = current_actor()
    with reading() as db:
        page = programs.list_submissions(db, actor, status=request.args.get("status") or None, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [row.organisation_id for row in page.items])
    return render_template("web/submissions.html", items=page.items, names=names, next=page.next, first_page=cursor() is None,
                           may_submit=actor.party in ("developer", "operator"))


@web.post("/submissions")
@signed_in()
def submit_app() -> Any:
    file = request.files.get("package")
    data = file.read() if file is not None else b""
    checked = programs.check_package(current_actor(), data)
    with transaction() as db:
        row = programs.submit(db, current_actor(), data, note=request.form.get("note", ""), checked=checked)
    flash(_("Submitted: the operator reviews it now."), "success")
    return redirect(url_for("web.submission", submission_id=row.id), 303)


@web.get("/submissions/<submission_id>")
@signed_in()
def submission(submission_id: str) -> Any:
    with reading() as db:
        detail = programs.get_submission(db, current_actor(), submission_id)
        names = organisation_names(db, [detail.submission.organisation_id])
    row = detail.submission
    return render_template(
        "web/submission.html", row=row, organisation=names.get(row.organisation_id, "–"), facts=programs.detail_facts(detail),
        findings=[{"place": f"{one['path']}:{one['line']}" if one["line"] else one["path"], "text": one[language()]}
                  for one in row.findings], actions=detail.actions)


@web.post("/submissions/<submission_id>")
@signed_in()
def decide_submission(submission_id: str) -> Any:
    actor, note = current_actor(), request.form.get("note", "")
    with transaction() as db:
        match request.form.get("decision"):
            case "accept":
                programs.accept(db, actor, submission_id, _signature(), note)
                told = _("Accepted: departments may install it now.")
            case "return":
                programs.return_(db, actor, submission_id, note)
                told = _("Returned to its developer.")
            case "reject":
                programs.reject(db, actor, submission_id, note)
                told = _("Rejected.")
            case "withdraw":
                programs.withdraw(db, actor, submission_id)
                told = _("Withdrawn.")
            case "retire":
                programs.retire(db, actor, submission_id, note)
                told = _("Retired: no job runs this version any more.")
            case _:
                raise ProblemError("bad_request")
    flash(told, "success")
    return redirect(url_for("web.submission", submission_id=submission_id), 303)


def _signature() -> str:
    file = request.files.get("signature")
    return "" if file is None else file.read(16_384).decode("ascii", "replace")


@web.get("/submissions/<submission_id>/package")
@signed_in()
def submission_package(submission_id: str) -> Any:
    with reading() as db:
        row, data = programs.download(db, current_actor(), submission_id)
    return _attachment(data, f"{row.name}-{row.version}.shuyanapp")


@web.get("/submissions/<submission_id>/signature")
@signed_in()
def submission_signature(submission_id: str) -> Any:
    with reading() as db:
        row, _data = programs.download(db, current_actor(), submission_id)
    if row.signature is None:
        raise ProblemError("not_found", what="app")
    return _attachment(f"{row.signature}\n".encode("ascii"), f"{row.name}-{row.version}.shuyanapp.sig")


def _attachment(data: bytes, name: str) -> Response:
    answer = Response(data, mimetype="application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
