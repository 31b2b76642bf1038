"""Use cases of programs: their registration, and the tokens they hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from sqlalchemy import delete
from sqlmodel import Session, col, select

from marketplace.actor import Actor, Party
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import rules
from marketplace.parties.errors import WRONG_CREDENTIALS
from marketplace.parties.models import AccessToken, ApiClient
from marketplace.parties.organisations import get_organisation, insert
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

TOKEN_SECONDS = 3600


def create_client(session: Session, actor: Actor, *, name: str, scope: str | Iterable[str],
                  organisation_id: str | None = None, client_id: str | None = None,
                  secret: str | None = None) -> tuple[ApiClient, str]:
    """Register a program of an organisation; returns the row and its secret, which is shown this once only.

    Raises:
        ProblemError: ``not_allowed``, ``scope_not_allowed``, ``already_taken``, ``not_found``.
    """
    owner = organisation_id or actor.organisation_id
    if owner is None or not rules.may_administer(actor, owner):
        raise ProblemError("not_allowed")
    organisation = get_organisation(session, owner)
    scope = rules.check_scope(organisation.kind, scope)
    rules.check_delegation(actor, scope)
    secret = secret or rules.new_secret()
    row = ApiClient(client_id=client_id or new_id("client"), organisation_id=owner, name=name,
                    secret_hash=rules.hash_secret(secret), scope=scope)
    insert(session, row, "client_id", row.client_id)
    trust.append(session, Tag.CLIENT_CREATED, actor, row.client_id, related=[owner], data={"scope": row.scope})
    return row, secret


def revoke_client(session: Session, actor: Actor, client_id: str) -> ApiClient:
    """Revoke a program at once, with every token it holds. Doing it twice changes nothing."""
    row = session.exec(select(ApiClient).where(ApiClient.client_id == client_id).with_for_update()).first()
    if row is None or not rules.may_administer(actor, row.organisation_id):
        raise ProblemError("not_found", what="client")
    rules.check_delegation(actor, row.scope)
    if row.revoked_at is None:
        row.revoked_at = utc_now()
        session.add(row)
        trust.append(session, Tag.CLIENT_REVOKED, actor, client_id, related=[row.organisation_id])
    return row


def list_clients(session: Session, actor: Actor) -> list[ApiClient]:
    """The programs of the actor's own organisation, oldest first."""
    if actor.organisation_id is None:
        raise ProblemError("not_signed_in")
    query = select(ApiClient).where(ApiClient.organisation_id == actor.organisation_id)
    return list(session.exec(query.order_by(col(ApiClient.created_at), col(ApiClient.client_id))))


def actor_for_client(session: Session, client: ApiClient, scope: str | None = None) -> Actor:
    """A program as an actor, limited to ``scope`` (a token's; default all of the client's)."""
    organisation = get_organisation(session, client.organisation_id)
    scopes = frozenset((client.scope if scope is None else scope).split())
    return Actor(cast(Party, organisation.kind), organisation.id, client_id=client.client_id, scopes=scopes,
                 standing=organisation.status == "active")


@dataclass(frozen=True)
class Bearer:
    """Who holds an access token, and until when."""

    actor: Actor
    scope: str
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
    """Who holds ``token``; ``None`` if it is unknown, expired or revoked, or its client is."""
    row = session.get(AccessToken, rules.hash_secret(token))
    if row is None or row.revoked_at is not None or row.expires_at <= utc_now():
        return None
    client = find_client(session, row.client_id)
    if client is None:
        return None
    return Bearer(actor_for_client(session, client, row.scope), row.scope, row.expires_at)
