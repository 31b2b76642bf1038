"""REST: scenarios, the opinions asked on scenarios and demands, and which industry department answers for a sector."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, idempotency_key, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, PathIn, Time, listing
from marketplace.authorisation import service as authorisation

api = blueprint("scenarios")


class ScenarioIn(In):
    title: str = Field(min_length=1, max_length=120)
    purpose: str = Field("", max_length=2000)
    sector: str = Field(max_length=40)
    necessity: str = Field("", max_length=2000, description="Why public data are needed for it.")
    public_benefit: bool = False
    benefit: str = Field("", max_length=1000, description="What the public gains; needed where public benefit is claimed.")
    effect: str = Field("", max_length=1000, description="What is expected to come of it.")
    months: int = Field(12, description="How long it is to run, at most 36 months.")


class OpinionIn(In):
    note: str = Field("", max_length=2000, description="Needed to return or refuse.")
    struck: list[str] = Field(default_factory=list, max_length=400, description="Of an approval: resources left out.")
    comments: dict[str, str] = Field(default_factory=dict, description="By resource id.")


class SectorIn(In):
    organisation_id: str | None = Field(max_length=64, description="An industry department; null: none answers for it.")


class SectorPath(PathIn):
    sector: str = Field(max_length=40)


class ScenarioQuery(PageQuery):
    status: str | None = Field(None, max_length=20)
    sector: str | None = Field(None, max_length=40)


class ScenarioOut(Out):
    id: str
    organisation_id: str
    title: str
    purpose: str
    sector: str
    necessity: str
    public_benefit: bool
    benefit: str
    effect: str
    months: int
    version: int
    status: str
    reason: str
    created_at: Time


class ScenarioVersionOut(Out):
    version: int
    content: dict[str, Any]
    submitted_at: Time


class OpinionOut(Out):
    id: str
    kind: Literal["scenario", "demand"]
    subject: str
    version: int
    stage: Literal["check", "review"] = Field(description="The operator's first check, or the review.")
    organisation_id: str
    party: str
    status: str
    struck: list[str]
    comments: dict[str, str]
    note: str
    asked_at: Time
    due_at: Time
    decided_at: Time | None
    decided_for: bool = Field(description="The data authority decided in place of one that was overdue.")


class SectorOut(Out):
    sector: str
    organisation_id: str


def opinions(session: Any, row: Any) -> list[dict[str, Any]]:
    """Who is asked about a version and what they say, as far as the caller may read it."""
    readable = {one.id for one in authorisation.opinions(session, actor(), row)}
    return [OpinionOut.of(one) if one.id in readable else OpinionOut.of(one, struck=[], comments={}, note="")
            for one in authorisation.review_progress(session, row)]


@api.post("/scenarios", summary="Draft a scenario", responses={201: ScenarioOut})
@scope("jobs")
def propose(body: ScenarioIn) -> tuple[dict[str, Any], int]:
    key = idempotency_key(required=False)
    with db.transaction() as session:
        return ScenarioOut.of(authorisation.propose_scenario(
            session, actor(), authorisation.Content(**body.model_dump()), key=key)), 201


@api.put("/scenarios/<id>", summary="Change a draft or returned scenario", responses={200: ScenarioOut})
@scope("jobs")
def edit_scenario(path: IdPath, body: ScenarioIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ScenarioOut.of(authorisation.edit_scenario(session, actor(), path.id, authorisation.Content(**body.model_dump())))


@api.post("/scenarios/<id>/submit", summary="Put a scenario forward", responses={200: ScenarioOut})
@scope("jobs")
def submit_scenario(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return ScenarioOut.of(authorisation.submit_scenario(session, actor(), path.id))


@api.post("/scenarios/<id>/revise", summary="Begin the next version of an accepted scenario", responses={200: ScenarioOut})
@scope("jobs")
def revise_scenario(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return ScenarioOut.of(authorisation.revise_scenario(session, actor(), path.id))


@api.post("/scenarios/<id>/withdraw", summary="Withdraw a scenario without grants", responses={200: ScenarioOut})
@scope("jobs")
def withdraw_scenario(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return ScenarioOut.of(authorisation.withdraw_scenario(session, actor(), path.id))


@api.get("/scenarios", summary="Scenarios, newest first", responses={200: Listing[ScenarioOut]})
@scope("read")
def list_scenarios(query: ScenarioQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = authorisation.list_scenarios(session, actor(), status=query.status, sector=query.sector, cursor=query.cursor,
                                            limit=query.limit)
        return listing([ScenarioOut.of(row) for row in page.items], page.next)


@api.get("/scenarios/<id>", summary="One scenario", responses={200: ScenarioOut})
@scope("read")
def get_scenario(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return ScenarioOut.of(authorisation.get_scenario(session, actor(), path.id))


@api.get("/scenarios/<id>/versions", summary="What was submitted, the latest first", responses={200: Listing[ScenarioVersionOut]})
@scope("read")
def scenario_versions(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing([ScenarioVersionOut.of(row) for row in authorisation.scenario_versions(session, actor(), path.id)])


@api.get("/scenarios/<id>/opinions", summary="Who is asked about a scenario, and what they say", responses={200: Listing[OpinionOut]})
@scope("read")
def scenario_opinions(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing(opinions(session, authorisation.get_scenario(session, actor(), path.id)))


@api.post("/opinions/<id>/approve", summary="Approve, or all but some lines", responses={200: OpinionOut})
@scope("review")
def approve(path: IdPath, body: OpinionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return OpinionOut.of(authorisation.give_opinion(session, actor(), path.id, "approve", **body.model_dump()))


@api.post("/opinions/<id>/return", summary="Return for correction", responses={200: OpinionOut})
@scope("review")
def return_(path: IdPath, body: OpinionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return OpinionOut.of(authorisation.give_opinion(session, actor(), path.id, "return", **body.model_dump()))


@api.post("/opinions/<id>/refuse", summary="Refuse; a department refuses its own lines", responses={200: OpinionOut})
@scope("review")
def refuse(path: IdPath, body: OpinionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return OpinionOut.of(authorisation.give_opinion(session, actor(), path.id, "refuse", **body.model_dump()))


@api.get("/sectors", summary="Which industry department answers for which sector", responses={200: Listing[SectorOut]})
@scope("read")
def sectors() -> dict[str, Any]:
    with db.reading() as session:
        found = authorisation.sector_departments(session)
    return listing([{"sector": sector, "organisation_id": found[sector]} for sector in sorted(found)])


@api.put("/sectors/<sector>", summary="Say which industry department answers for a sector; the authority does")
@scope("review")
def assign_sector(path: SectorPath, body: SectorIn) -> dict[str, Any]:
    with db.transaction() as session:
        authorisation.assign_sector(session, actor(), path.sector, body.organisation_id)
    return {"sector": path.sector, "organisation_id": body.organisation_id}
