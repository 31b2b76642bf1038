"""REST: grants, who withdraws them, the revocation list, total volume. Grants are signed by the authority's own command."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, PageQuery, Time, listing
from marketplace.authorisation import service as authorisation
from shuyan.problems import ProblemError

api = blueprint("authorisation")

_JWS = Field(min_length=1, max_length=2_000_000, description="Compact JWS (RFC 7515), EdDSA.")


class GrantIn(In):
    demand_id: str = Field(max_length=64)
    jws: str = _JWS


class RevocationsIn(In):
    jws: str = _JWS


class ReasonIn(In):
    reason: str = Field(min_length=1, max_length=500)


class VolumeIn(In):
    max_grants: int | None = Field(description="Grants active at once; null: no limit.")
    max_rows: int | None = Field(description="Rows read by runs in a period; null: no limit.")
    period: Literal["month", "quarter", "year"] = "year"


class StatusQuery(PageQuery):
    status: str | None = Field(None, max_length=20)


class HoldOut(Out):
    id: str
    grant_id: str
    organisation_id: str | None = Field(description="Who placed it; null: the market itself.")
    party: str
    status: str
    cause: Literal["withdrawn", "replaced", "agreement_ended", "agreement_suspended", "standing"]
    agreement_id: str | None = Field(description="Whose suspension it is.")
    reason: str
    reached: int = Field(0, description="How many nodes have answered that they stopped, see `/grants/{id}/stops`.")
    placed_at: Time
    ended_at: Time | None


class StopOut(Out):
    node_id: str
    name: str
    organisation_id: str
    status: Literal["active", "revoked"]
    connected: bool
    last_seen_at: Time | None
    seen_at: Time | None = Field(description="When it answered that it takes no task under the grant any more; null: not reached yet.")


class VolumeOut(Out):
    max_grants: int | None
    max_rows: int | None
    period: str
    grants: int = Field(description="Active now.")
    rows: int = Field(description="Read in the running period.")


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
    state: str = Field(description="active, held, revoked, expired, or outdated: signed by an earlier version, as good as expired.")
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


@api.post("/grants/<id>/hold", summary="Withdraw a grant until further notice; nodes stop within seconds", responses={200: HoldOut})
@scope("review")
def hold_grant(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return HoldOut.of(authorisation.hold_grant(session, actor(), path.id, body.reason))


@api.post("/grants/<id>/release", summary="Lift one's own hold", responses={200: GrantOut})
@scope("review")
def release_grant(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _grant(authorisation.release_grant(session, actor(), path.id))


@api.post("/grants/<id>/ask-withdrawal", summary="Ask the authority to withdraw a grant; the operator does", responses={200: HoldOut})
@scope("operate")
def ask_withdrawal(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return HoldOut.of(authorisation.ask_withdrawal(session, actor(), path.id, body.reason))


@api.get("/grants/<id>/holds", summary="Holds of a grant, the latest first", responses={200: Listing[HoldOut]})
@scope("read")
def grant_holds(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        rows = authorisation.grant_holds(session, actor(), path.id)
        reached = authorisation.reached(session, [row.id for row in rows])
        return listing([HoldOut.of(row, reached=reached.get(row.id, 0)) for row in rows])


@api.get("/grants/<id>/stops", summary="Which nodes have answered that they stopped a withdrawn or revoked grant",
         responses={200: Listing[StopOut]})
@scope("read")
def grant_stops(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing([StopOut.of(row) for row in authorisation.stops(session, actor(), path.id)])


@api.post("/withdrawals/<id>/follow", summary="Withdraw what the operator asked for; the authority does", responses={200: HoldOut})
@scope("review")
def follow_withdrawal(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return HoldOut.of(authorisation.decide_withdrawal(session, actor(), path.id, follow=True))


@api.post("/withdrawals/<id>/dismiss", summary="Leave a grant as it is; the authority does", responses={200: HoldOut})
@scope("review")
def dismiss_withdrawal(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return HoldOut.of(authorisation.decide_withdrawal(session, actor(), path.id, follow=False))


@api.get("/resources/<id>/volume", summary="A resource's total volume and how far it is used", responses={200: VolumeOut})
@scope("read")
def volume(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        found = authorisation.volumes(session, [path.id]).get(path.id)
    return VolumeOut.of(found or authorisation.Volume(None, None, "year", 0, 0))


@api.put("/resources/<id>/volume", summary="Limit a resource's total volume; its department does", responses={200: VolumeOut})
@scope("review")
def set_volume(path: IdPath, body: VolumeIn) -> dict[str, Any]:
    with db.transaction() as session:
        authorisation.set_volume(session, actor(), path.id, **body.model_dump())
        return VolumeOut.of(authorisation.volumes(session, [path.id])[path.id])


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
