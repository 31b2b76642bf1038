"""REST: scenario, data demand, grant and revocation list. Grants are signed elsewhere, by the authority's own command."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, Time, listing
from marketplace.authorisation import service as authorisation
from shuyan.problems import ProblemError

api = blueprint("authorisation")

_JWS = Field(min_length=1, max_length=2_000_000, description="Compact JWS (RFC 7515), EdDSA.")


class ScenarioIn(In):
    title: str = Field(min_length=1, max_length=200)
    purpose: str = Field(min_length=1, max_length=4000)
    sector: str = Field(max_length=40)
    public_benefit: bool = False


class DemandedResourceIn(In):
    resource_id: str = Field(max_length=64)
    columns: list[str] = Field(min_length=1, max_length=2000)


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


class DemandIn(In):
    scenario_id: str = Field(max_length=64)
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


class RefusalIn(In):
    reason: str = Field(min_length=1, max_length=2000)


class GrantIn(In):
    demand_id: str = Field(max_length=64)
    jws: str = _JWS


class RevocationsIn(In):
    jws: str = _JWS


class StatusQuery(PageQuery):
    status: str | None = Field(None, max_length=20)


class ScenarioOut(Out):
    id: str
    organisation_id: str
    title: str
    purpose: str
    sector: str
    public_benefit: bool
    status: str
    created_at: Time


class DemandOut(Out):
    id: str
    scenario_id: str
    organisation_id: str
    body: dict[str, Any]
    status: str
    reason: str
    created_at: Time


class GrantOut(Out):
    id: str
    demand_id: str
    scenario_id: str
    organisation_id: str
    jws: str
    digest: str
    not_before: Time
    expires_at: Time
    status: str
    state: str = Field(description="active, revoked, expired, or outdated: signed by an earlier version, as good as expired.")
    release: Literal["exact", "dp"] = Field(description="Exact answers, or answers with noise.")
    own_figures: bool = Field(description="Results may show single departments' own figures.")
    revoked_at: Time | None
    revocation_reason: str
    created_at: Time


class GrantDetailOut(GrantOut):
    claims: dict[str, Any] | None = Field(description="What the statement says; null if it cannot be verified.")


class RevocationsOut(Out):
    number: int
    jws: str
    created_at: Time


def _grant(row: Any) -> dict[str, Any]:
    return GrantOut.of(row, state=authorisation.grant_state(row, db.utc_now()))


@api.post("/scenarios", summary="Propose a scenario", responses={201: ScenarioOut})
@scope("jobs")
def propose(body: ScenarioIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return ScenarioOut.of(authorisation.propose_scenario(session, actor(), **body.model_dump())), 201


@api.get("/scenarios", summary="Scenarios, newest first", responses={200: Listing[ScenarioOut]})
@scope("read")
def list_scenarios(query: StatusQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = authorisation.list_scenarios(session, actor(), status=query.status, cursor=query.cursor,
                                      limit=query.limit)
        return listing([ScenarioOut.of(row) for row in page.items], page.next)


@api.get("/scenarios/<id>", summary="One scenario", responses={200: ScenarioOut})
@scope("read")
def get_scenario(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return ScenarioOut.of(authorisation.get_scenario(session, actor(), path.id))


@api.post("/demands", summary="Ask for data under a scenario", responses={201: DemandOut})
@scope("jobs")
def submit_demand(body: DemandIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return DemandOut.of(authorisation.submit_demand(
            session, actor(), body.scenario_id, body.model_dump(exclude={"scenario_id"}))), 201


@api.get("/demands", summary="Demands, newest first", responses={200: Listing[DemandOut]})
@scope("read")
def list_demands(query: StatusQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = authorisation.list_demands(session, actor(), status=query.status, cursor=query.cursor,
                                      limit=query.limit)
        return listing([DemandOut.of(row) for row in page.items], page.next)


@api.get("/demands/<id>", summary="One demand", responses={200: DemandOut})
@scope("read")
def get_demand(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return DemandOut.of(authorisation.get_demand(session, actor(), path.id))


@api.post("/demands/<id>/refuse", summary="Refuse a demand; the authority does", responses={200: DemandOut})
@scope("grants")
def refuse_demand(path: IdPath, body: RefusalIn) -> dict[str, Any]:
    with db.transaction() as session:
        return DemandOut.of(authorisation.refuse_demand(session, actor(), path.id, body.reason))


@api.get("/demands/<id>/grant-draft", summary="What a grant of this demand would say, for the authority to sign")
@scope("grants")
def grant_draft(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return authorisation.grant_draft(session, actor(), path.id).model_dump(mode="json")


@api.post("/grants", summary="Hand in a signed grant", responses={201: GrantOut})
@scope("grants")
def accept_grant(body: GrantIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return _grant(authorisation.accept_grant(session, actor(), body.demand_id, body.jws)), 201


@api.get("/grants", summary="Grants, newest first", responses={200: Listing[GrantOut]})
@scope("read")
def list_grants(query: StatusQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = authorisation.list_grants(session, actor(), status=query.status, cursor=query.cursor,
                                      limit=query.limit)
        return listing([_grant(row) for row in page.items], page.next)


@api.get("/grants/<id>", summary="One grant with its signed statement", responses={200: GrantDetailOut})
@scope("read")
def get_grant(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        row = authorisation.get_grant(session, actor(), path.id)
        try:
            claims = authorisation.read_grant(row).model_dump(mode="json")
        except ProblemError:  # altered, or the authority's key is not here: the record is shown all the same
            claims = None
        return {**_grant(row), "claims": claims}


@api.post("/revocations", summary="Hand in a new signed revocation list", responses={201: RevocationsOut})
@scope("grants")
def accept_revocations(body: RevocationsIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return RevocationsOut.of(authorisation.accept_revocations(session, actor(), body.jws)), 201


@api.get("/revocations", summary="The newest signed revocation list", responses={200: RevocationsOut})
@public
def latest_revocations() -> dict[str, Any]:
    with db.reading() as session:
        latest = authorisation.latest_revocations(session)
    if latest is None:
        raise ProblemError("not_found", what="revocation list")
    return RevocationsOut.of(latest)
