"""REST: registering an organisation, the operator's check, and measures that change its standing."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from marketplace import db
from marketplace.api.agreements import ReasonIn
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.credit import HitOut, ShareOut
from marketplace.api.files import FileIn, FileOut, decoded
from marketplace.api.limits import REGISTER_LIMIT, limiter
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, PathIn, Time, listing
from marketplace.registration import service as registering
from marketplace.registration import standing

api = blueprint("registration")


class BeginIn(In):
    party: Literal["developer", "consumer"]
    name_zh: str = Field(min_length=1, max_length=200, description="As on the business licence.")
    name_en: str = Field(min_length=1, max_length=200)
    credit_code: str = Field(min_length=1, max_length=40, description="GB 32100-2015.")
    display_name: str = Field(min_length=1, max_length=100, description="The first administrator's name.")
    email: str = Field(min_length=1, max_length=254)
    password: str = Field(min_length=1, max_length=1000)
    locale: Literal["zh", "en"] | None = None


class QualificationIn(In):
    kind: str = Field(max_length=40)
    number: str = Field(min_length=1, max_length=100)
    issuer: str = Field("", max_length=200)
    valid_until: str = Field("", max_length=10, description="ISO 8601, the last day; empty for no end.")


class DetailsIn(In):
    name_en: str | None = Field(None, max_length=200)
    contact_name: str | None = Field(None, max_length=100)
    contact_phone: str | None = Field(None, max_length=26)
    contact_email: str | None = Field(None, max_length=254)
    statement: str | None = Field(None, max_length=2000, description="What the organisation does; shown in the public notice.")
    qualifications: list[QualificationIn] | None = Field(None, max_length=20)
    no_incidents: bool | None = Field(None, description="No considerable security incident in three years.")
    ownership_declared: bool | None = Field(None, description="Every holder of shares is declared.")


class CheckIn(In):
    ok: bool
    note: str = Field("", max_length=2000, description="Needed for what does not pass.")


class ChecksIn(In):
    items: dict[str, CheckIn] = Field(min_length=1, description="By item of the check.")


class CommentsIn(In):
    comments: dict[str, str] = Field(min_length=1, description="By item of the check, or `other`.")


class RegistrationQuery(PageQuery):
    status: str | None = Field(None, max_length=20)
    party: str | None = Field(None, max_length=20)
    q: str | None = Field(None, max_length=200, description="Part of a name, or a credit code.")


class FilePath(PathIn):
    id: str = Field(max_length=64)
    file: str = Field(max_length=64)


class RegistrationOut(Out):
    id: str
    organisation_id: str
    party: str
    status: str
    name_zh: str
    name_en: str
    credit_code: str
    statement: str
    reason: str
    round: int
    submitted_at: Time | None
    created_at: Time


class MeasureOut(Out):
    action: str
    cause: str
    reason: str
    status: str
    created_at: Time


class RegistrationDetailOut(RegistrationOut):
    contact_name: str
    contact_phone: str
    contact_email: str
    qualifications: list[dict[str, Any]]
    no_incidents: bool
    ownership_declared: bool
    checks: dict[str, Any]
    comments: list[dict[str, Any]]
    files: list[FileOut]
    hits: list[HitOut]
    shares: list[ShareOut]
    measures: list[MeasureOut]
    missing: list[str] = Field(description="What it lacks before it can be submitted.")
    standing: str
    notice_id: str | None
    actions: list[str] = Field(description="What the caller may do now.")


def _detail(found: registering.Detail) -> dict[str, Any]:
    row = found.row
    return RegistrationOut.of(row) | {
        name: getattr(row, name) for name in ("contact_name", "contact_phone", "contact_email", "qualifications", "no_incidents",
                                              "ownership_declared", "checks", "comments")} | {
        "files": [FileOut.of(one) for one in found.files], "hits": [HitOut.of(one) for one in found.hits],
        "shares": [ShareOut.of(one) for one in found.shares], "measures": [MeasureOut.of(one) for one in found.measures],
        "missing": found.missing, "standing": found.standing, "notice_id": found.notice.id if found.notice else None,
        "actions": found.actions}


@api.post("/registrations", summary="Begin to register: an organisation that is not active yet, and its first administrator",
          responses={201: RegistrationOut})
@public
@limiter.limit(REGISTER_LIMIT)  # type: ignore[untyped-decorator]
def begin(body: BeginIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.begin(session, **body.model_dump())[0]), 201


@api.get("/registrations", summary="Registrations, newest first: all for those who check, else one's own",
         responses={200: Listing[RegistrationOut]})
@scope("read")
def list_registrations(query: RegistrationQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = registering.list_registrations(session, actor(), **query.model_dump())
    return listing([RegistrationOut.of(row) for row in page.items], page.next)


@api.get("/registrations/<id>", summary="One registration with evidence, findings and what may be done",
         responses={200: RegistrationDetailOut})
@scope("read")
def get_registration(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return _detail(registering.get(session, actor(), path.id))


@api.post("/registrations/<id>/edit", summary="Complete or correct one's own registration", responses={200: RegistrationOut})
@scope("register")
def edit(path: IdPath, body: DetailsIn) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.edit(session, actor(), path.id, body.model_dump(exclude_none=True)))


@api.post("/registrations/<id>/files", summary="Add a file as evidence", responses={201: FileOut})
@scope("register")
def add_file(path: IdPath, body: FileIn) -> tuple[dict[str, Any], int]:
    data = decoded(body.content)
    with db.transaction() as session:
        return FileOut.of(registering.add_file(session, actor(), path.id, name=body.name, data=data)), 201


@api.post("/registrations/<id>/files/<file>/remove", summary="Take a file away again", responses={200: RegistrationDetailOut})
@scope("register")
def remove_file(path: FilePath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        registering.remove_file(session, actor(), path.id, path.file)
        session.flush()
        return _detail(registering.get(session, actor(), path.id))


@api.get("/registrations/<id>/files/<file>", summary="An evidence file", responses={200: {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}})
@scope("read")
def get_file(path: FilePath) -> Response:
    with db.reading() as session:
        row = registering.read_file(session, actor(), path.id, path.file)
        return Response(row.data, mimetype=row.media_type)


@api.post("/registrations/<id>/submit", summary="Hand the registration in", responses={200: RegistrationOut})
@scope("register")
def submit(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.submit(session, actor(), path.id))


@api.post("/registrations/<id>/withdraw", summary="Take the registration back", responses={200: RegistrationOut})
@scope("register")
def withdraw(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.withdraw(session, actor(), path.id))


@api.post("/registrations/<id>/reapply", summary="Apply again after a withdrawal or refusal", responses={200: RegistrationOut})
@scope("register")
def reapply(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.reapply(session, actor(), path.id))


@api.post("/registrations/<id>/check", summary="Record what was found about items", responses={200: RegistrationOut})
@scope("operate")
def check(path: IdPath, body: ChecksIn) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.check_items(
            session, actor(), path.id, {item: found.model_dump() for item, found in body.items.items()}))


@api.post("/registrations/<id>/return", summary="Return it for correction, with comments", responses={200: RegistrationOut})
@scope("operate")
def return_(path: IdPath, body: CommentsIn) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.return_(session, actor(), path.id, body.comments))


@api.post("/registrations/<id>/refuse", summary="Refuse it, with the reason", responses={200: RegistrationOut})
@scope("operate")
def refuse(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.refuse(session, actor(), path.id, body.reason))


@api.post("/registrations/<id>/accept", summary="Pass the check; not for whoever checked the items", responses={200: RegistrationOut})
@scope("operate")
def accept(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return RegistrationOut.of(registering.accept(session, actor(), path.id))


# --- standing ---


class MeasureIn(In):
    action: Literal["suspend", "resume", "end", "bar"]
    reason: str = Field(min_length=1, max_length=2000)


@api.post("/organisations/<id>/standing", summary="Suspend, resume, end or bar an organisation", responses={200: Listing[MeasureOut]})
@scope("grants")
def take_measure(path: IdPath, body: MeasureIn) -> dict[str, Any]:
    with db.transaction() as session:
        registering.take_measure(session, actor(), path.id, body.action, body.reason)
        session.flush()
        return listing([MeasureOut.of(one) for one in standing.measures(session, actor(), path.id)])


@api.get("/organisations/<id>/standing", summary="What happened to an organisation's standing, newest first",
         responses={200: Listing[MeasureOut]})
@scope("read")
def measures(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing([MeasureOut.of(one) for one in standing.measures(session, actor(), path.id)])
