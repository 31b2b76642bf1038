"""Files in forms: keeping what was chosen, and giving a kept file back to whoever may read it."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from sqlmodel import Session

from marketplace.actor import Actor
from marketplace.attachments import service as attachments


def stored(db: Session, actor: Actor, name: str) -> list[str]:
    """Ids of the files chosen in the form's field ``name``, kept now; none where nothing was chosen."""
    return [attachments.store(db, actor, name=file.filename, data=file.read()).id
            for file in request.files.getlist(name) if file.filename]


def download(row: Any) -> Response:
    """A kept file as a download: never shown inside this site's pages."""
    answer = Response(row.data, mimetype=row.media_type)
    answer.headers.set("Content-Disposition", "attachment", filename=row.name)
    return answer
