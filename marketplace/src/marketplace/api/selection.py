"""REST: operator selection, from the notice to the operator."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import Response
from pydantic import Field

from marketplace import db
from marketplace.api.agreements import ReasonIn, TermsIn
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.files import FileOut
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, PathIn, Time, listing
from marketplace.selection import service as selections
from shuyan.problems import ProblemError

api = blueprint("selection")


class CriterionIn(In):
    key: str = Field(pattern="^[a-z][a-z0-9_]{0,29}$")
    name_zh: str = Field(min_length=1, max_length=60)
    name_en: str = Field(min_length=1, max_length=120)
    weight: int = Field(ge=1, le=100, description="All weights add up to 100.")


class NoticeIn(In):
    title_zh: str = Field(min_length=1, max_length=120)
    title_en: str = Field(min_length=1, max_length=200)
    conditions: str = Field(min_length=1, max_length=10_000)
    criteria: list[CriterionIn] = Field(min_length=1, max_length=20)
    apply_until: str = Field(max_length=40, description="ISO 8601 with a zone: the first moment after the last application.")


class ApplicationIn(In):
    statement: str = Field(min_length=1, max_length=10_000, description="How the applicant would operate.")
    files: list[str] = Field(min_length=1, max_length=20, description="Ids of uploads.")


class ExpertIn(In):
    member_id: str = Field(max_length=64)


class ScoreIn(In):
    points: dict[str, int] = Field(description="By criterion, whole points from 0 to 100.")
    comment: str = Field("", max_length=2000)


class ConclusionIn(In):
    terms: TermsIn


class SelectionQuery(PageQuery):
    status: str | None = Field(None, max_length=20)


class ApplicationFilePath(PathIn):
    id: str = Field(max_length=64)
    file: str = Field(max_length=64)


class ExpertPath(PathIn):
    id: str = Field(max_length=64)
    expert: str = Field(max_length=64)


class SelectionOut(Out):
    id: str
    organisation_id: str
    title_zh: str
    title_en: str
    conditions: str
    criteria: list[dict[str, Any]]
    status: str
    apply_until: Time
    published_at: Time | None
    candidate_id: str | None = Field(description="The application with whose organisation terms are negotiated.")
    agreement_id: str | None
    reason: str
    created_at: Time


class ApplicationOut(Out):
    id: str
    selection_id: str
    organisation_id: str
    statement: str
    status: str
    reason: str
    submitted_at: Time


class ScoreOut(Out):
    application_id: str
    expert_id: str
    points: dict[str, int]
    comment: str
    scored_at: Time


class ShownOut(ApplicationOut):
    files: list[FileOut]
    scores: list[ScoreOut] = Field(description="One's own until the ranking stands, then all.")
    actions: list[str]


class ExpertOut(Out):
    id: str
    member_id: str
    organisation_id: str
    named_at: Time


class RankingOut(Out):
    application_id: str
    organisation_id: str
    total: str
    parts: list[str] = Field(description="Mean points of each criterion, in the published order.")


class SelectionDetailOut(SelectionOut):
    applied: int
    scored: int = Field(description="Experts who have scored everything.")
    ranking: list[RankingOut]
    applications: list[ShownOut]
    experts: list[ExpertOut]
    actions: list[str] = Field(description="What the caller may do now.")


def _notice(body: NoticeIn) -> dict[str, Any]:
    try:
        until = dt.datetime.fromisoformat(body.apply_until)
    except ValueError:
        raise ProblemError("invalid_input", field="apply_until", reason="ISO 8601") from None
    return {"apply_until": until, "notice": body.model_dump(exclude={"apply_until"})}


@api.get("/selections", summary="Operator selections, newest first; published ones are public", responses={200: Listing[SelectionOut]})
@public
def list_selections(query: SelectionQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = selections.list_selections(session, actor(), status=query.status, cursor=query.cursor, limit=query.limit)
    return listing([SelectionOut.of(row) for row in page.items], page.next)


@api.post("/selections", summary="Draft a selection notice", responses={201: SelectionOut})
@scope("agreements")
def draft(body: NoticeIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return SelectionOut.of(selections.draft(session, actor(), **_notice(body))), 201


@api.get("/selections/<id>", summary="One selection: notice, ranking, and the applications the caller may see",
         responses={200: SelectionDetailOut})
@public
def get_selection(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        page = selections.page(session, actor(), path.id)
    shown = [ApplicationOut.of(one.application) | {
        "files": [FileOut.of(item) for item in one.files], "scores": [ScoreOut.of(item) for item in one.scores], "actions": one.actions}
        for one in page.applications]
    return SelectionOut.of(page.selection) | {
        "applied": page.applied, "scored": page.scored, "ranking": page.ranking, "applications": shown,
        "experts": [ExpertOut.of(one) for one in page.experts], "actions": page.actions}


@api.post("/selections/<id>/edit", summary="Change a notice that is not published", responses={200: SelectionOut})
@scope("agreements")
def edit(path: IdPath, body: NoticeIn) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.edit(session, actor(), path.id, **_notice(body)))


@api.post("/selections/<id>/publish", summary="Publish a notice; applications may come in", responses={200: SelectionOut})
@scope("agreements")
def publish(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.publish(session, actor(), path.id))


@api.post("/selections/<id>/applications", summary="Apply to be the operator", responses={201: ApplicationOut})
@scope("agreements")
def apply(path: IdPath, body: ApplicationIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return ApplicationOut.of(selections.apply(session, actor(), path.id, statement=body.statement, files=body.files)), 201


@api.post("/selections/<id>/experts", summary="Name an expert of the panel", responses={201: ExpertOut})
@scope("agreements")
def name_expert(path: IdPath, body: ExpertIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return ExpertOut.of(selections.name_expert(session, actor(), path.id, body.member_id)), 201


@api.post("/selections/<id>/experts/<expert>/dismiss", summary="Take an expert off the panel who has scored nothing",
          responses={200: SelectionOut})
@scope("agreements")
def dismiss_expert(path: ExpertPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        selections.dismiss_expert(session, actor(), path.id, path.expert)
        return SelectionOut.of(selections.get_selection(session, actor(), path.id))


@api.post("/selections/<id>/negotiate", summary="Invite the one ranked first to negotiate", responses={200: SelectionOut})
@scope("agreements")
def negotiate(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.negotiate(session, actor(), path.id))


@api.post("/selections/<id>/next", summary="The negotiation has failed: go on to the next in the ranking", responses={200: SelectionOut})
@scope("agreements")
def next_candidate(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.next_candidate(session, actor(), path.id, body.reason))


@api.post("/selections/<id>/conclude", summary="Write down the terms that were negotiated", responses={200: SelectionOut})
@scope("agreements")
def conclude(path: IdPath, body: ConclusionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.conclude(session, actor(), path.id, body.terms.model_dump()))


@api.post("/selections/<id>/return", summary="Send negotiated terms back", responses={200: SelectionOut})
@scope("agreements")
def return_(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.return_(session, actor(), path.id, body.reason))


@api.post("/selections/<id>/approve", summary="Approve the result; public notice begins", responses={200: SelectionOut})
@scope("agreements")
def approve(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.approve(session, actor(), path.id))


@api.post("/selections/<id>/cancel", summary="Call a selection off", responses={200: SelectionOut})
@scope("agreements")
def cancel(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return SelectionOut.of(selections.cancel(session, actor(), path.id, body.reason))


@api.post("/applications/<id>/withdraw", summary="Take one's own application back", responses={200: ApplicationOut})
@scope("agreements")
def withdraw(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return ApplicationOut.of(selections.withdraw(session, actor(), path.id))


@api.post("/applications/<id>/set-aside", summary="Set an application aside that does not meet the conditions",
          responses={200: ApplicationOut})
@scope("agreements")
def set_aside(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ApplicationOut.of(selections.set_aside(session, actor(), path.id, body.reason))


@api.post("/applications/<id>/score", summary="Score an application; for the panel's members, who are people", responses={200: ScoreOut})
@scope("agreements")
def score(path: IdPath, body: ScoreIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ScoreOut.of(selections.score(session, actor(), path.id, body.points, body.comment))


@api.get("/applications/<id>/files/<file>", summary="A file of an application", responses={200: {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}})
@scope("read")
def get_file(path: ApplicationFilePath) -> Response:
    with db.reading() as session:
        row = selections.file(session, actor(), path.id, path.file)
        return Response(row.data, mimetype=row.media_type)
