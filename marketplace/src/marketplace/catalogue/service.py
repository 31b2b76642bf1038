"""Use cases of the catalogue: what the departments' nodes have registered, and finding it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from sqlalchemy import ColumnElement, Integer, String, and_, case, cast, func, or_
from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.catalogue import rules
from marketplace.catalogue.errors import BAD_RESOURCE_CURSOR
from marketplace.catalogue.models import DataResource
from marketplace.db import storable, utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

Sort = Literal["relevance", "title", "newest", "rows"]


class LinkedNode(Protocol):
    """What the catalogue needs to know of a node."""

    @property
    def id(self) -> str: ...
    @property
    def organisation_id(self) -> str: ...


def sync_resources(session: Session, node: LinkedNode, resources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Make the catalogue equal to a node's complete list: register, change, withdraw, each with its event.

    Args:
        resources: dicts of link.proto's Resource; see :func:`.rules.clean_resource`.

    Returns:
        resource name → resource id, for the active ones.

    Raises:
        ProblemError: ``resource_invalid``; nothing is changed then.
    """
    cleaned = {item["name"]: item for item in map(rules.clean_resource, resources)}
    rows = {row.name: row for row in session.exec(
        select(DataResource).where(DataResource.node_id == node.id).order_by(col(DataResource.id)).with_for_update())}
    for name, item in cleaned.items():
        row = rows.get(name)
        if row is None:
            rows[name] = row = DataResource(id=new_id("res"), node_id=node.id, organisation_id=node.organisation_id,
                                            **item)
            tag = Tag.RESOURCE_REGISTERED
        elif row.status != "active":
            row.status, tag = "active", Tag.RESOURCE_REGISTERED
        elif rules.description(row) != item:
            tag = Tag.RESOURCE_CHANGED
        else:
            continue
        for key, value in item.items():
            setattr(row, key, value)
        row.updated_at = utc_now()
        session.add(row)
        session.flush()
        trust.append(session, tag, SYSTEM, row.id, related=[node.id, node.organisation_id],
                     data={"digest": rules.digest(item)})
    for name, row in rows.items():
        if name not in cleaned and row.status == "active":
            row.status, row.updated_at = "withdrawn", utc_now()
            session.add(row)
            session.flush()
            trust.append(session, Tag.RESOURCE_WITHDRAWN, SYSTEM, row.id, related=[node.id, node.organisation_id])
    return {name: row.id for name, row in rows.items() if row.status == "active"}


def list_resources(session: Session, actor: Actor, *, q: str = "", sector: str | None = None,
                   sort: Sort = "relevance", cursor: str | None = None,
                   limit: int = 20) -> tuple[list[DataResource], str | None]:
    """Active resources that match every word of ``q``, and the cursor of the next page (``None`` on the last).

    The catalogue is public: it describes data and holds none.

    Args:
        q: words looked for in names, titles, descriptions and columns.
        sort: ``relevance`` (matches in titles first), ``title``, ``newest`` or ``rows`` (largest first).

    Raises:
        ProblemError: ``bad_resource_cursor``.
    """
    words = [word for word in q.split() if word]
    query = select(DataResource).where(DataResource.status == "active")
    if sector:
        query = query.where(DataResource.sector == sector)
    title_match: ColumnElement[Any] = case((and_(True, *[_contains(word, titles=True) for word in words]), 0), else_=1)
    for word in words:
        query = query.where(_contains(word))
    ident: ColumnElement[Any] = col(DataResource.id)  # type: ignore[assignment]
    orders: dict[Sort, list[tuple[Any, bool]]] = {
        "relevance": [(title_match, True), (ident, False)] if words else [(ident, False)],
        "title": [(col(DataResource.title), True), (ident, True)],
        "newest": [(ident, False)],
        "rows": [(col(DataResource.row_count), False), (ident, False)],
    }
    keys = orders[sort]
    if cursor:
        query = query.where(_after(keys, _cursor_values(cursor, sort, [key for key, _ in keys])))
    query = query.order_by(*[key.asc() if up else key.desc() for key, up in keys])
    rows = list(session.exec(query.limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    values = session.execute(select(*[key for key, _ in keys]).where(DataResource.id == last.id)).one()
    body = json.dumps([sort, *values], ensure_ascii=False).encode()
    return rows[:limit], base64.urlsafe_b64encode(body).rstrip(b"=").decode()


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


def resources_of_node(session: Session, node_id: str) -> list[DataResource]:
    """The active resources of one node, by name."""
    return list(session.exec(select(DataResource).where(
        DataResource.node_id == node_id, DataResource.status == "active").order_by(col(DataResource.name))))


def _contains(word: str, *, titles: bool = False) -> ColumnElement[bool]:
    pattern = "%" + word.lower().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    fields: list[Any] = [DataResource.title, DataResource.title_en, DataResource.name]
    if not titles:
        # JSON escapes non-ASCII on SQLite, so columns are found there by their (ASCII) names
        fields += [DataResource.description, DataResource.sector, cast(col(DataResource.columns), String)]
    return or_(*[func.lower(field).like(pattern, escape="\\") for field in fields])


def _after(keys: list[tuple[Any, bool]], values: list[Any]) -> ColumnElement[bool]:
    clauses = []
    for position, (key, up) in enumerate(keys):
        equal = [keys[before][0] == values[before] for before in range(position)]
        clauses.append(and_(*equal, key > values[position] if up else key < values[position]))
    return or_(*clauses)


def _cursor_values(cursor: str, sort: str, keys: list[Any]) -> list[Any]:
    try:
        body = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise ProblemError(BAD_RESOURCE_CURSOR, field="cursor") from None
    if not isinstance(body, list) or len(body) != len(keys) + 1 or body[0] != sort:
        raise ProblemError(BAD_RESOURCE_CURSOR, field="cursor")
    for key, value in zip(keys, body[1:], strict=True):
        # PostgreSQL compares a number with numbers only, and only one that fits
        fits = (type(value) is int and abs(value) < 2**63) if isinstance(key.type, Integer) else (
            isinstance(value, str) and storable(value))
        if not fits:
            raise ProblemError(BAD_RESOURCE_CURSOR, field="cursor")
    return body[1:]
