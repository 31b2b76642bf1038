"""REST: the public Merkle log. Everything here can be checked offline with the SDK."""

from __future__ import annotations

import base64
import json
from typing import Any

from flask import Response, make_response
from pydantic import Field

from marketplace import db
from marketplace.api.auth import public
from marketplace.api.base import blueprint
from marketplace.api.schemas import Listing, Out, QueryIn, Time, listing
from marketplace.paging import decode_cursor, encode_cursor
from marketplace.trust import service as trust
from marketplace.trust.errors import LOG_EMPTY
from shuyan.problems import ProblemError

api = blueprint("audit")

_MAXIMUM = 2**53


class EventQuery(QueryIn):
    subject: str | None = Field(None, max_length=128, description="A product, job, grant, order, node …")
    cursor: str | None = Field(None, max_length=512)
    limit: int = Field(50, ge=1, le=200)


class CheckpointQuery(QueryIn):
    cursor: str | None = Field(None, max_length=512)
    limit: int = Field(50, ge=1, le=200)


class InclusionQuery(QueryIn):
    index: int = Field(ge=0, le=_MAXIMUM)
    size: int = Field(ge=1, le=_MAXIMUM)


class ConsistencyQuery(QueryIn):
    first: int = Field(ge=0, le=_MAXIMUM)
    second: int = Field(ge=0, le=_MAXIMUM)


class BundleQuery(QueryIn):
    subject: str = Field(min_length=1, max_length=128)
    since: int | None = Field(None, ge=1, le=_MAXIMUM, description="Size of a checkpoint kept from earlier.")


class EventOut(Out):
    index: int
    tag: str
    subject: str
    leaf: str
    leaf_hash: str
    at: Time


class CheckpointOut(Out):
    size: int
    root: str
    note: str
    created_at: Time


@api.get("/audit/events", summary="Events, oldest first", responses={200: Listing[EventOut]})
@public
def events(query: EventQuery) -> dict[str, Any]:
    after = _number(query.cursor) if query.cursor else -1
    with db.reading() as session:
        rows = trust.events_for(session, query.subject, after, query.limit + 1)
    more = len(rows) > query.limit
    rows = rows[:query.limit]
    return listing([{**EventOut.of(row), "event": json.loads(row.leaf)} for row in rows],
                   encode_cursor(rows[-1].index) if more else None)


@api.get("/audit/checkpoint", summary="The latest checkpoint, a C2SP signed note with cosignatures")
@public
def checkpoint() -> Response:
    with db.reading() as session:
        latest = trust.latest_checkpoint(session)
        if latest is None:
            raise ProblemError(LOG_EMPTY)
        return _text(trust.cosigned_note(session, latest))


@api.get("/audit/checkpoints", summary="Checkpoints, newest first", responses={200: Listing[CheckpointOut]})
@public
def checkpoints(query: CheckpointQuery) -> dict[str, Any]:
    before = _number(query.cursor) if query.cursor else None
    with db.reading() as session:
        rows = trust.list_checkpoints(session, before=before, limit=query.limit + 1)
    more = len(rows) > query.limit
    rows = rows[:query.limit]
    return listing([CheckpointOut.of(row) for row in rows], encode_cursor(rows[-1].size) if more else None)


@api.get("/audit/proof/inclusion", summary="That event `index` is in the log of `size` events")
@public
def inclusion(query: InclusionQuery) -> dict[str, Any]:
    with db.reading() as session:
        return {"index": query.index, "size": query.size,
                "proof": _encoded(trust.inclusion_proof(session, query.index, query.size))}


@api.get("/audit/proof/consistency", summary="That the log of `second` events continues that of `first`")
@public
def consistency(query: ConsistencyQuery) -> dict[str, Any]:
    with db.reading() as session:
        return {"first": query.first, "second": query.second,
                "proof": _encoded(trust.consistency_proof(session, query.first, query.second))}


@api.get("/audit/bundle", summary="Everything an offline verifier needs about one subject")
@public
def bundle(query: BundleQuery) -> dict[str, Any]:
    with db.reading() as session:
        return trust.bundle(session, query.subject, since=query.since)


@api.get("/audit/key", summary="The log's public key, a C2SP vkey")
@public
def key() -> Response:
    return _text(f"{trust.log_vkey()}\n")


def _number(cursor: str) -> int:
    return decode_cursor(cursor, 1, int)[0]


def _encoded(proof: list[bytes]) -> list[str]:
    return [base64.b64encode(item).decode("ascii") for item in proof]


def _text(body: str) -> Response:
    response = make_response(body)
    response.content_type = "text/plain; charset=utf-8"
    return response
