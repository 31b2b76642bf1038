"""REST: who am I, organisations, and the organisation's programs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, Time, listing
from marketplace.paging import decode_cursor, make_page
from marketplace.parties import service as parties

api = blueprint("parties")


class MeOut(Out):
    party: str
    organisation_id: str | None
    organisation_name_zh: str | None
    organisation_name_en: str | None
    client_id: str | None
    scopes: list[str]


class OrganisationOut(Out):
    id: str
    kind: str
    name_zh: str
    name_en: str
    credit_code: str | None
    status: str


class ClientOut(Out):
    client_id: str
    organisation_id: str
    name: str
    scope: str
    created_at: Time
    revoked_at: Time | None


class ClientIn(In):
    name: str = Field(min_length=1, max_length=100)
    scope: str = Field(max_length=200, description="Scopes separated by spaces.")


class OrganisationQuery(PageQuery):
    kind: str | None = Field(None, max_length=40)


@api.get("/me", summary="The program that asks, and its organisation", responses={200: MeOut})
@scope("read")
def me() -> dict[str, Any]:
    who = actor()
    with db.reading() as session:
        organisation = parties.get_organisation(session, who.organisation_id or "")
    return MeOut.of(who, organisation_name_zh=organisation.name_zh, organisation_name_en=organisation.name_en,
                    scopes=sorted(who.scopes or ()))


@api.get("/organisations", summary="Organisations taking part", responses={200: Listing[OrganisationOut]})
@public
def organisations(query: OrganisationQuery) -> dict[str, Any]:
    after = decode_cursor(query.cursor, 1, str)[0] if query.cursor else None
    with db.reading() as session:
        rows = parties.list_organisations(session, kind=query.kind, after=after, limit=query.limit + 1)
    page = make_page(rows, query.limit, lambda row: (row.id,))
    return listing([OrganisationOut.of(row) for row in page.items], page.next)


@api.get("/clients", summary="The organisation's programs", responses={200: Listing[ClientOut]})
@scope("read")
def clients() -> dict[str, Any]:
    with db.reading() as session:
        return listing([ClientOut.of(row) for row in parties.list_clients(session, actor())])


@api.post("/clients", summary="Register a program; the answer shows its secret this once", responses={201: ClientOut})
@scope("read")
def create_client(body: ClientIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        row, secret = parties.create_client(session, actor(), name=body.name, scope=body.scope)
    return {**ClientOut.of(row), "client_secret": secret}, 201


@api.post("/clients/<id>/revoke", summary="Revoke a program and its tokens at once", responses={200: ClientOut})
@scope("read")
def revoke_client(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        return ClientOut.of(parties.revoke_client(session, actor(), path.id))
