"""Use cases of programs: their registration, and the tokens they hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, cast

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from marketplace.actor import Actor, Party
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import rules
from marketplace.parties.errors import BAD_GRANTS, NO_SECRET, WRONG_CREDENTIALS
from marketplace.parties.memberships import actor_for_member
from marketplace.parties.models import AccessToken, ApiClient, AppConnection, Member
from marketplace.parties.organisations import get_organisation, insert
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

TOKEN_SECONDS = 3600
COMMAND_LINE: Final = "shuyan-cli"
"""Client id of the command line that comes with the product."""


def create_client(session: Session, actor: Actor, *, name: str, scope: str | Iterable[str],
                  organisation_id: str | None = None, client_id: str | None = None, secret: str | None = None,
                  redirect_uris: Iterable[str] = (), public: bool = False) -> tuple[ApiClient, str]:
    """Register a program of an organisation; returns the row and its secret, which is shown this once only.

    With ``redirect_uris`` it is an app that acts for people who allow it (authorisation code with PKCE); without, it acts for its
    organisation (client credentials). A ``public`` app, on people's own machines, has no secret.

    Raises:
        ProblemError: ``not_allowed``, ``scope_not_allowed``, ``invalid_redirect``, ``invalid_grants``, ``invalid_name``,
            ``already_taken``, ``not_found``.
    """
    owner = organisation_id or actor.organisation_id
    if actor.party == "system":
        rules.SET_UP.require(actor)
    else:
        rules.MANAGE_CLIENTS.require(actor, owner=owner)
    organisation = get_organisation(session, owner or "")
    uris = [rules.check_redirect(uri) for uri in redirect_uris]
    if public and not uris:
        raise ProblemError(BAD_GRANTS, field="redirect_uris")
    scope = rules.check_scope(organisation.kind, scope, for_people=bool(uris))
    rules.check_delegation(actor, scope)
    secret = "" if public else secret or rules.new_secret()
    row = ApiClient(client_id=client_id or new_id("client"), organisation_id=organisation.id, name=rules.check_name(name),
                    secret_hash=rules.hash_secret(secret) if secret else None, scope=scope, redirect_uris=uris,
                    grants=["authorization_code", "refresh_token"] if uris else ["client_credentials"])
    insert(session, row, "client_id", row.client_id)
    trust.append(session, Tag.CLIENT_CREATED, actor, row.client_id, related=[organisation.id],
                 data={"scope": row.scope, "grants": row.grants})
    return row, secret


def revoke_client(session: Session, actor: Actor, client_id: str) -> ApiClient:
    """Revoke a program at once, with every token it holds. Doing it twice changes nothing."""
    row = _own(session, actor, client_id)
    if row.revoked_at is None:
        row.revoked_at = utc_now()
        session.add(row)
        trust.append(session, Tag.CLIENT_REVOKED, actor, client_id, related=[row.organisation_id or ""])
    return row


def replace_secret(session: Session, actor: Actor, client_id: str) -> tuple[ApiClient, str]:
    """Give a program a new secret, shown this once only. The old one, and every token got with it, stop working at once.

    What people allowed an app stays: their tokens are renewed with the new secret.

    Raises:
        ProblemError: ``not_found`` (also for a revoked program), ``not_allowed``, ``scope_not_allowed``, ``no_secret`` for a public app.
    """
    row = _own(session, actor, client_id)
    if row.revoked_at is not None:
        raise ProblemError("not_found", what="client")
    if row.secret_hash is None:
        raise ProblemError(NO_SECRET)
    secret = rules.new_secret()
    row.secret_hash = rules.hash_secret(secret)
    session.add(row)
    session.execute(update(AccessToken).where(col(AccessToken.client_id) == client_id, col(AccessToken.revoked_at).is_(None))
                    .values(revoked_at=utc_now()))
    trust.append(session, Tag.CLIENT_SECRET_REPLACED, actor, client_id, related=[row.organisation_id or ""])
    return row, secret


def _own(session: Session, actor: Actor, client_id: str) -> ApiClient:
    """A program of the actor's organisation, its row locked, that the actor may manage."""
    row = session.exec(select(ApiClient).where(ApiClient.client_id == client_id).with_for_update()
                       .execution_options(populate_existing=True)).first()
    if row is None or row.organisation_id is None or (actor.party != "system" and actor.organisation_id != row.organisation_id):
        raise ProblemError("not_found", what="client")
    if actor.party != "system":
        rules.MANAGE_CLIENTS.require(actor, owner=row.organisation_id)
    rules.check_delegation(actor, row.scope)
    return row


def list_clients(session: Session, actor: Actor) -> list[ApiClient]:
    """The programs of the actor's own organisation, oldest first."""
    if actor.organisation_id is None:
        raise ProblemError("not_signed_in")
    query = select(ApiClient).where(ApiClient.organisation_id == actor.organisation_id)
    return list(session.exec(query.order_by(col(ApiClient.created_at), col(ApiClient.client_id))))


def actor_for_client(session: Session, client: ApiClient, scope: str | None = None) -> Actor:
    """A program as an actor, limited to ``scope`` (a token's; default all of the client's)."""
    organisation = get_organisation(session, client.organisation_id or "")
    scopes = frozenset((client.scope if scope is None else scope).split())
    return Actor(cast(Party, organisation.kind), organisation.id, client_id=client.client_id, scopes=scopes,
                 standing=organisation.status == "active")


@dataclass(frozen=True)
class Bearer:
    """Who holds an access token, and until when."""

    actor: Actor
    scope: str
    issued_at: dt.datetime
    expires_at: dt.datetime


def find_client(session: Session, client_id: str) -> ApiClient | None:
    """An active program, or ``None``."""
    row = session.get(ApiClient, client_id)
    return row if row is not None and row.revoked_at is None else None


def issue_token(session: Session, *, client_id: str, token: str, scope: str, seconds: int = TOKEN_SECONDS) -> None:
    """Remember an access token by its hash. The client row is locked, so a revocation cannot be overtaken."""
    row = session.exec(select(ApiClient).where(ApiClient.client_id == client_id).with_for_update()).first()
    if row is None or row.revoked_at is not None:
        raise ProblemError(WRONG_CREDENTIALS)
    now = utc_now()
    session.execute(delete(AccessToken).where(col(AccessToken.client_id) == client_id, col(AccessToken.expires_at) < now))
    session.add(AccessToken(token_hash=rules.hash_secret(token), client_id=client_id, scope=scope, issued_at=now,
                            expires_at=now + dt.timedelta(seconds=seconds)))


def bearer(session: Session, token: str) -> Bearer | None:
    """Who holds ``token``; ``None`` if it is unknown, expired or revoked, its client is, or the membership it acts for has ended.

    A token that a person allowed carries the scopes and the membership's roles of this moment: both limit it.
    """
    row = session.get(AccessToken, rules.hash_secret(token))
    if row is None or row.revoked_at is not None or row.expires_at <= utc_now():
        return None
    client = find_client(session, row.client_id)
    if client is None:
        return None
    if row.connection_id is None:
        return Bearer(actor_for_client(session, client, row.scope), row.scope, row.issued_at, row.expires_at)
    connection = session.get_one(AppConnection, row.connection_id)
    person = holder(session, connection, row.scope) if connection.revoked_at is None else None
    if person is None:
        return None
    return Bearer(person, " ".join(sorted(person.scopes or ())), row.issued_at, row.expires_at)


def holder(session: Session, connection: AppConnection, scope: str | None = None) -> Actor | None:
    """The person for whom a connected app acts, limited to ``scope`` (default the connection's); ``None`` once the
    membership has ended, the app is revoked, or the organisation whose app it is no longer takes part.

    The scopes and the membership's roles of this moment limit what may be done, both of them.
    """
    client, member = find_client(session, connection.client_id), session.get_one(Member, connection.member_id)
    if client is None or member.status != "active" or not app_stands(session, client):
        return None
    person = actor_for_member(session, member)
    scopes = frozenset((connection.scope if scope is None else scope).split()) & rules.person_scopes(person.party)
    return replace(person, client_id=client.client_id, scopes=scopes)


def app_stands(session: Session, client: ApiClient) -> bool:
    """Whether the organisation whose app it is takes part; an app that comes with the product always does."""
    return client.organisation_id is None or get_organisation(session, client.organisation_id).status == "active"
