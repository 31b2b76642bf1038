"""Registering: a visitor begins, the applicant completes and corrects, the operator checks and decides."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.api.limits import REGISTER_LIMIT, limiter
from marketplace.clock import today
from marketplace.db import reading, transaction
from marketplace.parties import service as parties
from marketplace.registration import credit as credit_lists
from marketplace.registration import holdings, rules
from marketplace.registration import service as registering
from marketplace.registration import standing as standings
from marketplace.settings import settings
from marketplace.web import shares
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import language
from marketplace.web.labels import choices, label
from marketplace.web.session import current_actor, reader, signed_in
from marketplace.web.views._common import PAGE, cursor
from marketplace.web.views.uploads import download
from shuyan.problems import ProblemError

_BEGIN = ("party", "name_zh", "name_en", "credit_code", "display_name", "email")


@web.get("/register")
def register() -> Any:
    if reader():
        return redirect(url_for("web.registrations"))
    return render_template("web/register.html", values={"party": request.args.get("party", "developer")}, problem=None,
                           parties=[(party, label("party", party)) for party in rules.PARTIES])


@web.post("/register")
@limiter.limit(REGISTER_LIMIT)  # type: ignore[untyped-decorator]
def register_begin() -> Any:
    values = {name: request.form.get(name, "") for name in _BEGIN}
    try:
        with transaction() as db:
            registering.begin(db, **values, password=request.form.get("password", ""), locale=language())
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        return render_template("web/register.html", values=values, problem=say(problem),
                               parties=[(party, label("party", party)) for party in rules.PARTIES]), problem.problem.status
    flash(_("Your organisation is entered. Sign in to complete the registration and submit it."), "success")
    return redirect(url_for("web.sign_in", next=url_for("web.registrations")), 303)


@web.get("/registrations")
@signed_in(*rules.PARTIES, "operator", "data_authority", "security_supervisor")
def registrations() -> Any:
    actor = current_actor()
    with reading() as db:
        if actor.party in rules.PARTIES:
            row = registering.own(db, actor)
            return redirect(url_for("web.registration", registration_id=row.id)) if row else redirect(url_for("web.standing"))
        page = registering.list_registrations(db, actor, status=request.args.get("status") or None, party=request.args.get("party") or None,
                                              q=request.args.get("q"), cursor=cursor(), limit=PAGE)
    return render_template("web/registrations.html", items=page.items, next=page.next, first_page=cursor() is None,
                           states=[("", _("All")), *((code, label("state", code)) for code in rules.REGISTRATION.states)])


@web.get("/registrations/<registration_id>")
@signed_in()
def registration(registration_id: str) -> Any:
    with reading() as db:
        detail = registering.get(db, current_actor(), registration_id)
    return render_template(
        "web/registration.html", one=detail, row=detail.row, mine=current_actor().organisation_id == detail.row.organisation_id,
        kinds=choices("qualification"), chain=holdings.described(detail.controller.chain) if detail.controller else "",
        comment_items=[*detail.items, "other"], today=today())


@web.post("/registrations/<registration_id>")
@signed_in()
def registration_act(registration_id: str) -> Any:
    actor, form = current_actor(), request.form
    with transaction() as db:
        match form.get("action"):
            case "edit":
                registering.edit(db, actor, registration_id, _details())
                for file in request.files.getlist("file"):
                    if file.filename:
                        registering.add_file(db, actor, registration_id, name=file.filename, data=file.read())
                told = _("Saved.")
            case "submit":
                registering.submit(db, actor, registration_id)
                told = _("Submitted.")
            case "withdraw":
                registering.withdraw(db, actor, registration_id)
                told = _("Withdrawn.")
            case "reapply":
                registering.reapply(db, actor, registration_id)
                told = _("You can complete the registration again.")
            case "remove_file":
                registering.remove_file(db, actor, registration_id, form.get("file_id", ""))
                told = _("Removed.")
            case "check":
                detail = registering.get(db, actor, registration_id)
                registering.check_items(db, actor, registration_id, {
                    item: {"ok": form[f"ok-{item}"] == "yes", "note": form.get(f"note-{item}", "")}
                    for item in detail.items if form.get(f"ok-{item}") in ("yes", "no")})
                told = _("Saved.")
            case "return":
                registering.return_(db, actor, registration_id, {
                    name.removeprefix("comment-"): text for name, text in form.items() if name.startswith("comment-")})
                told = _("Returned to the applicant.")
            case "refuse":
                registering.refuse(db, actor, registration_id, form.get("reason", ""))
                told = _("Refused.")
            case "accept":
                row = registering.accept(db, actor, registration_id)
                told = _("Accepted: it takes effect.") if row.party == "consumer" else _("Accepted: it is publicly noticed now.")
            case _:
                raise ProblemError("bad_request")
    flash(told, "success")
    return redirect(url_for("web.registration", registration_id=registration_id), 303)


def _details() -> dict[str, Any]:
    form = request.form
    rows = zip(form.getlist("q_kind"), form.getlist("q_number"), form.getlist("q_issuer"), form.getlist("q_until"), strict=False)
    return {
        **{name: form.get(name, "") for name in ("name_en", "contact_name", "contact_phone", "contact_email", "statement")},
        "qualifications": [{"kind": kind, "number": number, "issuer": issuer, "valid_until": until}
                           for kind, number, issuer, until in rows if number.strip()],
        "no_incidents": form.get("no_incidents") == "yes", "ownership_declared": form.get("ownership_declared") == "yes",
    }


@web.get("/registrations/<registration_id>/files/<file_id>")
@signed_in()
def registration_file(registration_id: str, file_id: str) -> Any:
    with reading() as db:
        return download(registering.read_file(db, current_actor(), registration_id, file_id))


# --- standing and ownership ---


@web.get("/standing")
@signed_in(*rules.PARTIES)
def standing() -> Any:
    actor = current_actor()
    with reading() as db:
        found = standings.measures(db, actor, actor.organisation_id or "")
        status = parties.get_organisation(db, actor.organisation_id or "").status
        hits = credit_lists.hits(db, actor, organisation_id=actor.organisation_id)
    return render_template("web/standing.html", measures=found, status=status, hits=hits, organisation_id=actor.organisation_id,
                           mine=True, name=_("Our standing"))


@web.post("/organisations/<organisation_id>/standing")
@signed_in("data_authority")
def standing_act(organisation_id: str) -> Any:
    with transaction() as db:
        registering.take_measure(db, current_actor(), organisation_id, request.form.get("action", ""), request.form.get("reason", ""))
    flash(_("Done; the organisation is told."), "success")
    return redirect(request.referrer if (request.referrer or "").startswith(request.host_url) else url_for("web.registrations"), 303)


@web.post("/shareholdings")
@signed_in(*rules.PARTIES, "operator", "data_authority")
def declare_shareholding() -> Any:
    form, actor = request.form, current_actor()
    with transaction() as db:
        holdings.declare(db, actor, owner_code=form.get("owner_code", ""), owner_name=form.get("owner_name", ""),
                         share_bp=_basis_points(form.get("share", "")), since=_date(form.get("since", "")) or today(),
                         until=_date(form.get("until", "")), owned_code=form.get("owned_code", ""), owned_name=form.get("owned_name", ""))
    flash(_("Declared."), "success")
    return redirect(url_for("web.ownership"), 303)


@web.post("/shareholdings/<holding_id>/end")
@signed_in(*rules.PARTIES, "operator", "data_authority")
def end_shareholding(holding_id: str) -> Any:
    with transaction() as db:
        holdings.end_holding(db, current_actor(), holding_id, today() - dt.timedelta(days=1))
    flash(_("Ended."), "success")
    return redirect(url_for("web.ownership"), 303)


@web.get("/ownership")
@signed_in(*rules.PARTIES, "operator", "data_authority", "security_supervisor")
def ownership() -> Any:
    actor = current_actor()
    everybody = rules.READ_OWNERSHIP.held(actor)
    with reading() as db:
        rows = holdings.holdings(db, actor, None if everybody else actor.organisation_id)
        if everybody:
            controlled = holdings.controlled_by_operators(db)
        else:
            own = parties.get_organisation(db, actor.organisation_id or "")
            found = holdings.controller_of(db, own.id)
            controlled = {own.credit_code: found} if found and own.credit_code else {}
        operators = {row.credit_code for row in parties.of_kinds(db, ("operator",)) if row.credit_code}
    shown = {row.id: row for row in [*rows, *(row for one in controlled.values() for row in one.chain)]}
    return render_template("web/ownership.html", rows=rows, today=today(), everybody=everybody, threshold=settings().control_share_percent, percent=shares.percent,
                           controlled=[(code, one) for code, one in sorted(controlled.items())],
                           picture=shares.picture(holdings.in_force(shown.values()), controlled, operators),
                           may_declare=rules.DECLARE.held(actor, owner=actor.organisation_id) or rules.DECLARE_FOR.held(actor))


def _basis_points(text: str) -> int:
    whole, _dot, rest = text.strip().removesuffix("%").partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 3 and len(rest) <= 2 and (not rest or (rest.isascii() and rest.isdigit()))):
        raise ProblemError("invalid_input", field=_("Share"), reason=_("a percentage, such as 51 or 33.34"))
    return int(whole) * 100 + int(rest.ljust(2, "0"))


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise ProblemError("invalid_input", field=_("Date"), reason="YYYY-MM-DD") from None


# --- credit lists ---


@web.get("/credit")
@signed_in("operator", "data_authority", "security_supervisor")
def credit() -> Any:
    actor = current_actor()
    with reading() as db:
        lists = credit_lists.current_lists(db, actor)
        hits = credit_lists.hits(db, actor, status=request.args.get("status") or None)
        names = parties.organisations_by_id(db, [hit.organisation_id for hit in hits])
    return render_template("web/credit.html", lists=lists, hits=hits, names=names, kinds=choices("credit_kind"), today=today(),
                           may_import=rules.IMPORT.held(actor), actions={hit.id: rules.HIT.possible(hit.status, actor) for hit in hits})


@web.post("/credit")
@signed_in("operator", "data_authority")
def credit_import() -> Any:
    file, form = request.files.get("file"), request.form
    with transaction() as db:
        done = credit_lists.import_list(
            db, current_actor(), kind=form.get("kind", ""), source=form.get("source", ""), published_on=_date(form.get("published_on", "")) or today(),
            data=file.read() if file is not None else b"", allow_empty=form.get("allow_empty") == "yes")
    flash(_("Imported %(entries)d entries: %(found)d new hits, %(removed)d no longer listed.", entries=done.list.entries, found=done.found,
            removed=done.removed), "success")
    return redirect(url_for("web.credit"), 303)


@web.post("/credit/hits/<hit_id>")
@signed_in("operator", "data_authority")
def credit_decide(hit_id: str) -> Any:
    action = request.form.get("action")
    if action not in ("confirm", "dismiss", "lift"):
        raise ProblemError("bad_request")
    with transaction() as db:
        credit_lists.decide(db, current_actor(), hit_id, action, request.form.get("note", ""))  # type: ignore[arg-type]
    flash(_("Decided."), "success")
    return redirect(url_for("web.credit"), 303)
