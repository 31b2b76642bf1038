"""The authorisation server's addresses: token, device, introspection, revocation, discovery.

The one that people see, ``/oauth/authorize``, is a page: :mod:`marketplace.web.views.consent`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from authlib.common.security import generate_token
from authlib.consts import default_json_headers
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749.errors import OAuth2Error, UnauthorizedClientError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask, Response, current_app, make_response, request

from marketplace import db
from marketplace.actor import Actor
from marketplace.api.limits import DEVICE_LIMIT, FAILED_TOKEN_LIMIT, TOKEN_LIMIT, limiter
from marketplace.api.oauth import grants
from marketplace.api.oauth.bearer import forget
from marketplace.parties import connections, rules
from marketplace.parties import service as parties
from marketplace.settings import settings

# TLS ends at the reverse proxy in front of the market; Authlib would refuse the plain hop behind it.
os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")

_SERVER: Final = "shuyan_oauth"
_FORM: Final = "application/x-www-form-urlencoded"


def issuer() -> str:
    """The authorisation server's name (RFC 8414, section 2): the market's public address."""
    return settings().public_url


def server() -> AuthorizationServer:
    """The current application's authorisation server."""
    return current_app.extensions[_SERVER]


class Issuer(IssuerParameter):  # type: ignore[misc]
    """``iss`` in every answer to an app (RFC 9207), so that it notices an answer of somebody else's server."""

    def get_issuer(self) -> str:
        return issuer()


class _Device(DeviceAuthorizationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = grants.ANY

    def create_endpoint_response(self, oauth_request: Any) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        client = self.authenticate_client(oauth_request)
        if not client.check_grant_type(rules.DEVICE):
            raise UnauthorizedClientError()
        scope = oauth_request.payload.scope or ""
        grants.refuse_more(scope, client.scope)
        device_code = generate_token(48)
        with db.transaction() as session:
            user_code = connections.new_device_code(session, client.client_id, device_code, scope)
        page = f"{issuer()}/device"
        return 200, {
            "device_code": device_code, "user_code": user_code, "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={user_code}",
            "expires_in": int(connections.DEVICE_LASTS.total_seconds()), "interval": connections.POLL_SECONDS,
        }, default_json_headers


class _Held:
    """A live token, as Authlib's introspection wants to see it."""

    def __init__(self, bearer: parties.Bearer, kind: str) -> None:
        self.bearer = bearer
        self.kind = kind

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return False  # a token that no longer holds is not found at all


class _Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """RFC 7662: a program with a secret asks about tokens of its own, and learns of no others that they exist."""

    CLIENT_AUTH_METHODS = grants.SECRETS

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Held | None:
        with db.reading() as session:
            found = parties.bearer(session, token_string)
            if found is not None:
                return _Held(found, "access_token")
            found = connections.refresh_bearer(session, token_string)
            return None if found is None else _Held(found, "refresh_token")

    def check_permission(self, token: _Held, client: grants.Client, oauth_request: Any) -> bool:
        return token.bearer.actor.client_id == client.client_id

    def introspect_token(self, token: _Held) -> dict[str, Any]:
        actor: Actor = token.bearer.actor
        shown = {"active": True, "client_id": actor.client_id, "scope": token.bearer.scope, "sub": actor.member_id or actor.organisation_id,
                 "iss": issuer(), "iat": int(token.bearer.issued_at.timestamp()), "exp": int(token.bearer.expires_at.timestamp())}
        return shown | ({"token_type": "Bearer"} if token.kind == "access_token" else {})


class _Revocation(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009; a token that is unknown, or another's, is answered like one that was revoked."""

    CLIENT_AUTH_METHODS = grants.ANY

    def authenticate_token(self, oauth_request: Any, client: grants.Client) -> str:
        self.check_params(oauth_request, client)
        return str(oauth_request.form["token"])

    def revoke_token(self, token: str, oauth_request: Any) -> None:
        with db.transaction() as session:
            connections.revoke_token(session, token, oauth_request.client.client_id)
        forget()


def _refused(error: str, description: str, status: int = 400) -> Response:
    return make_response({"error": error, "error_description": description}, status)


def _answer(respond: Callable[[], Response]) -> Response:
    """What ``respond`` says to a form whose fields stand in the body, each of them once (RFC 6749, section 3.2).

    Errors here have the form of RFC 6749, section 5.2, which OAuth clients understand.
    """
    if request.mimetype != _FORM:
        return _refused("invalid_request", f"Send {_FORM}.")
    if request.args:  # what stands in an address stands in logs
        return _refused("invalid_request", "Send the parameters in the body.")
    if any(len(request.form.getlist(name)) > 1 for name in request.form):
        return _refused("invalid_request", "A parameter was sent twice.")
    try:
        response = respond()
    except ValueError:  # a header or field that is no text
        response = _refused("invalid_request", "The request cannot be understood.")
    response.headers["Cache-Control"] = "no-store"
    return response


# Limited here and not where they are registered: another app in the same process would count every request once more.
_limited = limiter.shared_limit(TOKEN_LIMIT, scope="oauth-token")
_limited_failures = limiter.shared_limit(FAILED_TOKEN_LIMIT, scope="oauth-token-failed",
                                         deduct_when=lambda response: response.status_code == 401)


@_limited  # type: ignore[untyped-decorator]
@_limited_failures  # type: ignore[untyped-decorator]
def token() -> Response:
    return _answer(server().create_token_response)


@limiter.shared_limit(DEVICE_LIMIT, scope="oauth-device")  # type: ignore[untyped-decorator]
def device_authorisation() -> Response:
    return _answer(lambda: server().create_endpoint_response(_Device.ENDPOINT_NAME))


@_limited  # type: ignore[untyped-decorator]
@_limited_failures  # type: ignore[untyped-decorator]
def introspect() -> Response:
    return _answer(lambda: server().create_endpoint_response(_Introspection.ENDPOINT_NAME))


@_limited  # type: ignore[untyped-decorator]
@_limited_failures  # type: ignore[untyped-decorator]
def revoke() -> Response:
    return _answer(lambda: server().create_endpoint_response(_Revocation.ENDPOINT_NAME))


def metadata() -> dict[str, Any]:
    """What the server can do, for clients to read (RFC 8414)."""
    base = issuer()
    return {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth/authorize",
        "token_endpoint": f"{base}/oauth/token",
        "device_authorization_endpoint": f"{base}/oauth/device_authorization",
        "introspection_endpoint": f"{base}/oauth/introspect",
        "revocation_endpoint": f"{base}/oauth/revoke",
        "scopes_supported": sorted(rules.SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token", rules.DEVICE],
        "token_endpoint_auth_methods_supported": list(grants.ANY),
        "introspection_endpoint_auth_methods_supported": list(grants.SECRETS),
        "revocation_endpoint_auth_methods_supported": list(grants.ANY),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": ["zh-CN", "en"],
    }


def redirected(error: OAuth2Error) -> Response:
    """An error told to the app, at the address it registered; with ``iss``, as everything that is told there."""
    response: Response = server().handle_error_response(None, error)
    Issuer().add_issuer_parameter(server(), response)
    return response


def register(app: Flask) -> None:
    """Add the authorisation server; its token endpoint also under the API's base, for clients that know only that."""
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(
        ("authorization_code", "client_credentials", "refresh_token", rules.DEVICE), parties.TOKEN_SECONDS)
    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    made = app.extensions[_SERVER] = AuthorizationServer(app, query_client=grants.query_client, save_token=grants.save_program_token)
    made.register_grant(grants.ProgramGrant)
    made.register_grant(grants.CodeGrant, [grants.Pkce()])
    made.register_grant(grants.RefreshGrant)
    made.register_grant(grants.DeviceGrant)
    made.register_extension(Issuer())
    for endpoint in (_Device, _Introspection, _Revocation):
        made.register_endpoint(endpoint)
    app.post("/oauth/token", endpoint="oauth_token")(token)
    app.post("/api/v1/oauth/token", endpoint="oauth_token_v1")(token)
    app.post("/oauth/device_authorization", endpoint="oauth_device_authorisation")(device_authorisation)
    app.post("/oauth/introspect", endpoint="oauth_introspect")(introspect)
    app.post("/oauth/revoke", endpoint="oauth_revoke")(revoke)
    app.get("/.well-known/oauth-authorization-server", endpoint="oauth_metadata")(metadata)
