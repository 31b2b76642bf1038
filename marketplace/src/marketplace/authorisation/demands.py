"""Use cases of data demands: the list of data that one accepted scenario asks for, from draft to approval.

一场景一清单一审核. A list that came back is corrected and submitted as its next version; once it has been decided, a change
of any line is a new demand that follows the earlier one, with a review of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import service as agreements
from marketplace.agreements.hooks import Afterwards, together
from marketplace.agreements.models import Agreement
from marketplace.authorisation import asking, errors, frames, reviews, rules, scenarios, shared, texts, volume
from marketplace.authorisation.models import DataDemand, DemandVersion, Scenario
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.paging import Page
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

Subject = TypeVar("Subject", Scenario, DataDemand)


def draft_demand(session: Session, actor: Actor, scenario_id: str, body: Mapping[str, Any], *,
                 key: str | None = None) -> DataDemand:
    """Begin a list of data under an own scenario; ``body`` is :class:`.asking.DemandBody`, with mistakes still in it.

    The same ``key`` is the same draft: a form sent twice makes one.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state`` (the scenario has ended), ``demand_invalid`` if the
            body has not even the agreed form.
    """
    scenario = shared.scenario(session, actor, scenario_id)
    rules.DEMAND_DATA.require(actor, owner=scenario.organisation_id)
    if scenario.status in rules.SCENARIO.final:
        raise ProblemError("wrong_state", state=scenario.status, action="submit_demand")
    if key is not None and (earlier := session.exec(select(DataDemand).where(
            DataDemand.organisation_id == scenario.organisation_id, DataDemand.form_key == key)).first()):
        return earlier
    row = DataDemand(id=new_id("demand"), scenario_id=scenario.id, organisation_id=scenario.organisation_id, form_key=key,
                     body=asking.parse_body(body).model_dump(mode="json"), status=rules.DEMAND.initial)
    session.add(row)
    session.flush()
    return row


def edit_demand(session: Session, actor: Actor, demand_id: str, body: Mapping[str, Any]) -> DataDemand:
    """Change an own draft or returned list. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``demand_invalid``."""
    row = shared.demand(session, actor, demand_id, lock=True)
    rules.DEMAND.check("edit", row.status, actor, owner=row.organisation_id)
    row.body = asking.parse_body(body).model_dump(mode="json")
    session.add(row)
    return row


def preview(session: Session, actor: Actor, scenario_id: str, body: Mapping[str, Any], *,
            demand_id: str | None = None) -> list[ProblemError]:
    """All that would be refused if this list were submitted now, each with its field; nothing is changed.

    Args:
        demand_id: of an own demand that the list is to be, for what it follows does not count against it.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``.
    """
    scenario = shared.scenario(session, actor, scenario_id)
    rules.DEMAND_DATA.require(actor, owner=scenario.organisation_id)
    if wrong := list(asking.unreadable(body)):
        return wrong
    row = shared.demand(session, actor, demand_id) if demand_id else None
    asked = asking.parse_body(body)
    ids = [item.resource_id for item in asked.resources]
    return list(asking.findings(asked, shared.resource_facts(session, ids), shared.app_facts(session),
                                around(session, scenario, asked, besides=row.follows_id if row else None)))


def around(session: Session, scenario: Scenario, asked: asking.DemandBody, *, besides: str | None = None,
           lock: bool = False) -> asking.Around:
    """What a list under a scenario is held against beside the catalogue: negative list, total volume, agreements, term."""
    columns = {item.resource_id: item.columns for item in asked.resources}
    frame, unframed = frames.for_resources(session, columns)
    return asking.Around(
        now=utc_now(), negative=shared.negative(session, columns),
        exhausted=volume.exhausted(session, columns, besides=besides, lock=lock), framed=frame is not None, unframed=unframed,
        frame_ends=frame.ends_at if frame else None, scenario_days=scenarios.days(scenario))


def submit_demand(session: Session, actor: Actor, demand_id: str) -> DataDemand:
    """Put an own list forward for review: the operator's first check, then those whom the mode of authorisation says.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``scenario_not_accepted``, ``operation_missing``, or
            one of the ``demand_…`` problems naming the field at fault.
    """
    row = shared.demand(session, actor, demand_id, lock=True)
    step = rules.DEMAND.check("submit", row.status, actor, owner=row.organisation_id)
    scenario = session.get_one(Scenario, row.scenario_id, with_for_update=True, populate_existing=True)
    if scenario.status not in ("accepted", "authorised"):
        raise ProblemError(errors.SCENARIO_NOT_ACCEPTED)
    asked = asking.parse_body(row.body)
    ids = [item.resource_id for item in asked.resources]
    asking.check(asked, shared.resource_facts(session, ids), shared.app_facts(session),
                 around(session, scenario, asked, besides=row.follows_id))
    frame, _unframed = frames.for_resources(session, ids)
    assert frame is not None  # asking.check saw to it
    shared.authority(session)
    if row.status == "returned":
        row.version += 1
    row.status, row.submitted_by, row.submitted_at, row.reason, row.struck = step.target, actor.label, utc_now(), "", []
    row.mode, row.operation_id = frame.mode, frame.agreement_id
    session.add_all([row, DemandVersion(id=new_id("demver"), demand_id=row.id, version=row.version, body=row.body)])
    session.flush()
    trust.append(session, Tag.DEMAND_SUBMITTED, actor, row.id, related=[scenario.id, row.organisation_id, *ids], data={
        "version": row.version, "follows": row.follows_id, "mode": row.mode, "apps": asked.apps,
        "minimum_cohort": asked.minimum_cohort, "term_days": asked.term_days, "release": asked.release,
        "own_figures": asked.own_figures})
    checkers = [] if frame.operator_id == row.organisation_id else [rules.Judge(frame.operator_id, "operator")]
    reviews.ask(session, "demand", row, "check", checkers)
    return row


def revise_demand(session: Session, actor: Actor, demand_id: str) -> DataDemand:
    """Begin the next version of a decided list, as a draft that follows it; once granted it takes the other's place.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``demand_open_version``.
    """
    row = shared.demand(session, actor, demand_id, lock=True)
    rules.REVISE_DEMAND.require(actor, owner=row.organisation_id)
    if row.status not in rules.REVISABLE:
        raise ProblemError("wrong_state", state=row.status, action="revise")
    if session.exec(select(DataDemand.id).where(DataDemand.follows_id == row.id, DataDemand.status != "withdrawn")).first():
        raise ProblemError(errors.DEMAND_OPEN)
    new = DataDemand(id=new_id("demand"), scenario_id=row.scenario_id, organisation_id=row.organisation_id, body=row.body,
                     version=row.version + 1, follows_id=row.id, status=rules.DEMAND.initial)
    session.add(new)
    session.flush()
    return new


def withdraw_demand(session: Session, actor: Actor, demand_id: str) -> DataDemand:
    """Withdraw an own demand that is not granted yet. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    agreements.of_demand(session, demand_id)  # locked first, as by whoever signs it
    row = shared.demand(session, actor, demand_id, lock=True)
    row.status = rules.DEMAND.check("withdraw", row.status, actor, owner=row.organisation_id).target
    session.add(row)
    reviews.close(session, row.id)
    agreements.cancel_development(session, row.id)
    trust.append(session, Tag.DEMAND_WITHDRAWN, actor, row.id, related=[row.scenario_id, row.organisation_id])
    return row


def get_demand(session: Session, actor: Actor, demand_id: str) -> DataDemand:
    """One demand the actor may see. Raises ``not_found``."""
    return shared.demand(session, actor, demand_id)


def list_demands(session: Session, actor: Actor, *, status: str | None = None, scenario_id: str | None = None,
                 cursor: str | None = None, limit: int = 20) -> Page[DataDemand]:
    """Demands the actor may see, newest first."""
    return shared.page(session, actor, DataDemand, {"status": status, "scenario_id": scenario_id}, cursor, limit)


def demand_actions(actor: Actor, row: DataDemand) -> list[str]:
    """What this actor may do with the demand on a page; granting takes the authority's own command."""
    out = rules.DEMAND.possible(row.status, actor, owner=row.organisation_id)
    if row.status in rules.REVISABLE and rules.REVISE_DEMAND.held(actor, owner=row.organisation_id):
        out.append("revise")
    return out


def changes(session: Session, row: DataDemand, version: int | None = None) -> list[dict[str, Any]]:
    """How a version of a list (the present one by default) differs from the one before it; see :func:`.asking.changes`."""
    version = version or row.version
    now = _submitted(session, row.id, version)
    before = _submitted(session, row.id, version - 1)
    if before is None and row.follows_id is not None:
        before = session.get_one(DataDemand, row.follows_id).body
    if before is None:
        return []
    return asking.changes(before, row.body if version == row.version or now is None else now)


def _submitted(session: Session, demand_id: str, version: int) -> dict[str, Any] | None:
    row = session.exec(select(DemandVersion).where(DemandVersion.demand_id == demand_id,
                                                   DemandVersion.version == version)).first()
    return row.body if row else None


# --- what reviews come to ---


def lines(session: Session, row: DataDemand) -> dict[str, str]:
    """By resource id of the list, the department that answers for it."""
    return shared.owners(session, [item["resource_id"] for item in row.body.get("resources", ())])


def _settle(session: Session, row: DataDemand, stage: reviews.Stage, found: rules.Outcome) -> None:
    scenario = session.get_one(Scenario, row.scenario_id)
    if stage == "check" and found.action == "approve":
        row.status = rules.DEMAND.check("pass", row.status, SYSTEM).target
        session.add(row)
        session.flush()
        reviews.ask(session, "demand", row, "review", rules.reviewed_by(
            row.mode or "overall", shared.authority(session),  # type: ignore[arg-type]
            scenarios.sector_department(session, scenario.sector), lines(session, row).values(), row.organisation_id))
        return
    action, row.struck = found.action, sorted(found.struck)
    if action == "approve" and not _enough(session, row):
        action = "refuse"
    row.status = rules.DEMAND.check(action, row.status, SYSTEM).target
    row.reason = scenarios.reason_of(session, row) if action != "approve" else ""
    session.add(row)
    session.flush()
    tags = {"approve": Tag.DEMAND_APPROVED, "return": Tag.DEMAND_RETURNED, "refuse": Tag.DEMAND_REFUSED}
    trust.append(session, tags[action], SYSTEM, row.id, related=[row.scenario_id, row.organisation_id],
                 data={"version": row.version, "struck": row.struck})
    notices.tell(session, row.organisation_id, texts.OUTCOME["demand", action], row.id, title=scenario.title,
                 struck=len(row.struck))
    if action == "approve":
        left = [id_ for id_ in lines(session, row) if id_ not in row.struck]
        row.agreement_id = frames.open_development(session, row, scenario, left)
        session.add(row)
        session.flush()
        if row.agreement_id is None:  # the operator's own: there is nobody to agree with
            _agree(session, row)()


def _enough(session: Session, row: DataDemand) -> bool:
    """Whether what the review left of a list may be granted at all: sums of fewer departments would betray them."""
    left = asking.without(asking.parse_body(row.body), row.struck)
    if left is None:
        return False
    facts = shared.resource_facts(session, [item.resource_id for item in left.resources])
    return next(asking.enough_departments(left, facts), None) is None


@agreements.when_effective("development")
def _agreed(session: Session, agreement: Agreement) -> Afterwards | None:
    """The development agreement of an approved demand is in force: its grant may be signed."""
    row = session.get(DataDemand, agreement.demand_id, with_for_update=True, populate_existing=True)
    return _agree(session, row) if row is not None and row.status == "approved" else None


def _agree(session: Session, row: DataDemand) -> Afterwards:
    row.status = rules.DEMAND.check("agree", row.status, SYSTEM).target
    session.add(row)
    session.flush()
    notices.tell(session, shared.authority(session), texts.AGREED, row.id, role="reviewer", title=_title(session, row))
    return lambda: trust.append(session, Tag.DEMAND_AGREED, SYSTEM, row.id, related=[row.scenario_id, row.organisation_id])


def lapse(session: Session, agreement_id: str) -> list[Afterwards]:
    """An agreement ended under demands that have no grant yet: they lapse."""
    out: list[Afterwards] = []
    for row in session.exec(select(DataDemand).where(
            (DataDemand.operation_id == agreement_id) | (DataDemand.agreement_id == agreement_id),
            col(DataDemand.status).in_(("approved", "agreed"))).order_by(col(DataDemand.id)).with_for_update()).all():
        row.status = rules.DEMAND.check("lapse", row.status, SYSTEM).target
        session.add(row)
        notices.tell(session, row.organisation_id, texts.LAPSED, row.id, title=_title(session, row))
        out.append(partial(trust.append, session, Tag.DEMAND_LAPSED, SYSTEM, row.id, related=[row.scenario_id, row.organisation_id]))
    session.flush()
    return out


@agreements.when_broken_off("development")
def _not_agreed(session: Session, agreement: Agreement) -> Afterwards:
    """The agreement about an approved demand will not come about: the demand lapses, and may be revised."""
    return together(lapse(session, agreement.id))


def _title(session: Session, row: DataDemand) -> str:
    return session.get_one(Scenario, row.scenario_id).title


reviews.KINDS["demand"] = reviews.Kind(
    DataDemand, lambda session, id_: session.get_one(DataDemand, id_, with_for_update=True, populate_existing=True),
    lines, _title, _settle)


@work.source
def _waiting(session: Session, actor: Actor) -> Iterator[work.WorkItem]:
    """What came back to be corrected, and what the authority is to sign."""
    returned: list[Scenario | DataDemand] = [*_returned(session, actor, Scenario), *_returned(session, actor, DataDemand)]
    for row in returned:
        kind, title = ("scenario", row.title) if isinstance(row, Scenario) else ("demand", _title(session, row))
        if (rules.SCENARIO if kind == "scenario" else rules.DEMAND).possible("returned", actor, owner=row.organisation_id):
            decided = [one.decided_at for one in reviews.progress(session, row) if one.decided_at is not None]
            yield work.WorkItem(f"{kind}.correct", row.id, title, texts.PAGES[kind], row.organisation_id,
                                max(decided, default=row.created_at))
    if rules.ISSUE.held(actor):
        for demand in session.exec(select(DataDemand).where(DataDemand.status == "agreed").order_by(col(DataDemand.id))):
            yield work.WorkItem("demand.issue", demand.id, _title(session, demand), texts.PAGES["demand"],
                                demand.organisation_id, demand.submitted_at or demand.created_at)


def _returned(session: Session, actor: Actor, model: type[Subject]) -> list[Subject]:
    return list(session.exec(select(model).where(model.status == "returned", model.organisation_id == actor.organisation_id)
                             .order_by(col(model.id))))
