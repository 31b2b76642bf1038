"""Use cases of scenarios: what data may be asked for at all (一场景一授权，无场景不授权).

A scenario is drafted and submitted by an applicant, checked by the operator, and argued by the data authority and the
industry department of its sector, which judge compliance and necessity (Shuozhou plan, 应用场景需求提出与论证).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation import errors, frames, reviews, rules, shared, texts
from marketplace.authorisation.models import GrantRecord, Scenario, ScenarioVersion, SectorDepartment
from marketplace.catalogue.rules import SECTORS
from marketplace.db import storable, utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.paging import Page
from marketplace.parties import service as parties
from marketplace.registration import service as registration
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

MAXIMUM_MONTHS: Final = 36  # 授权期限不超过三年
_LENGTHS: Final = {"title": 120, "purpose": 2000, "necessity": 2000, "benefit": 1000, "effect": 1000}


@dataclass(frozen=True)
class Content:
    """What a scenario says. ``months`` is how long it is to run, at most 36; ``benefit`` explains a public benefit."""

    title: str
    purpose: str
    sector: str
    necessity: str = ""
    public_benefit: bool = False
    benefit: str = ""
    effect: str = ""
    months: int = 12


def propose_scenario(session: Session, actor: Actor, content: Content, *, key: str | None = None) -> Scenario:
    """Draft an application scenario. The same ``key`` is the same draft: a form sent twice makes one.

    Raises:
        ProblemError: ``not_allowed``, ``scenario_invalid``, ``second_tier_controlled`` for a developer that an operator controls.
    """
    rules.PROPOSE.require(actor)
    if actor.organisation_id is None:
        raise ProblemError("not_allowed")
    if actor.party == "developer":
        registration.require_second_tier(session, actor.organisation_id)
    if key is not None and (earlier := session.exec(select(Scenario).where(
            Scenario.organisation_id == actor.organisation_id, Scenario.form_key == key)).first()):
        return earlier
    row = Scenario(id=new_id("scenario"), organisation_id=actor.organisation_id, form_key=key, status=rules.SCENARIO.initial,
                   **_checked(content))
    session.add(row)
    session.flush()
    trust.append(session, Tag.SCENARIO_PROPOSED, actor, row.id, related=[row.organisation_id],
                 data={"sector": row.sector, "public_benefit": row.public_benefit})
    return row


def edit_scenario(session: Session, actor: Actor, scenario_id: str, content: Content) -> Scenario:
    """Change an own draft or returned scenario. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``scenario_invalid``."""
    row = shared.scenario(session, actor, scenario_id, lock=True)
    rules.SCENARIO.check("edit", row.status, actor, owner=row.organisation_id)
    for name, value in _checked(content).items():
        setattr(row, name, value)
    session.add(row)
    return row


def submit_scenario(session: Session, actor: Actor, scenario_id: str) -> Scenario:
    """Put an own scenario forward for the operator's first check; the operator's own goes to the argument at once.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``scenario_invalid`` naming what is missing,
            ``authority_missing``, ``operation_missing``.
    """
    row = shared.scenario(session, actor, scenario_id, lock=True)
    step = rules.SCENARIO.check("submit", row.status, actor, owner=row.organisation_id)
    wanted = ["title", "purpose", "necessity", "effect", *(["benefit"] if row.public_benefit else [])]
    for name in wanted:
        if not getattr(row, name):
            raise ProblemError(errors.SCENARIO_INVALID, field=name, name=name)
    frame = frames.for_sector(session, row.sector)
    if frame is None:
        raise ProblemError(errors.OPERATION_MISSING, field="sector")
    shared.authority(session)
    if row.status == "returned":
        row.version += 1
    row.status, row.submitted_by, row.reason = step.target, actor.label, ""
    content = {name: getattr(row, name) for name in Content.__dataclass_fields__}
    session.add_all([row, ScenarioVersion(id=new_id("scnver"), scenario_id=row.id, version=row.version, content=content)])
    session.flush()
    trust.append(session, Tag.SCENARIO_SUBMITTED, actor, row.id, related=[row.organisation_id],
                 data={"version": row.version, "sector": row.sector, "months": row.months})
    checkers = [] if frame.operator_id == row.organisation_id else [rules.Judge(frame.operator_id, "operator")]
    reviews.ask(session, "scenario", row, "check", checkers)
    return row


def revise_scenario(session: Session, actor: Actor, scenario_id: str) -> Scenario:
    """Take up an accepted scenario as a draft of its next version; grants under it go on as they are.

    Raises ``not_found``, ``not_allowed``, ``wrong_state``.
    """
    row = shared.scenario(session, actor, scenario_id, lock=True)
    row.status = rules.SCENARIO.check("revise", row.status, actor, owner=row.organisation_id).target
    row.version += 1
    session.add(row)
    trust.append(session, Tag.SCENARIO_REVISED, actor, row.id, related=[row.organisation_id], data={"version": row.version})
    return row


def withdraw_scenario(session: Session, actor: Actor, scenario_id: str) -> Scenario:
    """Withdraw an own scenario that has no grant yet.

    Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``scenario_granted``.
    """
    row = shared.scenario(session, actor, scenario_id, lock=True)
    step = rules.SCENARIO.check("withdraw", row.status, actor, owner=row.organisation_id)
    if session.exec(select(GrantRecord.id).where(GrantRecord.scenario_id == row.id)).first():
        raise ProblemError(errors.SCENARIO_GRANTED)
    row.status = step.target
    session.add(row)
    reviews.close(session, row.id)
    trust.append(session, Tag.SCENARIO_WITHDRAWN, actor, row.id, related=[row.organisation_id])
    return row


def get_scenario(session: Session, actor: Actor, scenario_id: str) -> Scenario:
    """One scenario the actor may see. Raises ``not_found``."""
    return shared.scenario(session, actor, scenario_id)


def list_scenarios(session: Session, actor: Actor, *, status: str | None = None, sector: str | None = None,
                   cursor: str | None = None, limit: int = 20) -> Page[Scenario]:
    """Scenarios the actor may see, newest first."""
    return shared.page(session, actor, Scenario, {"status": status, "sector": sector}, cursor, limit)


def scenario_versions(session: Session, actor: Actor, scenario_id: str) -> list[ScenarioVersion]:
    """What was submitted, version by version, the latest first. Raises ``not_found``."""
    shared.scenario(session, actor, scenario_id)
    return list(session.exec(select(ScenarioVersion).where(ScenarioVersion.scenario_id == scenario_id)
                             .order_by(col(ScenarioVersion.version).desc())))


def scenario_actions(actor: Actor, row: Scenario) -> list[str]:
    """What this actor may do with the scenario on a page."""
    return rules.SCENARIO.possible(row.status, actor, owner=row.organisation_id)


def may_propose(actor: Actor) -> bool:
    """Whether this actor may propose scenarios."""
    return rules.PROPOSE.held(actor)


def may_assign_sectors(actor: Actor) -> bool:
    """Whether this actor says which industry department answers for a sector."""
    return rules.ASSIGN_SECTOR.held(actor)


def days(row: Scenario) -> int:
    """How long a scenario is to run, in days: months of the calendar, rounded up."""
    return -(-row.months * 365 // 12)


def _checked(content: Content) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(content, name) for name in Content.__dataclass_fields__}
    for name, limit in _LENGTHS.items():
        values[name] = str(values[name]).strip()
        if len(values[name]) > limit or not storable(values[name]):
            raise ProblemError(errors.SCENARIO_INVALID, field=name, name=name)
    for name, holds in (("title", bool(values["title"])), ("sector", content.sector in SECTORS),
                        ("months", 1 <= content.months <= MAXIMUM_MONTHS)):
        if not holds:
            raise ProblemError(errors.SCENARIO_INVALID, field=name, name=name)
    return values


# --- what reviews come to ---


def _settle(session: Session, row: Scenario, stage: reviews.Stage, found: rules.Outcome) -> None:
    action = "pass" if stage == "check" and found.action == "approve" else {"approve": "accept"}.get(found.action, found.action)
    row.status = rules.SCENARIO.check(action, row.status, SYSTEM).target
    session.add(row)
    session.flush()
    if action == "pass":
        reviews.ask(session, "scenario", row, "review", rules.argued_by(
            shared.authority(session), sector_department(session, row.sector), row.organisation_id))
        return
    if action in ("return", "refuse"):
        row.reason = reason_of(session, row)
        session.add(row)
    tags = {"accept": Tag.SCENARIO_ACCEPTED, "return": Tag.SCENARIO_RETURNED, "refuse": Tag.SCENARIO_REFUSED}
    trust.append(session, tags[action], SYSTEM, row.id, related=[row.organisation_id], data={"version": row.version})
    notices.tell(session, row.organisation_id, texts.OUTCOME["scenario", action], row.id, title=row.title)


def reason_of(session: Session, row: Any) -> str:
    """The words with which a version was returned or refused."""
    found = [one.note for one in reviews.progress(session, row) if one.status in ("returned", "refused") and one.note]
    return "\n".join(found)


reviews.KINDS["scenario"] = reviews.Kind(
    Scenario, lambda session, id_: session.get_one(Scenario, id_, with_for_update=True, populate_existing=True),
    lambda _session, _row: {}, lambda _session, row: row.title, _settle)


# --- industry departments ---


def sector_department(session: Session, sector: str) -> str | None:
    """The industry department that answers for a sector, if one does."""
    row = session.get(SectorDepartment, sector)
    return row.organisation_id if row else None


def sector_departments(session: Session) -> dict[str, str]:
    """By sector, the industry department that answers for it."""
    return {row.sector: row.organisation_id for row in session.exec(select(SectorDepartment))}


def assign_sector(session: Session, actor: Actor, sector: str, organisation_id: str | None) -> None:
    """Say which industry department answers for a sector; ``None``: none does, and the data authority stands in.

    Raises ``not_allowed``, ``sector_department_invalid``.
    """
    rules.ASSIGN_SECTOR.require(actor)
    if sector not in SECTORS:
        raise ProblemError(errors.SECTOR_UNFIT, field="sector")
    row = session.get(SectorDepartment, sector, with_for_update=True)
    if organisation_id is None:
        if row is not None:
            session.delete(row)
    else:
        found = parties.organisations_by_id(session, [organisation_id]).get(organisation_id)
        if found is None or found.kind != "industry_department":
            raise ProblemError(errors.SECTOR_UNFIT, field="organisation_id")
        row = row or SectorDepartment(sector=sector, organisation_id=organisation_id)
        row.organisation_id, row.set_at = organisation_id, utc_now()
        session.add(row)
    session.flush()
    trust.append(session, Tag.SECTOR_ASSIGNED, actor, sector, related=[organisation_id] if organisation_id else [])


