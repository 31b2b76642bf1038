"""Use cases of the parties: registering organisations, members and programs, and telling who is who."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace.actor import Actor, Party
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import rules
from marketplace.parties.errors import TAKEN, WRONG_CREDENTIALS
from marketplace.parties.models import AccessToken, ApiClient, Member, Organisation
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from marketplace.parties.seed import SeedReport

TOKEN_SECONDS = 3600

# OWASP's argon2id setting for servers with little memory: 19 MiB, two passes
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_nobody_hash = _hasher.hash(rules.new_secret())


def register_organisation(session: Session, actor: Actor, *, kind: str, name_zh: str, name_en: str,
                          credit_code: str | None = None, organisation_id: str | None = None) -> Organisation:
    """Register one organisation; the operator, the authority or the system may.

    Raises:
        ProblemError: ``not_allowed``, ``unknown_party``, ``bad_credit_code``, ``already_taken``.
    """
    if actor.party not in ("system", "operator", "data_authority") or actor.scopes is not None:
        raise ProblemError("not_allowed")
    rules.check_kind(kind)
    code = rules.check_credit_code(credit_code) if credit_code else None
    if code and session.exec(select(Organisation.id).where(Organisation.credit_code == code)).first():
        raise ProblemError(TAKEN, field="credit_code", value=code)
    row = Organisation(id=organisation_id or new_id("org"), kind=kind, name_zh=name_zh, name_en=name_en,
                       credit_code=code)
    _insert(session, row, "organisation_id", row.id)
    trust.append(session, Tag.ORGANISATION_REGISTERED, actor, row.id, data={"kind": kind})
    return row


def add_member(session: Session, actor: Actor, *, organisation_id: str, email: str, display_name: str, password: str,
               roles: Iterable[str] = rules.EVERYTHING, locale: str | None = None, member_id: str | None = None) -> Member:
    """Add a person to an organisation. People are no audit events: personal data never enters the log.

    Raises:
        ProblemError: ``not_allowed``, ``weak_password``, ``already_taken``, ``not_found``.
    """
    if actor.scopes is not None or not rules.may_administer(actor, organisation_id):
        raise ProblemError("not_allowed")  # programs add no people
    get_organisation(session, organisation_id)
    row = Member(id=member_id or new_id("mem"), organisation_id=organisation_id, email=_normal_email(email),
                 display_name=display_name, password_hash=_hasher.hash(rules.check_password(password)),
                 roles=sorted(set(roles)), locale=locale)
    _insert(session, row, "email", row.email)
    return row


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
    _insert(session, row, "client_id", row.client_id)
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


def authenticate_member(session: Session, email: str, password: str) -> Member:
    """The member with this e-mail address and password.

    An unknown address costs the same work as a wrong password, so that neither can be told from the time taken.

    Raises:
        ProblemError: ``wrong_credentials``, whichever of the two was wrong.
    """
    member = session.exec(select(Member).where(Member.email == _normal_email(email))).first()
    try:
        _hasher.verify(member.password_hash if member else _nobody_hash, password)
    except (VerificationError, InvalidHashError):
        raise ProblemError(WRONG_CREDENTIALS) from None
    if member is None:
        raise ProblemError(WRONG_CREDENTIALS)
    return member


def get_member(session: Session, member_id: str) -> Member | None:
    """The member with this id, or ``None``: a session may outlive its member."""
    return session.get(Member, member_id)


def actor_for_member(session: Session, member: Member) -> Actor:
    """The signed-in person as an actor, with all rights of the organisation's kind and the member's roles."""
    organisation = get_organisation(session, member.organisation_id)
    return Actor(cast(Party, organisation.kind), organisation.id, member_id=member.id, roles=frozenset(member.roles),
                 standing=organisation.status == "active")


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


def get_organisation(session: Session, organisation_id: str) -> Organisation:
    """Raises ``not_found`` for an unknown organisation."""
    row = session.get(Organisation, organisation_id)
    if row is None:
        raise ProblemError("not_found", what="organisation")
    return row


def organisations_by_id(session: Session, ids: Iterable[str]) -> dict[str, Organisation]:
    """The organisations with these ids; unknown ones are left out."""
    wanted = set(ids)
    if not wanted:
        return {}
    return {row.id: row for row in session.exec(select(Organisation).where(col(Organisation.id).in_(wanted)))}


def organisations_of_kind(session: Session, kind: str) -> list[str]:
    """The ids of all active organisations of a kind."""
    return list(session.exec(select(Organisation.id).where(Organisation.kind == kind, Organisation.status == "active")
                             .order_by(col(Organisation.id))))


def list_organisations(session: Session, *, kind: str | None = None, after: str | None = None,
                       limit: int = 50) -> list[Organisation]:
    """Organisations by id, of one ``kind`` if given, after the id ``after``."""
    query = select(Organisation).order_by(col(Organisation.id)).limit(limit)
    if kind:
        query = query.where(Organisation.kind == kind)
    if after:
        query = query.where(col(Organisation.id) > after)
    return list(session.exec(query))


def _insert(session: Session, row: Organisation | Member | ApiClient, field: str, value: str) -> None:
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise ProblemError(TAKEN, field=field, value=value) from None


def _normal_email(email: str) -> str:
    return email.strip().casefold()


def seed(session: Session, data: dict[str, Any]) -> SeedReport:
    """Add the organisations, members and clients of a seed file that are not there yet; see :mod:`.seed`."""
    from marketplace.parties.seed import seed as run

    return run(session, data)
