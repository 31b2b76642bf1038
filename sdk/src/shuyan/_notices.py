"""What one is told at the market: public notices and objections, messages, and what waits to be done."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from shuyan._agreements import read
from shuyan._http import Api
from shuyan._models import Record


class PublicNotice(Record):
    """Something everybody may object to while it is open. :meth:`PublicNotices.get` also gives ``answers``."""

    id: str
    kind: str
    subject: str
    title_zh: str
    title_en: str
    status: str
    published_at: dt.datetime
    closes_at: dt.datetime
    facts: list[dict[str, Any]] = Field(default_factory=list)
    answers: list[dict[str, str]] = Field(default_factory=list)


class Objection(Record):
    """What somebody objected; only those who answer see its text."""

    id: str
    notice_id: str
    status: str
    text: str = ""
    answer: str = ""


class Message(Record):
    """Something a person was told, in both languages."""

    id: str
    kind: str
    subject: str
    text_zh: str
    text_en: str
    read: bool
    created_at: dt.datetime


class WorkItem(Record):
    """Something that waits for the caller."""

    kind: str
    subject: str
    title: str
    organisation_id: str
    since: dt.datetime
    due: dt.datetime | None = None
    title_en: str = ""


class PublicNotices:
    """Public notices. Reading and objecting need no account."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, kind: str | None = None, status: str | None = None, subject: str | None = None, q: str | None = None,
             limit: int | None = None) -> builtins.list[PublicNotice]:
        """Newest first."""
        return [read(PublicNotice, item) for item in self._api.pages("/notices", limit=limit, kind=kind, status=status, subject=subject, q=q)]

    def get(self, id: str) -> PublicNotice:
        """One notice, with what was answered to objections."""
        return read(PublicNotice, self._api.get(f"/notices/{quote(id, safe='')}"))

    def object_to(self, id: str, text: str, *, contact: str = "") -> Objection:
        """Object while the notice is open.

        Raises:
            Conflict: the period is over (``notice_closed``).
        """
        return read(Objection, self._api.post(f"/notices/{quote(id, safe='')}/objections", {"text": text, "contact": contact}))

    def objections(self, id: str) -> builtins.list[Objection]:
        """The objections to a notice. For those who answer and supervise."""
        return [read(Objection, one) for one in self._api.get(f"/notices/{quote(id, safe='')}/objections")["items"]]

    def answer(self, objection_id: str, decision: Literal["dismiss", "uphold"], answer: str) -> Objection:
        """Decide an objection; an upheld one ends the notice against its subject."""
        return read(Objection, self._api.post(f"/objections/{quote(objection_id, safe='')}/answer",
                                              {"decision": decision, "answer": answer}))


class Messages:
    """A person's messages: for apps and command lines that act for one."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, unread: bool = False, limit: int | None = None) -> builtins.list[Message]:
        """Newest first."""
        return [read(Message, item) for item in self._api.pages("/messages", limit=limit, unread=unread or None)]

    def read(self, id: str) -> Message:
        """Mark one as read."""
        return read(Message, self._api.post(f"/messages/{quote(id, safe='')}/read", {}))


class Outbox:
    """The market's outgoing mail, without what it says. For those who run the market."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, status: str | None = None, recipient: str | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Newest first; ``status`` is ``queued``, ``sending``, ``sent``, ``unsure`` or ``failed``, ``recipient`` a whole address."""
        return self._api.pages("/mail", limit=limit, status=status, recipient=recipient)

    def retry(self, id: str) -> dict[str, Any]:
        """Send one once more that failed, or of which nobody knows whether it arrived.

        Raises:
            Conflict: it held a personal link, which is wiped (``mail_gone``), or needs no retrying (``wrong_state``).
        """
        found: dict[str, Any] = self._api.post(f"/mail/{quote(id, safe='')}/retry", {})
        return found


def waiting(api: Api, kind: str | None = None) -> builtins.list[WorkItem]:
    """What waits for the caller: overdue first, then by deadline, then oldest first."""
    return [read(WorkItem, one) for one in api.get("/work", kind=kind)["items"]]
