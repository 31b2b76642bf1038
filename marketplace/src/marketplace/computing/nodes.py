"""Use cases of nodes: invitation, enrolment, revocation, and what the link tells about them."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import or_, update
from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.computing import rules
from marketplace.computing.errors import INVITATION_REFUSED, NODE_KEYS_IN_USE, NODE_NAME_INVALID, PKI_MISSING
from marketplace.computing.models import Node, NodeInvitation
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.settings import Settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class Invitation:
    """A one-time code for one node. ``code`` is shown once and stored only as its hash."""

    code: str
    organisation_id: str
    organisation_name: str
    node_name: str
    expires_at: dt.datetime


def invite_node(session: Session, actor: Actor, *, organisation_id: str, name: str) -> Invitation:
    """Invite a department to enrol a node; the code is good for 24 hours and one use.

    Raises:
        ProblemError: ``not_allowed``, ``not_found`` (organisation), ``node_name_invalid``.
    """
    rules.INVITE.require(actor)
    name = name.strip()
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise ProblemError(NODE_NAME_INVALID, field="name")
    organisation = parties.organisations_by_id(session, [organisation_id]).get(organisation_id)
    if organisation is None:
        raise ProblemError("not_found", what="organisation", field="organisation_id")
    code = secrets.token_urlsafe(32)
    expires_at = utc_now() + rules.CODE_TERM
    session.add(NodeInvitation(code_hash=_hash(code), organisation_id=organisation_id, node_name=name,
                               expires_at=expires_at))
    trust.append(session, Tag.NODE_INVITED, actor, organisation_id, data={"code_hash": f"sha256:{_hash(code)}"})
    return Invitation(code, organisation_id, organisation.name_zh, name, expires_at)


def invitation_token(settings: Settings, invitation: Invitation) -> str:
    """What the operator hands to the department: where to enrol, whom to trust there, and the code.

    base64url without padding of JSON ``{"v", "enrol", "ca_pem", "code", "node_name", "organisation"}``.

    Raises:
        ProblemError: ``pki_missing`` before ``shuyan-coordinator init``.
    """
    try:
        ca_pem = (settings.keys_dir / "ca.pem").read_text()
    except OSError:
        raise ProblemError(PKI_MISSING) from None
    body = {"v": 1, "enrol": f"{settings.link_public_host}:{settings.enrol_port}", "ca_pem": ca_pem,
            "code": invitation.code, "node_name": invitation.node_name, "organisation": invitation.organisation_name}
    return base64.urlsafe_b64encode(json.dumps(body, ensure_ascii=False).encode()).rstrip(b"=").decode()


@dataclass(frozen=True)
class ConsumedInvitation:
    """What a good code stands for."""

    organisation_id: str
    organisation_name: str
    node_name: str


def consume_invitation(session: Session, code: str) -> ConsumedInvitation:
    """Use up an invitation; of two who try at once, one succeeds.

    Raises:
        ProblemError: ``invitation_refused``: unknown, used or expired.
    """
    now = utc_now()
    # one conditional UPDATE decides, so there is no moment between looking and taking
    used = session.execute(update(NodeInvitation).where(
        col(NodeInvitation.code_hash) == _hash(code), col(NodeInvitation.used_at).is_(None),
        col(NodeInvitation.expires_at) > now).values(used_at=now))
    if used.rowcount != 1:  # type: ignore[attr-defined]
        raise ProblemError(INVITATION_REFUSED)
    row = session.get_one(NodeInvitation, _hash(code))
    organisation = parties.organisations_by_id(session, [row.organisation_id])[row.organisation_id]
    return ConsumedInvitation(row.organisation_id, organisation.name_zh, row.node_name)


def enrol_node(session: Session, invitation: ConsumedInvitation, *, node_id: str, certificate_pem: str,
               certificate_serial: str, signing_key: bytes, agreement_key: bytes, software_version: str) -> Node:
    """Record an enrolled node. ``signing_key`` and ``agreement_key`` are raw 32-byte public keys.

    Raises:
        ProblemError: ``node_keys_in_use``: an active node has one of them; two such nodes could not share a grant.
    """
    same_keys = or_(col(Node.signing_key) == _b64(signing_key), col(Node.agreement_key) == _b64(agreement_key))
    if session.exec(select(Node.id).where(Node.status == "active", same_keys)).first():
        raise ProblemError(NODE_KEYS_IN_USE)
    row = Node(id=node_id, organisation_id=invitation.organisation_id, name=invitation.node_name,
               certificate_pem=certificate_pem, certificate_serial=certificate_serial, signing_key=_b64(signing_key),
               agreement_key=_b64(agreement_key), software_version=rules.clean_text(software_version, 64))
    session.add(row)
    session.flush()
    trust.append(session, Tag.NODE_ENROLLED, SYSTEM, row.id, related=[row.organisation_id], data={
        "certificate_serial": certificate_serial, "signing_key": row.signing_key, "agreement_key": row.agreement_key})
    return row


def list_nodes(session: Session, actor: Actor, *, organisation_id: str | None = None,
               include_revoked: bool = True) -> list[Node]:
    """Nodes by name. A source department sees its own, every other signed-in party all of them."""
    if actor.party == "public":
        raise ProblemError("not_signed_in")
    query = select(Node).order_by(col(Node.name), col(Node.id))
    if actor.party == "source_department":
        query = query.where(Node.organisation_id == actor.organisation_id)
    if organisation_id:
        query = query.where(Node.organisation_id == organisation_id)
    if not include_revoked:
        query = query.where(Node.status == "active")
    return list(session.exec(query))


def get_node(session: Session, actor: Actor, node_id: str) -> Node:
    """One node.

    Raises:
        ProblemError: ``not_found``, also for a department asking after another's node.
    """
    row = session.get(Node, node_id)
    if row is None or actor.party == "public" or (
            actor.party == "source_department" and row.organisation_id != actor.organisation_id):
        raise ProblemError("not_found", what="node")
    return row


def nodes_by_id(session: Session, ids: Iterable[str]) -> dict[str, Node]:
    """The nodes with these ids; unknown ones are left out."""
    wanted = set(ids)
    if not wanted:
        return {}
    return {row.id: row for row in session.exec(select(Node).where(col(Node.id).in_(wanted)))}


def revoke_node(session: Session, actor: Actor, node_id: str) -> Node:
    """Revoke a node; the coordinator cuts its link at once. Doing it twice changes nothing.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``.
    """
    row = session.get(Node, node_id, with_for_update=True)
    if row is None:
        raise ProblemError("not_found", what="node")
    if row.status == "revoked":
        return row
    step = rules.NODE.check("revoke", row.status, actor, owner=row.organisation_id)
    row.status, row.revoked_at, row.connected = step.target, utc_now(), False
    session.add(row)
    trust.append(session, Tag.NODE_REVOKED, actor, row.id, related=[row.organisation_id])
    return row


# --- told by the link ---


def node_connected(session: Session, node_id: str, *, software_version: str, apps: Sequence[Mapping[str, str]],
                   revocations_seen: int) -> Node | None:
    """A node has said hello: record it, or ``None`` if it is unknown or revoked."""
    row = session.get(Node, node_id, with_for_update=True)
    if row is None or row.status != "active":
        return None
    row.connected, row.connected_at, row.last_seen_at = True, utc_now(), utc_now()
    row.software_version = rules.clean_text(software_version, 64)
    row.apps = [{"name": rules.clean_text(app["name"], 64), "digest": rules.clean_text(app["digest"], 80)}
                for app in apps[:100]]
    row.revocations_seen = revocations_seen
    session.add(row)
    return row


def nodes_disconnected(session: Session, node_ids: Iterable[str] | None = None) -> None:
    """These nodes' links are gone; ``None``: all of them (a coordinator starting knows of no link)."""
    query = update(Node).where(col(Node.connected).is_(True))
    if node_ids is not None:
        query = query.where(col(Node.id).in_(set(node_ids)))
    session.execute(query.values(connected=False))


def nodes_seen(session: Session, seen: Mapping[str, dt.datetime]) -> None:
    """When each connected node was last heard; written now and then, not with each heartbeat."""
    for node_id, at in sorted(seen.items()):
        session.execute(update(Node).where(col(Node.id) == node_id, col(Node.status) == "active")
                        .values(last_seen_at=at, connected=True))


def revocations_seen(session: Session, node_id: str, number: int) -> None:
    """A node holds revocation list ``number``."""
    session.execute(update(Node).where(col(Node.id) == node_id, col(Node.revocations_seen) < number)
                    .values(revocations_seen=number))


_ACTIVE = select(Node.id).where(Node.status == "active")  # built once: it is asked four times a second


def active_nodes(session: Session) -> set[str]:
    """Ids of the nodes that may be linked."""
    return set(session.exec(_ACTIVE))


def new_node_id() -> str:
    """An identifier for a node about to enrol."""
    return new_id("node")


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
