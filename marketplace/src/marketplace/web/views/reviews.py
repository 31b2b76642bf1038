"""Egress reviews: what wants to leave the domain, and the decision."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.computing import service as computing
from marketplace.computing.rules import REVIEW
from marketplace.db import reading, transaction
from marketplace.web import present
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import language
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import (
    PAGE,
    column_titles,
    cursor,
    opinion_lines,
    organisation_names,
    param_lines,
)
from shuyan.problems import ProblemError


@web.get("/reviews")
@signed_in()
def reviews() -> Any:
    status = request.args.get("status", "")
    status = status if status in REVIEW.states else ""
    with reading() as db:
        rows, following = computing.list_reviews(db, current_actor(), status=status or None, cursor=cursor(), limit=PAGE)
        items: list[dict[str, Any]] = []
        jobs = computing.jobs_by_id(db, [row.job_id for row in rows])
        for row in rows:
            job = jobs.get(row.job_id)
            items.append({"review": row, "job": job, "title": (job.title if job else "") or row.job_id,
                          "passed": all(check.get("passed") for check in row.checks)})
        names = organisation_names(db, [item["job"].organisation_id for item in items if item["job"]])
    for item in items:
        item["organisation"] = names.get(item["job"].organisation_id, "–") if item["job"] else "–"
    # what waits for a decision comes first; the order within is the service's, newest first
    items.sort(key=lambda item: item["review"].status != "pending")
    return render_template("web/reviews.html", items=items, next=following, first_page=cursor() is None, status=status, states=REVIEW.states)


@web.get("/reviews/<review_id>")
@signed_in()
def review(review_id: str) -> Any:
    return _page(review_id)


def _page(review_id: str, problem: ProblemError | None = None) -> str:
    actor, tongue = current_actor(), language()
    with reading() as db:
        detail = computing.get_review(db, actor, review_id)
        names = organisation_names(db, [detail.job.organisation_id, *(one.organisation_id for one in detail.opinions if one.organisation_id)])
        titles = column_titles(db, detail.output.participants, computing.resources_of(detail.job))
    content, report = detail.output.content, detail.review.report or {}
    return render_template(
        "web/review.html", card=detail.card is not None, review=detail.review, job=detail.job, title=detail.job.title or detail.job.id,
        organisation=names.get(detail.job.organisation_id, "–"), digest=detail.output.digest,
        checks=[{"text": present.check_sentence(check), "figures": present.check_figures(check), "passed": bool(check.get("passed"))}
                for check in detail.review.checks],
        findings=[{"severity": one["severity"], "text": one[tongue]} for one in report.get("findings", ())],
        costs=[one[tongue] for one in detail.cost.get("sentences", ())], blocking=detail.blocking,
        problem=say(problem) if problem else None, note=request.form.get("note", ""), override=request.form.get("override", ""),
        warnings=present.notes(content), actions=detail.actions, params=param_lines(detail.job.params),
        opinions=opinion_lines(detail.opinions, names), pretty=present.pretty, parts=present.sections(content, titles), figures=present.facts(content, titles) if content else [])


@web.post("/reviews/<review_id>")
@signed_in()
def decide_review(review_id: str) -> Any:
    approve = request.form.get("decision") == "approve"
    try:
        with transaction() as db:
            row = computing.decide_review(db, current_actor(), review_id, approve, request.form.get("note", ""),
                                          request.form.get("override", ""))
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        return _page(review_id, problem), 422  # with what was typed
    said = {"approved": _("Approved: the result may leave the domain."), "rejected": _("Rejected: the result is deleted."),
            "pending": _("Your approval is kept; the result leaves once the others have agreed as well.")}
    flash(said[row.status], "success")
    return redirect(url_for("web.review", review_id=review_id), 303)
