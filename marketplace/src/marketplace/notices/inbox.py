"""Use cases of messages: what a member has been told, and what of it they have read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, or_, select

from marketplace.actor import Actor
from marketplace.ids import new_id
from marketplace.notices.models import Message, MessageReading
from marketplace.notices.texts import KINDS
from marketplace.paging import Page, clamp, decode_cursor, make_page
from shuyan.problems import Language, ProblemError


@dataclass(frozen=True)
class Told:
    """A message, and whether the member has read it."""

    row: Message
    read: bool


def messages(session: Session, actor: Actor, *, unread: bool = False, cursor: str | None = None, limit: int = 20) -> Page[Told]:
    """The member's messages, newest first. Raises ``not_signed_in``, and ``not_allowed`` for a program."""
    limit = clamp(limit)
    query = _mine(actor).order_by(col(Message.id).desc()).limit(limit + 1)
    if unread:
        query = query.where(col(MessageReading.id).is_(None))
    if cursor:
        query = query.where(col(Message.id) < decode_cursor(cursor, 1, str)[0])
    return make_page([Told(row, read is not None) for row, read in session.execute(query)], limit, lambda one: (one.row.id,))


def unread(session: Session, actor: Actor) -> int:
    """How many messages the member has not read, counted up to 100."""
    query = _mine(actor).where(col(MessageReading.id).is_(None)).limit(100).subquery()
    return int(session.execute(select(func.count()).select_from(query)).scalar_one())


def read(session: Session, actor: Actor, message_id: str) -> Message:
    """Mark one message as read. Raises ``not_found`` for one that is not the member's."""
    found = session.execute(_mine(actor).where(col(Message.id) == message_id)).first()
    if found is None:
        raise ProblemError("not_found", what="message")
    if found[1] is None:
        session.add(MessageReading(id=new_id("read"), message_id=message_id, member_id=actor.member_id or ""))
    row: Message = found[0]
    return row


def mark_all_read(session: Session, actor: Actor) -> None:
    """Mark every message as read."""
    for row, _ in session.execute(_mine(actor).where(col(MessageReading.id).is_(None))).all():
        session.add(MessageReading(id=new_id("read"), message_id=row.id, member_id=actor.member_id or ""))


def sentence(row: Message, language: Language) -> str:
    """What a message says in ``language``; in English, ``{name}`` is what was told as ``name_en``, where it was."""
    kind = KINDS.get(row.kind)
    if kind is None:
        return row.kind
    if language == "zh":
        return kind.zh.format_map(_Params(row.params))
    english = {name.removesuffix("_en"): value for name, value in row.params.items() if name.endswith("_en") and value}
    return kind.en.format_map(_Params(row.params | english))


def page_of(row: Message) -> str:
    """The page a message leads to, as ``endpoint:argument``; "" for none."""
    kind = KINDS.get(row.kind)
    return kind.page if kind else ""


class _Params(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "–"


def _mine(actor: Actor) -> Any:
    if actor.member_id is None or actor.organisation_id is None:
        raise ProblemError("not_signed_in" if actor.organisation_id is None else "not_allowed")  # programs are told nothing
    roles = sorted(actor.roles or ())
    return (select(Message, MessageReading.id)
            .outerjoin(MessageReading, (col(MessageReading.message_id) == Message.id) & (col(MessageReading.member_id) == actor.member_id))
            .where(Message.organisation_id == actor.organisation_id, or_(col(Message.role).is_(None), col(Message.role).in_(roles))))
