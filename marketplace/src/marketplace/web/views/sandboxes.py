"""Sandboxes: schema, mock rows, quota and runs, the way to the nodes; and a department's decision on distributions."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.db import reading, transaction
from marketplace.sandboxes import service as sandboxes
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, app_titles, cursor, form_key, new_key, organisation_names
from shuyan.mockdata import cell_names, preview
from shuyan.problems import ProblemError

ROWS = 6
"""Mock rows shown of each resource."""


@web.get("/sandboxes")
@signed_in()
def sandboxes_list() -> Any:
    with reading() as db:
        page = sandboxes.list_sandboxes(db, current_actor(), cursor=cursor(), limit=PAGE)
        names = organisation_names(db, {row.organisation_id for row in page.items})
        used = sandboxes.uses_of(db, page.items)
    return render_template("web/sandboxes.html", items=page.items, organisations=names, used=used, next=page.next,
                           first_page=cursor() is None)


@web.post("/scenarios/<scenario_id>/sandbox")
@signed_in("developer", "operator")
def open_sandbox(scenario_id: str) -> Any:
    with transaction() as db:
        row = sandboxes.open_sandbox(db, current_actor(), scenario_id)
    return redirect(url_for("web.sandbox", sandbox_id=row.id), 303)


@web.get("/sandboxes/<sandbox_id>")
@signed_in()
def sandbox(sandbox_id: str) -> Any:
    return _page(sandbox_id)


def _page(sandbox_id: str, problem: ProblemError | None = None) -> str:
    actor, told, why, tables = current_actor(), None, None, []
    with reading() as db:
        row = sandboxes.get_sandbox(db, actor, sandbox_id)
        runs = sandboxes.list_runs(db, actor, sandbox_id, cursor=cursor(), limit=PAGE)
        jobs = computing.jobs_of_runs(db, [run.id for run in runs.items])
        names = organisation_names(db, [row.organisation_id])
        used = sandboxes.use_of(db, row)
        try:
            told = sandboxes.describe(db, actor, sandbox_id)
        except ProblemError as refused:
            why = say(refused) if refused.code != "not_found" else None
    if told is not None:
        departments = {one.node_id: one.name for one in told.departments}
        for name in told.names:
            found = told.find(name)
            tables.append({"name": name, "title": found[0].title, "columns": [column for column in found[0].columns if column.granted],
                           "departments": [departments[one.node_id] for one in found], "spread": {column.name for one in found for column in one.columns if column.marginal is not None},
                           "shown": departments[found[0].node_id],
                           "rows": preview(told, found[0], ROWS)})
    return render_template(
        "web/sandbox.html", row=row, organisation=names.get(row.organisation_id, "–"), told=told, why=why, tables=tables, used=used,
        runs=runs.items, jobs=jobs, next=runs.next, first_page=cursor() is None, actions=sandboxes.actions(actor, row), key=new_key(), apps=app_titles(),
        may_promote=told is not None and told.basis == "grant" and row.organisation_id == actor.organisation_id,
        problem=say(problem) if problem else None)


@web.post("/sandboxes/<sandbox_id>/<any(close, reopen):action>")
@signed_in()
def act_on_sandbox(sandbox_id: str, action: str) -> Any:
    with transaction() as db:
        (sandboxes.close_sandbox if action == "close" else sandboxes.reopen_sandbox)(db, current_actor(), sandbox_id)
    return redirect(url_for("web.sandbox", sandbox_id=sandbox_id), 303)


@web.post("/sandboxes/<sandbox_id>/runs/<run_id>/promote")
@signed_in("developer", "operator")
def promote_run(sandbox_id: str, run_id: str) -> Any:
    """Submit a run to the nodes, as it was tried."""
    actor = current_actor()
    try:
        with reading() as db:
            run = sandboxes.get_run(db, actor, sandbox_id, run_id)
            told = sandboxes.describe(db, actor, sandbox_id)
            asked: dict[str, Any] = {"grant_id": told.basis_id, "app": run.app, "params": run.params, "idempotency_key": form_key()}
            checked = computing.check_job(db, actor, **asked)
        with transaction() as db:
            job = computing.submit_job(db, actor, **asked, title=request.form.get("title", ""), sandbox_run=run.id, checked=checked)
    except ProblemError as problem:
        if problem.problem.status >= 500 or problem.code == "not_found":
            raise
        return _page(sandbox_id, problem), problem.problem.status
    flash(_("Submitted to the nodes, unchanged."), "success")
    return redirect(url_for("web.job", job_id=job.id), 303)


@web.get("/marginals")
@signed_in("source_department", "data_authority", "security_supervisor")
def marginals_list() -> Any:
    with reading() as db:
        rows = sandboxes.list_marginals(db, current_actor())
        resources = catalogue.resources_by_id(db, [row.resource_id for row in rows])
        names = organisation_names(db, {row.organisation_id for row in rows})
    return render_template("web/marginals_list.html", items=rows, resources=resources, organisations=names)


@web.get("/resources/<resource_id>/marginals")
@signed_in()
def marginals(resource_id: str) -> Any:
    return _marginals(resource_id)


def _marginals(resource_id: str, problem: ProblemError | None = None) -> str:
    actor = current_actor()
    with reading() as db:
        row = sandboxes.get_marginals(db, actor, resource_id)
        resource = catalogue.get_resource(db, actor, resource_id)
        names = organisation_names(db, [row.organisation_id])
    columns = [{"name": one["name"], "cells": list(zip(cell_names(one.get("labels"), one.get("edges"), one.get("days")), one["weights"], strict=True))} for one in row.columns]
    titles = {one["name"]: one["title"] for one in resource.columns}
    return render_template("web/marginals.html", row=row, resource=resource, columns=columns, titles=titles,
                           organisation=names.get(row.organisation_id, "–"), actions=sandboxes.marginals_actions(actor, row),
                           problem=say(problem) if problem else None, note=request.form.get("note", ""))


@web.post("/resources/<resource_id>/marginals/<any(approve, refuse, withdraw):action>")
@signed_in("source_department")
def decide_marginals(resource_id: str, action: str) -> Any:
    try:
        with transaction() as db:
            sandboxes.decide_marginals(db, current_actor(), resource_id, action, digest=request.form.get("digest", ""),
                                       note=request.form.get("note", ""))
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        return _marginals(resource_id, problem), 422
    flash(_("Decided."), "success")
    return redirect(url_for("web.marginals", resource_id=resource_id), 303)
