"""Use cases of connected apps: what a person allowed an app, the codes and tokens that come of it, and their end.

Everything a person allowed an app at one time is one connection: the family that ends as a whole when a code or
refresh token is used twice (RFC 9700, section 4.14), when the person disconnects the app, or when the membership ends.
Codes and refresh tokens are used up by one conditional UPDATE before anything is issued for them, so that of
several redemptions at once exactly one succeeds.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import rules
from marketplace.parties.clients import COMMAND_LINE, find_client
from marketplace.parties.errors import BAD_SCOPE, CODE_UNKNOWN
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
        ProblemError: ``scope_not_allowed`` if nothing is left, or something was asked for that the app may not have.
    """
    theirs = set(client.scope.split())
    wanted = set(asked.split()) or theirs
    kind = get_organisation(session, member.organisation_id).kind
    left = wanted & rules.person_scopes(kind)
    if wanted - theirs or not left:
        raise ProblemError(BAD_SCOPE, field="scope", scope=" ".join(sorted(wanted - theirs or wanted)))
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
    expires_at: dt.datetime
    redirect_uri: str = ""
    code_challenge: str = ""


def peek_code(session: Session, code: str) -> Given | None:
    """The code, used or not; ``None`` if there is none."""
    row = session.get(AuthorisationCode, rules.hash_secret(code))
    if row is None:
        return None
    connection = session.get_one(AppConnection, row.connection_id)
    return Given(row.code_hash, row.connection_id, row.client_id, connection.scope, row.expires_at, row.redirect_uri, row.code_challenge)


def peek_refresh(session: Session, token: str) -> Given | None:
    """The refresh token, used or not; ``None`` if there is none."""
    row = session.get(RefreshToken, rules.hash_secret(token))
    if row is None:
        return None
    connection = session.get_one(AppConnection, row.connection_id)
    return Given(row.token_hash, row.connection_id, connection.client_id, row.scope, row.expires_at)


def use_code(session: Session, given: Given) -> bool:
    """Use a code up; whether this was its first use in time. A second use ends the whole connection."""
    won = session.execute(update(AuthorisationCode).where(
        col(AuthorisationCode.code_hash) == given.key, col(AuthorisationCode.used_at).is_(None),
        col(AuthorisationCode.expires_at) > utc_now()).values(used_at=utc_now()).returning(col(AuthorisationCode.code_hash))).first()
    return _or_end(session, won, given)


def use_refresh(session: Session, given: Given) -> bool:
    """Use a refresh token up; whether this was its first use in time. A second use ends the whole connection."""
    won = session.execute(update(RefreshToken).where(
        col(RefreshToken.token_hash) == given.key, col(RefreshToken.used_at).is_(None),
        col(RefreshToken.expires_at) > utc_now()).values(used_at=utc_now()).returning(col(RefreshToken.token_hash))).first()
    return _or_end(session, won, given)


def _or_end(session: Session, won: Any, given: Given) -> bool:
    if won is None and given.expires_at > utc_now():
        _revoke(session, given.connection_id, SYSTEM, reused=True)
    return won is not None


# --- device flow (RFC 8628) ---


def new_device_code(session: Session, client_id: str, device_code: str, scope: str) -> str:
    """Remember a device's code; returns the short one that its person types, as ``BCDF-GHJK``."""
    session.execute(delete(DeviceCode).where(col(DeviceCode.expires_at) < utc_now() - DEVICE_LASTS))
    user_code = "".join(secrets.choice(_LETTERS) for _ in range(8))
    row = DeviceCode(device_hash=rules.hash_secret(device_code), user_code=user_code, client_id=client_id, scope=scope,
                     interval=POLL_SECONDS, expires_at=utc_now() + DEVICE_LASTS)
    insert(session, row, "user_code", user_code)
    return f"{user_code[:4]}-{user_code[4:]}"


def pending_device(session: Session, user_code: str) -> DeviceCode:
    """The device that waits under this code. Raises ``code_unknown``."""
    found = "".join(letter for letter in user_code.upper() if letter.isalpha())
    row = session.exec(select(DeviceCode).where(DeviceCode.user_code == found, DeviceCode.status == "pending",
                                                DeviceCode.expires_at > utc_now())).first()
    if row is None:
        raise ProblemError(CODE_UNKNOWN, field="code")
    return row


def decide_device(session: Session, who: SignedIn, user_code: str, *, approve: bool) -> None:
    """Let a waiting device in, or not. Raises ``code_unknown``, ``no_membership``, ``scope_not_allowed``."""
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
    """What a device is told that asks; an approved code is used up by asking, so that one of several gets it."""
    key, now = rules.hash_secret(device_code), utc_now()
    row = session.get(DeviceCode, key, with_for_update=True, populate_existing=True)
    if row is None or row.client_id != client_id or row.status == "used":
        return "unknown", None
    if row.expires_at <= now:
        return "expired", None
    if row.status == "denied":
        return "denied", None
    if row.status == "pending":
        early = row.polled_at is not None and row.polled_at + dt.timedelta(seconds=row.interval - 1) > now
        row.polled_at = now
        row.interval += POLL_SECONDS if early else 0
        session.add(row)
        return ("slow_down" if early else "pending"), None
    won = session.execute(update(DeviceCode).where(col(DeviceCode.device_hash) == key, col(DeviceCode.status) == "approved")
                          .values(status="used").returning(col(DeviceCode.connection_id))).first()
    if won is None:
        return "unknown", None
    connection = session.get_one(AppConnection, won[0])
    return "approved", Given(key, connection.id, client_id, connection.scope, row.expires_at)


# --- tokens, and the end of a connection ---


def issue(session: Session, connection_id: str, *, access_token: str, scope: str, seconds: int, refresh_token: str | None) -> bool:
    """Remember the tokens of a live connection by their hashes; whether it still was one."""
    connection = session.get(AppConnection, connection_id, with_for_update=True, populate_existing=True)
    if connection is None or connection.revoked_at is not None or find_client(session, connection.client_id) is None:
        return False
    now = utc_now()
    connection.issued_at = now
    session.add(connection)
    session.execute(delete(AccessToken).where(col(AccessToken.connection_id) == connection_id, col(AccessToken.expires_at) < now))
    session.add(AccessToken(token_hash=rules.hash_secret(access_token), client_id=connection.client_id, connection_id=connection_id,
                            scope=scope, issued_at=now, expires_at=now + dt.timedelta(seconds=seconds)))
    if refresh_token:
        session.add(RefreshToken(token_hash=rules.hash_secret(refresh_token), connection_id=connection_id, scope=connection.scope,
                                 expires_at=now + REFRESH_LASTS))
    return True


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


def member_of(session: Session, connection_id: str) -> Member | None:
    """The membership a live connection acts for; ``None`` once either has ended."""
    connection = session.get(AppConnection, connection_id)
    if connection is None or connection.revoked_at is not None:
        return None
    member = session.get(Member, connection.member_id)
    return member if member is not None and member.status == "active" else None


def ensure_command_line(session: Session) -> None:
    """The program that comes with the product: ``shuyan login`` (a public client with the device flow alone)."""
    if session.get(ApiClient, COMMAND_LINE) is None:
        row = ApiClient(client_id=COMMAND_LINE, name="shuyan", scope=" ".join(sorted(rules.SCOPES)),
                        grants=[rules.DEVICE, "refresh_token"])
        try:
            insert(session, row, "client_id", COMMAND_LINE)
        except ProblemError:
            session.expire_all()  # another request was first


