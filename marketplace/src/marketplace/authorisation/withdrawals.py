"""Withdrawal of a grant by any of those responsible (谁授权谁负责): it stops at once, here and at the nodes.

The data authority signs a revocation for good (:mod:`.revocations`). The others place a hold: the coordinator stops what
runs and starts nothing, and tells the nodes, which obey, for to stop is always allowed. A hold is not signed and can never
allow anything: lifting it only gives back what the signed grant says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Final

from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import service as agreements
from marketplace.agreements.hooks import Afterwards, together
from marketplace.agreements.models import Agreement
from marketplace.authorisation import demands, errors, rules, scenarios, shared, texts
from marketplace.authorisation.models import GrantedLine, GrantHold, GrantRecord, Scenario
from marketplace.db import storable, utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.registration import standing
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

MAX_REASON: Final = 500
_LIVE: Final = ("active", "held")

Withdrawn = Callable[[Session, list[str]], Afterwards]

WITHDRAWN: Final[list[Withdrawn]] = []
"""Called with the ids of grants that somebody responsible has withdrawn or revoked, in that transaction. A hook locks and
changes its own rows; what it has to append to the log it returns, to be called once every hook has its locks."""


def when_withdrawn(function: Withdrawn) -> Withdrawn:
    """Register what a withdrawal means for another domain."""
    WITHDRAWN.append(function)
    return function


def concerned(session: Session, actor: Actor, record: GrantRecord) -> bool:
    """Whether an organisation answers for a grant: the authority, a department with a resource in it, and the industry
    department of its field where it reviewed the demand (modes ``field`` and ``scenario``)."""
    if actor.party == "data_authority":
        return True
    if actor.party == "source_department":
        return session.exec(select(GrantedLine.grant_id).where(
            GrantedLine.grant_id == record.id, GrantedLine.organisation_id == actor.organisation_id)).first() is not None
    if actor.party == "industry_department" and record.mode in ("field", "scenario"):
        sector = session.get_one(Scenario, record.scenario_id).sector
        return scenarios.sector_department(session, sector) == actor.organisation_id
    return False


def may_hold(session: Session, actor: Actor, record: GrantRecord) -> bool:
    """Whether this actor may withdraw this grant now, and has not done so yet."""
    return (record.status in _LIVE and rules.HOLD_GRANT.held(actor) and concerned(session, actor, record)
            and _own(session, actor, record.id) is None)


def withdrawal_actions(session: Session, actor: Actor, record: GrantRecord) -> list[str]:
    """Of ``hold``, ``release`` and ``ask``, what this actor may do with a grant now."""
    out = ["hold"] if may_hold(session, actor, record) else []
    found = _own(session, actor, record.id)
    if found is not None and "release" in hold_actions(actor, found):
        out.append("release")
    if record.status in _LIVE and rules.ASK_WITHDRAWAL.held(actor) and not _holds(session, record.id, "asked"):
        out.append("ask")
    return out


def hold(session: Session, actor: Actor, grant_id: str, reason: str) -> GrantHold:
    """Withdraw a grant until further notice. Twice by one organisation is once.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``grant_not_concerned``, ``wrong_state``, ``hold_reason_missing``.
    """
    rules.HOLD_GRANT.require(actor)
    record = _locked(session, actor, grant_id)
    if not concerned(session, actor, record):
        raise ProblemError(errors.GRANT_NOT_CONCERNED)
    if (known := _own(session, actor, record.id)) is not None:
        return known
    return _place(session, actor, record, _reason(reason))


def _place(session: Session, actor: Actor, record: GrantRecord, reason: str, cause: str = "withdrawn") -> GrantHold:
    made, append = _placed(session, actor, record, reason, cause)
    append()
    return made


def _placed(session: Session, actor: Actor, record: GrantRecord, reason: str, cause: str, agreement_id: str | None = None
            ) -> tuple[GrantHold, Afterwards]:
    """A hold on a locked grant, and its line for the log, to be appended once everything is locked."""
    record.status = rules.GRANT.check("hold", record.status, SYSTEM).target
    made = GrantHold(id=new_id("hold"), grant_id=record.id, organisation_id=actor.organisation_id, party=actor.party,
                     cause=cause, agreement_id=agreement_id, reason=reason, placed_by=actor.label)
    session.add_all([record, made])
    session.flush()
    _tell(session, record, texts.HELD, **shared.named(session, actor.organisation_id), reason=reason)
    related = [made.id, record.organisation_id, *([actor.organisation_id] if actor.organisation_id else [])]
    after = together([hook(session, [record.id]) for hook in WITHDRAWN] if cause == "withdrawn" else [])

    def append() -> None:
        trust.append(session, Tag.GRANT_HELD, actor, record.id, related=related, data={"cause": cause})
        after()

    return made, append


def release(session: Session, actor: Actor, grant_id: str) -> GrantRecord:
    """Lift one's own hold; the grant can be used again once nobody else holds it.

    Raises ``not_found`` (also where there is no own hold), ``not_allowed``, ``wrong_state``.
    """
    record = _locked(session, actor, grant_id)
    found = _own(session, actor, record.id)
    if found is None:
        raise ProblemError("not_found", what="hold")
    _end(session, actor, found, "release")
    _free(session, record)
    trust.append(session, Tag.GRANT_RELEASED, actor, record.id, related=[found.id, record.organisation_id])
    _tell(session, record, texts.RELEASED, **shared.named(session, actor.organisation_id))
    return record


def ask(session: Session, actor: Actor, grant_id: str, reason: str) -> GrantHold:
    """The operator asks the data authority to withdraw a grant.

    Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``hold_reason_missing``.
    """
    rules.ASK_WITHDRAWAL.require(actor)
    record = _locked(session, actor, grant_id)
    if record.status not in _LIVE:
        raise ProblemError("wrong_state", state=record.status, action="ask_withdrawal")
    for known in _holds(session, record.id, "asked"):
        return known
    made = GrantHold(id=new_id("hold"), grant_id=record.id, organisation_id=actor.organisation_id, party=actor.party,
                     status="asked", reason=_reason(reason), placed_by=actor.label)
    session.add(made)
    session.flush()
    trust.append(session, Tag.WITHDRAWAL_ASKED, actor, record.id, related=[made.id, record.organisation_id])
    notices.tell(session, shared.authority(session), texts.WITHDRAWAL_ASKED, record.id, role="reviewer",
                 title=_title(session, record), **shared.named(session, actor.organisation_id),
                 reason=made.reason)
    return made


def decide(session: Session, actor: Actor, hold_id: str, *, follow: bool) -> GrantHold:
    """The authority follows what the operator asked, with a hold of its own, or does not.

    Raises ``not_found``, ``not_allowed``, ``wrong_state``.
    """
    found = session.get(GrantHold, hold_id)
    if found is None:
        raise ProblemError("not_found", what="hold")
    record = _locked(session, actor, found.grant_id)
    session.refresh(found, with_for_update=True)
    _end(session, actor, found, "follow" if follow else "dismiss")
    if follow:
        if _own(session, actor, record.id) is None:
            _place(session, actor, record, found.reason)
    else:
        trust.append(session, Tag.WITHDRAWAL_DISMISSED, actor, record.id, related=[found.id])
    return found


def lock_of_demand(session: Session, demand_id: str | None) -> GrantRecord | None:
    """The grant of an earlier version of a list, locked before anything is written about its next one."""
    if demand_id is None:
        return None
    return session.exec(select(GrantRecord).where(GrantRecord.demand_id == demand_id).with_for_update()).first()


def replace(session: Session, record: GrantRecord) -> None:
    """A newer version of a list is granted: the earlier one's grant, locked, ends, for a scenario has one list."""
    if record.status in _LIVE:
        _place(session, SYSTEM, record, "数据需求清单已有新版本", cause="replaced")


@agreements.when_ended("development")
@agreements.when_ended("operation")
def _agreement_ended(session: Session, agreement: Agreement) -> Afterwards:
    """Demands under an agreement that is over lapse, and its grants stop at the nodes too."""
    after = demands.lapse(session, agreement.id)
    for record in _under(session, agreement):
        if not any(one.cause == "agreement_ended" for one in _holds(session, record.id, "placed")):
            after.append(_placed(session, SYSTEM, record, "协议已终止", "agreement_ended")[1])
    return together(after)


@agreements.when_suspended("development")
@agreements.when_suspended("operation")
def _agreement_suspended(session: Session, agreement: Agreement) -> Afterwards:
    """Grants under an agreement that is suspended stop at the nodes too."""
    return together([
        _placed(session, SYSTEM, record, "协议已中止", "agreement_suspended", agreement.id)[1] for record in _under(session, agreement)])


@agreements.when_resumed("development")
@agreements.when_resumed("operation")
def _agreement_resumed(session: Session, agreement: Agreement) -> Afterwards:
    """What its suspension held can be used again, unless something else holds it: another agreement, or somebody responsible."""
    return together([
        append for record in _under(session, agreement)
        for append in _lifted(session, record, [one for one in _holds(session, record.id, "placed") if one.agreement_id == agreement.id])])


def _under(session: Session, agreement: Agreement) -> list[GrantRecord]:
    """The live grants that rest on an agreement, locked."""
    return list(session.exec(select(GrantRecord).where(
        (GrantRecord.operation_id == agreement.id) | (GrantRecord.agreement_id == agreement.id),
        col(GrantRecord.status).in_(_LIVE)).order_by(col(GrantRecord.id)).with_for_update().execution_options(populate_existing=True)).all())


def _lifted(session: Session, record: GrantRecord, found: list[GrantHold]) -> list[Afterwards]:
    """Lift holds of the market itself, as their cause is gone, and free the grant if nothing else holds it."""
    if not found:
        return []
    for one in found:
        _end(session, SYSTEM, one, "void")
    _free(session, record)
    _tell(session, record, texts.RELEASED, **shared.named(session, None))
    return [functools.partial(trust.append, session, Tag.GRANT_RELEASED, SYSTEM, record.id, related=[found[0].id, record.organisation_id])]


@standing.when_changed
def _standing_changed(session: Session, organisation_id: str, before: str, after: str) -> Afterwards | None:
    """The grants of a grantee that may not take part stop at the nodes too, until it may again."""
    if (before == "active") == (after == "active"):
        return None
    todo: list[Afterwards] = []
    for record in session.exec(select(GrantRecord).where(
            GrantRecord.organisation_id == organisation_id, col(GrantRecord.status).in_(_LIVE)).order_by(col(GrantRecord.id))
            .with_for_update()).all():
        mine = [one for one in _holds(session, record.id, "placed") if one.cause == "standing"]
        if after != "active" and not mine:
            todo.append(_placed(session, SYSTEM, record, "被授权单位资格已中止", "standing")[1])
        elif after == "active":
            todo += _lifted(session, record, mine)
    return together(todo)


def holds(session: Session, actor: Actor, grant_id: str) -> list[GrantHold]:
    """Every hold of a grant the actor may see, the latest first; those lifted too. Raises ``not_found``."""
    record = session.get(GrantRecord, grant_id)
    if record is None or not rules.may_see(actor, record.organisation_id):
        raise ProblemError("not_found", what="grant")
    return list(session.exec(select(GrantHold).where(GrantHold.grant_id == grant_id).order_by(col(GrantHold.id).desc())))


def hold_actions(actor: Actor, found: GrantHold) -> list[str]:
    """What this actor may do with a hold now."""
    return rules.HOLD.possible(found.status, actor, owner=found.organisation_id)


def _locked(session: Session, actor: Actor, grant_id: str) -> GrantRecord:
    record = session.get(GrantRecord, grant_id, with_for_update=True, populate_existing=True)
    if record is None or not rules.may_see(actor, record.organisation_id):
        raise ProblemError("not_found", what="grant")
    return record


def _holds(session: Session, grant_id: str, status: str) -> list[GrantHold]:
    return list(session.exec(select(GrantHold).where(GrantHold.grant_id == grant_id, GrantHold.status == status)
                             .order_by(col(GrantHold.id))))


def _own(session: Session, actor: Actor, grant_id: str) -> GrantHold | None:
    return next((one for one in _holds(session, grant_id, "placed") if one.organisation_id is not None
                 and one.organisation_id == actor.organisation_id), None)


def _end(session: Session, actor: Actor, found: GrantHold, action: str) -> None:
    found.status = rules.HOLD.check(action, found.status, actor, owner=found.organisation_id).target
    found.ended_by, found.ended_at = actor.label, utc_now()
    session.add(found)
    session.flush()


def _free(session: Session, record: GrantRecord) -> None:
    if record.status == "held" and not _holds(session, record.id, "placed"):
        record.status = rules.GRANT.check("release", record.status, SYSTEM).target
        session.add(record)
        session.flush()


def _reason(reason: str) -> str:
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON or not storable(reason):
        raise ProblemError(errors.HOLD_REASON, field="reason")
    return reason


def _title(session: Session, record: GrantRecord) -> str:
    return session.get_one(Scenario, record.scenario_id).title


def _tell(session: Session, record: GrantRecord, kind: str, **params: str) -> None:
    for told in dict.fromkeys([record.organisation_id, shared.authority(session)]):
        notices.tell(session, told, kind, record.id, title=_title(session, record), **params)


@work.source
def _waiting(session: Session, actor: Actor) -> Iterator[work.WorkItem]:
    """What the operator asked the authority to withdraw."""
    if actor.party != "data_authority":
        return
    for found in session.exec(select(GrantHold).where(GrantHold.status == "asked").order_by(col(GrantHold.id))):
        if hold_actions(actor, found):
            record = session.get_one(GrantRecord, found.grant_id)
            yield work.WorkItem("grant.withdrawal", record.id, _title(session, record), "grant:grant_id",
                                record.organisation_id, found.placed_at)
