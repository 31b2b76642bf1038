"""Bearer tokens (RFC 6750): who is behind a request."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import ResourceProtector
from authlib.oauth2.rfc6749.errors import MissingAuthorizationError, UnsupportedTokenTypeError
from authlib.oauth2.rfc6750 import BearerTokenValidator, InvalidTokenError
from authlib.oauth2.rfc6750.errors import InsufficientScopeError
from flask import Request

from marketplace import db
from marketplace.actor import Actor
from marketplace.db import utc_now
from marketplace.delivery.cache import TtlCache
from marketplace.errors import SCOPE_MISSING, TOKEN_INVALID, TOKEN_MISSING
from marketplace.parties import rules
from marketplace.parties import service as parties
from marketplace.settings import settings
from shuyan.problems import ProblemError

# how long this process may go on with a token that has just been revoked
TOKEN_CACHE_SECONDS = 0.5


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


_protector = ResourceProtector()
_protector.register_token_validator(_Validator())


def authenticate(incoming: Request, scope: str | None) -> Actor:
    """The program, or the person an app acts for, behind a request's bearer token.

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
