"""REST: the organisation's programs, those that act for it and apps that act for people."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, In, Listing, Out, Time, listing
from marketplace.parties import service as parties

api = blueprint("parties", "clients")


class ClientOut(Out):
    client_id: str
    organisation_id: str
    name: str
    scope: str
    grants: list[str]
    redirect_uris: list[str]
    created_at: Time
    revoked_at: Time | None


class NewClientOut(ClientOut):
    client_secret: str = Field(description="Shown this once only; empty for a public app.")


class ClientIn(In):
    name: str = Field(min_length=1, max_length=100)
    scope: str = Field(max_length=300, description="Scopes separated by spaces.")
    redirect_uris: list[str] = Field([], max_length=10, description="Where an app that acts for people gets its codes; none for a program "
                                     "that acts for the organisation.")
    public: bool = Field(False, description="An app on people's own machines, which can keep no secret.")


@api.get("/clients", summary="The organisation's programs", responses={200: Listing[ClientOut]})
@scope("read")
def clients() -> dict[str, Any]:
    with db.reading() as session:
        return listing([ClientOut.of(row) for row in parties.list_clients(session, actor())])


@api.post("/clients", summary="Register a program; the answer shows its secret this once", responses={201: NewClientOut})
@scope("read")
def create_client(body: ClientIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        row, secret = parties.create_client(session, actor(), name=body.name, scope=body.scope, redirect_uris=body.redirect_uris,
                                            public=body.public)
    return {**ClientOut.of(row), "client_secret": secret}, 201


@api.post("/clients/<id>/secret", summary="Replace a program's secret; the answer shows the new one this once",
          responses={200: NewClientOut})
@scope("read")
def replace_secret(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        row, secret = parties.replace_secret(session, actor(), path.id)
    return {**ClientOut.of(row), "client_secret": secret}


@api.post("/clients/<id>/revoke", summary="Revoke a program and its tokens at once", responses={200: ClientOut})
@scope("read")
def revoke_client(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        return ClientOut.of(parties.revoke_client(session, actor(), path.id))
