"""Signing in and out, and the choice of language."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_limiter.util import get_remote_address

from marketplace.api.limits import LOGIN_LIMIT, limiter
from marketplace.db import reading, transaction
from marketplace.parties import service as parties
from marketplace.parties import sessions
from marketplace.settings import settings
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import COOKIE, LOCALES
from shuyan.problems import ProblemError

_HOMES = {"operator": "web.desk_orders", "data_authority": "web.reviews", "source_department": "web.nodes",
          "developer": "web.jobs"}


def _inside(target: str | None) -> str | None:
    """``target`` if it is a path of this site, so that no link can lead a reader elsewhere after signing in."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if not target.isprintable():  # browsers drop tabs and line ends: "/\t/elsewhere" would be "//elsewhere"
        return None
    return target if not urlsplit(target).netloc else None


@web.get("/sign-in")
def sign_in() -> Any:
    if session.reader():
        return redirect(_inside(request.args.get("next")) or url_for("web.store"))
    return render_template("web/sign_in.html", email="", next=_inside(request.args.get("next")) or "", problem=None)


def _attempt() -> str:
    return f"{get_remote_address()} {request.form.get('email', '').strip().casefold()}"


@web.post("/sign-in")
# failures only, by account and address, so that colleagues behind one address do not lock each other out
@limiter.limit(LOGIN_LIMIT, key_func=_attempt, deduct_when=lambda response: response.status_code == 401)  # type: ignore[untyped-decorator]
def sign_in_submit() -> Any:
    email, password = request.form.get("email", ""), request.form.get("password", "")
    target = _inside(request.form.get("next"))
    try:
        with reading() as db:
            account = parties.authenticate(db, email, password)
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        return render_template("web/sign_in.html", email=email, next=target or "", problem=say(problem)), 401
    with transaction() as db:
        _row, token = sessions.begin(db, account.id, address=request.remote_addr or "", device=request.user_agent.string)
    session.begin(token)
    response = redirect(target or url_for(_HOMES.get(session.current_actor().party, "web.store")), 303)
    if account.locale in LOCALES and COOKIE not in request.cookies:
        _remember(response, account.locale)
    return response


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
    return redirect(url_for(_HOMES.get(session.current_actor().party, "web.store")), 303)


@web.get("/language/<code>")
def choose_language(code: str) -> Any:
    if code not in LOCALES:
        abort(404)
    response = redirect(_inside(request.args.get("next")) or url_for("web.store"))
    _remember(response, code)
    return response


def _remember(response: Any, code: str) -> None:
    response.set_cookie(COOKIE, code, max_age=365 * 86400, samesite="Lax", httponly=True,
                        secure=settings().secure_cookies)
