"""What a department's node has registered, taken over into the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from sqlalchemy import func, text
from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM
from marketplace.catalogue import claims, cleaning, feed, quality, rules
from marketplace.catalogue.index import Indexing
from marketplace.catalogue.models import DataResource, ResourceIndex
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.settings import settings
from marketplace.trust import service as trust

_CODES_LOCK: Final = 7239472


class LinkedNode(Protocol):
    """What the catalogue needs to know of a node."""

    @property
    def id(self) -> str: ...
    @property
    def organisation_id(self) -> str: ...


def sync_resources(session: Session, node: LinkedNode, resources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Make the catalogue equal to a node's complete list: register, change, measure, withdraw, each with its event.

    Args:
        resources: dicts of link.proto's Resource; see :func:`.cleaning.clean_resource`.

    Returns:
        resource name → resource id, for the active ones.

    Raises:
        ProblemError: ``resource_invalid``; nothing is changed then.
    """
    cleaned = {item["name"]: item for item in map(cleaning.clean_resource, resources)}
    rows = {row.name: row for row in session.exec(
        select(DataResource).where(DataResource.node_id == node.id).order_by(col(DataResource.id)).with_for_update())}
    elements = claims.lock(session, [row.id for row in rows.values()], [item["columns"] for item in cleaned.values()])
    codes = _Codes(session)
    if cleaned.keys() - {row.name for row in rows.values() if row.code}:
        codes.lock()  # as everything else that is locked: before the first event
    least = quality.thresholds()
    index = Indexing(session, parties.get_organisation(session, node.organisation_id), least)
    unlisted = _unlisted(session, node.id)
    for name, item in cleaned.items():
        row = rows.get(name)
        before = cleaning.description(row) if row is not None else None
        measured = row is None or row.profile != item["profile"]
        if row is None:
            rows[name] = row = DataResource(id=new_id("res"), node_id=node.id, organisation_id=node.organisation_id, **item)
            tag = Tag.RESOURCE_REGISTERED
        elif row.status != "active":
            row.status, tag = "active", Tag.RESOURCE_REGISTERED
        elif before != {key: item[key] for key in cleaning.FIELDS}:
            tag = Tag.RESOURCE_CHANGED
        elif measured:
            tag = Tag.QUALITY_MEASURED
        else:
            if row.id in unlisted:
                index.put(row, 0)
            continue
        for key, value in item.items():
            setattr(row, key, value)
        if row.code is None:
            row.code = codes.next()
        row.updated_at = utc_now()
        session.add(row)
        session.flush()
        if measured:
            quality.take_down(session, row, least)
        if tag == Tag.QUALITY_MEASURED:
            at = trust.append(session, tag, SYSTEM, row.id, related=[node.organisation_id],
                              data={"digest": cleaning.digest(item["profile"] or {})})
        else:
            at = trust.append(session, tag, SYSTEM, row.id, related=[node.id, node.organisation_id],
                              data={"digest": cleaning.digest({**item, "code": row.code})})
            feed.note(session, row, at, "registered" if tag == Tag.RESOURCE_REGISTERED else "changed", before)
            claims.declare(session, row)
        index.put(row, at)
    for name, row in rows.items():
        if name not in cleaned and row.status == "active":
            row.status, row.updated_at = "withdrawn", utc_now()
            session.add(row)
            session.flush()
            at = trust.append(session, Tag.RESOURCE_WITHDRAWN, SYSTEM, row.id, related=[node.id, node.organisation_id])
            feed.note(session, row, at, "withdrawn", None)
            claims.declare(session, row)
            index.put(row, at)
    claims.weigh(session, elements)
    index.finish()
    return {name: row.id for name, row in rows.items() if row.status == "active"}


def _unlisted(session: Session, node_id: str) -> set[str]:
    """Active resources that no search finds yet: they were registered before there was an index."""
    return set(session.exec(select(DataResource.id).outerjoin(
        ResourceIndex, col(ResourceIndex.resource_id) == col(DataResource.id)).where(
            DataResource.node_id == node_id, DataResource.status == "active", col(ResourceIndex.number).is_(None))))


class _Codes:
    """Registration codes, the serials of a year without a gap or a double."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._serial: int | None = None

    def lock(self) -> None:
        if self._session.get_bind().dialect.name == "postgresql":
            self._session.execute(text(f"SELECT pg_advisory_xact_lock({_CODES_LOCK})"))

    def next(self) -> str:
        city, year = settings().city_code, rules.year_of(utc_now())
        if self._serial is None:
            last = self._session.exec(select(func.max(col(DataResource.code))).where(
                col(DataResource.code).like(f"{city}-{year}-{rules.RESOURCE_KIND}-%"))).one()
            self._serial = rules.serial_of(last)
        self._serial += 1
        return rules.registration_code(city, year, self._serial)
