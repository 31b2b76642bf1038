"""The history of the catalogue: what changed in each entry, in the order of the audit log, for readers and harvesters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.catalogue import cleaning
from marketplace.catalogue.models import DataResource, ResourceChange

_SHORT: Final = ("title", "title_en", "sector", "grade", "row_count", "approval", "standard", "frequency", "steward")
_LONG: Final = ("description", "tags")
_MOST_COLUMNS: Final = 200
MAX_PAGE: Final = 200


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What changed between two descriptions, for people: short fields with both values, long ones by name, columns by theirs."""
    if before is None:
        return []
    out: list[dict[str, Any]] = [{"field": name, "before": _shown(before[name]), "after": _shown(after[name])}
                                 for name in _SHORT if before[name] != after[name]]
    out += [{"field": name} for name in _LONG if before[name] != after[name]]
    old, new = ({column["name"]: column for column in item["columns"]} for item in (before, after))
    columns = [{"column": name, "change": "added"} for name in new if name not in old]
    columns += [{"column": name, "change": "removed"} for name in old if name not in new]
    columns += [{"column": name, "change": "changed"} for name in new if name in old and old[name] != new[name]]
    return [*out, *columns[:_MOST_COLUMNS]]


def _shown(value: Any) -> Any:
    return value[:200] if isinstance(value, str) else value


def note(session: Session, row: DataResource, index: int, kind: str, before: Mapping[str, Any] | None) -> None:
    """Keep what an audit event at ``index`` was about."""
    changes = differences(before, cleaning.description(row)) if kind != "withdrawn" else []
    session.add(ResourceChange(index=index, resource_id=row.id, kind=kind, changes=changes))
    session.flush()


def history(session: Session, actor: Actor, resource_id: str, *, before: int | None = None, limit: int = 50) -> list[ResourceChange]:
    """The changes of one resource, newest first, older than the event ``before``."""
    query = select(ResourceChange).where(ResourceChange.resource_id == resource_id)
    if before is not None:
        query = query.where(col(ResourceChange.index) < before)
    return list(session.exec(query.order_by(col(ResourceChange.index).desc()).limit(max(1, min(limit, MAX_PAGE)))))


def changes(session: Session, actor: Actor, *, after: int = -1, limit: int = 50) -> list[tuple[ResourceChange, DataResource]]:
    """Changes of all resources since the event ``after``, oldest first, each with the resource as it is now.

    Appending to the log lines transactions up, so whoever asks again after the last index it saw misses nothing.
    """
    rows = session.exec(select(ResourceChange, DataResource).join(
        DataResource, col(DataResource.id) == col(ResourceChange.resource_id)).where(col(ResourceChange.index) > after)
        .order_by(col(ResourceChange.index)).limit(max(1, min(limit, MAX_PAGE))))
    return [(change, row) for change, row in rows]


def newest(session: Session, actor: Actor, *, limit: int = 50) -> list[tuple[ResourceChange, DataResource]]:
    """The newest changes of all resources, newest first."""
    rows = session.exec(select(ResourceChange, DataResource).join(
        DataResource, col(DataResource.id) == col(ResourceChange.resource_id))
        .order_by(col(ResourceChange.index).desc()).limit(max(1, min(limit, MAX_PAGE))))
    return [(change, row) for change, row in rows]
