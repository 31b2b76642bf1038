"""One's own account: name and language, password, second factor, sessions, connected apps."""

from __future__ import annotations

import zoneinfo
from typing import Any, Final

import segno
from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from markupsafe import Markup

from marketplace.db import reading, transaction
from marketplace.parties import accounts, addresses, external, resets, second_factor, sessions, totp
from marketplace.parties import service as parties
from marketplace.parties import sign_in as signing
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.i18n import LOCALES, language
from marketplace.web.views._common import unstored
from marketplace.web.views.account import external_name, inside, remember


@web.get("/account")
def profile() -> Any:
    who = session.own()
    with reading() as db:
        account = parties.get_account(db, who.account.id)
        memberships = parties.memberships_of(db, account.id)
        left = second_factor.recovery_codes_left(db, account.id)
        live = len(sessions.list_sessions(db, account.id))
        linked = external.identities(db, account.id)
    return render_template("web/account.html", account=account, memberships=memberships, recovery_left=left, sessions=live,
                           linked=linked, provider=external_name(),
                           zones=sorted(zoneinfo.available_timezones()))


@web.post("/account")
def profile_save() -> Any:
    who = session.own()
    with transaction() as db:
        accounts.change_profile(db, who, display_name=request.form.get("display_name", ""), locale=request.form.get("locale", ""),
                                time_zone=request.form.get("time_zone", ""))
    flash(_("Saved."), "success")
    response = redirect(url_for("web.profile"), 303)
    if request.form.get("locale") in LOCALES:
        remember(response, request.form["locale"])
    return response


@web.post("/account/password")
def password_change() -> Any:
    who = session.own()
    signing.confirm_password(who.account, request.form.get("current", ""), session.place(who.account.email))
    with transaction() as db:
        resets.change_password(db, who, request.form.get("password", ""))
    flash(_("The password is changed; you are signed out everywhere else."), "success")
    return redirect(url_for("web.profile"), 303)


@web.post("/account/email")
def email_change() -> Any:
    who = session.own()
    addresses.ask(who, request.form.get("email", ""), password=request.form.get("current", ""), code=request.form.get("code", ""),
                  place=session.place(who.account.email), locale=language())
    flash(_("A link is on its way to the new address. Open it within 30 minutes; until then nothing changes."), "info")
    return redirect(url_for("web.profile"), 303)


@web.get("/account/email/confirm")
def email_confirm() -> Any:
    # opening the link changes nothing: mail scanners open links, too
    token = request.args.get("token", "")
    if session.reader() is None:
        return redirect(url_for("web.sign_in", next=url_for("web.email_confirm", token=token)))
    with reading() as db:
        email = addresses.show(db, session.own(), token)
    return unstored(render_template("web/email_confirm.html", token=token, email=email))


@web.post("/account/email/confirm")
def email_confirm_submit() -> Any:
    email = addresses.confirm(session.own(), request.form.get("token", ""), request.remote_addr or "")
    flash(_("Your address is now %(email)s. Sign in with it from now on.", email=email), "success")
    return redirect(url_for("web.profile"), 303)


@web.get("/account/second-factor")
def enrol_totp() -> Any:
    who = session.own(enrolling=True)
    with transaction() as db:
        key = second_factor.begin(db, who.account.id)
    picture = segno.make(totp.address(key, who.account.email), error="m").svg_inline(
        scale=5, border=2, svgclass="qr", title=_("QR code for an authenticator app"))
    return unstored(render_template(
        "web/second_factor_add.html", picture=Markup(picture),  # noqa: S704 (segno wrote it)
        groups=[key[at:at + 4] for at in range(0, len(key), 4)], replacing=who.account.totp_sealed is not None,
        ask_password=who.stage == "full" and who.account.password_hash is not None, next=inside(request.args.get("next")) or ""))


@web.post("/account/second-factor")
def enrol_totp_submit() -> Any:
    who, code = session.own(enrolling=True), request.form.get("code", "")
    place = session.place(who.account.email)
    if who.stage == "enrol":
        step, codes = signing.with_new_factor(session.token(), code, place)
        session.begin(step.token)
    else:
        signing.confirm_password(who.account, request.form.get("current", ""), place)
        with transaction() as db:
            codes = second_factor.confirm(db, who, code)
    return unstored(render_template("web/recovery_codes.html", codes=codes, next=inside(request.form.get("next"))))


@web.post("/account/second-factor/remove")
def totp_remove() -> Any:
    who = session.own()
    signing.confirm_password(who.account, request.form.get("current", ""), session.place(who.account.email))
    with transaction() as db:
        second_factor.remove(db, who)
    flash(_("The second factor is removed."), "success")
    return redirect(url_for("web.profile"), 303)


@web.post("/account/recovery-codes")
def recovery_codes() -> Any:
    who = session.own()
    signing.confirm_password(who.account, request.form.get("current", ""), session.place(who.account.email))
    with transaction() as db:
        codes = second_factor.new_recovery_codes(db, who.account.id)
    return unstored(render_template("web/recovery_codes.html", codes=codes, next=None))


@web.get("/account/sessions")
def own_sessions() -> Any:
    who = session.own()
    with reading() as db:
        rows = sessions.list_sessions(db, who.account.id)
    return render_template("web/sessions.html", rows=rows, current=who.session_id, device=_device)


_BROWSERS: Final = (("Edg", "Edge"), ("MicroMessenger", "WeChat"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS: Final = (("HarmonyOS", "HarmonyOS"), ("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iPadOS"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))


def _device(user_agent: str) -> str:
    """Browser and system as their person would name them; they say so of themselves, which proves nothing."""
    browser, system = (next((name for mark, name in known if mark in user_agent), "") for known in (_BROWSERS, _SYSTEMS))
    return " · ".join(filter(None, (browser, system))) or user_agent[:60] or "–"


@web.post("/account/sessions/<session_id>/end")
def session_end(session_id: str) -> Any:
    who = session.own()
    with transaction() as db:
        sessions.end(db, who.account.id, session_id)
    flash(_("The session is ended."), "success")
    return redirect(url_for("web.own_sessions"), 303)


@web.post("/account/sessions/end-others")
def sessions_end_others() -> Any:
    who = session.own()
    with transaction() as db:
        ended = sessions.end_all(db, who.account.id, but=who.session_id)
    flash(_("%(count)d sessions are ended.", count=ended), "success")
    return redirect(url_for("web.own_sessions"), 303)
