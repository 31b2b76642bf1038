"""First organisations, members and programs from a JSON file; running it again adds only what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlmodel import Session, select

from marketplace.actor import SYSTEM
from marketplace.parties import rules, service
from marketplace.parties.errors import BAD_SEED
from marketplace.parties.models import ApiClient, Member, Organisation
from marketplace.parties.rules import EVERYTHING
from shuyan.problems import ProblemError


class _Input(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class SeedMember(_Input):
    email: str = Field(min_length=3, max_length=254)
    display_name: str = Field(min_length=1, max_length=100)
    password: str
    roles: list[str] = list(EVERYTHING)
    locale: str | None = None
    organisation_id: str | None = None


class SeedClient(_Input):
    client_id: str = Field(min_length=3, max_length=64)
    name: str = Field(min_length=1, max_length=100)
    scope: str
    secret: str | None = Field(default=None, min_length=16)
    organisation_id: str | None = None


class SeedOrganisation(_Input):
    id: str = Field(min_length=3, max_length=64)
    kind: str
    name_zh: str = Field(min_length=1, max_length=200)
    name_en: str = Field(min_length=1, max_length=200)
    credit_code: str | None = None
    members: list[SeedMember] = []
    clients: list[SeedClient] = []


class Seed(_Input):
    """``organisations``, each with its members and clients inside, or these in lists of their own."""

    organisations: list[SeedOrganisation] = []
    members: list[SeedMember] = []
    clients: list[SeedClient] = []


@dataclass
class SeedReport:
    """What a seeding added; ``secrets`` holds the secrets made for clients that came without one."""

    organisations: int = 0
    members: int = 0
    clients: int = 0
    secrets: dict[str, str] = field(default_factory=dict)


def seed(session: Session, data: dict[str, Any]) -> SeedReport:
    """Add every organisation, member and client of ``data`` that is not there yet.

    Raises:
        ProblemError: ``bad_seed`` naming the place, or what registering raises.
    """
    try:
        wanted = Seed.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ProblemError(BAD_SEED, field=".".join(map(str, first["loc"])), reason=first["msg"]) from None
    report = SeedReport()
    for organisation in wanted.organisations:
        if session.get(Organisation, organisation.id) is None:
            service.register_organisation(
                session, SYSTEM, kind=organisation.kind, name_zh=organisation.name_zh, name_en=organisation.name_en,
                credit_code=organisation.credit_code, organisation_id=organisation.id)
            report.organisations += 1
        for member in organisation.members:
            _member(session, report, member, organisation.id)
        for client in organisation.clients:
            _client(session, report, client, organisation.id)
    for member in wanted.members:
        _member(session, report, member, _owner(member, "members"))
    for client in wanted.clients:
        _client(session, report, client, _owner(client, "clients"))
    return report


def _owner(item: SeedMember | SeedClient, place: str) -> str:
    if item.organisation_id is None:
        raise ProblemError(BAD_SEED, field=f"{place}.organisation_id", reason="missing")
    return item.organisation_id


def _member(session: Session, report: SeedReport, member: SeedMember, organisation_id: str) -> None:
    known = service.account_by_email(session, member.email)
    if known is not None and session.exec(select(Member.id).where(
            Member.account_id == known.id, Member.organisation_id == organisation_id)).first():
        return
    service.add_member(session, SYSTEM, organisation_id=organisation_id, email=member.email,
                       display_name=member.display_name, password=member.password, roles=member.roles,
                       locale=member.locale)
    report.members += 1


def _client(session: Session, report: SeedReport, client: SeedClient, organisation_id: str) -> None:
    if session.get(ApiClient, client.client_id) is not None:
        return
    secret = client.secret or rules.new_secret()
    service.create_client(session, SYSTEM, name=client.name, scope=client.scope, organisation_id=organisation_id,
                          client_id=client.client_id, secret=secret)
    if client.secret is None:
        report.secrets[client.client_id] = secret
    report.clients += 1
