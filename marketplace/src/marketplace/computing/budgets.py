"""Privacy budgets as the departments' nodes tell of them: shown here, kept and enforced there."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import and_, delete, or_
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.computing import rules
from marketplace.computing.models import NodeBudget
from marketplace.computing.nodes import nodes_by_id
from marketplace.db import storable, utc_now
from shuyan.federation.privacy import accounting
from shuyan.problems import ProblemError

SCOPES: Final = ("grant", "grantee", "resource")
RENEWALS: Final = ("never", "monthly", "quarterly", "yearly")
_MAX_BUDGETS: Final = 5000
_MAX_TEXT: Final = 128


@dataclass(frozen=True)
class Budget:
    """One budget at one department. ε is that of ρ at ``delta``.

    Attributes:
        scope: ``grant``: of one grant, over all its resources; ``grantee``: of one organisation and resource;
            ``resource``: of a resource, over all organisations.
        left_nano: what may still be spent in this period.
        told_at: when the node last said so.
    """

    node_id: str
    department: str
    scope: str
    resource: str
    grantee: str
    grant_id: str
    cap_nano: int
    spent_nano: int
    left_nano: int
    delta: float
    epsilon_cap: float
    epsilon_spent: float
    renewal: str
    renews_at: dt.datetime | None
    told_at: dt.datetime


def sync(session: Session, node_id: str, told: Sequence[Mapping[str, Any]]) -> None:
    """Make what is known of a node's budgets equal to its complete list; entries that make no sense are left out.

    Args:
        told: dicts of link.proto's Budget.
    """
    session.execute(delete(NodeBudget).where(col(NodeBudget.node_id) == node_id))
    rows: dict[tuple[str, ...], NodeBudget] = {}
    for item in list(told)[:_MAX_BUDGETS]:
        names = {name: str(item.get(name, "")) for name in ("scope", "resource", "grantee", "grant_id")}
        cap, spent, delta, ends = item["cap_nano"], item["spent_nano"], item["delta"], item["renews_at_ms"]
        if (names["scope"] not in SCOPES or item["renewal"] not in RENEWALS
                or any(len(text) > _MAX_TEXT or not storable(text) for text in names.values())
                or not (0 <= cap < 1 << 62 and 0 <= spent < 1 << 62 and 0 <= ends < 1 << 42)
                or not (math.isfinite(delta) and 0 < delta < 1)):
            continue
        rows[tuple(names.values())] = NodeBudget(
            node_id=node_id, **names, cap_nano=cap, spent_nano=spent, delta=delta, renewal=item["renewal"],
            renews_at=dt.datetime.fromtimestamp(ends / 1000, dt.UTC) if ends else None, told_at=utc_now())
    session.add_all(rows.values())
    session.flush()


def list_budgets(session: Session, actor: Actor, *, node_id: str | None = None) -> list[Budget]:
    """All budgets an overseer, or a department for its own nodes, may look at; others see them grant by grant.

    Raises:
        ProblemError: ``not_signed_in``, ``not_allowed``.
    """
    if actor.party == "public":
        raise ProblemError("not_signed_in")
    if actor.party not in (*rules.OVERSEERS, "source_department"):
        raise ProblemError("not_allowed")
    query = select(NodeBudget)
    if node_id:
        query = query.where(NodeBudget.node_id == node_id)
    rows = list(session.exec(query))
    nodes = nodes_by_id(session, {row.node_id for row in rows})
    own = {id_ for id_, node in nodes.items() if node.organisation_id == actor.organisation_id}
    return _told((row for row in rows if actor.party in rules.OVERSEERS or row.node_id in own),
                 {id_: node.name for id_, node in nodes.items()})


def grant_budgets(session: Session, actor: Actor, grant_id: str) -> list[Budget]:
    """Every budget that a job under a grant is charged to: the grant's own, its organisation's, and the resources'.

    Empty for a grant of exact answers. Of the resources' own budgets the grantee sees what all organisations together
    have spent, since that may be what ends its own work.

    Raises:
        ProblemError: ``not_found``; ``grant_invalid`` if the grant cannot be read.
    """
    record = authorisation.get_grant(session, actor, grant_id)
    grant = authorisation.read_grant(record)
    if grant.release != "dp":
        return []
    names = {node.node_id: node.name for node in grant.nodes}
    applies = [and_(col(NodeBudget.scope) == "grant", col(NodeBudget.grant_id) == grant_id)]
    applies += [and_(col(NodeBudget.node_id) == item.node_id, col(NodeBudget.resource) == item.name, or_(
        col(NodeBudget.scope) == "resource",
        and_(col(NodeBudget.scope) == "grantee", col(NodeBudget.grantee) == grant.grantee))) for item in grant.resources]
    rows = session.exec(select(NodeBudget).where(col(NodeBudget.node_id).in_(names), or_(*applies)))
    return _told(rows, names)


epsilon = lru_cache(4096)(accounting.epsilon)
"""ε of ρ in 1e-9 at a δ; the departments' budgets are much alike, and the search for each takes a millisecond."""


def _told(rows: Iterable[NodeBudget], names: Mapping[str, str]) -> list[Budget]:
    found = [Budget(
        node_id=row.node_id, department=names.get(row.node_id, row.node_id), scope=row.scope, resource=row.resource,
        grantee=row.grantee, grant_id=row.grant_id, cap_nano=row.cap_nano, spent_nano=row.spent_nano,
        left_nano=max(0, row.cap_nano - row.spent_nano), delta=row.delta,
        epsilon_cap=epsilon(row.cap_nano, row.delta), epsilon_spent=epsilon(row.spent_nano, row.delta),
        renewal=row.renewal, renews_at=row.renews_at, told_at=row.told_at) for row in rows]
    return sorted(found, key=lambda one: (one.department, one.node_id, SCOPES.index(one.scope), one.resource, one.grantee))
