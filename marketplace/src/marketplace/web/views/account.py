"""Signing in and out, and the choice of language."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import transaction
from marketplace.parties import sessions
from marketplace.parties import sign_in as signing
from marketplace.settings import settings
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import COOKIE, LOCALES
from shuyan.problems import ProblemError


def inside(target: str | None) -> str | None:
    """``target`` if it is a path of this site, so that no link can lead a reader elsewhere after signing in."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if not target.isprintable():  # browsers drop tabs and line ends: "/\t/elsewhere" would be "//elsewhere"
        return None
    return target if not urlsplit(target).netloc else None


def external_name() -> str:
    """What the external provider is called, "" where there is none."""
    return (settings().oidc_name or _("single sign-on")) if settings().oidc_issuer else ""


@web.get("/sign-in")
def sign_in() -> Any:
    if session.reader():
        return redirect(inside(request.args.get("next")) or url_for("web.store"))
    return render_template("web/sign_in.html", email="", next=inside(request.args.get("next")) or "", problem=None,
                           external=external_name())


@web.post("/sign-in")
def sign_in_submit() -> Any:
    email, password = request.form.get("email", ""), request.form.get("password", "")
    target = inside(request.form.get("next"))
    try:
        step = signing.with_password(email, password, session.place(email))
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        return render_template("web/sign_in.html", email=email, next=target or "", problem=say(problem), external=external_name()), \
            problem.problem.status
    return go_on(step, target)


def go_on(step: signing.Step, target: str | None) -> Any:
    """To the second factor, or in: with a new session in the browser either way."""
    session.begin(step.token)
    if step.stage != "full":
        return redirect(url_for("web.second_factor" if step.stage == "second_factor" else "web.enrol_totp", next=target), 303)
    response = redirect(target or _first_page(), 303)
    if step.account.locale in LOCALES and COOKIE not in request.cookies:
        remember(response, step.account.locale)
    session.know(response, step.account.email)
    return response


def _first_page() -> str:
    """Where what waits for the reader is; a person who belongs nowhere sees the storefront."""
    return url_for("web.home" if session.current_actor().organisation_id else "web.store")


@web.get("/sign-in/code")
def second_factor() -> Any:
    found = session.half_signed_in()
    if found is None or found.stage != "second_factor":
        return redirect(url_for("web.sign_in", next=inside(request.args.get("next"))))
    return render_template("web/second_factor.html", next=inside(request.args.get("next")) or "")


@web.post("/sign-in/code")
def second_factor_submit() -> Any:
    return go_on(signing.with_code(session.token(), request.form.get("code", ""), session.place("")), inside(request.form.get("next")))


@web.post("/sign-out")
def sign_out() -> Any:
    session.end()
    flash(_("You are signed out."), "info")
    return redirect(url_for("web.store"), 303)


@web.post("/act-for/<member_id>")
def switch_membership(member_id: str) -> Any:
    found = session.reader()
    if found is None:
        raise ProblemError("not_signed_in")
    with transaction() as db:
        sessions.switch(db, found.signed_in, member_id)
    session.forget()
    now = session.reader()
    flash(_("You now act for %(name)s.", name=now.organisation if now else ""), "info")
    return redirect(_first_page(), 303)


@web.get("/language/<code>")
def choose_language(code: str) -> Any:
    if code not in LOCALES:
        abort(404)
    response = redirect(inside(request.args.get("next")) or url_for("web.store"))
    remember(response, code)
    return response


def remember(response: Any, code: str) -> None:
    """Keep the choice of language in the browser."""
    response.set_cookie(COOKIE, code, max_age=365 * 86400, samesite="Lax", httponly=True,
                        secure=settings().secure_cookies)
