"""One authoritative source: which departments' columns hold an element, who claims to be its source, and who is.

An element that one department claims has that source without anybody's decision. Claims of two departments are a conflict, which the
authority settles; its decision stands until a department that had not claimed then does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.catalogue import rules
from marketplace.catalogue.errors import (
    ELEMENT_CONTESTED,
    ELEMENT_NOT_CLAIMED,
    ELEMENT_SETTLED,
    REASON_INVALID,
)
from marketplace.catalogue.models import DataResource, Element, ElementClaim, ElementDecision
from marketplace.db import storable, utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

MAX_REASON = 500


@dataclass(frozen=True)
class ElementPage:
    """An element, the columns that hold it with their resources, and what was decided about it, newest first."""

    element: Element
    claims: list[ElementClaim]
    resources: dict[str, DataResource]
    decisions: list[ElementDecision]
    actions: list[str]


# --- what nodes declare ---


def lock(session: Session, resource_ids: Iterable[str], columns: Iterable[Sequence[Mapping[str, Any]]]) -> set[str]:
    """Lock every element that these resources have claimed or now name, and return their names.

    To be called before anything is appended to the audit log.
    """
    ids = set(resource_ids)
    names = set(session.exec(select(ElementClaim.element).where(col(ElementClaim.resource_id).in_(ids), col(ElementClaim.active)))
                ) if ids else set()
    names |= {column["element"] for listed in columns for column in listed if column.get("element")}
    if names:
        dialect: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        session.execute(dialect.insert(Element).on_conflict_do_nothing(),
                        [{"name": name, "status": rules.ELEMENT.initial} for name in sorted(names)])
        list(session.exec(select(Element).where(col(Element.name).in_(names)).order_by(col(Element.name)).with_for_update()))
    return names


def declare(session: Session, row: DataResource) -> None:
    """Take down which elements a resource's columns hold; a withdrawn resource claims nothing."""
    wanted = {column["name"]: column for column in row.columns if column.get("element")} if row.status == "active" else {}
    held = {claim.column: claim for claim in session.exec(select(ElementClaim).where(ElementClaim.resource_id == row.id))}
    for name, column in wanted.items():
        claim = held.get(name)
        if claim is None:
            claim = ElementClaim(id=new_id("claim"), element=column["element"], resource_id=row.id, column=name,
                                 organisation_id=row.organisation_id, source=column["source"])
        elif (claim.element, claim.source, claim.active) != (column["element"], column["source"], True):
            claim.element, claim.source, claim.active, claim.created_at = column["element"], column["source"], True, utc_now()
        session.add(claim)
    for name, claim in held.items():
        if name not in wanted:
            claim.active = False
            session.add(claim)
    session.flush()


def weigh(session: Session, names: Iterable[str]) -> None:
    """Look anew at who is the source of each element; a conflict that arises is told to the authority."""
    for name in sorted(names):
        element = session.get_one(Element, name)
        claims = list(session.exec(select(ElementClaim).where(
            ElementClaim.element == name, col(ElementClaim.active), col(ElementClaim.source)).order_by(col(ElementClaim.created_at),
                                                                                                    col(ElementClaim.id))))
        claimants = {claim.organisation_id for claim in claims}
        there = any((claim.resource_id, claim.column) == (element.resource_id, element.column) for claim in claims)
        before = element.status
        if len(claimants) > 1:
            decided = session.exec(select(ElementDecision).where(ElementDecision.element == name)
                                   .order_by(col(ElementDecision.id).desc())).first() if before == "settled" else None
            if not there:
                element.resource_id = element.column = None
            element.status = "settled" if decided and there and claimants <= set(decided.claimants) else "conflict"
            if element.status == "conflict" and before != "conflict":
                if before == "clear":
                    element.resource_id = element.column = None  # nobody has decided for the first who came
                element.conflict_since = utc_now()
        else:
            element.status, element.conflict_since = ("settled" if before == "settled" and there else "clear"), None
            if not there:
                element.resource_id, element.column = (claims[0].resource_id, claims[0].column) if claims else (None, None)
        session.add(element)
        if element.status != before and element.status == "conflict":
            for authority in parties.organisations_of_kind(session, "data_authority"):
                notices.tell(session, authority, ELEMENT_CONTESTED, name, role="reviewer", element=name)
            trust.append(session, Tag.ELEMENT_CONTESTED, SYSTEM, name, related=sorted(claimants))
        elif element.status != before:
            trust.append(session, Tag.ELEMENT_CLEARED, SYSTEM, name)


# --- what the authority decides ---


def settle_element(session: Session, actor: Actor, name: str, *, resource_id: str, column: str, reason: str) -> Element:
    """Decide which of the claiming columns is an element's authoritative source.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state`` (nothing is contested), ``element_not_claimed``,
            ``catalogue_reason_invalid``.
    """
    element = session.get(Element, name, with_for_update=True)
    if element is None:
        raise ProblemError("not_found", what="element")
    step = rules.ELEMENT.check("settle", element.status, actor)
    reason = checked_reason(reason)
    claims = list(session.exec(select(ElementClaim).where(
        ElementClaim.element == name, col(ElementClaim.active), col(ElementClaim.source)).order_by(col(ElementClaim.id))))
    chosen = next((claim for claim in claims if (claim.resource_id, claim.column) == (resource_id, column)), None)
    if chosen is None:
        raise ProblemError(ELEMENT_NOT_CLAIMED, field="column", column=column, element=name)
    claimants = sorted({claim.organisation_id for claim in claims})
    element.status, element.resource_id, element.column, element.conflict_since = step.target, resource_id, column, None
    decision = ElementDecision(id=new_id("decision"), element=name, resource_id=resource_id, column=column,
                               organisation_id=chosen.organisation_id, claimants=claimants, reason=reason, decided_by=actor.label)
    session.add_all([element, decision])
    for organisation in claimants:
        notices.tell(session, organisation, ELEMENT_SETTLED, name, element=name)
    assert step.event is not None
    trust.append(session, step.event, actor, name, related=[resource_id, *claimants], data={"decision": decision.id})
    return element


def checked_reason(reason: str, most: int = MAX_REASON) -> str:
    """A reason without the space around it. Raises ``catalogue_reason_invalid``."""
    reason = reason.strip()
    if not 1 <= len(reason) <= most or not storable(reason):
        raise ProblemError(REASON_INVALID, field="reason", most=most)
    return reason


# --- reading ---


def get_element(session: Session, actor: Actor, name: str) -> ElementPage:
    """An element with everything about it. It is public. Raises ``not_found``."""
    element = session.get(Element, name) if storable(name) else None
    if element is None:
        raise ProblemError("not_found", what="element")
    claims = list(session.exec(select(ElementClaim).where(ElementClaim.element == name, col(ElementClaim.active))
                               .order_by(col(ElementClaim.source).desc(), col(ElementClaim.id)).limit(200)))
    rows = {row.id: row for row in session.exec(select(DataResource).where(
        col(DataResource.id).in_({claim.resource_id for claim in claims})))} if claims else {}
    decisions = list(session.exec(select(ElementDecision).where(ElementDecision.element == name)
                                  .order_by(col(ElementDecision.id).desc()).limit(100)))
    return ElementPage(element, claims, rows, decisions, [a for a in rules.ELEMENT.possible(element.status, actor) if a == "settle"])


def list_elements(session: Session, actor: Actor, *, status: str | None = None, cursor: str | None = None,
                  limit: int = 20) -> Page[Element]:
    """Elements by name; ``status`` ``conflict`` gives those that wait for a decision."""
    limit = clamp(limit)
    query = select(Element).order_by(col(Element.name)).limit(limit + 1)
    if status:
        query = query.where(Element.status == status)
    if cursor:
        query = query.where(col(Element.name) > decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), limit, lambda row: (row.name,))


@dataclass(frozen=True)
class Standing:
    """What a column is for the element it holds.

    Attributes:
        role: ``authoritative``, ``contested`` (claimed, and not decided), ``other`` (somebody else is the source, or nobody yet).
        source: resource and column of the authoritative source, where there is one.
    """

    element: str
    role: str
    source: tuple[str, str] | None


def standings(session: Session, resources: Iterable[DataResource]) -> dict[tuple[str, str], Standing]:
    """By (resource id, column): what each column that holds an element is for it. A demand for one that is not authoritative warns."""
    wanted = {(row.id, column["name"]): column for row in resources for column in row.columns if column.get("element")}
    names = {column["element"] for column in wanted.values()}
    found = {row.name: row for row in session.exec(select(Element).where(col(Element.name).in_(names)))} if names else {}
    out = {}
    for key, column in wanted.items():
        element = found.get(column["element"])
        source = (element.resource_id, element.column) if element and element.resource_id and element.column else None
        role = "authoritative" if source == key else (
            "contested" if column.get("source") and element is not None and element.status == "conflict" else "other")
        out[key] = Standing(column["element"], role, source)
    return out


@work.source
def _conflicts(session: Session, actor: Actor) -> Iterable[work.WorkItem]:
    if "settle" not in rules.ELEMENT.possible("conflict", actor):
        return []
    rows = session.exec(select(Element).where(Element.status == "conflict").order_by(col(Element.conflict_since)).limit(100))
    return [work.WorkItem("element.settle", row.name, row.name, "element:name", actor.organisation_id or "",
                          row.conflict_since or utc_now()) for row in rows]
