"""REST: the outgoing mail, for those who run the market."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import Empty, IdPath, Listing, Out, PageQuery, Time, listing
from marketplace.notices import outbox

api = blueprint("notices", "outbox")


class MailQuery(PageQuery):
    status: Literal["queued", "sending", "sent", "unsure", "failed"] | None = None
    recipient: str | None = Field(None, max_length=254, description="A whole address.")


class MailOut(Out):
    id: str
    recipient: str = Field(description="In part.")
    sealed: bool = Field(description="A personal link was in it, which is wiped once it was handed over or given up.")
    status: str
    attempts: int
    error: str = Field(description="What the mail server said last, its code, or the kind of failure.")
    created_at: Time
    next_attempt_at: Time
    sent_at: Time | None
    may_retry: bool


def _out(row: Any) -> dict[str, Any]:
    return MailOut.of(row, recipient=outbox.masked(row.recipient), may_retry=outbox.may_retry(actor(), row))


@api.get("/mail", summary="Outgoing mail, newest first, without what it says", responses={200: Listing[MailOut]})
@scope("operate")
def list_mail(query: MailQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = outbox.list_mail(session, actor(), status=query.status, recipient=query.recipient, cursor=query.cursor, limit=query.limit)
        return listing([_out(row) for row in page.items], page.next)


@api.post("/mail/<id>/retry", summary="Send a mail once more that failed, or of which nobody knows whether it arrived",
          responses={200: MailOut})
@scope("operate")
def retry_mail(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _out(outbox.retry(session, actor(), path.id))
