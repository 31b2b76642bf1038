"""REST: agreements of the authority with operators, and of operators with developers."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from marketplace import db
from marketplace.agreements import service as agreements
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.files import FileOut
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, PathIn, Time, listing

api = blueprint("agreements")


class SplitIn(In):
    """Per cent of revenue; adds up to 100."""

    treasury: int = Field(ge=0, le=100)
    operator: int = Field(ge=0, le=100)
    source_departments: int = Field(ge=0, le=100)
    developer: int = Field(ge=0, le=100)


class TermsIn(In):
    mode: Literal["overall", "field", "scenario"] = "overall"
    resources: list[str] = Field([], max_length=1000, description="Ids of data resources; with `sectors` empty too: all.")
    sectors: list[str] = Field([], max_length=20)
    departments: list[str] = Field([], max_length=1000, description="Only what these departments keep; empty: all of them.")
    months: int | None = Field(None, description="1 to 36, for an operation agreement.")
    until: str | None = Field(None, max_length=40, description="ISO 8601, for a development agreement: first moment after its end.")
    usage_fee_fen: int = Field(0, ge=0, le=10**15, description="A year, to the treasury.")
    split: SplitIn
    conditions: str = Field("", max_length=10_000)
    plan: str | None = Field(None, max_length=64, description="Id of the uploaded emergency plan.")
    text: str | None = Field(None, max_length=64, description="Id of the uploaded text of the agreement.")


class DraftIn(In):
    operator_id: str = Field(max_length=64)
    terms: TermsIn
    note: str = Field("", max_length=2000)


class VersionIn(In):
    terms: TermsIn
    note: str = Field("", max_length=2000)


class AcceptIn(In):
    number: int | None = Field(None, description="Of the version that was read; refused if there is a newer one.")


class SignIn(In):
    digest: str = Field(max_length=80, description="`to_sign` of the agreement: digest of the exact terms.")


class ReasonIn(In):
    reason: str = Field(min_length=1, max_length=1000)


class RenewalIn(In):
    statement: str = Field(min_length=1, max_length=2000, description="On the work done and the wish to go on.")
    files: list[str] = Field([], max_length=20, description="Ids of uploads.")


class OfferIn(In):
    months: int
    terms: TermsIn | None = Field(None, description="Other terms; those in force if absent.")


class AgreementQuery(PageQuery):
    kind: Literal["operation", "development"] | None = None
    status: str | None = Field(None, max_length=20)


class FilePath(PathIn):
    id: str = Field(max_length=64)
    file: str = Field(max_length=64)


class AgreementOut(Out):
    id: str
    kind: str
    grantor_id: str = Field(description="Who authorises: the data authority, or the operator.")
    grantee_id: str = Field(description="Who is authorised: the operator, or the developer.")
    operation_id: str | None = Field(description="The operation agreement that a development agreement rests on.")
    scenario_id: str | None
    demand_id: str | None
    title_zh: str
    title_en: str
    mode: str
    status: str
    version: int = Field(description="Number of the terms that count.")
    reason: str
    effective_at: Time | None
    ends_at: Time | None = Field(description="The first moment at which it is over.")
    ended_at: Time | None
    created_at: Time


class VersionOut(Out):
    number: int
    terms: dict[str, Any]
    digest: str
    proposed_by: str
    note: str
    created_at: Time
    changes: list[dict[str, Any]] = Field(description="Against the version before: {term, before, after}.")


class SignatureOut(Out):
    number: int
    digest: str
    organisation_id: str
    signed_by: str = Field(description="The account, by its identifier.")
    signed_at: Time


class RenewalOut(Out):
    id: str
    agreement_id: str
    organisation_id: str
    statement: str
    status: str
    version: int | None
    reason: str
    created_at: Time


class AgreementDetailOut(AgreementOut):
    terms: dict[str, Any] = Field(description="Those that count.")
    versions: list[VersionOut]
    signatures: list[SignatureOut]
    renewals: list[RenewalOut]
    files: list[FileOut]
    to_sign: str = Field(description="Digest that the caller's side has still to sign; empty for none.")
    actions: list[str] = Field(description="What the caller may do now.")


def _detail(agreement_id: str) -> dict[str, Any]:
    with db.reading() as session:
        page = agreements.page(session, actor(), agreement_id)
    row = page.agreement
    return AgreementOut.of(row) | {
        "terms": page.terms.model_dump(mode="json"),
        "reason": row.reason if page.full else "",
        "versions": [VersionOut.of(item.version, changes=[
            {"term": name, "before": before, "after": after} for name, before, after in item.changes]) for item in page.versions],
        "signatures": [SignatureOut.of(item) for item in page.signatures] if page.full else [],
        "renewals": [RenewalOut.of(item) for item in page.renewals],
        "files": [FileOut.of(item) for item in page.files],
        "to_sign": page.to_sign,
        "actions": page.actions,
    }


@api.get("/agreements", summary="Agreements, newest first: one's own; those publicly noticed for everybody",
         responses={200: Listing[AgreementOut]})
@public
def list_agreements(query: AgreementQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = agreements.list_agreements(session, actor(), kind=query.kind, status=query.status, cursor=query.cursor, limit=query.limit)
    return listing([AgreementOut.of(row) for row in page.items], page.next)


@api.post("/agreements", summary="Draft an operation agreement", responses={201: AgreementOut})
@scope("agreements")
def draft(body: DraftIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.draft(session, actor(), operator_id=body.operator_id, terms=body.terms.model_dump(),
                                                note=body.note)), 201


@api.get("/agreements/<id>", summary="One agreement: terms, their versions, signatures, renewals", responses={200: AgreementDetailOut})
@public
def get_agreement(path: IdPath) -> dict[str, Any]:
    return _detail(path.id)


@api.get("/agreements/<id>/files/<file>", summary="A file of an agreement", responses={200: {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}})
@scope("read")
def get_file(path: FilePath) -> Response:
    with db.reading() as session:
        row = agreements.file(session, actor(), path.id, path.file)
        return Response(row.data, mimetype=row.media_type)


@api.post("/agreements/<id>/edit", summary="Change a draft that the other side has not seen", responses={200: AgreementOut})
@scope("agreements")
def edit(path: IdPath, body: VersionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.edit(session, actor(), path.id, body.terms.model_dump(), body.note))


@api.post("/agreements/<id>/counter", summary="Propose other terms to the other side", responses={200: AgreementOut})
@scope("agreements")
def counter(path: IdPath, body: VersionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.counter(session, actor(), path.id, body.terms.model_dump(), body.note))


@api.post("/agreements/<id>/propose", summary="Hand a draft to the operator", responses={200: AgreementOut})
@scope("agreements")
def propose(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.propose(session, actor(), path.id))


@api.post("/agreements/<id>/withdraw", summary="Throw a draft away", responses={200: AgreementOut})
@scope("agreements")
def withdraw(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.withdraw(session, actor(), path.id))


@api.post("/agreements/<id>/accept", summary="Accept the other side's terms", responses={200: AgreementOut})
@scope("agreements")
def accept(path: IdPath, body: AcceptIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.accept(session, actor(), path.id, number=body.number))


@api.post("/agreements/<id>/return", summary="Send agreed terms back into negotiation", responses={200: AgreementOut})
@scope("agreements")
def return_(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.return_(session, actor(), path.id, body.reason))


@api.post("/agreements/<id>/approve", summary="Approve agreed terms; public notice begins", responses={200: AgreementOut})
@scope("agreements")
def approve(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.approve(session, actor(), path.id))


@api.post("/agreements/<id>/sign", summary="Sign the terms that wait for one's side's signature", responses={200: AgreementOut})
@scope("agreements")
def sign(path: IdPath, body: SignIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.sign(session, actor(), path.id, body.digest))


@api.post("/agreements/<id>/refuse", summary="Break a negotiation off", responses={200: AgreementOut})
@scope("agreements")
def refuse(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.refuse(session, actor(), path.id, body.reason))


@api.post("/agreements/<id>/suspend", summary="Stop everything under an agreement for a while", responses={200: AgreementOut})
@scope("agreements")
def suspend(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.suspend(session, actor(), path.id, body.reason))


@api.post("/agreements/<id>/resume", summary="Put a suspended agreement in force again", responses={200: AgreementOut})
@scope("agreements")
def resume(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.resume(session, actor(), path.id))


@api.post("/agreements/<id>/terminate", summary="End an agreement before its time, with everything under it",
          responses={200: AgreementOut})
@scope("agreements")
def terminate(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return AgreementOut.of(agreements.terminate(session, actor(), path.id, body.reason))


@api.post("/agreements/<id>/renewals", summary="Ask for renewal, between six and three months before the end",
          responses={201: RenewalOut})
@scope("agreements")
def ask_renewal(path: IdPath, body: RenewalIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return RenewalOut.of(agreements.renewal.ask(session, actor(), path.id, body.statement, body.files)), 201


@api.post("/renewals/<id>/offer", summary="Grant a renewal for another term, to be signed by both sides", responses={200: RenewalOut})
@scope("agreements")
def offer_renewal(path: IdPath, body: OfferIn) -> dict[str, Any]:
    with db.transaction() as session:
        return RenewalOut.of(agreements.renewal.offer(session, actor(), path.id, months=body.months,
                                                      terms=None if body.terms is None else body.terms.model_dump()))


@api.post("/renewals/<id>/decline", summary="Refuse a renewal", responses={200: RenewalOut})
@scope("agreements")
def decline_renewal(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return RenewalOut.of(agreements.renewal.decline(session, actor(), path.id, body.reason))


@api.post("/renewals/<id>/withdraw", summary="Take one's own request for renewal back", responses={200: RenewalOut})
@scope("agreements")
def withdraw_renewal(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return RenewalOut.of(agreements.renewal.withdraw(session, actor(), path.id))
