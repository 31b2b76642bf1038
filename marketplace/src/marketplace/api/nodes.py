"""REST: the departments' nodes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, In, Listing, Out, QueryIn, Time, listing
from marketplace.computing import service as computing
from marketplace.settings import settings

api = blueprint("nodes")


class InvitationIn(In):
    organisation_id: str = Field(max_length=64)
    name: str = Field(min_length=1, max_length=64)


class NodeQuery(QueryIn):
    organisation_id: str | None = Field(None, max_length=64)
    cursor: str | None = Field(None, max_length=512)
    limit: int = Field(100, ge=1, le=100)


class NodeOut(Out):
    id: str
    organisation_id: str
    name: str
    status: str
    connected: bool
    connected_at: Time | None
    last_seen_at: Time | None
    signing_key: str
    agreement_key: str
    apps: list[dict[str, str]]
    software_version: str
    revocations_seen: int
    created_at: Time
    revoked_at: Time | None


class InvitationOut(Out):
    organisation_id: str
    node_name: str
    expires_at: Time


@api.get("/nodes", summary="Nodes this organisation may see", responses={200: Listing[NodeOut]})
@scope("read")
def list_nodes(query: NodeQuery) -> dict[str, Any]:
    with db.reading() as session:
        return listing([NodeOut.of(row) for row in computing.list_nodes(
            session, actor(), organisation_id=query.organisation_id)])


@api.get("/nodes/<id>", summary="One node", responses={200: NodeOut})
@scope("read")
def get_node(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return NodeOut.of(computing.get_node(session, actor(), path.id))


@api.post("/nodes/invitations", summary="Invite a department to enrol a node; the token works once",
          responses={201: InvitationOut})
@scope("operate")
def invite(body: InvitationIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        invitation = computing.invite_node(session, actor(), organisation_id=body.organisation_id, name=body.name)
        token = computing.invitation_token(settings(), invitation)
    return {**InvitationOut.of(invitation), "token": token}, 201


@api.post("/nodes/<id>/revoke", summary="Cut a node off at once", responses={200: NodeOut})
@scope("operate")
def revoke(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        return NodeOut.of(computing.revoke_node(session, actor(), path.id))
