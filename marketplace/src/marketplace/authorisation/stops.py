"""How far a withdrawal has got: what the nodes are told to stop, and what they have answered.

A node that is away is told again when it comes back. What it answers is kept for each hold and each revocation, with the
time, so that those responsible see where a grant is still obeyed by nobody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam
from sqlmodel import Session, col, func, select

from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation import rules
from marketplace.authorisation.models import GrantedLine, GrantHold, GrantRecord, StopSeen
from marketplace.computing.nodes import nodes_by_id
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class HeldThere:
    """What is held at one node: ids of grants, and of the holds on them; both sorted."""

    grants: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


NOTHING_HELD: Final = HeldThere()


@dataclass(frozen=True)
class NodeStop:
    """A node with data in a grant that is withdrawn or revoked.

    Attributes:
        status: ``active``, or ``revoked`` for one that is cut off and takes no task anyway.
        last_seen_at: when it was last linked; ``None``: never.
        seen_at: when it answered that it has stopped; ``None``: it has not been reached yet.
    """

    node_id: str
    name: str
    organisation_id: str
    status: str
    connected: bool
    last_seen_at: dt.datetime | None
    seen_at: dt.datetime | None


# Built once: it is asked four times a second.
_HELD = select(GrantedLine.node_id, GrantedLine.grant_id, GrantHold.id).join(
    GrantRecord, col(GrantRecord.id) == col(GrantedLine.grant_id)).join(
    GrantHold, (col(GrantHold.grant_id) == col(GrantRecord.id)) & (col(GrantHold.status) == "placed")).where(
    GrantRecord.status == "held", col(GrantRecord.expires_at) > bindparam("now")).distinct()


def held_by_node(session: Session) -> dict[str, HeldThere]:
    """By node, the grants that take part there and are held: what the coordinator tells its links."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for node_id, grant_id, hold_id in session.exec(_HELD, params={"now": utc_now()}):
        grants, holds = found.setdefault(node_id, (set(), set()))
        grants.add(grant_id)
        holds.add(hold_id)
    return {node_id: HeldThere(tuple(sorted(grants)), tuple(sorted(holds))) for node_id, (grants, holds) in found.items()}


def holds_seen(session: Session, node_id: str, hold_ids: Iterable[str]) -> None:
    """A node has answered that it obeys these holds, all of which it was told."""
    known = set(session.exec(select(StopSeen.cause_id).where(StopSeen.node_id == node_id, col(StopSeen.cause_id).in_(set(hold_ids)))))
    rows = session.exec(select(GrantHold.id, GrantHold.grant_id).where(
        col(GrantHold.id).in_(set(hold_ids) - known)).order_by(col(GrantHold.id))).all()
    _seen(session, node_id, rows)


def revocations_seen(session: Session, node_id: str, number: int) -> None:
    """A node has said that it holds revocation list ``number``, and with it obeys every revocation up to there."""
    known = select(StopSeen.cause_id).where(StopSeen.node_id == node_id)
    rows = session.exec(select(GrantRecord.id, GrantRecord.id).join(GrantedLine, col(GrantedLine.grant_id) == col(GrantRecord.id)).where(
        GrantedLine.node_id == node_id, GrantRecord.status == "revoked", col(GrantRecord.revoked_in) <= number,
        col(GrantRecord.id).not_in(known)).distinct().order_by(col(GrantRecord.id))).all()
    _seen(session, node_id, rows)


def _seen(session: Session, node_id: str, rows: Sequence[tuple[str, str]]) -> None:
    session.add_all([StopSeen(cause_id=cause, node_id=node_id) for cause, _ in rows])
    session.flush()
    for cause, grant_id in rows:
        trust.append(session, Tag.GRANT_STOPPED, SYSTEM, grant_id, related=dict.fromkeys([node_id, *([cause] if cause != grant_id else [])]))


def stops(session: Session, actor: Actor, grant_id: str) -> list[NodeStop]:
    """The nodes of a grant that is withdrawn or revoked, by name, and whether each has answered that it stopped.

    Empty for one that may be used, and for one revoked before answers were kept. Raises ``not_found``.
    """
    record = session.get(GrantRecord, grant_id)
    if record is None or not rules.may_see(actor, record.organisation_id):
        raise ProblemError("not_found", what="grant")
    if record.status == "held":
        causes = list(session.exec(select(GrantHold.id).where(GrantHold.grant_id == grant_id, GrantHold.status == "placed")))
    else:
        causes = [grant_id] if record.status == "revoked" and record.revoked_in is not None else []
    if not causes:
        return []
    seen: dict[str, dt.datetime] = {}
    for row in session.exec(select(StopSeen).where(col(StopSeen.cause_id).in_(causes)).order_by(col(StopSeen.seen_at).desc())):
        seen[row.node_id] = row.seen_at
    there = session.exec(select(GrantedLine.node_id).where(GrantedLine.grant_id == grant_id).distinct())
    return [NodeStop(node.id, node.name, node.organisation_id, node.status, node.connected, node.last_seen_at, seen.get(node.id))
            for node in sorted(nodes_by_id(session, there).values(), key=lambda one: (one.name, one.id))]


def reached(session: Session, hold_ids: Iterable[str]) -> dict[str, int]:
    """By hold, how many nodes have answered that they obey it; those of none are left out."""
    return dict(session.exec(select(StopSeen.cause_id, func.count()).where(col(StopSeen.cause_id).in_(set(hold_ids)))
                             .group_by(col(StopSeen.cause_id))).all())
