"""Quality as measured at the nodes: taken down as history, compared with what the market asks for, handed to the department."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from sqlmodel import Session, col, func, select

from marketplace import work
from marketplace.actor import Actor
from marketplace.catalogue import rules
from marketplace.catalogue.errors import QUALITY_BELOW
from marketplace.catalogue.models import DataResource, QualityReport, ResourceIndex
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.settings import settings

_AT_LEAST_APART = dt.timedelta(hours=1)
"""Measurements closer than this are one: the later one counts. A node that floods us fills no table."""


def thresholds() -> dict[str, int]:
    """What the market asks for of each measure, in percent."""
    return {name: int(getattr(settings(), f"quality_{name}")) for name in rules.MEASURES}


def take_down(session: Session, row: DataResource, least: Mapping[str, int]) -> None:
    """Keep what a node has measured as a report; tell the department when something falls below what is asked for."""
    profile = row.profile
    if profile is None:
        return
    measured = min(dt.datetime.fromtimestamp(min(profile["measured_at_ms"], 1 << 42) / 1000, dt.UTC), utc_now())
    last = session.exec(select(QualityReport).where(QualityReport.resource_id == row.id)
                        .order_by(col(QualityReport.measured_at).desc()).limit(1)).first()
    if last is not None and measured <= last.measured_at:
        measured = last.measured_at  # a clock that was set back makes no second history
    before = last.below if last is not None else []
    report = last if last is not None and measured - last.measured_at < _AT_LEAST_APART else QualityReport(
        id=new_id("quality"), resource_id=row.id, measured_at=measured, row_count=0, completeness=0, validity=0, uniqueness=0)
    report.row_count, report.columns = row.row_count, profile["columns"]
    for name in rules.MEASURES:
        setattr(report, name, profile.get(name))
    report.below = rules.below(profile, least)
    session.add(report)
    session.flush()
    if set(report.below) - set(before):
        notices.tell(session, row.organisation_id, QUALITY_BELOW, row.id, title=row.title, title_en=row.title_en)


def quality_history(session: Session, actor: Actor, resource_id: str, *, limit: int = 60) -> list[QualityReport]:
    """The newest reports of a resource, oldest first. They are public, as the catalogue is."""
    rows = session.exec(select(QualityReport).where(QualityReport.resource_id == resource_id)
                        .order_by(col(QualityReport.measured_at).desc()).limit(max(1, min(limit, 400)))).all()
    return list(reversed(rows))


def latest_quality(session: Session, resource_ids: Iterable[str]) -> dict[str, int | None]:
    """The least of each measure over the newest reports of these resources, in percent; empty if none was measured."""
    newest = select(QualityReport.resource_id, func.max(QualityReport.measured_at).label("at")).where(
        col(QualityReport.resource_id).in_(set(resource_ids))).group_by(col(QualityReport.resource_id)).subquery()
    rows = session.exec(select(QualityReport).join(newest, (col(QualityReport.resource_id) == newest.c.resource_id)
                                                   & (col(QualityReport.measured_at) == newest.c.at))).all()
    names = ("completeness", "validity", "uniqueness", "timeliness")
    return {name: min((value for row in rows if (value := getattr(row, name)) is not None), default=None) for name in names} if rows else {}


@work.source
def _below(session: Session, actor: Actor) -> Iterable[work.WorkItem]:
    if not rules.IMPROVE.held(actor, owner=actor.organisation_id):
        return []
    rows = session.exec(select(DataResource).join(ResourceIndex, col(ResourceIndex.resource_id) == col(DataResource.id)).where(
        ResourceIndex.organisation_id == actor.organisation_id, col(ResourceIndex.poor)).order_by(col(DataResource.id)).limit(100))
    return [work.WorkItem("resource.improve", row.id, row.title, "resource:resource_id", row.organisation_id, row.updated_at,
                          title_en=row.title_en)
            for row in rows]
