"""Use cases of the catalogue. Each idea has a file of its own; this one is the door for other domains and for the faces."""

from __future__ import annotations

from collections.abc import Iterable

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.catalogue.claims import (
    ElementPage,
    Standing,
    get_element,
    list_elements,
    settle_element,
    standings,
)
from marketplace.catalogue.departments import (
    Department,
    get_department,
    list_departments,
    steward_mark,
)
from marketplace.catalogue.feed import changes, history, newest
from marketplace.catalogue.models import DataResource
from marketplace.catalogue.negative import (
    enter,
    get_negative,
    grants_hit,
    grants_in_force,
    list_negative,
    negative_hits,
    revise,
    withdraw,
)
from marketplace.catalogue.objections import (
    ObjectionPage,
    act,
    get_objection,
    list_objections,
    open_objections,
    raise_objection,
)
from marketplace.catalogue.quality import latest_quality, quality_history, thresholds
from marketplace.catalogue.rules import Hit
from marketplace.catalogue.search import Facets, Filters, Sort, facets, list_resources
from marketplace.catalogue.sync import LinkedNode, sync_resources
from shuyan.problems import ProblemError

__all__ = [
    "Department", "ElementPage", "Facets", "Filters", "Hit", "LinkedNode", "ObjectionPage", "Sort", "Standing", "act",
    "changes", "enter", "facets", "get_department", "get_element", "get_negative", "get_objection", "get_resource",
    "grants_hit", "grants_in_force", "history", "latest_quality", "list_departments", "list_elements",
    "list_negative", "list_objections", "list_resources", "negative_hits", "newest", "open_objections",
    "quality_history", "raise_objection", "resources_by_id", "resources_of_node", "revise", "settle_element",
    "standings", "steward_mark", "sync_resources", "thresholds", "withdraw",
]


def get_resource(session: Session, actor: Actor, resource_id: str) -> DataResource:
    """One resource, withdrawn ones too: a grant may still name it.

    Raises:
        ProblemError: ``not_found``.
    """
    row = session.get(DataResource, resource_id)
    if row is None:
        raise ProblemError("not_found", what="resource")
    return row


def resources_by_id(session: Session, ids: Iterable[str]) -> dict[str, DataResource]:
    """The resources with these ids, withdrawn ones too; unknown ones are left out."""
    wanted = set(ids)
    if not wanted:
        return {}
    return {row.id: row for row in session.exec(select(DataResource).where(col(DataResource.id).in_(wanted)))}


def resources_of_organisation(session: Session, organisation_id: str) -> list[DataResource]:
    """The active resources of a department, by name."""
    return list(session.exec(select(DataResource).where(
        DataResource.organisation_id == organisation_id, DataResource.status == "active").order_by(DataResource.name, DataResource.id)))


def resources_of_node(session: Session, node_id: str) -> list[DataResource]:
    """The active resources of one node, by name."""
    return list(session.exec(select(DataResource).where(
        DataResource.node_id == node_id, DataResource.status == "active").order_by(col(DataResource.name))))
