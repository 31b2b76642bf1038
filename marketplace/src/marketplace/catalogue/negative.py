"""The negative list (负面清单): what can be authorised to nobody, whoever asks. It is public, as is every version of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.catalogue import rules
from marketplace.catalogue.claims import checked_reason
from marketplace.catalogue.errors import NEGATIVE_HIT, NEGATIVE_INVALID, NEGATIVE_PAST, NEGATIVE_TOO_WIDE
from marketplace.catalogue.models import DataResource, NegativeEntry, NegativeVersion
from marketplace.catalogue.rules import Hit
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

_EFFECTIVE: Final = "negative.effective"
MAX_PATTERN: Final = 120

Grants = Callable[[Session], Mapping[str, Mapping[str, Sequence[str]]]]

GRANTS: Final[list[Grants]] = []
"""Who can tell what is granted: grant id → resource id → columns, of the grants in force."""


def grants_in_force(told: Grants) -> Grants:
    """Register who tells which grants are in force, so that those a new entry hits can be reported."""
    GRANTS.append(told)
    return told


# --- what the authority decides ---


def enter(session: Session, actor: Actor, *, kind: str, reason: str, resource_id: str | None = None, column: str = "",
          field: str = "", pattern: str = "", effective_from: dt.datetime | None = None) -> NegativeEntry:
    """Put something on the negative list; grants in force that it hits are reported to the authority when it takes effect.

    Args:
        kind: ``resource`` (``resource_id``), ``column`` (with ``column``), or ``pattern`` (``field`` and ``pattern``, where ``*``
            stands for anything: see :func:`.rules.fits`).
        effective_from: aware; now if not given.

    Raises:
        ProblemError: ``not_signed_in``, ``not_allowed``, ``not_found``, ``negative_entry_invalid``, ``negative_entry_too_wide``,
            ``negative_entry_past``, ``catalogue_reason_invalid``.
    """
    rules.ENTER.require(actor)
    body = _checked(session, kind=kind, reason=reason, resource_id=resource_id, column=column, field=field, pattern=pattern,
                    effective_from=effective_from)
    row = NegativeEntry(id=new_id("neg"), **body)
    session.add(row)
    session.flush()
    return _written(session, actor, row, Tag.NEGATIVE_ENTERED)


def revise(session: Session, actor: Actor, entry_id: str, **changes: Any) -> NegativeEntry:
    """Decide an entry anew as its next version; what is not given stays. See :func:`enter` for arguments and errors.

    Raises:
        ProblemError: as :func:`enter`, and ``wrong_state`` for a withdrawn entry.
    """
    row = _locked(session, entry_id)
    step = rules.NEGATIVE_ENTRY.check("revise", row.status, actor)
    kept = {name: getattr(row, name) for name in ("kind", "reason", "resource_id", "column", "field", "pattern")}
    if row.effective_from > utc_now():
        kept["effective_from"] = row.effective_from
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("kind", row.kind) != row.kind:
        kept |= {"resource_id": None, "column": "", "field": "", "pattern": ""}
    for name, value in _checked(session, **{**kept, **given}).items():
        setattr(row, name, value)
    row.version += 1
    assert step.event is not None
    return _written(session, actor, row, step.event)


def withdraw(session: Session, actor: Actor, entry_id: str, reason: str) -> NegativeEntry:
    """Take an entry off the list, with the reason as its last version. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = _locked(session, entry_id)
    step = rules.NEGATIVE_ENTRY.check("withdraw", row.status, actor)
    row.status, row.reason, row.version = step.target, checked_reason(reason), row.version + 1
    deadlines.cancel(session, row.id)
    assert step.event is not None
    return _written(session, actor, row, step.event)


def _locked(session: Session, entry_id: str) -> NegativeEntry:
    row = session.get(NegativeEntry, entry_id, with_for_update=True)
    if row is None:
        raise ProblemError("not_found", what="negative_entry")
    return row


def _checked(session: Session, *, kind: str, reason: str, resource_id: str | None, column: str, field: str, pattern: str,
             effective_from: dt.datetime | None = None) -> dict[str, Any]:
    def need(ok: bool, name: str) -> None:
        if not ok:
            raise ProblemError(NEGATIVE_INVALID, field=name)

    need(kind in ("resource", "column", "pattern"), "kind")
    reason, column, pattern = checked_reason(reason), column.strip(), pattern.strip()
    now = utc_now()
    if effective_from is not None and effective_from < now - dt.timedelta(minutes=5):
        raise ProblemError(NEGATIVE_PAST, field="effective_from")
    body: dict[str, Any] = {"kind": kind, "reason": reason, "resource_id": None, "column": "", "field": "", "pattern": "",
                            "effective_from": max(effective_from or now, now)}
    if kind == "pattern":
        need(field in rules.PATTERN_FIELDS, "field")
        need(len(pattern) <= MAX_PATTERN and pattern.isprintable() and storable(pattern), "pattern")
        if len(pattern.replace("*", "").strip()) < 2:
            raise ProblemError(NEGATIVE_TOO_WIDE, field="pattern", pattern=pattern)
        return body | {"field": field, "pattern": pattern}
    row = session.get(DataResource, resource_id) if resource_id and storable(resource_id) else None
    if row is None:
        raise ProblemError("not_found", what="resource")
    if kind == "column":
        need(any(each["name"] == column for each in row.columns), "column")
    return body | {"resource_id": row.id, "column": column if kind == "column" else ""}


def _written(session: Session, actor: Actor, row: NegativeEntry, tag: Tag) -> NegativeEntry:
    body = {name: getattr(row, name) for name in ("kind", "resource_id", "column", "field", "pattern", "reason", "status")}
    session.add(row)
    session.add(NegativeVersion(entry_id=row.id, version=row.version, decided_by=actor.label,
                                body={**body, "effective_from": row.effective_from.isoformat()}))
    session.flush()
    if row.status == "active" and row.effective_from <= utc_now():
        _report(session, row)
    elif row.status == "active":
        deadlines.put(session, _EFFECTIVE, row.id, row.effective_from)
    trust.append(session, tag, actor, row.id, related=[row.resource_id] if row.resource_id else [], data={"version": row.version})
    return row


@deadlines.on(_EFFECTIVE)
def _takes_effect(session: Session, due: Deadline) -> None:
    row = session.get(NegativeEntry, due.subject)
    if row is not None and row.status == "active" and row.effective_from <= utc_now():
        _report(session, row)


def _report(session: Session, entry: NegativeEntry) -> None:
    """Tell the authority which grants in force name what is barred now."""
    hit = grants_hit(session, entry.id)
    if not hit:
        return
    shown = ", ".join(hit[:5]) + (" …" if len(hit) > 5 else "")
    for authority in parties.organisations_of_kind(session, "data_authority"):
        notices.tell(session, authority, NEGATIVE_HIT, entry.id, role="reviewer", count=len(hit), grants=shown)


# --- asking ---


def negative_hits(session: Session, asked: Mapping[str, Sequence[str]]) -> list[Hit]:
    """What the entries in effect bar of the columns asked for, by resource id; two queries, however many there are."""
    entries = session.exec(select(NegativeEntry).where(
        NegativeEntry.status == "active", col(NegativeEntry.effective_from) <= utc_now()).order_by(col(NegativeEntry.id))).all()
    return _hits(session, entries, asked)


def grants_hit(session: Session, entry_id: str) -> list[str]:
    """The grants in force that name what one entry bars, whether or not it is in effect yet."""
    entry = session.get_one(NegativeEntry, entry_id)
    granted = {grant: asked for told in GRANTS for grant, asked in told(session).items()}
    everything: dict[str, set[str]] = {}
    for asked in granted.values():
        for resource_id, columns in asked.items():
            everything.setdefault(resource_id, set()).update(columns)
    barred = {(hit.resource_id, hit.column) for hit in _hits(session, [entry], {key: sorted(value) for key, value in everything.items()})}
    return sorted(grant for grant, asked in granted.items() if any(
        (resource_id, None) in barred or any((resource_id, column) in barred for column in columns)
        for resource_id, columns in asked.items()))


def _hits(session: Session, entries: Iterable[NegativeEntry], asked: Mapping[str, Sequence[str]]) -> list[Hit]:
    entries = list(entries)
    if not entries or not asked:
        return []
    rows = session.exec(select(DataResource).where(col(DataResource.id).in_(asked.keys())).order_by(col(DataResource.id)))
    return [hit for row in rows for hit in rules.hits(entries, row, asked[row.id])]


def get_negative(session: Session, actor: Actor, entry_id: str) -> tuple[NegativeEntry, list[NegativeVersion], list[str]]:
    """An entry, its versions (newest first) and what this actor may do with it. Raises ``not_found``."""
    row = session.get(NegativeEntry, entry_id)
    if row is None:
        raise ProblemError("not_found", what="negative_entry")
    versions = list(session.exec(select(NegativeVersion).where(NegativeVersion.entry_id == entry_id)
                                 .order_by(col(NegativeVersion.version).desc()).limit(200)))
    return row, versions, rules.NEGATIVE_ENTRY.possible(row.status, actor)


def list_negative(session: Session, actor: Actor, *, status: str | None = None, resource_id: str | None = None,
                  cursor: str | None = None, limit: int = 20) -> Page[NegativeEntry]:
    """Entries of the negative list, newest first."""
    limit = clamp(limit)
    query = select(NegativeEntry).order_by(col(NegativeEntry.id).desc()).limit(limit + 1)
    if status:
        query = query.where(NegativeEntry.status == status)
    if resource_id:
        query = query.where(NegativeEntry.resource_id == resource_id)
    if cursor:
        query = query.where(col(NegativeEntry.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), limit, lambda row: (row.id,))
