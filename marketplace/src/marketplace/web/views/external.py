"""Signing in with the external OpenID provider (authorisation code with PKCE, state and nonce), and linking one's identity there.

Both ways begin with a link, not a form: browsers apply the policy ``form-action 'self'`` to where a form's answer leads.
A link proves no intention, so an identity is only linked after the person has confirmed it on a page of ours.
"""

from __future__ import annotations

import time
from typing import Any, Final

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.flask_client import OAuth
from flask import current_app, flash, redirect, render_template, request, url_for
from flask import session as cookie
from flask_babel import gettext as _
from joserfc.errors import JoseError
from requests import RequestException

from marketplace.db import transaction
from marketplace.logging import get_logger
from marketplace.parties import external
from marketplace.parties import sign_in as signing
from marketplace.parties.errors import EXTERNAL_FAILED, NOTHING_TO_LINK
from marketplace.settings import settings
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.views.account import external_name, go_on, inside
from shuyan.problems import ProblemError

log = get_logger("external")

ANSWER_SECONDS: Final = 10
PENDING_SECONDS: Final = 600


def _provider() -> Any:
    """The client of the provider in the settings. Raises ``not_found`` where there is none."""
    found = settings()
    if not found.oidc_issuer:
        raise ProblemError("not_found", what="page")
    known = current_app.extensions.setdefault("shuyan_external", {})
    key = (found.oidc_issuer, found.oidc_client_id)
    if key not in known:
        secret = found.oidc_client_secret_file.read_text(encoding="utf-8").strip() if found.oidc_client_secret_file else None
        known[key] = OAuth(current_app).register(
            "external", client_id=found.oidc_client_id, client_secret=secret,
            server_metadata_url=f"{found.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid email", "code_challenge_method": "S256", "default_timeout": ANSWER_SECONDS,
                           **({} if secret else {"token_endpoint_auth_method": "none"})})
    return known[key]


def _leave(purpose: str, target: str | None) -> Any:
    provider = _provider()
    cookie["external"] = {"purpose": purpose, "next": target or ""}
    try:
        return provider.authorize_redirect(settings().public_url + url_for("web.external_back"))
    except (AuthlibBaseError, RequestException, ValueError, KeyError, RuntimeError) as error:
        return _failed(error, purpose)


def _failed(error: Exception, purpose: str) -> Any:
    log.warning("external sign-in failed", error=type(error).__name__)
    flash(say(ProblemError(EXTERNAL_FAILED)), "danger")
    return redirect(url_for("web.profile" if purpose == "link" else "web.sign_in"), 303)


def _vouched(provider: Any) -> external.Vouched:
    """Whom the verified ID token names. Raises ``ValueError`` where it is not the configured issuer's."""
    claims = provider.authorize_access_token()["userinfo"]
    issuer, subject = claims.get("iss"), claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or str(issuer).rstrip("/") != settings().oidc_issuer.rstrip("/"):
        raise ValueError("another issuer, or no subject")
    email = claims.get("email")
    return external.Vouched(settings().oidc_issuer.rstrip("/"), subject, email if isinstance(email, str) else "",
                            claims.get("email_verified") is True)


@web.get("/sign-in/external")
def external_sign_in() -> Any:
    return _leave("sign_in", inside(request.args.get("next")))


@web.get("/account/external/link")
def external_link() -> Any:
    session.own()
    return _leave("link", None)


@web.get("/sign-in/external/back")
def external_back() -> Any:
    provider = _provider()
    began = cookie.pop("external", {})
    purpose = began.get("purpose", "sign_in")
    try:
        who = _vouched(provider)
    except (AuthlibBaseError, JoseError, RequestException, ValueError, KeyError, RuntimeError) as error:
        return _failed(error, purpose)
    if purpose == "link":
        cookie["external_pending"] = {"issuer": who.issuer, "subject": who.subject, "email": who.email, "until": time.time() + PENDING_SECONDS}
        return redirect(url_for("web.external_confirm"), 303)
    try:
        step = external.enter(who, session.place(who.email))
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        flash(say(problem), "danger")
        return redirect(url_for("web.sign_in"), 303)
    return go_on(step, inside(began.get("next")))


def _pending() -> external.Vouched:
    """The identity that waits for its confirmation. Raises ``nothing_to_link``."""
    found = cookie.get("external_pending") or {}
    if found.get("until", 0) < time.time():
        raise ProblemError(NOTHING_TO_LINK)
    return external.Vouched(found["issuer"], found["subject"], found["email"])


@web.get("/account/external")
def external_confirm() -> Any:
    who = session.own()
    return render_template("web/external_confirm.html", pending=_pending(), provider=external_name(), account=who.account)


@web.post("/account/external")
def external_confirm_submit() -> Any:
    who, pending = session.own(), _pending()
    signing.confirm_password(who.account, request.form.get("current", ""), session.place(who.account.email))
    with transaction() as db:
        external.link(db, who, pending)
    cookie.pop("external_pending", None)
    flash(_("The external identity is linked; you can sign in with it from now on."), "success")
    return redirect(url_for("web.profile"), 303)


@web.post("/account/external/<identity_id>/unlink")
def external_unlink(identity_id: str) -> Any:
    who = session.own()
    signing.confirm_password(who.account, request.form.get("current", ""), session.place(who.account.email))
    with transaction() as db:
        external.unlink(db, who, identity_id)
    flash(_("The external identity is unlinked."), "success")
    return redirect(url_for("web.profile"), 303)

