"""What Authlib asks of a market: its programs, and the ways to get a token.

Authlib checks the protocol; that a code or refresh token is used up before anything is issued for it, and only once, is decided
by :mod:`marketplace.parties.connections` in the transaction that issues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.errors import (
    AccessDeniedError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import (
    AuthorizationPendingError,
    DeviceCodeGrant,
    ExpiredTokenError,
    SlowDownError,
)
from sqlmodel import Session

from marketplace import db
from marketplace.parties import connections, rules
from marketplace.parties import service as parties
from marketplace.parties.clients import COMMAND_LINE

SECRETS: Final = ("client_secret_basic", "client_secret_post")
ANY: Final = (*SECRETS, "none")
"""How programs prove who they are: those that have a secret with it, public apps by their id alone (and PKCE)."""


class Client(ClientMixin):  # type: ignore[misc]
    """A program, as Authlib wants to see it."""

    def __init__(self, client_id: str, secret_hash: str | None, scope: str, grants: list[str], redirect_uris: list[str]) -> None:
        self.client_id = client_id
        self.secret_hash = secret_hash
        self.scope = scope
        self.grants = grants
        self.redirect_uris = redirect_uris

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        """What may be asked for; the members decide what of it an app is given."""
        return " ".join(sorted(set(scope.split()) & set(self.scope.split()))) if scope else self.scope

    def check_client_secret(self, client_secret: str) -> bool:
        return self.secret_hash is not None and rules.secret_matches(client_secret, self.secret_hash)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none" if self.secret_hash is None else method in SECRETS

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and "authorization_code" in self.grants

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return any(rules.redirect_matches(uri, redirect_uri) for uri in self.redirect_uris)

    def get_default_redirect_uri(self) -> None:
        return None  # an app says where it waits for its code, always (OAuth 2.1, section 4.1.1)


def query_client(client_id: str) -> Client | None:
    """An active program."""
    with db.reading() as session:
        missing = client_id == COMMAND_LINE and not connections.command_line_known(session)
    if missing:  # once: every other request only reads
        with db.transaction() as session:
            connections.ensure_command_line(session)
    with db.reading() as session:
        row = parties.find_client(session, client_id)
        return None if row is None else Client(row.client_id, row.secret_hash, row.scope, row.grants, row.redirect_uris)


def refuse_more(asked: str | None, held: str) -> None:
    """A scope that may not be given is refused, not silently dropped."""
    if asked and set(asked.split()) - set(held.split()):
        raise InvalidScopeError()


def save_program_token(token: dict[str, Any], oauth_request: Any) -> None:
    """Remember an access token of a program that acts for its organisation."""
    with db.transaction() as session:
        parties.issue_token(session, client_id=oauth_request.client.client_id, token=token["access_token"],
                            scope=token.get("scope", ""), seconds=token["expires_in"])


class ProgramGrant(ClientCredentialsGrant):  # type: ignore[misc]
    """Client credentials (RFC 6749, section 4.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = SECRETS

    def validate_requested_scope(self) -> None:
        """No scope asked for means all of the client's."""
        refuse_more(self.request.payload.scope, self.request.client.scope)

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        token = self.generate_token(scope=self.request.payload.scope or self.request.client.scope,
                                    include_refresh_token=False)
        self.save_token(token)
        return 200, token, self.TOKEN_RESPONSE_HEADER


class Pkce(CodeChallenge):  # type: ignore[misc]
    """RFC 7636 as RFC 9700 wants it: for every app, and by hash only."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE is required: send code_challenge, and code_challenge_method=S256.")
        super().validate_code_challenge(grant, redirect_uri)

    def get_authorization_code_challenge_method(self, authorization_code: Any) -> str:
        return "S256"


class _Code:
    """A code, as Authlib wants to see it."""

    def __init__(self, given: connections.Given) -> None:
        self.given = given
        self.code_challenge = given.code_challenge

    def get_redirect_uri(self) -> str:
        return self.given.redirect_uri

    def get_scope(self) -> str:
        return self.given.scope


Redeem = Callable[[Session, connections.Given, connections.Tokens], bool]


def _redeem(grant: Any, given: connections.Given, scope: str, redeem: Redeem) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
    """Tokens for a code or refresh token, if nobody had any for it before."""
    token = grant.generate_token(scope=scope, include_refresh_token=True)
    with db.transaction() as session:
        good = redeem(session, given, connections.Tokens(token["access_token"], scope, token["expires_in"], token["refresh_token"]))
    if not good:
        raise InvalidGrantError("It was used before, has expired, or what it stood for has ended.")
    return 200, {**token, "scope": scope}, grant.TOKEN_RESPONSE_HEADER


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """Authorisation code (RFC 6749, section 4.1); a person's consent has been asked for by then."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY

    @staticmethod
    def validate_authorization_redirect_uri(request: Any, client: Any) -> str:
        """As Authlib's, but for repeating a hostile address in the error."""
        asked: str | None = request.payload.redirect_uri
        if not asked:
            raise InvalidRequestError("Missing redirect_uri.", state=request.payload.state)
        if not client.check_redirect_uri(asked):
            raise InvalidRequestError("The redirect_uri is not registered for this app.")
        return asked

    def validate_requested_scope(self) -> None:
        refuse_more(self.request.payload.scope, self.request.client.scope)

    def save_authorization_code(self, code: str, request: Any) -> None:
        with db.transaction() as session:
            connections.new_code(session, request.user, request.client.client_id, code, redirect_uri=request.payload.redirect_uri,
                                 scope=request.scope, challenge=request.payload.data["code_challenge"])

    def query_authorization_code(self, code: str, client: Client) -> _Code | None:
        with db.reading() as session:
            given = connections.peek_code(session, code)
        return _Code(given) if given is not None and given.client_id == client.client_id else None

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        given = self.request.authorization_code.given
        return _redeem(self, given, given.scope, connections.redeem_code)


class _Refresh:
    """A refresh token, as Authlib wants to see it."""

    def __init__(self, given: connections.Given) -> None:
        self.given = given

    def check_client(self, client: Client) -> bool:
        return self.given.client_id == client.client_id

    def get_scope(self) -> str:
        return self.given.scope


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
    """Refresh (RFC 6749, section 6) with rotation: each token is good for one successor."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> _Refresh | None:
        with db.reading() as session:
            given = connections.peek_refresh(session, refresh_token)
        return None if given is None else _Refresh(given)

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        given = self.request.refresh_token.given
        asked = " ".join(sorted(set((self.request.payload.scope or given.scope).split())))
        return _redeem(self, given, asked, connections.redeem_refresh)


class DeviceGrant(DeviceCodeGrant):  # type: ignore[misc]
    """Device flow (RFC 8628), the part at the token endpoint."""

    TOKEN_ENDPOINT_AUTH_METHODS = ANY

    def validate_token_request(self) -> None:
        if not self.request.form.get("device_code"):
            raise InvalidRequestError("Missing device_code.")
        client = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError()
        self.request.client = client

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        token = self.generate_token(scope="", include_refresh_token=True)
        client, code, good = self.request.client, self.request.form["device_code"], False
        with db.transaction() as session:
            said, given = connections.poll_device(session, code, client.client_id)
            if given is not None:
                token["scope"] = given.scope
                good = connections.redeem_device(session, given, connections.Tokens(
                    token["access_token"], given.scope, token["expires_in"], token["refresh_token"]))
        if not good:
            raise {"pending": AuthorizationPendingError, "slow_down": SlowDownError, "denied": AccessDeniedError,
                   "expired": ExpiredTokenError}.get(said, InvalidGrantError)()
        return 200, token, self.TOKEN_RESPONSE_HEADER
