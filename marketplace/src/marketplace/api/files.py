"""REST: uploading the files that agreements, registrations and applications refer to."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import In, Out, Time
from marketplace.attachments import service as attachments
from shuyan.problems import ProblemError

api = blueprint("files")


class FileIn(In):
    name: str = Field(min_length=1, max_length=120)
    content: str = Field(max_length=15_000_000, description="The file, base64: a PDF, PNG or JPEG of at most 10 MB.")


class FileOut(Out):
    id: str
    name: str
    media_type: str = Field(description="As found in the content.")
    size: int
    digest: str
    created_at: Time


def decoded(content: str) -> bytes:
    """The bytes of a file sent as base64. Raises ``invalid_input``."""
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise ProblemError("invalid_input", field="content", reason="base64") from None


@api.post("/files", summary="Upload a file, to be named where it belongs; until then only the uploader's organisation can",
          responses={201: FileOut})
@scope("read")
def upload(body: FileIn) -> tuple[dict[str, Any], int]:
    data = decoded(body.content)
    with db.transaction() as session:
        return FileOut.of(attachments.store(session, actor(), name=body.name, data=data)), 201
