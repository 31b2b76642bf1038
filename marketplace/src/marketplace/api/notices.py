"""REST: public notices and objections, messages, and what waits for the caller."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from marketplace import db, work
from marketplace.api import _documents
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.limits import OBJECTION_LIMIT, limiter
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, QueryIn, Time, listing
from marketplace.notices import inbox
from marketplace.notices import service as notices
from marketplace.settings import settings

api = blueprint("notices")


class NoticeQuery(PageQuery):
    kind: str | None = Field(None, max_length=40)
    status: str | None = Field(None, max_length=20)
    subject: str | None = Field(None, max_length=64)
    q: str | None = Field(None, max_length=200, description="Part of a title.")


class NoticeOut(Out):
    id: str
    kind: str
    subject: str
    organisation_id: str
    title_zh: str
    title_en: str
    facts: list[dict[str, Any]]
    status: str
    published_at: Time
    closes_at: Time
    closed_at: Time | None


class AnswerOut(Out):
    decision: str
    answer: str


class NoticeDetailOut(NoticeOut):
    answers: list[AnswerOut] = Field(description="What was answered to objections; who objected is not published.")


class ObjectionIn(In):
    text: str = Field(min_length=1, max_length=2000)
    contact: str = Field("", max_length=200, description="Only those who answer see it.")


class ObjectionOut(Out):
    id: str
    notice_id: str
    organisation_id: str | None
    contact: str
    text: str
    status: str
    answer: str
    created_at: Time
    answered_at: Time | None


class ReceiptOut(Out):
    id: str
    notice_id: str
    status: str
    created_at: Time


class AnswerIn(In):
    decision: Literal["dismiss", "uphold"]
    answer: str = Field(min_length=1, max_length=2000, description="Published.")


class WorkQuery(QueryIn):
    kind: str | None = Field(None, max_length=60)


class WorkOut(Out):
    kind: str
    subject: str
    title: str
    title_en: str = Field(description="The title in English; empty where its owner gave only one.")
    organisation_id: str
    since: Time
    due: Time | None


class MessageQuery(PageQuery):
    unread: bool = False


class MessageOut(Out):
    id: str
    kind: str
    subject: str
    text_zh: str
    text_en: str
    read: bool
    created_at: Time


@api.get("/notices", summary="Public notices, newest first", responses={200: Listing[NoticeOut]})
@public
def list_notices(query: NoticeQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = notices.list_notices(session, **query.model_dump())
    return listing([NoticeOut.of(row) for row in page.items], page.next)


@api.get("/notices.atom", summary="The newest public notices as an Atom feed")
@public
def notice_feed() -> Response:
    with db.reading() as session:
        return _documents.notices_feed(notices.list_notices(session, limit=50).items, settings().public_url)


@api.get("/notices/<id>", summary="One notice, with what was answered to objections", responses={200: NoticeDetailOut})
@public
def get_notice(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        row, answered = notices.get_notice(session, path.id), notices.answers(session, path.id)
    return NoticeOut.of(row) | {"answers": [{"decision": decision, "answer": text} for decision, text in answered]}


@api.post("/notices/<id>/objections", summary="Object to a notice while it is open; anybody may", responses={201: ReceiptOut})
@public
@limiter.limit(OBJECTION_LIMIT)  # type: ignore[untyped-decorator]
def object_to(path: IdPath, body: ObjectionIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return ReceiptOut.of(notices.object_to(session, actor(), path.id, body.text, contact=body.contact)), 201


@api.get("/notices/<id>/objections", summary="The objections, for those who answer them", responses={200: Listing[ObjectionOut]})
@scope("read")
def objections(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing([ObjectionOut.of(row) for row in notices.objections(session, actor(), path.id)])


@api.post("/objections/<id>/answer", summary="Decide an objection; an upheld one ends the notice", responses={200: ObjectionOut})
@scope("operate")
def answer(path: IdPath, body: AnswerIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ObjectionOut.of(notices.answer(session, actor(), path.id, body.decision, body.answer))


@api.get("/work", summary="What waits for the caller: overdue first, then by deadline, then oldest first",
         responses={200: Listing[WorkOut]})
@scope("read")
def waiting(query: WorkQuery) -> dict[str, Any]:
    with db.reading() as session:
        items = work.waiting(session, actor(), db.utc_now())
    return listing([WorkOut.of(one) for one in items if query.kind in (None, one.kind)])


@api.get("/messages", summary="A person's messages, newest first; programs have none", responses={200: Listing[MessageOut]})
@scope("read")
def messages(query: MessageQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = inbox.messages(session, actor(), unread=query.unread, cursor=query.cursor, limit=query.limit)
        return listing([_message(one.row, one.read) for one in page.items], page.next)


@api.post("/messages/<id>/read", summary="Mark a message as read", responses={200: MessageOut})
@scope("read")
def read_message(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _message(inbox.read(session, actor(), path.id), True)


def _message(row: Any, read: bool) -> dict[str, Any]:
    return MessageOut.of(row, text_zh=inbox.sentence(row, "zh"), text_en=inbox.sentence(row, "en"), read=read)
