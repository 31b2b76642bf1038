"""REST: an organisation's members and whom it invites, for apps that act for one of its people."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from marketplace import db
from marketplace.actor import Actor
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.problems import language
from marketplace.api.schemas import Empty, IdPath, In, Listing, Out, Time, listing
from marketplace.parties import invitations, memberships, rules
from marketplace.parties import service as parties

api = blueprint("members")

_ROLES = Field(max_length=5, description="Of `admin`, `handler`, `reviewer`, `finance`, `auditor`.")


class MemberOut(Out):
    id: str
    display_name: str
    email: str
    roles: list[str]
    status: str
    created_at: Time
    actions: list[str] = Field(description="What the caller may do now.")


class RolesIn(In):
    roles: list[str] = _ROLES


class InvitationIn(In):
    email: str = Field(max_length=254)
    roles: list[str] = _ROLES


class InvitationOut(Out):
    id: str
    email: str
    roles: list[str]
    status: str
    created_at: Time
    expires_at: Time


class InvitedOut(InvitationOut):
    link: str = Field(description="To be passed on to the person invited where no mail arrives; shown this once only.")


def _shown(session: Any, row: Any) -> dict[str, Any]:
    return _member(actor(), row, parties.get_account(session, row.account_id))


def _member(who: Actor, row: Any, account: Any) -> dict[str, Any]:
    possible = rules.MEMBER.possible(row.status, who, owner=row.organisation_id)
    return MemberOut.of(row, display_name=account.display_name, email=account.email, actions=possible)


@api.get("/members", summary="The members of the caller's organisation, oldest first", responses={200: Listing[MemberOut]})
@scope("people")
def members() -> dict[str, Any]:
    with db.reading() as session:
        return listing([_member(actor(), row, account) for row, account in memberships.colleagues(session, actor())])


@api.post("/members/<id>/roles", summary="Give a member other roles", responses={200: MemberOut})
@scope("people")
def change_roles(path: IdPath, body: RolesIn) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(session, memberships.change_roles(session, actor(), path.id, body.roles))


@api.post("/members/<id>/suspend", summary="Keep a member from acting for the time being", responses={200: MemberOut})
@scope("people")
def suspend(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(session, memberships.suspend(session, actor(), path.id))


@api.post("/members/<id>/resume", summary="Let a suspended member act again", responses={200: MemberOut})
@scope("people")
def resume(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(session, memberships.resume(session, actor(), path.id))


@api.post("/members/<id>/end", summary="End a membership, somebody's or one's own", responses={200: MemberOut})
@scope("people")
def end(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return _shown(session, memberships.end_membership(session, actor(), path.id))


@api.get("/invitations", summary="Invitations that can still be accepted, newest first", responses={200: Listing[InvitationOut]})
@scope("people")
def list_invitations() -> dict[str, Any]:
    with db.reading() as session:
        return listing([InvitationOut.of(row) for row in invitations.open_invitations(session, actor())])


@api.post("/invitations", summary="Invite a person by mail; an earlier invitation to the address is void", responses={201: InvitedOut})
@scope("people")
def invite(body: InvitationIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        made = invitations.invite(session, actor(), email=body.email, roles=body.roles, locale=language())
        return {**InvitationOut.of(made.invitation), "link": made.link}, 201


@api.post("/invitations/<id>/withdraw", summary="Make an invitation void", responses={200: InvitationOut})
@scope("people")
def withdraw(path: IdPath, body: Empty) -> dict[str, Any]:
    with db.transaction() as session:
        return InvitationOut.of(invitations.withdraw(session, actor(), path.id))
