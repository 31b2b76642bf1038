"""Marginals of resources: taken from nodes, decided on by the department, handed to sandboxes once approved.

Nothing is measured here. A node's administrator has its noisy, suppressed distribution sent; a reviewer of the department
looks at it and decides; only what is approved goes into a sandbox's description.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError
from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.catalogue import service as catalogue
from marketplace.db import storable, utc_now
from marketplace.notices import service as notices
from marketplace.sandboxes import errors, rules
from marketplace.sandboxes.models import ResourceMarginals
from marketplace.trust import service as trust
from marketplace.work import WorkItem
from shuyan.jobs import digest_of
from shuyan.mockdata import MadeColumn, Marginal
from shuyan.problems import ProblemError

_MAX_NOTE: Final = 2000


def take(session: Session, ids: Mapping[str, str], offered: Mapping[str, Mapping[str, Any] | None]) -> None:
    """What a node sends with its resources: new marginals wait for a decision, those it sends no more are withdrawn.

    Args:
        ids: resource name → id, of one node.
        offered: resource name → ``{method, epsilon, measured_at_ms, columns}``, or ``None``. Columns whose marginal does not fit
            what is declared of them are left out.
    """
    rows = catalogue.resources_by_id(session, ids.values())
    known = {row.resource_id: row for row in session.exec(select(ResourceMarginals).where(
        col(ResourceMarginals.resource_id).in_(set(ids.values()))).order_by(col(ResourceMarginals.resource_id)).with_for_update())}
    for name, resource_id in sorted(ids.items()):
        told, row = offered.get(name), known.get(resource_id)
        columns = _fitting(told, rows[resource_id].columns) if told is not None else []
        if told is None or not columns:
            if row is not None and row.status in ("offered", "approved"):
                step = rules.MARGINALS.check("retract", row.status, SYSTEM)
                row.status, row.decided_at, row.decided_by = step.target, utc_now(), None
                session.add(row)
                trust.append(session, step.event or _never(), SYSTEM, resource_id, related=[row.organisation_id], data={"digest": row.digest})
            continue
        method = "measured" if told["method"] == "measured" else "declared"
        epsilon = told.get("epsilon") if method == "measured" else None
        digest = digest_of({"method": method, "epsilon": epsilon, "columns": columns})
        if row is not None and row.digest == digest:
            continue
        resource = rows[resource_id]
        if row is None:
            row = ResourceMarginals(resource_id=resource_id, organisation_id=resource.organisation_id, digest="", method="",
                                    columns=[], measured_at=utc_now())
        step = rules.MARGINALS.check("send", row.status, SYSTEM)
        row.status, row.digest, row.method, row.epsilon = step.target, digest, method, epsilon
        row.columns, row.note, row.decided_at, row.decided_by = columns, "", None, None
        row.measured_at = min(dt.datetime.fromtimestamp(min(max(int(told["measured_at_ms"]), 0), 1 << 42) / 1000, dt.UTC), utc_now())
        row.offered_at = utc_now()
        session.add(row)
        session.flush()
        notices.tell(session, row.organisation_id, errors.MARGINALS_OFFERED, resource_id, title=resource.title, title_en=resource.title_en)
        trust.append(session, step.event or _never(), SYSTEM, resource_id, related=[row.organisation_id], data={"digest": digest})


def _never() -> Any:
    raise AssertionError("every step of marginals has its event")


def _fitting(told: Mapping[str, Any], declared: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    made = {str(one["name"]): one for one in declared}
    found = []
    for one in list(told["columns"])[:500]:
        column = made.get(str(one.get("name")))
        try:
            marginal = _marginal(one)
            if column is not None and marginal.fits(MadeColumn(
                    name=column["name"], type=column["type"], identifier=bool(column["identifier"]), domain=tuple(column["domain"]),
                    lower=column.get("lower"), upper=column.get("upper"))):
                found.append({"name": column["name"], **marginal.model_dump(mode="json")})
        except (ValidationError, ValueError, TypeError):
            continue
    return found


def approved(session: Session, resource_ids: Iterable[str]) -> dict[str, dict[str, Marginal]]:
    """By resource id, the approved marginals by column."""
    rows = session.exec(select(ResourceMarginals).where(
        col(ResourceMarginals.resource_id).in_(set(resource_ids)), ResourceMarginals.status == "approved"))
    return {row.resource_id: {str(one["name"]): _marginal(one) for one in row.columns} for row in rows}


def _marginal(stored: Mapping[str, Any]) -> Marginal:
    return Marginal(**{name: tuple(stored.get(name) or ()) for name in ("labels", "edges", "days", "weights")})


_OVERSEERS: Final = ("system", "data_authority", "security_supervisor")


def get(session: Session, actor: Actor, resource_id: str, *, lock: bool = False) -> ResourceMarginals:
    """A resource's marginals, for its department and those who oversee it.

    Raises:
        ProblemError: ``not_found``: there are none, or they are another's.
    """
    row = session.get(ResourceMarginals, resource_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or not (actor.party in _OVERSEERS
                           or (actor.organisation_id is not None and actor.organisation_id == row.organisation_id)):
        raise ProblemError("not_found", what="marginals")
    return row


def list_marginals(session: Session, actor: Actor) -> list[ResourceMarginals]:
    """Those of the actor's organisation, or all for those who oversee, by resource."""
    query = select(ResourceMarginals).order_by(col(ResourceMarginals.offered_at).desc()).limit(500)
    if actor.party not in _OVERSEERS:
        query = query.where(ResourceMarginals.organisation_id == actor.organisation_id)
    return list(session.exec(query))


def actions(actor: Actor, row: ResourceMarginals) -> list[str]:
    """What the actor may do with them now."""
    return rules.MARGINALS.possible(row.status, actor, owner=row.organisation_id)


def decide(session: Session, actor: Actor, resource_id: str, action: str, *, digest: str = "", note: str = "") -> ResourceMarginals:
    """Approve, refuse or withdraw.

    Args:
        action: ``approve`` (with the ``digest`` of what was looked at), ``refuse`` or ``withdraw`` (with a ``note``).

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``marginals_changed``, ``marginals_note_missing``.
    """
    row = get(session, actor, resource_id, lock=True)
    step = rules.MARGINALS.check(action, row.status, actor, owner=row.organisation_id)
    said = note.strip()[:_MAX_NOTE]
    if action == "approve":
        if digest != row.digest:
            raise ProblemError(errors.MARGINALS_OTHER, field="digest")
    elif not said or not storable(said):
        raise ProblemError(errors.NOTE_MISSING, field="note")
    row.status, row.decided_at, row.decided_by, row.note = step.target, utc_now(), actor.label, said
    session.add(row)
    trust.append(session, step.event or _never(), actor, resource_id, related=[row.organisation_id], data={"digest": row.digest})
    return row


@work.source
def _waiting(session: Session, actor: Actor) -> list[WorkItem]:
    if actor.party != "source_department" or actor.organisation_id is None:
        return []
    rows = session.exec(select(ResourceMarginals).where(
        ResourceMarginals.organisation_id == actor.organisation_id, ResourceMarginals.status == "offered").limit(100)).all()
    titles = catalogue.resources_by_id(session, [row.resource_id for row in rows])
    return [WorkItem("marginals.decide", row.resource_id, titles[row.resource_id].title, "marginals:resource_id", row.organisation_id,
                     row.offered_at, title_en=titles[row.resource_id].title_en) for row in rows if "approve" in actions(actor, row)]
