"""The departments whose resources make the catalogue: who they are, and which offices answer for their data. All of it is public."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, func, select

from marketplace.actor import Actor
from marketplace.catalogue.models import DataResource, ResourceCount
from marketplace.db import storable
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from shuyan.problems import ProblemError

_KIND: Final = "source_department"
_MOST_STEWARDS: Final = 200


@dataclass(frozen=True)
class Department:
    """A source department as the public sees it.

    Attributes:
        resources: how many active ones it has.
        stewards: the offices that answer for them, with how many each, the most first; of a list of departments: none.
    """

    id: str
    name_zh: str
    name_en: str
    credit_code: str | None
    status: str
    resources: int
    stewards: tuple[tuple[str, int], ...] = ()


def get_department(session: Session, actor: Actor, organisation_id: str) -> Department:
    """One department. Raises ``not_found``, also for organisations of another kind."""
    row = parties.organisations_by_id(session, [organisation_id]).get(organisation_id) if storable(organisation_id) else None
    if row is None or row.kind != _KIND:
        raise ProblemError("not_found", what="organisation")
    stewards = session.exec(select(DataResource.steward, func.count()).where(
        DataResource.organisation_id == row.id, DataResource.status == "active", DataResource.steward != "")
        .group_by(DataResource.steward).order_by(func.count().desc(), DataResource.steward).limit(_MOST_STEWARDS))
    return Department(row.id, row.name_zh, row.name_en, row.credit_code, row.status, _counts(session, [row.id]).get(row.id, 0),
                      tuple((steward, count) for steward, count in stewards))


def list_departments(session: Session, actor: Actor, *, cursor: str | None = None, limit: int = 20) -> Page[Department]:
    """Departments by id; three queries, however many there are."""
    limit = clamp(limit)
    after = decode_cursor(cursor, 1, str)[0] if cursor else None
    rows = parties.list_organisations(session, kind=_KIND, after=after, limit=limit + 1)
    counts = _counts(session, [row.id for row in rows])
    return make_page([Department(row.id, row.name_zh, row.name_en, row.credit_code, row.status, counts.get(row.id, 0)) for row in rows],
                     limit, lambda one: (one.id,))


def _counts(session: Session, ids: Iterable[str]) -> dict[str, int]:
    rows = session.exec(select(ResourceCount).where(ResourceCount.facet == "organisation_id", col(ResourceCount.value).in_([*ids])))
    return {row.value: row.count for row in rows}


def steward_mark(steward: str) -> str:
    """The place of an office on its department's page: the fragment of its address."""
    return "steward-" + hashlib.sha256(steward.encode()).hexdigest()[:12]
