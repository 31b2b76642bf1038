"""REST: partners of the operator, filed with the data authority."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.files import FileIn, FileOut, decoded
from marketplace.api.schemas import IdPath, In, Listing, Out, QueryIn, Time, day, listing
from marketplace.registration import partners

api = blueprint("registration", "partners")


class PartnerIn(In):
    name: str = Field(min_length=1, max_length=200)
    credit_code: str = Field(min_length=1, max_length=40)
    cooperation: str = Field(min_length=1, max_length=2000)
    qualifications: str = Field(min_length=1, max_length=2000)
    duties: str = Field(min_length=1, max_length=2000)
    starts_on: str = Field(max_length=10, description="ISO 8601.")
    ends_on: str = Field(max_length=10, description="ISO 8601, the last day.")


class PartnerQuery(QueryIn):
    status: str | None = Field(None, max_length=20)


class PartnerActIn(In):
    action: partners.Action
    reason: str = Field("", max_length=2000)


class PartnerOut(Out):
    id: str
    organisation_id: str
    status: str
    name: str
    credit_code: str
    cooperation: str
    qualifications: str
    duties: str
    starts_on: dt.date
    ends_on: dt.date
    reason: str
    created_at: Time


class PartnerDetailOut(PartnerOut):
    files: list[FileOut]
    actions: list[str]


def _filing(body: PartnerIn) -> dict[str, Any]:
    days = {name: day(getattr(body, name), name) for name in ("starts_on", "ends_on")}
    return body.model_dump() | days


@api.get("/partners", summary="Partners of the operator, as filed", responses={200: Listing[PartnerOut]})
@scope("read")
def list_partners(query: PartnerQuery) -> dict[str, Any]:
    with db.reading() as session:
        return listing([PartnerOut.of(one) for one in partners.list_filings(session, actor(), status=query.status)])


@api.post("/partners", summary="Draft the filing of a partner", responses={201: PartnerOut})
@scope("operate")
def draft_partner(body: PartnerIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return PartnerOut.of(partners.draft(session, actor(), _filing(body))), 201


@api.get("/partners/<id>", summary="One filing with its files", responses={200: PartnerDetailOut})
@scope("read")
def get_partner(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        row, files, actions = partners.get(session, actor(), path.id)
        return PartnerOut.of(row) | {"files": [FileOut.of(one) for one in files], "actions": actions}


@api.post("/partners/<id>/edit", summary="Change a filing that is not handed in", responses={200: PartnerOut})
@scope("operate")
def edit_partner(path: IdPath, body: PartnerIn) -> dict[str, Any]:
    with db.transaction() as session:
        return PartnerOut.of(partners.edit(session, actor(), path.id, _filing(body)))


@api.post("/partners/<id>/files", summary="Add a file to a filing", responses={201: FileOut})
@scope("operate")
def add_partner_file(path: IdPath, body: FileIn) -> tuple[dict[str, Any], int]:
    data = decoded(body.content)
    with db.transaction() as session:
        return FileOut.of(partners.add_file(session, actor(), path.id, name=body.name, data=data)), 201


@api.post("/partners/<id>/act", summary="Hand in, withdraw, return, refuse, accept or end a filing", responses={200: PartnerOut})
@scope("read")  # which scope it takes depends on the act: the service asks for it
def act_on_partner(path: IdPath, body: PartnerActIn) -> dict[str, Any]:
    with db.transaction() as session:
        return PartnerOut.of(partners.act(session, actor(), path.id, body.action, body.reason))
