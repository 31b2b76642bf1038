"""OAuth 2.0 client credentials (RFC 6749, section 4.4) and bearer tokens (RFC 6750), on Authlib's protocol classes."""

from __future__ import annotations

import os
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, ResourceProtector
from authlib.oauth2.rfc6749.errors import (
    InvalidScopeError,
    MissingAuthorizationError,
    UnsupportedTokenTypeError,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6750 import BearerTokenValidator, InvalidTokenError
from authlib.oauth2.rfc6750.errors import InsufficientScopeError
from flask import Flask, Request, Response, current_app, make_response, request

from marketplace import db
from marketplace.actor import Actor
from marketplace.api.limits import FAILED_TOKEN_LIMIT, TOKEN_LIMIT, limiter
from marketplace.db import utc_now
from marketplace.delivery.cache import TtlCache
from marketplace.errors import SCOPE_MISSING, TOKEN_INVALID, TOKEN_MISSING
from marketplace.parties import rules
from marketplace.parties import service as parties
from marketplace.settings import settings
from shuyan.problems import ProblemError

# TLS ends at the reverse proxy in front of the market; Authlib would refuse the plain hop behind it.
os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")

# how long this process may go on with a token that has just been revoked
TOKEN_CACHE_SECONDS = 0.5


class _Client(ClientMixin):  # type: ignore[misc]
    """A program, as Authlib wants to see it."""

    def __init__(self, client_id: str, secret_hash: str, scope: str) -> None:
        self.client_id = client_id
        self.secret_hash = secret_hash
        self.scope = scope

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(sorted(set(scope.split()) & set(self.scope.split())))

    def check_client_secret(self, client_secret: str) -> bool:
        return rules.secret_matches(client_secret, self.secret_hash)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return endpoint == "token" and method in ("client_secret_basic", "client_secret_post")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"

    def check_response_type(self, response_type: str) -> bool:
        return False

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return False

    def get_default_redirect_uri(self) -> None:
        return None


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    def validate_requested_scope(self) -> None:
        """No scope asked for means all of the client's; one it may not have is refused, not silently dropped."""
        asked = self.request.payload.scope
        if asked and set(asked.split()) - set(self.request.client.scope.split()):
            raise InvalidScopeError()

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        token = self.generate_token(scope=self.request.payload.scope or self.request.client.scope,
                                    include_refresh_token=False)
        self.save_token(token)
        return 200, token, self.TOKEN_RESPONSE_HEADER


def _query_client(client_id: str) -> _Client | None:
    with db.reading() as session:
        row = parties.find_client(session, client_id)
        return None if row is None else _Client(row.client_id, row.secret_hash or "", row.scope)


def _save_token(token: dict[str, Any], oauth_request: Any) -> None:
    with db.transaction() as session:
        parties.issue_token(session, client_id=oauth_request.client.client_id, token=token["access_token"],
                            scope=token.get("scope", ""), seconds=token["expires_in"])


class _Token:
    """A stored token, as Authlib's validator wants to see it."""

    def __init__(self, bearer: parties.Bearer) -> None:
        self.bearer = bearer

    def is_expired(self) -> bool:
        return self.bearer.expires_at <= utc_now()

    def is_revoked(self) -> bool:
        return False  # a revoked token is not found at all

    def get_scope(self) -> str:
        return self.bearer.scope


_tokens: TtlCache[tuple[str, str], _Token] = TtlCache(TOKEN_CACHE_SECONDS, 10_000)


class _UnknownTokenError(Exception):
    pass


class _Validator(BearerTokenValidator):  # type: ignore[misc]
    def authenticate_token(self, token_string: str) -> _Token | None:
        try:
            return _tokens.get((settings().resolved_database_url, rules.hash_secret(token_string)),
                               lambda: _load_token(token_string))
        except _UnknownTokenError:
            return None


def _load_token(token: str) -> _Token:
    with db.reading() as session:
        found = parties.bearer(session, token)
    if found is None:
        raise _UnknownTokenError
    return _Token(found)


_SERVER = "shuyan_oauth"
_protector = ResourceProtector()
_protector.register_token_validator(_Validator())


def authenticate(incoming: Request, scope: str | None) -> Actor:
    """The program behind a request's bearer token.

    Raises:
        ProblemError: ``token_missing``, ``token_invalid``, ``scope_missing``.
    """
    try:
        token = _protector.validate_request([scope] if scope else [], incoming)
    except MissingAuthorizationError:
        raise ProblemError(TOKEN_MISSING) from None
    except (InvalidTokenError, UnsupportedTokenTypeError):
        raise ProblemError(TOKEN_INVALID) from None
    except InsufficientScopeError:
        raise ProblemError(SCOPE_MISSING, scope=scope) from None
    actor: Actor = token.bearer.actor
    return actor


def forget() -> None:
    """Empty this process's token cache."""
    _tokens.clear()


# Limited here and not where it is registered: another app in the same process would count every request once more.
@limiter.shared_limit(TOKEN_LIMIT, scope="oauth-token")  # type: ignore[untyped-decorator]
@limiter.shared_limit(FAILED_TOKEN_LIMIT, scope="oauth-token-failed",  # type: ignore[untyped-decorator]
                      deduct_when=lambda response: response.status_code == 401)
def issue() -> Response:
    """Errors here have the form of RFC 6749, section 5.2, which OAuth clients understand."""
    if request.mimetype != "application/x-www-form-urlencoded":
        return make_response({"error": "invalid_request", "error_description":
                              "Send application/x-www-form-urlencoded."}, 400)
    response: Response = current_app.extensions[_SERVER].create_token_response()
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def register(app: Flask) -> None:
    """Add the token endpoint at ``/oauth/token``, and under the API's base for clients that know only that."""
    app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {ClientCredentialsGrant.GRANT_TYPE: parties.TOKEN_SECONDS}
    server = app.extensions[_SERVER] = AuthorizationServer(app, query_client=_query_client, save_token=_save_token)
    server.register_grant(_Grant)
    app.post("/oauth/token", endpoint="oauth_token")(issue)
    app.post("/api/v1/oauth/token", endpoint="oauth_token_v1")(issue)
