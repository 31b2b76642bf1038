"""REST: data demands, from a draft with its preview to the approval; the grant is signed by the authority's own command."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, idempotency_key, scope
from marketplace.api.base import blueprint
from marketplace.api.problems import language
from marketplace.api.scenarios import OpinionOut, opinions
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, Time, listing
from marketplace.authorisation import service as authorisation

api = blueprint("demands")


class DemandedResourceIn(In):
    resource_id: str = Field(max_length=64)
    columns: list[str] = Field(min_length=1, max_length=2000)
    reason: str = Field("", max_length=500, description="What they are needed for; a list without cannot be submitted.")


class PrivacyIn(In):
    """What answers with noise protect; the budget as ε at δ, or as ρ: one of the two."""

    unit: str = Field(max_length=40, description="What the guarantee is about, “person” for instance.")
    unit_columns: dict[str, str] = Field(description="By resource name, the column that tells units apart.")
    max_rows_per_unit: int = 1
    max_groups_per_unit: int = 1
    delta: float = 1e-6
    epsilon: float | None = Field(None, description="Budget of the whole grant at each department, at δ.")
    rho_nano: int | None = Field(None, description="The same in 1e-9 of zCDP's ρ.")
    honest_fraction: float = Field(0.5, description="Share of the departments whose noise suffices on its own.")


class DemandBodyIn(In):
    resources: list[DemandedResourceIn] = Field(min_length=1, max_length=5000)
    apps: list[str] = Field(min_length=1, max_length=100)
    output_forms: list[str] = Field(min_length=1, max_length=10)
    minimum_cohort: int = 10
    minimum_participants: int = 3
    term_days: int = 90
    release: Literal["exact", "dp"] = Field("exact", description="Exact answers, or answers with noise under `privacy`.")
    privacy: PrivacyIn | None = None
    own_figures: bool = Field(False, description="Results shall show single departments' own figures.")
    own_figures_reason: str = Field("", max_length=500)


class DemandIn(DemandBodyIn):
    scenario_id: str = Field(max_length=64)


class PreviewIn(DemandIn):
    demand_id: str | None = Field(None, max_length=64, description="Of the demand the list is to be; what it follows does not count.")


class DemandQuery(PageQuery):
    status: str | None = Field(None, max_length=20)
    scenario_id: str | None = Field(None, max_length=64)


class DemandOut(Out):
    id: str
    scenario_id: str
    organisation_id: str
    body: dict[str, Any]
    version: int
    follows_id: str | None = Field(description="The demand that this one changes.")
    status: str
    struck: list[str] = Field(description="Resources that the review left out.")
    reason: str
    mode: str = Field(description="Of the authorisation it is reviewed under: overall, field or scenario.")
    agreement_id: str | None
    created_at: Time
    submitted_at: Time | None


class FindingOut(Out):
    field: str | None = Field(description="`resources.<n>…` and `apps.<n>` are lines of the list.")
    line: int | None = Field(description="Number of the resource's line, from 0.")
    code: str
    text: str


class ChangeOut(Out):
    what: Literal["columns", "reason", "term"]
    key: str = Field(description="A resource id, or the name of a term.")
    before: Any
    after: Any


@api.post("/demands", summary="Draft a list of data under a scenario", responses={201: DemandOut})
@scope("jobs")
def draft_demand(body: DemandIn) -> tuple[dict[str, Any], int]:
    key = idempotency_key(required=False)
    with db.transaction() as session:
        return DemandOut.of(authorisation.draft_demand(
            session, actor(), body.scenario_id, body.model_dump(exclude={"scenario_id"}), key=key)), 201


@api.post("/demands/preview", summary="What would be refused and why, line by line; nothing is kept", responses={200: Listing[FindingOut]})
@scope("jobs")
def preview(body: PreviewIn) -> dict[str, Any]:
    with db.reading() as session:
        found = authorisation.preview(session, actor(), body.scenario_id, body.model_dump(exclude={"scenario_id", "demand_id"}),
                                      demand_id=body.demand_id)
    return listing([{"field": one.field, "line": line_of(one.field), "code": one.code, "text": one.text(language())} for one in found])


def line_of(field: str | None) -> int | None:
    """The number of the line that a field belongs to."""
    parts = (field or "").split(".")
    return int(parts[1]) if parts[0] == "resources" and len(parts) > 1 and parts[1].isdigit() else None


@api.put("/demands/<id>", summary="Change a draft or returned list", responses={200: DemandOut})
@scope("jobs")
def edit_demand(path: IdPath, body: DemandBodyIn) -> dict[str, Any]:
    with db.transaction() as session:
        return DemandOut.of(authorisation.edit_demand(session, actor(), path.id, body.model_dump()))


@api.post("/demands/<id>/submit", summary="Put a list forward for review", responses={200: DemandOut})
@scope("jobs")
def submit_demand(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return DemandOut.of(authorisation.submit_demand(session, actor(), path.id))


@api.post("/demands/<id>/revise", summary="Begin the next version of a decided list", responses={201: DemandOut})
@scope("jobs")
def revise_demand(path: IdPath, body: Empty) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return DemandOut.of(authorisation.revise_demand(session, actor(), path.id)), 201


@api.post("/demands/<id>/withdraw", summary="Withdraw a list that is not granted", responses={200: DemandOut})
@scope("jobs")
def withdraw_demand(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return DemandOut.of(authorisation.withdraw_demand(session, actor(), path.id))


@api.get("/demands", summary="Demands, newest first", responses={200: Listing[DemandOut]})
@scope("read")
def list_demands(query: DemandQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = authorisation.list_demands(session, actor(), status=query.status, scenario_id=query.scenario_id,
                                          cursor=query.cursor, limit=query.limit)
        return listing([DemandOut.of(row) for row in page.items], page.next)


@api.get("/demands/<id>", summary="One demand", responses={200: DemandOut})
@scope("read")
def get_demand(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return DemandOut.of(authorisation.get_demand(session, actor(), path.id))


@api.get("/demands/<id>/opinions", summary="Who is asked about a list, and what they say", responses={200: Listing[OpinionOut]})
@scope("read")
def demand_opinions(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing(opinions(session, authorisation.get_demand(session, actor(), path.id)))


@api.get("/demands/<id>/changes", summary="How a list differs from its last version", responses={200: Listing[ChangeOut]})
@scope("read")
def demand_changes(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing(authorisation.changes(session, authorisation.get_demand(session, actor(), path.id)))


@api.get("/demands/<id>/grant-draft", summary="What a grant of this demand would say, for the authority to sign")
@scope("grants")
def grant_draft(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return authorisation.grant_draft(session, actor(), path.id).model_dump(mode="json")
