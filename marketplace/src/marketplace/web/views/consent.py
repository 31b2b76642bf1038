"""Letting an app or a command line act for oneself: the two pages on which a person decides it.

Neither can be framed (``frame-ancestors 'none'`` stands on every page), and both send nobody to an address that the app
has not registered.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749.errors import InvalidScopeError, OAuth2Error
from flask import Response, redirect, render_template, request, url_for

from marketplace.api.oauth import endpoints as oauth
from marketplace.app import CONTENT_SECURITY_POLICY
from marketplace.db import reading, transaction
from marketplace.parties import connections, sessions
from marketplace.parties import service as parties
from marketplace.parties.errors import APP_REQUEST
from marketplace.parties.sessions import SignedIn
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import both
from marketplace.web.views._common import unstored
from shuyan.problems import ProblemError


@web.get("/oauth/authorize")
def authorise() -> Any:
    who = _member()
    grant = _asked(who)
    if isinstance(grant, Response):
        return grant
    response = unstored(_consent(who, grant.client.client_id, _scope(who, grant), action=request.full_path, target=grant.redirect_uri))
    # Browsers follow no form to an address that this does not name, not even by way of our own answer.
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.replace(
        "form-action 'self'", f"form-action 'self' {_origin(grant.redirect_uri)}")
    return response


@web.post("/oauth/authorize")
def authorise_submit() -> Any:
    if session.reader() is None:
        return redirect(url_for("web.sign_in", next=request.full_path), 303)
    who = _member()
    if switched := _switched(who, request.full_path):
        return switched
    grant = _asked(who)
    if isinstance(grant, Response):
        return grant
    allowed = request.form.get("decision") == "allow"
    response = oauth.server().create_authorization_response(grant=grant, request=grant.request, grant_user=who if allowed else None)
    response.status_code = 303  # so that nothing of the form is posted on (RFC 9700, section 4.12)
    return unstored(response)


def _asked(who: SignedIn) -> Any:
    """What an app asks for, checked; or the answer that tells the app what is wrong with it.

    Raises:
        ProblemError: ``app_request_invalid`` where there is no address to tell it to.
    """
    try:
        grant = oauth.server().get_consent_grant(end_user=who)
        try:
            _scope(who, grant)
        except ProblemError as problem:
            if problem.code != "scope_not_allowed":
                raise
            raise InvalidScopeError(redirect_uri=grant.redirect_uri, state=grant.request.payload.state) from None
    except OAuth2Error as error:
        if not error.redirect_uri:
            raise ProblemError(APP_REQUEST, reason=error.error) from None
        return oauth.redirected(error)
    except ValueError:  # text that cannot stand in an answer
        raise ProblemError(APP_REQUEST, reason="invalid_request") from None
    return grant


def _scope(who: SignedIn, grant: Any) -> str:
    with reading() as db:
        client = parties.find_client(db, grant.client.client_id)
        if client is None or who.member is None:
            raise ProblemError("not_found", what="client")
        return connections.allowed_scope(db, who.member, client, grant.request.scope)


def _origin(uri: str) -> str:
    """The place of a registered address, as a source in a content security policy, which has no way to write IPv6."""
    parts = urlsplit(uri)
    return f"{parts.scheme}:" if "[" in parts.netloc else f"{parts.scheme}://{parts.netloc}"


@web.get("/device")
def device() -> Any:
    who = _member()
    code = request.args.get("user_code", "")[:32]
    if not code:
        decided = request.args.get("decided")
        return render_template("web/device.html", code="", problem=None, decided=decided if decided in ("allowed", "denied") else None)
    try:
        waiting, scope = connections.look_up_device(who, code)
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        return render_template("web/device.html", code=code, problem=say(problem), decided=None), problem.problem.status
    return unstored(_consent(who, waiting.client_id, scope, action=url_for("web.device"), user_code=waiting.shown))


@web.post("/device")
def device_submit() -> Any:
    code = request.form.get("user_code", "")[:32]
    here = url_for("web.device", user_code=code)
    if session.reader() is None:
        return redirect(url_for("web.sign_in", next=here), 303)
    who = _member()
    if switched := _switched(who, here):
        return switched
    connections.look_up_device(who, code)
    approve = request.form.get("decision") == "allow"
    with transaction() as db:
        connections.decide_device(db, who, code, approve=approve)
    return redirect(url_for("web.device", decided="allowed" if approve else "denied"), 303)


def _member() -> SignedIn:
    """The signed-in person, who acts for an organisation. Raises ``not_signed_in``, ``no_membership``."""
    who = session.own()
    if who.member is None:
        raise ProblemError("no_membership")
    return who


def _switched(who: SignedIn, back: str) -> Any:
    """The same question once more, as another of the person's memberships, if the form asked for that."""
    member_id = request.form.get("act_for")
    if not member_id:
        return None
    with transaction() as db:
        sessions.switch(db, who, member_id)
    return redirect(back, 303)


def _consent(who: SignedIn, client_id: str, scope: str, *, action: str, target: str = "", user_code: str = "") -> str:
    with reading() as db:
        client = parties.find_client(db, client_id)
        if client is None:
            raise ProblemError("not_found", what="client")
        owner = both(parties.get_organisation(db, client.organisation_id), "name") if client.organisation_id else ""
    parts = urlsplit(target)
    return render_template("web/consent.html", name=client.name, owner=owner, scopes=scope.split(), action=action, user_code=user_code,
                           target=parts.netloc, local=parts.hostname in ("127.0.0.1", "::1", "localhost"))
