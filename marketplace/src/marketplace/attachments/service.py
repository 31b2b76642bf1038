"""Use cases of uploaded files. What a file is, its own first bytes say; a name or a browser's word proves nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from marketplace.access import require_organisation
from marketplace.actor import Actor
from marketplace.attachments.errors import FILE_EMPTY, FILE_KIND, FILE_NAME, FILE_TOO_LARGE
from marketplace.attachments.models import Attachment
from marketplace.db import storable
from marketplace.ids import new_id
from shuyan.problems import ProblemError

MAX_BYTES: Final = 10 * 1024 * 1024
_SIGNATURES: Final = ((b"%PDF-", "application/pdf"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def store(session: Session, actor: Actor, *, name: str, data: bytes, subject: str = "") -> Attachment:
    """Keep an uploaded file for the actor's organisation.

    Raises:
        ProblemError: ``not_signed_in``, ``file_name_invalid``, ``file_empty``, ``file_too_large``, ``file_kind_not_allowed``.
    """
    owner = require_organisation(actor)
    name = name.replace("\\", "/").rpartition("/")[2].strip()
    if not (1 <= len(name) <= 120 and name.isprintable() and storable(name)):
        raise ProblemError(FILE_NAME, field="file")
    if not data:
        raise ProblemError(FILE_EMPTY, field="file", name=name)
    if len(data) > MAX_BYTES:
        raise ProblemError(FILE_TOO_LARGE, field="file", name=name, megabytes=MAX_BYTES // (1024 * 1024))
    media = next((media for signature, media in _SIGNATURES if data.startswith(signature)), None)
    if media is None:
        raise ProblemError(FILE_KIND, field="file", name=name)
    row = Attachment(id=new_id("file"), organisation_id=owner, subject=subject, name=name, media_type=media, size=len(data),
                     digest="sha256:" + hashlib.sha256(data).hexdigest(), data=data, uploaded_by=actor.label)
    session.add(row)
    session.flush()
    return row


def attach(session: Session, actor: Actor, ids: Iterable[str], subject: str) -> list[Attachment]:
    """Make own uploads that belong to nothing yet part of ``subject``. Raises ``not_found`` for any other."""
    owner, out = require_organisation(actor), []
    for file_id in sorted(set(ids)):
        row = session.get(Attachment, file_id, with_for_update=True)
        if row is None or row.organisation_id != owner or row.subject not in ("", subject):
            raise ProblemError("not_found", what="file")
        row.subject = subject
        session.add(row)
        out.append(row)
    return out


def of_subject(session: Session, subject: str) -> list[Attachment]:
    """The files of a subject, oldest first, their bytes left where they are; who may see them the subject's domain decides."""
    return list(session.exec(select(Attachment).where(Attachment.subject == subject)
                             .order_by(col(Attachment.id)).options(defer(Attachment.data))))  # type: ignore[arg-type]


def read(session: Session, file_id: str) -> Attachment:
    """One file with its bytes, for a domain that has decided who may see it. Raises ``not_found``."""
    row = session.get(Attachment, file_id)
    if row is None:
        raise ProblemError("not_found", what="file")
    return row


def discard(session: Session, file_id: str, subject: str) -> None:
    """Remove a file of a subject whose domain has decided that it may go. Raises ``not_found``."""
    row = session.get(Attachment, file_id, with_for_update=True)
    if row is None or row.subject != subject:
        raise ProblemError("not_found", what="file")
    session.delete(row)
