"""REST: credit lists and who is on them, and declared ownership."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.files import decoded
from marketplace.api.schemas import IdPath, In, Listing, Out, QueryIn, Time, day, listing
from marketplace.clock import today
from marketplace.registration import credit, holdings

api = blueprint("registration", "credit")


class HitOut(Out):
    id: str
    organisation_id: str
    kind: str
    matched_by: str = Field(description="code | name")
    reason: str
    status: str
    note: str
    created_at: Time


class ShareOut(Out):
    id: str
    organisation_id: str
    owner_code: str
    owner_name: str
    owned_code: str
    owned_name: str
    share_bp: int = Field(description="Basis points, 1 to 10000.")
    since: dt.date
    until: dt.date | None


class ListIn(In):
    kind: str = Field(max_length=20, description="dishonesty | tax | procurement")
    source: str = Field(min_length=1, max_length=200)
    published_on: str = Field(max_length=10, description="ISO 8601.")
    content: str = Field(max_length=4_000_000, description="The list, base64: CSV or JSON.")
    allow_empty: bool = False


class ImportedOut(Out):
    id: str
    kind: str
    entries: int
    found: int = Field(description="New hits.")
    removed: int = Field(description="Hits no longer listed.")


class CreditListOut(Out):
    id: str
    kind: str
    source: str
    published_on: dt.date
    entries: int
    current: bool
    created_at: Time


class HitQuery(QueryIn):
    status: str | None = Field(None, max_length=20)
    organisation: str | None = Field(None, max_length=64)


class DecisionIn(In):
    action: Literal["confirm", "dismiss", "lift"]
    note: str = Field(max_length=2000)


@api.post("/credit-lists", summary="Import a credit list; who is on it is found at once", responses={201: ImportedOut})
@scope("operate")
def import_list(body: ListIn) -> tuple[dict[str, Any], int]:
    data, published = decoded(body.content), day(body.published_on, "published_on")
    with db.transaction() as session:
        done = credit.import_list(session, actor(), kind=body.kind, source=body.source, published_on=published, data=data,
                                  allow_empty=body.allow_empty)
        return ImportedOut.of(done.list, found=done.found, removed=done.removed), 201


@api.get("/credit-lists", summary="Every import of a credit list, newest first", responses={200: Listing[CreditListOut]})
@scope("read")
def credit_lists() -> dict[str, Any]:
    with db.reading() as session:
        return listing([CreditListOut.of(one) for one in credit.current_lists(session, actor())])


@api.get("/credit-hits", summary="Organisations found on a list", responses={200: Listing[HitOut]})
@scope("read")
def credit_hits(query: HitQuery) -> dict[str, Any]:
    with db.reading() as session:
        return listing([HitOut.of(one) for one in credit.hits(session, actor(), status=query.status, organisation_id=query.organisation)])


@api.post("/credit-hits/<id>/decide", summary="Confirm, dismiss or lift a hit", responses={200: HitOut})
@scope("operate")
def decide_hit(path: IdPath, body: DecisionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return HitOut.of(credit.decide(session, actor(), path.id, body.action, body.note))


# --- ownership ---


class ShareIn(In):
    owner_code: str = Field(min_length=1, max_length=40)
    owner_name: str = Field(min_length=1, max_length=200)
    owned_code: str = Field(min_length=1, max_length=40)
    owned_name: str = Field(min_length=1, max_length=200)
    share_bp: int = Field(ge=1, le=10_000, description="Basis points.")
    since: str | None = Field(None, max_length=10, description="ISO 8601; today if left out.")
    until: str | None = Field(None, max_length=10)


class ShareQuery(QueryIn):
    organisation: str | None = Field(None, max_length=64, description="Declared by this one; left out: by everybody, for those who may see that.")


class LastDayIn(In):
    last_day: str = Field(max_length=10, description="ISO 8601.")


@api.get("/shareholdings", summary="Declared shares", responses={200: Listing[ShareOut]})
@scope("read")
def shareholdings(query: ShareQuery) -> dict[str, Any]:
    with db.reading() as session:
        return listing([ShareOut.of(one) for one in holdings.holdings(session, actor(), query.organisation)])


@api.post("/shareholdings", summary="Declare a share", responses={201: ShareOut})
@scope("register")
def declare(body: ShareIn) -> tuple[dict[str, Any], int]:
    since = day(body.since, "since") if body.since else today()
    until = day(body.until, "until") if body.until else None
    with db.transaction() as session:
        return ShareOut.of(holdings.declare(session, actor(), **body.model_dump(exclude={"since", "until"}), since=since, until=until)), 201


@api.post("/shareholdings/<id>/end", summary="Say that a share is held no longer", responses={200: ShareOut})
@scope("register")
def end_share(path: IdPath, body: LastDayIn) -> dict[str, Any]:
    last = day(body.last_day, "last_day")
    with db.transaction() as session:
        return ShareOut.of(holdings.end_holding(session, actor(), path.id, last))
