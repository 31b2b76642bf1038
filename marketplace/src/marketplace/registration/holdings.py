"""Use cases of ownership: who declares to hold what of whom, and who is thereby kept from the second tier.

Guizhou (2025), part 3 (5): the operator takes part neither directly nor indirectly in redeveloping the data products of what it
was authorised for, so that the market stays fair. Indirectly is: through organisations that it controls.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from sqlmodel import Session, col, or_, select

from marketplace.actor import SYSTEM, Actor
from marketplace.clock import CITY, today
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import rules as party_rules
from marketplace.parties import service as parties
from marketplace.parties.models import Organisation
from marketplace.registration import control, rules, standing
from marketplace.registration.control import WHOLE, Holding
from marketplace.registration.errors import (
    BARRED_CONTROLLED,
    BARRED_SELF,
    PERIOD_INVALID,
    SHARE_INVALID,
    SHARES_EXCEED,
)
from marketplace.registration.models import Shareholding
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

_BEGINS = "ownership.begins"

Declared = Shareholding
"""A declaration, for those who show it."""


@dataclass(frozen=True)
class Controller:
    """The operator that controls somebody, and the declared holdings by which it does, from the operator down."""

    operator: Organisation
    chain: list[Shareholding]


def declare(session: Session, actor: Actor, *, owner_code: str, owner_name: str, share_bp: int, since: dt.date,
            until: dt.date | None = None, owned_code: str = "", owned_name: str = "", organisation_id: str = "") -> Shareholding:
    """Declare a holding: by default of one's own organisation; also one further up or down the chain.

    Args:
        share_bp: basis points, 1 to 10000.
        owned_code: whose shares these are; "" for the declaring organisation.
        organisation_id: for whom the authority declares; "" for oneself.

    Raises:
        ProblemError: ``not_allowed``, ``bad_credit_code``, ``shareholding_invalid``, ``shares_exceed_whole``, ``period_invalid``.
    """
    owner = organisation_id or actor.organisation_id or ""
    if not rules.DECLARE_FOR.held(actor):
        rules.DECLARE.require(actor, owner=owner)
    # Whoever decides about control holds the operators: of two declarations at once the later sees the earlier.
    parties.of_kinds(session, ("operator",), lock=True)
    declarer = parties.get_organisation(session, owner)
    if not owned_code:
        if declarer.credit_code is None:
            raise ProblemError(SHARE_INVALID, field="owned_code", reason="GB 32100-2015")
        owned_code, owned_name = declarer.credit_code, declarer.name_zh
    codes = [party_rules.check_credit_code(code) for code in (owner_code, owned_code)]
    if codes[0] == codes[1]:
        raise ProblemError(SHARE_INVALID, field="owner_code", reason=codes[0])
    if not 1 <= share_bp <= WHOLE:
        raise ProblemError(SHARE_INVALID, field="share_bp", reason=f"1–{WHOLE}")
    if until is not None and until < since:
        raise ProblemError(PERIOD_INVALID, field="until")
    row = Shareholding(id=new_id("share"), organisation_id=owner, owner_code=codes[0], owner_name=rules.line(owner_name, "owner_name"),
                       owned_code=codes[1], owned_name=rules.line(owned_name, "owned_name"), share_bp=share_bp, since=since, until=until,
                       declared_by=actor.label)
    _check_sum(session, row)
    session.add(row)
    session.flush()
    if since > today():
        deadlines.put(session, _BEGINS, row.id, dt.datetime.combine(since, dt.time(), CITY))
    trust.append(session, Tag.SHAREHOLDING_DECLARED, actor, row.id, related=[owner],
                 data={"owner": row.owner_code, "owned": row.owned_code, "share": share_bp})
    apply(session)
    return row


def _check_sum(session: Session, row: Shareholding) -> None:
    others = session.exec(select(Shareholding).where(
        Shareholding.organisation_id == row.organisation_id, Shareholding.owned_code == row.owned_code)).all()
    for day in sorted({row.since, *(one.since for one in others if one.since >= row.since)}):
        if row.until is None or day <= row.until:
            total = row.share_bp + sum(one.share_bp for one in others if _holds(one, day))
            if total > WHOLE:
                raise ProblemError(SHARES_EXCEED, field="share_bp", owned=row.owned_name, date=day.isoformat(), percent=f"{total / 100:g}")


def end_holding(session: Session, actor: Actor, holding_id: str, last_day: dt.date) -> Shareholding:
    """Declare that a holding ends, or never was if its last day is before its first.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``shareholding_invalid`` if it ended already.
    """
    row = session.get(Shareholding, holding_id, with_for_update=True)
    if row is None:
        raise ProblemError("not_found", what="shareholding")
    if not rules.DECLARE_FOR.held(actor):
        rules.DECLARE.require(actor, owner=row.organisation_id)
    if row.until is not None and row.until < today():
        raise ProblemError(SHARE_INVALID, field="until", reason=row.until.isoformat())
    row.until = max(last_day, row.since - dt.timedelta(days=1))
    session.add(row)
    trust.append(session, Tag.SHAREHOLDING_ENDED, actor, row.id, related=[row.organisation_id], data={"until": row.until.isoformat()})
    return row


def holdings(session: Session, actor: Actor, organisation_id: str | None = None) -> list[Shareholding]:
    """Declarations, oldest first: one's own, or of anybody for those who supervise."""
    if organisation_id is None or organisation_id != actor.organisation_id:
        rules.READ_OWNERSHIP.require(actor)
    query = select(Shareholding).order_by(col(Shareholding.owned_code), col(Shareholding.id)).limit(2000)
    return list(session.exec(query if organisation_id is None else query.where(Shareholding.organisation_id == organisation_id)))


def declared(session: Session, organisation_id: str) -> list[Shareholding]:
    """What an organisation declares about its own shares now."""
    return [row for row in session.exec(select(Shareholding).where(Shareholding.organisation_id == organisation_id)
                                        .order_by(col(Shareholding.id))) if _holds(row, today())]


def in_force(rows: Iterable[Shareholding]) -> list[Shareholding]:
    """The declarations that hold today; of several of one holding (both sides may declare it) the largest, which is what counts."""
    day, by_pair = today(), dict[tuple[str, str], Shareholding]()
    for row in rows:
        before = by_pair.get((row.owner_code, row.owned_code))
        if _holds(row, day) and (before is None or before.share_bp < row.share_bp):
            by_pair[row.owner_code, row.owned_code] = row
    return list(by_pair.values())


def _holds(row: Shareholding, day: dt.date) -> bool:
    return row.since <= day and (row.until is None or day <= row.until)


def controlled_by_operators(session: Session) -> dict[str, Controller]:
    """By credit code, everybody whom an operator controls today."""
    day = today()
    rows = session.exec(select(Shareholding).where(
        Shareholding.since <= day, or_(col(Shareholding.until).is_(None), col(Shareholding.until) >= day)).order_by(col(Shareholding.id))).all()
    by_pair = {(row.owner_code, row.owned_code): row for row in in_force(rows)}
    plain = [Holding(row.owner_code, row.owned_code, row.share_bp) for row in by_pair.values()]
    out: dict[str, Controller] = {}
    for operator in parties.of_kinds(session, ("operator",)):
        if operator.credit_code:
            found = control.controlled(operator.credit_code, plain, settings().control_share_percent * 100)
            for code in found:
                out.setdefault(code, Controller(operator, [by_pair[one.owner, one.owned] for one in control.chain(code, found)]))
    return out


def controller_of(session: Session, organisation_id: str) -> Controller | None:
    """The operator that controls an organisation, if one does."""
    code = parties.get_organisation(session, organisation_id).credit_code
    return controlled_by_operators(session).get(code) if code else None


def require_second_tier(session: Session, organisation_id: str) -> None:
    """Refuse the second tier to the operator and to whomever it controls.

    Raises:
        ProblemError: ``second_tier_barred``, ``second_tier_controlled`` with the chain of holdings.
    """
    organisation = parties.get_organisation(session, organisation_id)
    if organisation.kind == "operator":
        raise ProblemError(BARRED_SELF)
    found = controller_of(session, organisation_id)
    if found is not None:
        raise ProblemError(BARRED_CONTROLLED, operator=found.operator.name_zh, chain=described(found.chain))


def described(rows: Iterable[Shareholding]) -> str:
    """Holdings in one line."""
    return "；".join(f"{row.owner_name} → {row.owned_name} {row.share_bp / 100:g}%" for row in rows)


def apply(session: Session) -> list[str]:
    """Suspend every active developer that an operator controls now; who was. Hold the operators' rows locked."""
    found = controlled_by_operators(session)
    out = []
    for row in parties.of_kinds(session, ("developer",)) if found else ():
        if row.status == "active" and row.credit_code in found:
            standing.change(session, SYSTEM, row.id, "suspend", cause="control", reason=described(found[row.credit_code].chain))
            out.append(row.id)
    return out


@deadlines.on(_BEGINS)
def _begins(session: Session, due: Deadline) -> None:
    """A holding declared ahead of time begins."""
    parties.of_kinds(session, ("operator",), lock=True)
    apply(session)
