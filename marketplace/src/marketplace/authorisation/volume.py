"""Total-volume control (总量控制, Liuzhou plan): how much of a resource its department lets be in use at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.authorisation import errors, rules, shared
from marketplace.authorisation.models import GrantedLine, GrantRecord, VolumeLimit, VolumeUse
from marketplace.catalogue import service as catalogue
from marketplace.clock import CITY
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

PERIODS: Final = {"month": 1, "quarter": 3, "year": 12}
_LARGEST: Final = 2**53


@dataclass(frozen=True)
class Volume:
    """A resource's limits and how far they are used; ``None``: no limit. ``grants`` are active, ``rows`` of this period."""

    max_grants: int | None
    max_rows: int | None
    period: str
    grants: int
    rows: int

    @property
    def exhausted(self) -> bool:
        """Whether no new grant may be made."""
        return ((self.max_grants is not None and self.grants >= self.max_grants)
                or (self.max_rows is not None and self.rows >= self.max_rows))


def period_start(period: str, now: dt.datetime) -> dt.datetime:
    """When the running period began, in UTC: at midnight in the city on the first of its first month."""
    here, months = now.astimezone(CITY), PERIODS[period]
    return dt.datetime(here.year, (here.month - 1) // months * months + 1, 1, tzinfo=CITY).astimezone(dt.UTC)


def set_limit(session: Session, actor: Actor, resource_id: str, *, max_grants: int | None, max_rows: int | None,
              period: str = "year") -> VolumeLimit:
    """Limit a resource's total use; no limit at all with ``None``. For the department that keeps it.

    What is granted already goes on: a lower limit only keeps new grants away.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``volume_invalid``.
    """
    found = catalogue.resources_by_id(session, [resource_id]).get(resource_id)
    if found is None:
        raise ProblemError("not_found", what="resource")
    rules.SET_VOLUME.require(actor, owner=found.organisation_id)
    if period not in PERIODS:
        raise ProblemError(errors.VOLUME_INVALID, field="period")
    for name, value in (("max_grants", max_grants), ("max_rows", max_rows)):
        if value is not None and not 1 <= value <= (10_000 if name == "max_grants" else _LARGEST):
            raise ProblemError(errors.VOLUME_INVALID, field=name)
    row = session.get(VolumeLimit, resource_id, with_for_update=True) or VolumeLimit(resource_id=resource_id)
    row.max_grants, row.max_rows, row.period, row.set_at = max_grants, max_rows, period, utc_now()
    session.add(row)
    session.flush()
    trust.append(session, Tag.VOLUME_SET, actor, resource_id, related=[found.organisation_id],
                 data={"max_grants": max_grants, "max_rows": max_rows, "period": period})
    return row


def may_set_volume(actor: Actor, owner: str) -> bool:
    """Whether this actor may limit resources of a department."""
    return rules.SET_VOLUME.held(actor, owner=owner)


def volumes(session: Session, ids: Iterable[str], *, besides: str | None = None, lock: bool = False) -> dict[str, Volume]:
    """Limits and use of resources that have a limit, by id.

    Args:
        besides: a demand whose own grant does not count.
        lock: until the transaction ends nobody else decides on them: two grants cannot both be the last one.
    """
    wanted, now = sorted(set(ids)), utc_now()
    query = select(VolumeLimit).where(col(VolumeLimit.resource_id).in_(wanted)).order_by(VolumeLimit.resource_id)
    limits = list(session.exec(query.with_for_update() if lock else query))
    if not limits:
        return {}
    named = [one.resource_id for one in limits]
    active = select(GrantedLine.resource_id, func.count()).join(
        GrantRecord, col(GrantRecord.id) == col(GrantedLine.grant_id)).where(
        col(GrantedLine.resource_id).in_(named), col(GrantRecord.status) != "revoked", col(GrantRecord.expires_at) > now,
        GrantRecord.demand_id != (besides or "")).group_by(col(GrantedLine.resource_id))
    grants: dict[str, int] = dict(session.exec(active).all())
    out = {}
    for one in limits:
        rows = session.exec(select(func.coalesce(func.sum(VolumeUse.rows), 0)).where(
            VolumeUse.resource_id == one.resource_id, VolumeUse.at >= period_start(one.period, now))).one()
        out[one.resource_id] = Volume(one.max_grants, one.max_rows, one.period, grants.get(one.resource_id, 0), int(rows))
    return out


def limited_resources(session: Session, organisation_id: str | None) -> list[Any]:
    """The resources of a department; for everybody else those that have a limit."""
    if organisation_id is not None:
        return catalogue.resources_of_organisation(session, organisation_id)
    ids = session.exec(select(VolumeLimit.resource_id).order_by(VolumeLimit.resource_id).limit(500)).all()
    return sorted(catalogue.resources_by_id(session, ids).values(), key=lambda row: row.id)


def exhausted(session: Session, ids: Iterable[str], *, besides: str | None = None, lock: bool = False) -> frozenset[str]:
    """Of these resources, those that may be granted to nobody more for now."""
    return frozenset(id_ for id_, found in volumes(session, ids, besides=besides, lock=lock).items() if found.exhausted)


def record_use(session: Session, run_id: str, rows: Mapping[str, int]) -> None:
    """A run is about to read these resources: resource id → rows. Repeating it changes nothing.

    Raises:
        ProblemError: ``volume_exhausted`` if a limit of rows would be exceeded.
    """
    known = set(session.exec(select(VolumeUse.resource_id).where(VolumeUse.run_id == run_id)))
    new = {id_: count for id_, count in rows.items() if id_ not in known}
    for id_, found in volumes(session, new, lock=True).items():
        if found.max_rows is not None and found.rows + new[id_] > found.max_rows:
            facts = shared.resource_facts(session, [id_])[id_]
            raise ProblemError(errors.RUN_VOLUME_EXHAUSTED, resource=facts.name, node=facts.node or facts.node_id)
    for id_, count in sorted(new.items()):
        session.add(VolumeUse(id=new_id("use"), run_id=run_id, resource_id=id_, rows=count))
    session.flush()
