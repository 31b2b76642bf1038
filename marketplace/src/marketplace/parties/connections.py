"""Use cases of connected apps: what a person allowed an app, the codes and tokens that come of it, and their end.

Everything a person allowed an app at one time is one connection: the family that ends as a whole when a code or
refresh token is used twice (RFC 9700, section 4.14), when the person disconnects the app, or when the membership ends.
Codes and refresh tokens are used up by one conditional UPDATE before anything is issued for them, so that of
several redemptions at once exactly one succeeds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import guessing, rules
from marketplace.parties.clients import COMMAND_LINE, Bearer, app_stands, find_client, holder
from marketplace.parties.errors import APP_BLOCKED, BAD_SCOPE, CODE_UNKNOWN
from marketplace.parties.models import (
    AccessToken,
    ApiClient,
    AppConnection,
    AuthorisationCode,
    DeviceCode,
    Member,
    RefreshToken,
)
from marketplace.parties.organisations import get_organisation, insert
from marketplace.parties.sessions import SignedIn, as_actor
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

CODE_LASTS: Final = dt.timedelta(minutes=5)
DEVICE_LASTS: Final = dt.timedelta(minutes=15)
REFRESH_LASTS: Final = dt.timedelta(days=30)
POLL_SECONDS: Final = 5

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, section 6.1: no vowels, nothing easily confused


def allowed_scope(session: Session, member: Member, client: ApiClient, asked: str) -> str:
    """What of ``asked`` (nothing: everything) an app may be given by this member: what both may, sorted.

    Raises:
        ProblemError: ``scope_not_allowed`` if nothing is left, or something was asked for that the app may not have;
            ``app_blocked`` while the organisation whose app it is does not take part.
    """
    if not app_stands(session, client):
        raise ProblemError(APP_BLOCKED, name=client.name)
    theirs = set(client.scope.split())
    wanted = set(asked.split()) or theirs
    kind = get_organisation(session, member.organisation_id).kind
    left = wanted & rules.person_scopes(kind)
    if wanted - theirs or not left:
        raise ProblemError(BAD_SCOPE, field="scope", scope=" ".join(sorted(wanted - theirs or wanted))[:100])
    return " ".join(sorted(left))


def _connect(session: Session, who: SignedIn, client: ApiClient, asked: str) -> AppConnection:
    if who.member is None:
        raise ProblemError("no_membership")
    scope = allowed_scope(session, who.member, client, asked)
    row = AppConnection(id=new_id("con"), account_id=who.account.id, member_id=who.member.id, client_id=client.client_id, scope=scope)
    session.add(row)
    session.flush()
    trust.append(session, Tag.APP_CONNECTED, as_actor(session, who), row.id, related=[client.client_id, who.member.organisation_id],
                 data={"scope": scope})
    return row


# --- authorisation code (RFC 6749, section 4.1, with PKCE, RFC 7636) ---


def new_code(session: Session, who: SignedIn, client_id: str, code: str, *, redirect_uri: str, scope: str, challenge: str) -> None:
    """Remember a code that the person gave an app by agreeing. Raises ``not_found``, ``no_membership``, ``scope_not_allowed``."""
    client = find_client(session, client_id)
    if client is None:
        raise ProblemError("not_found", what="client")
    connection = _connect(session, who, client, scope)
    session.add(AuthorisationCode(code_hash=rules.hash_secret(code), connection_id=connection.id, client_id=client_id,
                                  redirect_uri=redirect_uri, code_challenge=challenge, expires_at=utc_now() + CODE_LASTS))


@dataclass(frozen=True)
class Given:
    """A code or refresh token as the protocol looks at it before it is used up."""

    key: str
    connection_id: str
    client_id: str
    scope: str
    redirect_uri: str = ""
    code_challenge: str = ""


@dataclass(frozen=True)
class Tokens:
    """What an app is about to be given; only hashes of it are kept. ``seconds`` is how long the access token lasts."""

    access_token: str
    scope: str
    seconds: int
    refresh_token: str


def peek_code(session: Session, code: str) -> Given | None:
    """The code, used or not; ``None`` if there is none."""
    row = session.get(AuthorisationCode, rules.hash_secret(code))
    if row is None:
        return None
    connection = session.get_one(AppConnection, row.connection_id)
    return Given(row.code_hash, row.connection_id, row.client_id, connection.scope, row.redirect_uri, row.code_challenge)


def peek_refresh(session: Session, token: str) -> Given | None:
    """The refresh token, used or not; ``None`` if there is none."""
    row = session.get(RefreshToken, rules.hash_secret(token))
    if row is None:
        return None
    connection = session.get_one(AppConnection, row.connection_id)
    return Given(row.token_hash, row.connection_id, connection.client_id, row.scope)


def redeem_code(session: Session, given: Given, tokens: Tokens) -> bool:
    """Use a code up and remember the tokens for it; whether this was its first use, in time. A second one ends the connection.

    The transaction is to be committed either way.
    """
    won = session.execute(update(AuthorisationCode).where(
        col(AuthorisationCode.code_hash) == given.key, col(AuthorisationCode.used_at).is_(None),
        col(AuthorisationCode.expires_at) > utc_now()).values(used_at=utc_now()).returning(col(AuthorisationCode.code_hash))).first()
    if won is not None:
        return _issue(session, given.connection_id, tokens)
    _end_if_reused(session, session.get(AuthorisationCode, given.key, populate_existing=True))
    return False


def redeem_refresh(session: Session, given: Given, tokens: Tokens) -> bool:
    """The same for a refresh token, which its successor in ``tokens`` replaces."""
    won = session.execute(update(RefreshToken).where(
        col(RefreshToken.token_hash) == given.key, col(RefreshToken.used_at).is_(None),
        col(RefreshToken.expires_at) > utc_now()).values(used_at=utc_now()).returning(col(RefreshToken.token_hash))).first()
    if won is not None:
        return _issue(session, given.connection_id, tokens)
    _end_if_reused(session, session.get(RefreshToken, given.key, populate_existing=True))
    return False


def _end_if_reused(session: Session, row: AuthorisationCode | RefreshToken | None) -> None:
    """Two have the same code or token, and nobody can tell which of them is the thief (RFC 9700, section 4.14.2)."""
    if row is not None and row.used_at is not None:
        _revoke(session, row.connection_id, SYSTEM, reused=True)


# --- device flow (RFC 8628) ---


def new_device_code(session: Session, client_id: str, device_code: str, scope: str) -> str:
    """Remember a device's code; returns the short one that its person types, as ``BCDF-GHJK``."""
    session.execute(delete(DeviceCode).where(col(DeviceCode.expires_at) < utc_now() - DEVICE_LASTS))
    user_code = "".join(secrets.choice(_LETTERS) for _ in range(8))
    insert(session, DeviceCode(device_hash=rules.hash_secret(device_code), user_code=user_code, client_id=client_id, scope=scope,
                               interval=POLL_SECONDS, expires_at=utc_now() + DEVICE_LASTS), "user_code", user_code)
    return f"{user_code[:4]}-{user_code[4:]}"


@dataclass(frozen=True)
class Waiting:
    """A device that waits for its person; ``shown`` is the code as the device shows it."""

    device_hash: str
    shown: str
    client_id: str
    scope: str


def pending_device(session: Session, user_code: str) -> Waiting:
    """The device that waits under this code, however it was typed. Raises ``code_unknown``."""
    found = "".join(letter for letter in user_code.upper() if letter.isalpha())
    row = session.exec(select(DeviceCode).where(DeviceCode.user_code == found, DeviceCode.status == "pending",
                                                DeviceCode.expires_at > utc_now())).first()
    if row is None:
        raise ProblemError(CODE_UNKNOWN, field="code")
    return Waiting(row.device_hash, f"{row.user_code[:4]}-{row.user_code[4:]}", row.client_id, row.scope)


def look_up_device(who: SignedIn, user_code: str) -> tuple[Waiting, str]:
    """The device that waits under a code, and the scope it would be given; whoever tries codes is slowed down.

    Raises:
        ProblemError: ``too_many_attempts``, ``code_unknown``, ``no_membership``, ``not_found``, ``scope_not_allowed``, ``app_blocked``.
    """
    if who.member is None:
        raise ProblemError("no_membership")
    keys = [("device", who.account.id)]
    guessing.reserve(keys)
    with db.transaction() as session:
        waiting = pending_device(session, user_code)
        guessing.forgive(session, keys)
        client = find_client(session, waiting.client_id)
        if client is None:
            raise ProblemError("not_found", what="client")
        return waiting, allowed_scope(session, who.member, client, waiting.scope)


def decide_device(session: Session, who: SignedIn, user_code: str, *, approve: bool) -> None:
    """Let a waiting device in, or not. Raises ``code_unknown``, ``no_membership``, ``scope_not_allowed``, ``app_blocked``."""
    waiting = pending_device(session, user_code)
    client = find_client(session, waiting.client_id)
    if client is None:
        raise ProblemError(CODE_UNKNOWN, field="code")
    connection = _connect(session, who, client, waiting.scope) if approve else None
    won = session.execute(update(DeviceCode).where(col(DeviceCode.device_hash) == waiting.device_hash, col(DeviceCode.status) == "pending")
                          .values(status="approved" if approve else "denied", connection_id=connection.id if connection else None)
                          .returning(col(DeviceCode.device_hash))).first()
    if won is None:  # somebody else decided in this very moment: nothing of this transaction stays
        raise ProblemError(CODE_UNKNOWN, field="code")


Polled = Literal["unknown", "expired", "pending", "slow_down", "denied", "approved"]


def poll_device(session: Session, device_code: str, client_id: str) -> tuple[Polled, Given | None]:
    """What a device is told that asks. A code that was approved is used up by asking, so that one of several gets it;
    to be followed by :func:`redeem_device` in the same transaction, which is to be committed whatever it says."""
    key, now = rules.hash_secret(device_code), utc_now()
    row = session.get(DeviceCode, key, with_for_update=True, populate_existing=True)
    if row is None or row.client_id != client_id:
        return "unknown", None
    if row.status == "used":
        if row.connection_id:
            _revoke(session, row.connection_id, SYSTEM, reused=True)
        return "unknown", None
    if row.expires_at <= now:
        return "expired", None
    if row.status == "denied":
        return "denied", None
    if row.status == "pending":
        # one second of grace: the network does not keep a device's time
        early = row.polled_at is not None and row.polled_at + dt.timedelta(seconds=row.interval - 1) > now
        row.polled_at = now
        row.interval += POLL_SECONDS if early else 0
        session.add(row)
        return ("slow_down" if early else "pending"), None
    row.status = "used"
    session.add(row)
    connection = session.get_one(AppConnection, row.connection_id)
    return "approved", Given(key, connection.id, client_id, connection.scope)


def redeem_device(session: Session, given: Given, tokens: Tokens) -> bool:
    """Remember the tokens of a device that was approved; whether its connection still holds."""
    return _issue(session, given.connection_id, tokens)


# --- tokens, and the end of a connection ---


def _issue(session: Session, connection_id: str, tokens: Tokens) -> bool:
    """Remember the tokens of a live connection; whether it still is one."""
    connection = session.get(AppConnection, connection_id, with_for_update=True, populate_existing=True)
    if connection is None or connection.revoked_at is not None or holder(session, connection) is None:
        return False
    now = utc_now()
    connection.issued_at = now
    session.add(connection)
    for model in (AccessToken, RefreshToken):
        session.execute(delete(model).where(col(model.connection_id) == connection_id, col(model.expires_at) < now))
    session.add(AccessToken(token_hash=rules.hash_secret(tokens.access_token), client_id=connection.client_id,
                            connection_id=connection_id, scope=tokens.scope, issued_at=now,
                            expires_at=now + dt.timedelta(seconds=tokens.seconds)))
    session.add(RefreshToken(token_hash=rules.hash_secret(tokens.refresh_token), connection_id=connection_id, scope=connection.scope,
                             expires_at=now + REFRESH_LASTS))
    return True


def refresh_bearer(session: Session, token: str) -> Bearer | None:
    """For whom a refresh token would give access; ``None`` if it would not, any more."""
    row = session.get(RefreshToken, rules.hash_secret(token))
    if row is None or row.used_at is not None or row.expires_at <= utc_now():
        return None
    connection = session.get_one(AppConnection, row.connection_id)
    person = holder(session, connection) if connection.revoked_at is None else None
    return None if person is None else Bearer(person, row.scope, connection.issued_at or connection.created_at, row.expires_at)


def revoke_token(session: Session, token: str, client_id: str) -> None:
    """End a token that its own app gives back (RFC 7009): an access token alone, a refresh token with its connection."""
    key, now = rules.hash_secret(token), utc_now()
    session.execute(update(AccessToken).where(col(AccessToken.token_hash) == key, col(AccessToken.client_id) == client_id,
                                              col(AccessToken.revoked_at).is_(None)).values(revoked_at=now))
    given = peek_refresh(session, token)
    if given is not None and given.client_id == client_id:
        _revoke(session, given.connection_id, SYSTEM)


def list_connections(session: Session, account_id: str) -> Sequence[tuple[AppConnection, ApiClient]]:
    """The apps that now act for a person, newest first."""
    rows = session.exec(select(AppConnection, ApiClient).join(ApiClient, col(ApiClient.client_id) == AppConnection.client_id)
                        .where(AppConnection.account_id == account_id, col(AppConnection.revoked_at).is_(None),
                               col(AppConnection.issued_at).is_not(None), col(ApiClient.revoked_at).is_(None))
                        .order_by(col(AppConnection.id).desc()))
    return [(connection, client) for connection, client in rows]


def disconnect(session: Session, who: SignedIn, connection_id: str) -> None:
    """End one of the person's connections, at once. Raises ``not_found``."""
    row = session.get(AppConnection, connection_id)
    if row is None or row.account_id != who.account.id:
        raise ProblemError("not_found", what="connection")
    _revoke(session, connection_id, as_actor(session, who))


def revoke_all(session: Session, account_id: str, *, member_id: str | None = None) -> None:
    """End every connection of a person, or of one of their memberships."""
    query = select(AppConnection.id).where(AppConnection.account_id == account_id, col(AppConnection.revoked_at).is_(None))
    if member_id:
        query = query.where(AppConnection.member_id == member_id)
    for connection_id in session.exec(query.order_by(col(AppConnection.id))).all():
        _revoke(session, connection_id, SYSTEM)


def _revoke(session: Session, connection_id: str, actor: Any, *, reused: bool = False) -> None:
    now = utc_now()
    ended = session.execute(update(AppConnection).where(col(AppConnection.id) == connection_id, col(AppConnection.revoked_at).is_(None))
                            .values(revoked_at=now).returning(col(AppConnection.id))).first()
    if ended is not None:
        session.execute(update(AccessToken).where(col(AccessToken.connection_id) == connection_id, col(AccessToken.revoked_at).is_(None))
                        .values(revoked_at=now))
        trust.append(session, Tag.APP_DISCONNECTED, actor, connection_id, data={"reused": reused})


_EVERYTHING: Final = " ".join(sorted(rules.SCOPES))


def command_line_known(session: Session) -> bool:
    """Whether the program that comes with the product is there, with every scope that this version knows."""
    row = session.get(ApiClient, COMMAND_LINE)
    return row is not None and row.scope == _EVERYTHING


def ensure_command_line(session: Session) -> None:
    """The program that comes with the product: ``shuyan login`` (a public client with the device flow alone)."""
    row = session.get(ApiClient, COMMAND_LINE)
    if row is not None:  # an earlier version of the product knew fewer scopes
        row.scope = _EVERYTHING
        session.add(row)
        return
    with contextlib.suppress(ProblemError):  # another request was first
        insert(session, ApiClient(client_id=COMMAND_LINE, name="shuyan", scope=_EVERYTHING, grants=[rules.DEVICE, "refresh_token"]),
               "client_id", COMMAND_LINE)
