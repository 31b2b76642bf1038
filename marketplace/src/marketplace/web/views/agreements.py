"""Agreements: their list, one agreement with what both sides may do, and the form for terms."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from sqlmodel import Session

from marketplace.agreements import service as agreements
from marketplace.catalogue import service as catalogue
from marketplace.db import reading, transaction
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.web.blueprint import web
from marketplace.web.i18n import both, money, title_of
from marketplace.web.labels import choices, label
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import uploads
from marketplace.web.views._common import PAGE, cursor, integer, organisation_names, yuan_to_fen
from shuyan.problems import ProblemError

SHARES = ("treasury", "operator", "source_departments", "developer")
MANY = 500


@web.get("/agreements")
def agreements_list() -> Any:
    actor = current_actor()
    kind, status = request.args.get("kind") or None, request.args.get("status") or None
    with reading() as db:
        page = agreements.list_agreements(db, actor, kind=kind, status=status, cursor=cursor(), limit=PAGE)
        names = organisation_names(db, [one for row in page.items for one in (row.grantor_id, row.grantee_id)])
    return render_template("web/agreements.html", items=page.items, names=names, next=page.next, first_page=cursor() is None,
                           kind=kind, status=status, kinds=choices("agreement_kind"), may_draft=agreements.may_draft(actor))


@web.get("/agreements/new")
@signed_in("data_authority")
def new_agreement() -> Any:
    with reading() as db:
        operators = parties.list_organisations(db, kind="operator", limit=MANY)
        return _form(db, None, [(row.id, both(row, "name")) for row in operators])


@web.post("/agreements/new")
@signed_in("data_authority")
def draft_agreement() -> Any:
    with transaction() as db:
        row = agreements.draft(db, current_actor(), operator_id=request.form.get("operator_id", ""), terms=_terms(db, None),
                               note=request.form.get("note", ""))
    flash(_("Drafted. Hand it to the operator when it is complete."), "success")
    return redirect(url_for("web.agreement", agreement_id=row.id), 303)


@web.get("/agreements/<agreement_id>/terms")
@signed_in()
def agreement_terms(agreement_id: str) -> Any:
    with reading() as db:
        page = agreements.page(db, current_actor(), agreement_id)
        if not {"edit", "counter"} & set(page.actions):
            raise ProblemError("not_allowed")
        return _form(db, page, [])


@web.post("/agreements/<agreement_id>/terms")
@signed_in()
def write_terms(agreement_id: str) -> Any:
    with transaction() as db:
        actor, note = current_actor(), request.form.get("note", "")
        page = agreements.page(db, actor, agreement_id)
        write = agreements.edit if page.agreement.status == "draft" else agreements.counter
        write(db, actor, agreement_id, _terms(db, page), note)
    flash(_("The terms are written down as a new version."), "success")
    return redirect(url_for("web.agreement", agreement_id=agreement_id), 303)


def _form(db: Session, page: agreements.AgreementPage | None, operators: list[tuple[str, str]]) -> Any:
    departments = parties.list_organisations(db, kind="source_department", limit=MANY)
    return render_template("web/agreement_terms.html", page=page, terms=page.terms if page else None, operators=operators,
                           last_day=agreements.last_day(page.agreement.ends_at) if page and page.agreement.ends_at else None,
                           departments=[(row.id, both(row, "name")) for row in departments], sectors=choices("sector"),
                           modes=choices("mode"), shares=[(name, label("share", name)) for name in SHARES])


def _terms(db: Session, page: agreements.AgreementPage | None) -> dict[str, Any]:
    form = request.form
    out: dict[str, Any] = {
        "mode": form.get("mode", "overall"), "sectors": form.getlist("sectors"), "departments": form.getlist("departments"),
        "resources": list(dict.fromkeys(form.get("resources", "").replace(",", " ").split())),
        "usage_fee_fen": yuan_to_fen("usage_fee", text=_("Usage fee a year")), "conditions": form.get("conditions", "").strip(),
        "split": {name: integer(f"split.{name}", text=label("share", name)) for name in SHARES},
    }
    if page is not None and page.agreement.kind == "development":
        out |= {"mode": page.agreement.mode, "until": _moment(form.get("until", ""), page)}
    else:
        out["months"] = integer("months", text=_("Term in months"), least=1)
    for name in ("plan", "text"):
        before = getattr(page.terms, name) if page is not None else None
        chosen = uploads.stored(db, current_actor(), name)
        out[name] = chosen[0] if chosen else before.id if before is not None else None
    return out


def _moment(day: str, page: agreements.AgreementPage) -> str:
    """The end of the last day typed; the end as it was if the day is the same."""
    before = page.agreement.ends_at
    if before is not None and day == agreements.last_day(before).isoformat():
        return before.astimezone(dt.UTC).isoformat()
    try:
        return agreements.end_of_day(dt.date.fromisoformat(day)).isoformat()
    except (ValueError, OverflowError):
        raise ProblemError("invalid_input", field=_("Last day"), reason=_("a date")) from None


@web.get("/agreements/<agreement_id>")
def agreement(agreement_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        page = agreements.page(db, actor, agreement_id)
        row = page.agreement
        found = catalogue.resources_by_id(db, page.terms.resources)
        names = organisation_names(db, [row.grantor_id, row.grantee_id, *page.terms.departments, *(one.organisation_id for one in found.values()),
                                        *(one.proposed_by for one in (item.version for item in page.versions))])
        notice = next(iter(notices.list_notices(db, subject=row.id, limit=1).items), None)
        resources = [(one, title_of(found[one]), names.get(found[one].organisation_id, "")) if one in found else (one, one, "")
                     for one in page.terms.resources]
    window = agreements.renewal_window(row.ends_at) if row.ends_at and row.kind == "operation" and row.status == "effective" else None
    side = row.grantee_id if actor.organisation_id == row.grantee_id else row.grantor_id
    return render_template(
        "web/agreement.html", page=page, row=row, names=names, resources=resources, side=side, window=window, notice=notice,
        last_day=agreements.last_day(row.ends_at) if row.ends_at else None,
        history=[(item, [(label("term", name), _shown(name, before), _shown(name, after)) for name, before, after in item.changes])
                 for item in reversed(page.versions)])


def _shown(name: str, value: Any) -> str:
    """A term's value as a reader reads it."""
    comma = str(_(", "))
    if value in (None, "", []):
        return "–"
    if name in ("plan", "text"):
        return str(value["name"])
    if name == "split":
        return comma.join(f"{label('share', share)} {value[share]}%" for share in SHARES)
    if name == "usage_fee_fen":
        return money(value)
    if name == "mode":
        return label("mode", value)
    if name == "sectors":
        return comma.join(label("sector", one) for one in value)
    if name in ("resources", "departments"):
        return str(_("%(count)d chosen", count=len(value)))
    return str(value)


@web.post("/agreements/<agreement_id>")
@signed_in()
def act_on_agreement(agreement_id: str) -> Any:
    actor, form = current_actor(), request.form
    reason = form.get("reason", "")
    with transaction() as db:
        match form.get("act"):
            case "propose":
                agreements.propose(db, actor, agreement_id)
                told = _("Handed to the other side.")
            case "withdraw":
                agreements.withdraw(db, actor, agreement_id)
                told = _("The draft is withdrawn.")
            case "accept":
                agreements.accept(db, actor, agreement_id, number=integer("number", text=_("Version"), least=1))
                told = _("The terms are accepted.")
            case "approve":
                agreements.approve(db, actor, agreement_id)
                told = _("Approved: the public notice has begun.")
            case "return":
                agreements.return_(db, actor, agreement_id, reason)
                told = _("Returned to negotiation.")
            case "refuse":
                agreements.refuse(db, actor, agreement_id, reason)
                told = _("The negotiation is broken off.")
            case "sign":
                row = agreements.sign(db, actor, agreement_id, form.get("digest", ""))
                told = _("Signed by both sides: it is in force.") if row.status == "effective" else _("Signed. The other side has to sign too.")
            case "suspend":
                agreements.suspend(db, actor, agreement_id, reason)
                told = _("Suspended: nothing runs or is sold under it.")
            case "resume":
                agreements.resume(db, actor, agreement_id)
                told = _("In force again.")
            case "terminate":
                agreements.terminate(db, actor, agreement_id, reason)
                told = _("Terminated, with every grant and listing under it.")
            case "ask_renewal":
                agreements.renewal.ask(db, actor, agreement_id, form.get("statement", ""), uploads.stored(db, actor, "files"))
                told = _("The renewal is asked for.")
            case "offer_renewal":
                agreements.renewal.offer(db, actor, form.get("renewal", ""), months=integer("months", text=_("Term in months"), least=1))
                told = _("The renewal is offered and waits for both signatures.")
            case "decline_renewal":
                agreements.renewal.decline(db, actor, form.get("renewal", ""), reason)
                told = _("The renewal is declined: the agreement will lapse at its end.")
            case "withdraw_renewal":
                agreements.renewal.withdraw(db, actor, form.get("renewal", ""))
                told = _("The request is withdrawn.")
            case _:
                raise ProblemError("bad_request")
    flash(told, "success")
    return redirect(url_for("web.agreement", agreement_id=agreement_id), 303)


@web.get("/agreements/<agreement_id>/files/<file_id>")
@signed_in()
def agreement_file(agreement_id: str, file_id: str) -> Any:
    with reading() as db:
        return uploads.download(agreements.file(db, current_actor(), agreement_id, file_id))
