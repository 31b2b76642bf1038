"""A developer's jobs: submit, watch, cancel, and look at the result."""

from __future__ import annotations

from typing import Any

from flask import flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.computing.rules import JOB
from marketplace.db import reading, transaction
from marketplace.web import present
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import language
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import jobform
from marketplace.web.views._common import (
    PAGE,
    app_titles,
    column_titles,
    cursor,
    form_key,
    new_key,
    param_lines,
)
from shuyan.problems import ProblemError

MOVING = ("queued", "running", "awaiting_approval")


@web.get("/jobs")
@signed_in()
def jobs() -> Any:
    with reading() as db:
        rows, following = computing.list_jobs(db, current_actor(), cursor=cursor(), limit=PAGE)
    return render_template("web/jobs.html", items=rows, next=following, first_page=cursor() is None, apps=app_titles())


@web.get("/jobs/<job_id>")
@signed_in()
def job(job_id: str) -> Any:
    actor = current_actor()
    content: dict[str, Any] = {}
    names: dict[str, str] = {}
    with reading() as db:
        row = computing.get_job(db, actor, job_id)
        context = _progress(db, row)
        if row.status == "completed":
            try:
                output = computing.job_result(db, actor, job_id)
                content, names = output.content, column_titles(db, output.participants, row.params.get("resource"))
            except ProblemError as problem:  # those who oversee a job need not see its result
                if problem.problem.status >= 500:
                    raise
        actions = computing.job_actions(actor, row)
    return render_template("web/job.html", **context, actions=actions, app_title=app_titles().get(row.app_name, row.app_name),
                           params=param_lines(row.params), parts=present.sections(content, names),
                           figures=present.facts(content, names) if content else [],
                           usable=bool(content) and row.organisation_id == actor.organisation_id)


@web.get("/jobs/<job_id>/progress")
@signed_in()
def job_progress(job_id: str) -> Any:
    """The progress card alone; asks the browser to load the whole page once the job has moved on."""
    with reading() as db:
        row = computing.get_job(db, current_actor(), job_id)
        context = _progress(db, row)
    response = make_response(render_template("web/_progress.html", **context))
    if not context["live"]:
        response.headers["HX-Refresh"] = "true"
    response.headers["Cache-Control"] = "no-store"
    return response


def _progress(db: Any, row: Any) -> dict[str, Any]:
    lines = [{"at": line.at, "level": line.level, "text": computing.log_sentence(line.code, line.args, language())}
             for line in computing.job_log(db, current_actor(), row.id)]
    failure = computing.failure_sentence(row.error_code, row.error_args, language()) \
        if row.error_code and row.status == "failed" else None
    note = None
    if row.status == "reviewing":
        note = _("The result is with the data authority for its egress review. You can use it once it is approved.")
    elif row.status == "rejected":
        review = computing.review_of_job(db, row.id)
        note = _("The egress review rejected the result: %(note)s", note=review.note if review else "")
    return {"job": row, "lines": lines, "failure": failure, "review_note": note,
            "live": row.status in MOVING and row.status not in JOB.final}


@web.post("/jobs/<job_id>/cancel")
@signed_in()
def cancel_job(job_id: str) -> Any:
    with transaction() as db:
        row = computing.cancel_job(db, current_actor(), job_id)
    flash(_("The job is cancelled.") if row.status == "cancelled" else _("The departments are being told to stop."), "success")
    return redirect(url_for("web.job", job_id=job_id), 303)


@web.get("/jobs/new")
@signed_in("developer", "operator")
def new_job() -> Any:
    grant_id = request.args.get("grant", "")
    with reading() as db:
        if not grant_id:
            return render_template("web/job_choose.html", choices=jobform.choices(db, current_actor()))
        record = authorisation.get_grant(db, current_actor(), grant_id)
        form = jobform.read(db, record, request.args.get("app", ""), request.args.get("resource", ""))
    return render_template("web/job_new.html", form=form, values=jobform.defaults(form), key=new_key(), problem=None)


@web.post("/jobs/new")
@signed_in("developer", "operator")
def submit_job() -> Any:
    actor = current_actor()
    with reading() as db:
        record = authorisation.get_grant(db, actor, request.form.get("grant", ""))
        form = jobform.read(db, record, request.form.get("app", ""), request.form.get("resource", ""))
    try:
        params = jobform.params(form, request.form)
        with transaction() as db:
            row = computing.submit_job(db, actor, grant_id=record.id, app=form.app, params=params,
                                       title=request.form.get("title", "").strip(), idempotency_key=form_key())
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        return render_template("web/job_new.html", form=form, values=request.form.to_dict(flat=False),
                               key=new_key(), problem=say(problem)), problem.problem.status
    return redirect(url_for("web.job", job_id=row.id), 303)
