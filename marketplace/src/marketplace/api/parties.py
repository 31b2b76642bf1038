"""REST: who am I, and organisations."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import Listing, Out, PageQuery, listing
from marketplace.paging import decode_cursor, make_page
from marketplace.parties import service as parties

api = blueprint("parties")


class MeOut(Out):
    party: str
    organisation_id: str | None
    organisation_name_zh: str | None
    organisation_name_en: str | None
    client_id: str | None
    member_id: str | None = Field(description="The membership for which an app acts; null for a program of the organisation.")
    name: str | None = Field(description="The person's name.")
    roles: list[str] | None = Field(description="The membership's roles, which limit what the app may do as its scopes do.")
    scopes: list[str]
    standing: bool = Field(description="Whether the organisation takes part; until it does, its registration is all it can work on.")


class OrganisationOut(Out):
    id: str
    kind: str
    name_zh: str
    name_en: str
    credit_code: str | None
    status: str


class OrganisationQuery(PageQuery):
    kind: str | None = Field(None, max_length=40)


@api.get("/me", summary="Who asks: a program, or the person an app acts for; and their organisation", responses={200: MeOut})
@scope("read")
def me() -> dict[str, Any]:
    who = actor()
    with db.reading() as session:
        organisation = parties.get_organisation(session, who.organisation_id or "")
        name = parties.name_of(session, who.member_id) if who.member_id else None
    return MeOut.of(who, name=name, roles=None if who.roles is None else sorted(who.roles), organisation_name_zh=organisation.name_zh, organisation_name_en=organisation.name_en,
                    scopes=sorted(who.scopes or ()))


@api.get("/organisations", summary="Organisations taking part", responses={200: Listing[OrganisationOut]})
@public
def organisations(query: OrganisationQuery) -> dict[str, Any]:
    after = decode_cursor(query.cursor, 1, str)[0] if query.cursor else None
    with db.reading() as session:
        rows = parties.list_organisations(session, kind=query.kind, after=after, limit=query.limit + 1)
    page = make_page(rows, query.limit, lambda row: (row.id,))
    return listing([OrganisationOut.of(row) for row in page.items], page.next)
