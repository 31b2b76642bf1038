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
from marketplace.web.views import explaining, jobform
from marketplace.web.views._common import (
    PAGE,
    app_titles,
    column_titles,
    cursor,
    form_key,
    new_key,
    opinion_lines,
    organisation_names,
    param_lines,
    unstored,
)
from shuyan.problems import ProblemError

MOVING = ("queued", "running", "awaiting_approval")
LOG_LINES = 200
"""Of a long job's log, the latest so many lines; a thousand a second would be too many."""


@web.get("/jobs")
@signed_in()
def jobs() -> Any:
    apps, status, app = app_titles(), request.args.get("status", ""), request.args.get("app", "")
    status = status if status in JOB.states else ""
    with reading() as db:
        rows, following = computing.list_jobs(db, current_actor(), status=status or None, app=app or None, cursor=cursor(), limit=PAGE)
    return render_template("web/jobs.html", items=rows, next=following, first_page=cursor() is None, apps=apps, app=app, status=status,
                           states=JOB.states, narrowed=bool(status or app))


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
                content, names = output.content, column_titles(db, output.participants, computing.resources_of(row))
            except ProblemError as problem:  # those who oversee a job need not see its result
                if problem.problem.status >= 500:
                    raise
        actions = computing.job_actions(actor, row)
    if content.get("history"):
        context["curve"] = None  # the result has it round by round
    own = row.organisation_id == actor.organisation_id
    return render_template("web/job.html", **context, actions=actions, app_title=app_titles().get(row.app_name, row.app_name),
                           params=param_lines(row.params), pretty=present.pretty, parts=present.sections(content, names),
                           table=_table(content), figures=present.facts(content, names) if content else [],
                           warnings=present.notes(content), card=content.get("kind") == "model", usable=bool(content) and own and content.get("kind") != "table",
                           reopen=own and row.app_name == "query" and actor.party in ("developer", "operator"))


def _table(content: dict[str, Any]) -> Any:
    """A query's result as the reader sorted it, one page of it; ``None`` for other results."""
    if content.get("kind") != "table":
        return None
    return present.grid(content, sort=request.args.get("sort", ""), descending=request.args.get("order") == "desc",
                        page=request.args.get("page", "1"))


@web.get("/jobs/<job_id>/table")
@signed_in()
def job_table(job_id: str) -> Any:
    """The table of a query's result alone, sorted or turned to another page."""
    with reading() as db:
        row = computing.get_job(db, current_actor(), job_id)
        content = computing.job_result(db, current_actor(), job_id).content
    table = _table(content)
    if table is None:
        raise ProblemError("not_found", what="result")
    if not request.headers.get("HX-Request"):
        query: dict[str, Any] = request.args.to_dict()
        return redirect(url_for("web.job", **{**query, "job_id": job_id}))
    return render_template("web/_grid.html", table=table, job=row)


@web.get("/jobs/<job_id>/result.csv")
@signed_in()
def job_csv(job_id: str) -> Any:
    """A query's whole result as CSV in UTF-8, with a mark of it for spreadsheets."""
    with reading() as db:
        content = computing.job_result(db, current_actor(), job_id).content
    if content.get("kind") != "table":
        raise ProblemError("not_found", what="result")
    response = make_response("\ufeff" + present.csv_text(content))
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="{job_id}.csv"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


@web.get("/jobs/<job_id>/progress")
@signed_in()
def job_progress(job_id: str) -> Any:
    """The progress card alone; asks the browser to load the whole page once the job has moved on."""
    with reading() as db:
        row = computing.get_job(db, current_actor(), job_id)
        context = _progress(db, row)
    response = unstored(render_template("web/_progress.html", **context))
    if not context["live"]:
        response.headers["HX-Refresh"] = "true"
    return response


def _progress(db: Any, row: Any) -> dict[str, Any]:
    told = computing.job_log(db, current_actor(), row.id)
    lines = [{"at": line.at, "level": line.level, "text": computing.log_sentence(line.code, line.args, language())}
             for line in told[-LOG_LINES:]]
    failure = computing.failure_sentence(row.error_code, row.error_args, language()) \
        if row.error_code and row.status == "failed" else None
    note = None
    if row.status == "reviewing":
        opinions = computing.decided_by(db, current_actor(), row.id)
        seats = opinion_lines(opinions, organisation_names(db, [one.organisation_id for one in opinions if one.organisation_id]))
        asked = [line for line in seats if line["one"].decision == "pending"]
        note = _("The result waits for its egress review by %(who)s. You can use it once everybody asked has agreed.",
                 who=_(", ").join(line["who"] for line in asked))
    elif row.status == "rejected":
        review = computing.review_of_job(db, row.id)
        note = _("The egress review rejected the result: %(note)s", note=review.note if review else "")
    return {"job": row, "lines": lines, "earlier": max(0, len(told) - LOG_LINES), "failure": failure, "review_note": note,
            "curve": present.curve([line.args for line in told if line.code == "round_loss"]),
            "departments": _departments(db, row, told), "live": row.status in MOVING and row.status not in JOB.final}


def _departments(db: Any, row: Any, told: Any) -> list[tuple[str, str]]:
    """(department, what became of it) of those that take part."""
    lost = {str(line.args.get("node")) for line in told if line.code == "department_lost"}
    waiting = set(row.waiting_for)
    nodes = computing.nodes_by_id(db, {*computing.taking_part(db, current_actor(), row.id), *waiting})
    names = sorted((node.name, node_id) for node_id, node in nodes.items())
    return [(name, "lost" if name in lost else "awaiting_approval" if node_id in waiting else "taking_part") for name, node_id in names]


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
    grant_id, app = request.args.get("grant", ""), request.args.get("app", "")
    with reading() as db:
        if not grant_id or not app:
            found = jobform.choices(db, current_actor())
            found.sort(key=lambda item: item["record"].id != grant_id)
            return render_template("web/job_choose.html", choices=found, app=app)
        if app == "query":
            return redirect(url_for("web.sql", grant=grant_id))
        record = authorisation.get_grant(db, current_actor(), grant_id)
        form = jobform.read(db, record, app, request.args.get("resource", ""))
    return _form_page(form, jobform.defaults(form))


@web.post("/jobs/explain")
@signed_in("developer", "operator")
def explain_job() -> Any:
    """What the job would do: a fragment for the form, or the whole page for a browser without scripts."""
    actor = current_actor()
    with reading() as db:
        form = _submitted_form(db)
        try:
            told = explaining.explain(db, actor, grant_id=form.record.id, app=form.app, params=jobform.params(form, request.form))
        except ProblemError as problem:
            if problem.problem.status >= 500:
                raise
            told = explaining.refused(problem)
    if not request.headers.get("HX-Request"):
        return _form_page(form, request.form.to_dict(flat=False), told=told)
    return render_template("web/_explain.html", told=told)


@web.post("/jobs/new")
@signed_in("developer", "operator")
def submit_job() -> Any:
    actor = current_actor()
    with reading() as db:
        form = _submitted_form(db)
    asked = {"grant_id": form.record.id, "app": form.app, "idempotency_key": form_key()}
    try:
        params = jobform.params(form, request.form)
        with reading() as db:  # checking takes a while, and no writer should wait for it
            checked = computing.check_job(db, actor, **asked, params=params)
        with transaction() as db:
            row = computing.submit_job(db, actor, **asked, params=params, title=request.form.get("title", "").strip(), checked=checked)
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        return _form_page(form, request.form.to_dict(flat=False), problem), problem.problem.status
    return redirect(url_for("web.job", job_id=row.id), 303)


def _submitted_form(db: Any) -> jobform.JobForm:
    record = authorisation.get_grant(db, current_actor(), request.form.get("grant", ""))
    return jobform.read(db, record, request.form.get("app", ""), request.form.get("resource", ""))


def _form_page(form: jobform.JobForm, values: dict[str, list[str]], problem: ProblemError | None = None,
               told: explaining.Told | None = None) -> str:
    where = (problem.field or "").removeprefix("params.") if problem else told.parameter if told else ""
    marks = [(column.name, column.name) for column in form.table.columns]
    return render_template("web/job_new.html", form=form, values=values, key=new_key(), told=told, marks=marks,
                           problem=say(problem) if problem else None, where=where)
