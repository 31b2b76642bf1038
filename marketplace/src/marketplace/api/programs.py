"""REST: developers' apps on their way through review, and the accepted packages with their signatures."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from flask import Response
from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.problems import language
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, Time, listing
from marketplace.programs import service as programs
from shuyan.problems import ProblemError

api = blueprint("programs")


class PackageIn(In):
    package: str = Field(max_length=2_900_000, description="The package file, base64 (at most 2 MiB of it).")
    note: str = Field("", max_length=4000, description="For the reviewer.")


class CommentIn(In):
    note: str = Field("", max_length=4000)


class AcceptIn(In):
    signature: str = Field(max_length=8000, description="What `shuyan app sign` wrote, offline: a compact JWS.")
    note: str = Field("", max_length=4000)


class SubmissionQuery(PageQuery):
    status: str | None = Field(None, max_length=20)
    name: str | None = Field(None, max_length=40)


class SubmissionOut(Out):
    id: str
    name: str
    version: str
    digest: str = Field(description="Of the package file, computed by the market.")
    organisation_id: str
    title_zh: str
    title_en: str
    output_form: str
    size: int
    findings: list[dict[str, Any]] = Field(description="Of the automatic checks: {path, line, rule, text}.")
    status: str
    note: str
    decided_at: Time | None
    signer: str | None
    created_at: Time


class SubmissionDetailOut(SubmissionOut):
    signature: str | None
    actions: list[str] = Field(description="What the caller may do now.")
    manifest: dict[str, Any] = Field(description="All that the app declares.")
    reads: list[dict[str, Any]]
    outputs: list[dict[str, Any]] = Field(description="Every vector a department may answer with: {action, vector, bound, …}.")
    readme: str
    sources: dict[str, str]
    changes: dict[str, Any] = Field(description="Against the last accepted version: {declarations, files}.")
    previous: dict[str, str] | None


def _shown(row: Any) -> dict[str, Any]:
    speech = language()
    return SubmissionOut.of(row) | {"findings": [
        {"path": one["path"], "line": one["line"], "rule": one["rule"], "text": one[speech]} for one in row.findings]}


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        from shuyan.appkit.errors import PACKAGE_INVALID, invalid

        raise ProblemError(PACKAGE_INVALID, field="package", **invalid("不是 base64 编码", "it is not base64")) from None


@api.post("/app-submissions", summary="Submit a packed app for review; the same package twice is one submission",
          responses={201: SubmissionOut})
@scope("products")
def submit(body: PackageIn) -> tuple[dict[str, Any], int]:
    data = _bytes(body.package)
    checked = programs.check_package(actor(), data)
    with db.transaction() as session:
        return _shown(programs.submit(session, actor(), data, note=body.note, checked=checked)), 201


@api.get("/app-submissions", summary="Submissions that the caller may see, newest first", responses={200: Listing[SubmissionOut]})
@scope("read")
def list_submissions(query: SubmissionQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = programs.list_submissions(session, actor(), status=query.status, name=query.name, cursor=query.cursor,
                                         limit=query.limit)
        return listing([_shown(row) for row in page.items], page.next)


@api.get("/app-submissions/<id>", summary="One submission: what it declares, findings, source, and what changed",
         responses={200: SubmissionDetailOut})
@scope("read")
def get_submission(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        detail = programs.get_submission(session, actor(), path.id)
    return _shown(detail.submission) | programs.detail_facts(detail) | {
        "signature": detail.submission.signature, "actions": detail.actions}


@api.get("/app-submissions/<id>/package", summary="The package file; verified once more if it was accepted",
         responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}})
@scope("read")
def download(path: IdPath) -> Response:
    with db.reading() as session:
        row, data = programs.download(session, actor(), path.id)
    answer = Response(data, mimetype="application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{row.name}-{row.version}.shuyanapp"'
    answer.set_etag(row.digest.removeprefix("sha256:"))
    return answer


@api.post("/app-submissions/<id>/withdraw", summary="Take a submission back before it is decided", responses={200: SubmissionOut})
@scope("products")
def withdraw(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(programs.withdraw(session, actor(), path.id))


@api.post("/app-submissions/<id>/return", summary="Return a submission to be changed; a note says why",
          responses={200: SubmissionOut})
@scope("operate")
def return_(path: IdPath, body: CommentIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(programs.return_(session, actor(), path.id, body.note))


@api.post("/app-submissions/<id>/reject", summary="Turn a submission down; a note says why", responses={200: SubmissionOut})
@scope("operate")
def reject(path: IdPath, body: CommentIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(programs.reject(session, actor(), path.id, body.note))


@api.post("/app-submissions/<id>/accept", summary="Accept a submission with the operator's signature over its digest",
          responses={200: SubmissionOut})
@scope("operate")
def accept(path: IdPath, body: AcceptIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(programs.accept(session, actor(), path.id, body.signature, body.note))


@api.post("/app-submissions/<id>/retire", summary="Take an accepted version out of use, by its developer",
          responses={200: SubmissionOut})
@scope("products")
def retire(path: IdPath, body: CommentIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(programs.retire(session, actor(), path.id, body.note))


@api.post("/app-submissions/<id>/suspend", summary="Take an accepted version out of use, by the operator",
          responses={200: SubmissionOut})
@scope("operate")
def suspend(path: IdPath, body: CommentIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(programs.retire(session, actor(), path.id, body.note))
