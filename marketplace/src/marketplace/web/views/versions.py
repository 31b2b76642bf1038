"""A version from its tests to its code: the seller's page and the reviewers' desk, which are one page with different buttons."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import reading
from marketplace.products import service as products
from marketplace.products.rules import version_life
from marketplace.web import labels, present
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import language
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, acted, cursor, organisation_names
from marketplace.web.views.store import version_titles
from shuyan.problems import ProblemError

STAGES = ("security_test", "compliance_review", "egress_review", "cleared")


@web.get("/desk/versions")
@signed_in()
def version_desk() -> Any:
    """What waits for reviews and codes, longest waiting first."""
    stage = request.args.get("stage", "")
    stage = stage if stage in STAGES else ""
    with reading() as db:
        page = products.waiting_versions(db, current_actor(), stage=stage or None, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, {item.product.organisation_id for item in page.items})
    deciding = {"pass_security", "pass_compliance", "pass_egress", "register"}
    items = [{"product": item.product, "version": item.version, "organisation": names.get(item.product.organisation_id, "–"),
              "mine": bool(deciding.intersection(item.actions))} for item in page.items]
    return render_template("web/version_desk.html", items=items, next=page.next, first_page=cursor() is None, stage=stage,
                           stages=[(code, labels.label("state", code)) for code in STAGES])


@web.get("/desk/versions/<version_id>")
@signed_in()
def review_version(version_id: str) -> Any:
    """Where messages and queues lead: they know a version by its id alone."""
    with reading() as db:
        product_id, number = products.version_place(db, version_id)
    return _page(product_id, number)


@web.get("/my/products/<product_id>/versions/<int:number>")
@signed_in()
def version(product_id: str, number: int) -> Any:
    return _page(product_id, number)


def _page(product_id: str, number: int, problem: ProblemError | None = None) -> str:
    actor, tongue = current_actor(), language()
    with reading() as db:
        found = products.dossier(db, actor, product_id, number)
        runs = products.test_runs(db, [found.version.id]).get(found.version.id, [])
        names = organisation_names(db, {row.organisation_id for row in found.reviews if row.organisation_id} | found.seated.departments
                                   | {found.product.organisation_id, *filter(None, [found.seated.organisation_id])})
        titles = version_titles(db, found.version)
    content = found.content
    return render_template(
        "web/version.html", found=found, product=found.product, version=found.version, run=runs[0] if runs else None, runs=runs,
        names=names, seller=names.get(found.product.organisation_id, "–"), mine=actor.organisation_id == found.product.organisation_id,
        life=version_life(found.product.tier).name, seats=_seats(found, names), decision=_decision(found),
        parts=present.sections(content, titles) if content else [], figures=present.facts(content, titles) if content else [],
        warnings=present.notes(content) if content else [], costs=[one[tongue] for one in found.cost.get("sentences", ())],
        findings=[{"severity": one["severity"], "text": one[tongue]} for one in found.report.get("findings", ())],
        lineage=[{**link, "title": link["title_zh"] if tongue == "zh" else link["title_en"] or link["title_zh"]} for link in found.lineage],
        problem=say(problem) if problem else None, typed=request.form)


def _decision(found: products.Dossier) -> str | None:
    """The action that passes the present stage, if this reader may take it."""
    return next((action for action in found.actions if action.startswith("pass_")), None)


def _seats(found: products.Dossier, names: dict[str, str]) -> list[dict[str, Any]]:
    """Who decides on the egress and what each has said of the present submission."""
    said = {row.organisation_id: row for row in found.reviews if row.round == found.version.round and row.stage == "egress_review"}
    seats = found.seated
    lead = seats.organisation_id or next((key for key in said if key and key not in seats.departments), None)
    asked = [(seats.party, lead), *(("source_department", key) for key in sorted(seats.departments))]
    return [{"who": names.get(key, key) if key else labels.label("party", party), "party": labels.label("party", party),
             "row": said.get(key)} for party, key in asked]


def _act(product_id: str, number: int, act: Callable[[Any], Any], done: Callable[[Any], str]) -> Any:
    return acted(act, page=lambda problem: _page(product_id, number, problem), done=done,
                 back=url_for("web.version", product_id=product_id, number=number))


@web.post("/my/products/<product_id>/versions/<int:number>/test")
@signed_in()
def test_version(product_id: str, number: int) -> Any:
    def act(db: Any) -> Any:
        return products.run_tests(db, current_actor(), product_id, number, _cases(request.form.get("cases", "")))

    return _act(product_id, number, act, lambda run: _("All tests passed.") if run.passed else _("Some tests did not pass; see below."))


def _cases(text: str) -> list[dict[str, Any]]:
    """Bodies of calls, one JSON object a line. Raises ``invalid_input``."""
    out = []
    for place, line in enumerate(filter(None, map(str.strip, text.splitlines())), 1):
        try:
            case = json.loads(line)
        except (ValueError, RecursionError):
            case = None
        if not isinstance(case, dict):
            raise ProblemError("invalid_input", field=_("Cases of your own"), reason=_("line %(number)d is not a JSON object", number=place))
        out.append(case)
    return out


@web.post("/my/products/<product_id>/versions/<int:number>/submit")
@signed_in()
def submit_version(product_id: str, number: int) -> Any:
    return _act(product_id, number, lambda db: products.submit_version(db, current_actor(), product_id, number),
                lambda row: _("Handed in; it is now at: %(stage)s.", stage=labels.label("state", row.status)))


@web.post("/my/products/<product_id>/versions/<int:number>/withdraw")
@signed_in()
def withdraw_version(product_id: str, number: int) -> Any:
    return _act(product_id, number, lambda db: products.withdraw_version(db, current_actor(), product_id, number),
                lambda _row: _("The version is withdrawn."))


@web.post("/my/products/<product_id>/versions/<int:number>/decide")
@signed_in()
def decide_version(product_id: str, number: int) -> Any:
    """Pass the stage that was read, or return the version."""
    note, stage = request.form.get("note", ""), request.form.get("stage") or None

    def act(db: Any) -> Any:
        if request.form.get("decision") == "return":
            return products.return_version(db, current_actor(), product_id, number, note, stage=stage)
        return products.pass_stage(db, current_actor(), product_id, number, ticked=request.form.getlist("ticked"), note=note, stage=stage)

    if stage not in STAGES[:3]:
        raise ProblemError("bad_request")
    return _act(product_id, number, act, lambda row: _("Recorded. The version is now at: %(stage)s.", stage=labels.label("state", row.status)))


@web.post("/my/products/<product_id>/versions/<int:number>/register")
@signed_in()
def register_version(product_id: str, number: int) -> Any:
    return _act(product_id, number, lambda db: products.register_version(db, current_actor(), product_id, number),
                lambda row: _("Registered as %(code)s.", code=row.registration_code))
