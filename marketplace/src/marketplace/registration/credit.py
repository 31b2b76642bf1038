"""Use cases of credit lists: import one, match it with everybody, decide about hits.

Shuozhou, art. 2 (1): whoever takes part is on none of the lists of Credit China, the enterprise credit system and the
procurement network. A credit code that is listed blocks; a mere name is flagged, and a person decides whether it is the same.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import insert
from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.clock import CITY, today
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.parties.models import Organisation
from marketplace.registration import lists, rules, standing, texts
from marketplace.registration.errors import CREDIT_LISTED, LIST_EMPTY, LIST_OLDER
from marketplace.registration.models import CreditEntry, CreditHit, CreditList, Registration
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

_UNTIL = "credit.until"
_CHUNK = 400


@dataclass(frozen=True)
class Imported:
    """What an import did: the list, and how many hits it made, and how many it took away."""

    list: CreditList
    found: int
    removed: int


def import_list(session: Session, actor: Actor, *, kind: str, source: str, published_on: dt.date, data: bytes,
                allow_empty: bool = False) -> Imported:
    """Put a list in force and match it with everybody. The same content twice changes nothing.

    Raises:
        ProblemError: ``not_allowed``, ``invalid_input``, ``credit_list_unreadable``, ``credit_list_invalid``,
            ``credit_list_empty``, ``credit_list_older``.
    """
    rules.IMPORT.require(actor)
    if kind not in rules.LISTS:
        raise ProblemError("invalid_input", field="kind", reason=" | ".join(rules.LISTS))
    source = rules.line(source, "source")
    if published_on > today():
        raise ProblemError("invalid_input", field="published_on", reason=f"≤ {today().isoformat()}")
    entries = lists.parse(data)
    if not entries and not allow_empty:
        raise ProblemError(LIST_EMPTY, field="file")
    parties.of_kinds(session, ("operator",), lock=True)  # one import at a time
    current = session.exec(select(CreditList).where(CreditList.kind == kind, col(CreditList.current))).first()
    digest = "sha256:" + hashlib.sha256(f"{published_on.isoformat()}\n".encode() + data).hexdigest()
    if current is not None and current.digest == digest:
        return Imported(current, 0, 0)
    if current is not None and current.published_on > published_on:
        raise ProblemError(LIST_OLDER, field="published_on", date=current.published_on.isoformat())
    row = CreditList(id=new_id("list"), kind=kind, source=source, published_on=published_on, digest=digest, entries=len(entries),
                     current=True, imported_by=actor.label)
    if current is not None:
        current.current = False
        session.add(current)
    session.add(row)
    session.flush()
    for start in range(0, len(entries), 5000):
        session.execute(insert(CreditEntry), [
            {"list_id": row.id, "name": one.name, "credit_code": one.credit_code, "reason": one.reason, "until": one.until}
            for one in entries[start:start + 5000]])
    found, removed = rematch(session)
    trust.append(session, Tag.CREDIT_IMPORTED, actor, row.id, data={"kind": kind, "digest": digest, "entries": len(entries)})
    return Imported(row, found, removed)


def current_lists(session: Session, actor: Actor) -> list[CreditList]:
    """Every import, newest first. Raises ``not_allowed``."""
    rules.READ_CREDIT.require(actor)
    return list(session.exec(select(CreditList).order_by(col(CreditList.id).desc()).limit(100)))


def hits(session: Session, actor: Actor, *, status: str | None = None, organisation_id: str | None = None) -> list[CreditHit]:
    """Hits, newest first: all for those who keep the lists, one's own for everybody."""
    if organisation_id is None or organisation_id != actor.organisation_id:
        rules.READ_CREDIT.require(actor)
    query = select(CreditHit).order_by(col(CreditHit.id).desc()).limit(500)
    if status:
        query = query.where(CreditHit.status == status)
    if organisation_id:
        query = query.where(CreditHit.organisation_id == organisation_id)
    return list(session.exec(query))


def blocking(session: Session, organisation_id: str) -> list[CreditHit]:
    """The hits that stand against an organisation: on a list by its code, or off it but not reviewed yet."""
    return list(session.exec(select(CreditHit).where(
        CreditHit.organisation_id == organisation_id, col(CreditHit.status).in_(("blocking", "removed"))).order_by(col(CreditHit.id))))


def listed(session: Session, hit: CreditHit, organisation: Organisation) -> dict[str, Any]:
    """A hit as the arguments of ``credit_listed``."""
    found = session.get_one(CreditList, hit.list_id)
    return {"name": organisation.name_zh, "list": rules.LISTS[hit.kind][0], "source": found.source,
            "date": found.published_on.isoformat(), "reason": hit.reason or "–"}


def require_clear(session: Session, organisation_id: str) -> None:
    """Match an organisation anew. Raises ``credit_listed`` while a hit stands against it."""
    rematch(session, [organisation_id])
    if found := blocking(session, organisation_id):
        raise ProblemError(CREDIT_LISTED, **listed(session, found[0], parties.get_organisation(session, organisation_id)))


def code_listed(session: Session, code: str) -> tuple[CreditEntry, CreditList] | None:
    """The entry of a list in force that names this credit code today."""
    in_force = {one.id: one for one in session.exec(select(CreditList).where(col(CreditList.current)))}
    for entry in session.exec(select(CreditEntry).where(CreditEntry.credit_code == code, col(CreditEntry.list_id).in_(list(in_force)))):
        if entry.until is None or entry.until >= today():
            return entry, in_force[entry.list_id]
    return None


def require_code_clear(session: Session, code: str, name: str) -> None:
    """Raises ``credit_listed`` if a list in force names this credit code: for those who are no organisation of the market."""
    if found := code_listed(session, code):
        raise ProblemError(CREDIT_LISTED, name=name, list=rules.LISTS[found[1].kind][0], source=found[1].source,
                           date=found[1].published_on.isoformat(), reason=found[0].reason or "–")


def decide(session: Session, actor: Actor, hit_id: str, action: Literal["confirm", "dismiss", "lift"], note: str) -> CreditHit:
    """Decide whether a flagged organisation is the listed one, or let one go on that is off its list.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``reason_needed``.
    """
    row = session.get(CreditHit, hit_id)
    if row is None:
        raise ProblemError("not_found", what="credit_hit")
    organisation = parties.lock_organisation(session, row.organisation_id)
    row = session.get_one(CreditHit, hit_id, with_for_update=True, populate_existing=True)
    step = rules.HIT.check(action, row.status, actor)
    row.status, row.decided_by, row.note, row.changed_at = step.target, actor.label, rules.reason(note), utc_now()
    session.add(row)
    session.flush()
    if row.status == "blocking":
        hold_up(session, organisation, row)
    elif row.status == "lifted":
        _let_go(session, organisation)
    trust.append(session, Tag.CREDIT_DECIDED, actor, row.id, related=[organisation.id], data={"status": row.status})
    return row


# --- matching ---


def rematch(session: Session, organisation_ids: Iterable[str] | None = None) -> tuple[int, int]:
    """Match the lists in force with some organisations or with all that take part or want to; (hits made, hits taken away)."""
    rows = parties.of_kinds(session, rules.PARTIES) if organisation_ids is None else list(
        parties.organisations_by_id(session, organisation_ids).values())
    rows = sorted((row for row in rows if row.status not in ("ended", "barred")), key=lambda row: row.id)
    in_force = {one.id: one for one in session.exec(select(CreditList).where(col(CreditList.current)))}
    by_code = _entries(session, CreditEntry.credit_code, [row.credit_code for row in rows if row.credit_code], in_force)
    by_name = _entries(session, CreditEntry.name, [row.name_zh for row in rows], in_force)
    known: dict[tuple[str, str], list[CreditHit]] = {}
    for hit in session.exec(select(CreditHit).order_by(col(CreditHit.id))):
        known.setdefault((hit.organisation_id, hit.kind), []).append(hit)
    made = gone = 0
    for row in rows:
        for kind in rules.LISTS:
            exact = by_code.get((row.credit_code or "", kind))
            # another company of the same name has another code
            named = [one for one in by_name.get((row.name_zh, kind), []) if not (one.credit_code and row.credit_code)]
            entry, how = (exact[0], "code") if exact else (named[0], "name") if named else (None, "")
            more, less = _settle(session, row, kind, entry, how, known.get((row.id, kind), []))
            made, gone = made + more, gone + less
    return made, gone


def _entries(session: Session, column: Any, values: Sequence[str], in_force: dict[str, CreditList]) -> dict[tuple[str, str], list[CreditEntry]]:
    out: dict[tuple[str, str], list[CreditEntry]] = {}
    for start in range(0, len(values), _CHUNK):
        for entry in session.exec(select(CreditEntry).where(
                column.in_(values[start:start + _CHUNK]), col(CreditEntry.list_id).in_(list(in_force)))):
            if entry.until is None or entry.until >= today():
                out.setdefault((getattr(entry, column.key), in_force[entry.list_id].kind), []).append(entry)
    return out


def _settle(session: Session, organisation: Organisation, kind: str, entry: CreditEntry | None, how: str,
            known: list[CreditHit]) -> tuple[int, int]:
    """Bring what is known about one organisation and one kind of list in line with what was found."""
    standing_hit = next((hit for hit in known if hit.status in ("flagged", "blocking", "removed")), None)
    if entry is None:
        if standing_hit is None or standing_hit.status == "removed":
            return 0, 0
        _step(session, standing_hit, "remove")
        if standing_hit.status == "removed":
            _tell_keepers(session, organisation, texts.OFF_LIST, standing_hit)
        return 0, 1
    if standing_hit is not None and (standing_hit.status != "flagged" or how == "name"):
        standing_hit.list_id, standing_hit.reason = entry.list_id, entry.reason
        if standing_hit.status == "removed":
            _step(session, standing_hit, "return")
        session.add(standing_hit)
        return 0, 0
    if how == "name" and any(hit.status == "dismissed" for hit in known):
        return 0, 0  # somebody has looked: it is another of the same name
    if standing_hit is not None:
        _step(session, standing_hit, "remove")  # the name is now known to be the company: the code says so
    hit = CreditHit(id=new_id("hit"), organisation_id=organisation.id, kind=kind, list_id=entry.list_id, matched_by=how,
                    reason=entry.reason, status="blocking" if how == "code" else "flagged")
    session.add(hit)
    session.flush()
    if entry.until is not None:
        deadlines.put(session, _UNTIL, hit.id, dt.datetime.combine(entry.until + dt.timedelta(days=1), dt.time(), CITY))
    _tell_keepers(session, organisation, texts.HIT, hit)
    if hit.status == "blocking":
        hold_up(session, organisation, hit)
    trust.append(session, Tag.CREDIT_FOUND, SYSTEM, hit.id, related=[organisation.id], data={"kind": kind, "by": how})
    return 1, 0


def _step(session: Session, hit: CreditHit, action: str) -> None:
    hit.status, hit.changed_at = rules.HIT.check(action, hit.status, SYSTEM).target, utc_now()
    session.add(hit)
    session.flush()


def hold_up(session: Session, organisation: Organisation, hit: CreditHit) -> None:
    """What a blocking hit means: an active organisation is suspended, a registration on its way is blocked."""
    organisation = parties.lock_organisation(session, organisation.id)
    told = "{list}（{source}，{date}）：{reason}".format_map(listed(session, hit, organisation))
    row = session.exec(select(Registration).where(Registration.organisation_id == organisation.id).with_for_update()
                       .execution_options(populate_existing=True)).first()
    if row is not None and row.status in ("submitted", "checking", "noticed"):
        row.status, row.reason, row.changed_at = rules.REGISTRATION.check("block", row.status, SYSTEM).target, told, utc_now()
        session.add(row)
        notices.withdraw(session, row.id)
        notices.tell(session, organisation.id, texts.BLOCKED, row.id, reason=told)
        trust.append(session, Tag.REGISTRATION_BLOCKED, SYSTEM, row.id, related=[organisation.id])
    if organisation.status == "active":
        standing.change(session, SYSTEM, organisation.id, "suspend", cause="credit", reason=told)


def _let_go(session: Session, organisation: Organisation) -> None:
    """What the last hit's being lifted means."""
    if blocking(session, organisation.id):
        return
    row = session.exec(select(Registration).where(Registration.organisation_id == organisation.id).with_for_update()).first()
    if row is not None and row.status == "blocked":
        row.status, row.reason, row.changed_at = rules.REGISTRATION.check("unblock", row.status, SYSTEM).target, "", utc_now()
        session.add(row)
        notices.tell(session, organisation.id, texts.UNBLOCKED, row.id)
        trust.append(session, Tag.REGISTRATION_UNBLOCKED, SYSTEM, row.id, related=[organisation.id])
    if organisation.status == "suspended" and standing.last_cause(session, organisation.id) == "credit":
        standing.change(session, SYSTEM, organisation.id, "resume", cause="credit")


def _tell_keepers(session: Session, organisation: Organisation, kind: str, hit: CreditHit) -> None:
    for keeper in parties.of_kinds(session, ("operator", "data_authority")):
        notices.tell(session, keeper.id, kind, hit.id, role="reviewer", name=organisation.name_zh, name_en=organisation.name_en)


@deadlines.on(_UNTIL)
def _until(session: Session, due: Deadline) -> None:
    """The last day of an entry is over: look again."""
    hit = session.get(CreditHit, due.subject)
    if hit is not None:
        rematch(session, [hit.organisation_id])


@work.source
def _waiting(session: Session, actor: Actor) -> Iterable[work.WorkItem]:
    if not rules.READ_CREDIT.held(actor):
        return
    for status, kind in (("flagged", "credit.compare"), ("removed", "credit.lift")):
        if not {"confirm", "lift"} & set(rules.HIT.possible(status, actor)):
            continue
        rows = hits(session, actor, status=status)
        names = parties.organisations_by_id(session, [row.organisation_id for row in rows])
        for row in rows:
            name = names[row.organisation_id]
            yield work.WorkItem(kind, row.id, name.name_zh, "credit", row.organisation_id, row.changed_at, title_en=name.name_en)
