"""Scenarios, demands, opinions, grants and holds."""

from __future__ import annotations

from sqlmodel import Session
from tests.factories.market import STATISTICS, City, make_output
from tests.factories.review import CONTENT
from tests.unit.marketplace.powers.adapters import Act, Adapter, plain

from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import DataDemand, GrantHold, GrantRecord, Opinion, Scenario
from marketplace.computing.models import Job
from marketplace.db import utc_now
from marketplace.ids import new_id


def _scenario(session: Session, city: City) -> Scenario:
    return authorisation.propose_scenario(session, city["developer"], authorisation.Content(**CONTENT))


def _grant(session: Session, city: City) -> GrantRecord:
    return session.get_one(GrantRecord, session.get_one(Job, make_output(session, city, STATISTICS)).grant_id)


def _demand(session: Session, city: City) -> DataDemand:
    return session.get_one(DataDemand, _grant(session, city).demand_id)


def _opinion(session: Session, city: City) -> Opinion:
    scenario = _scenario(session, city)
    scenario.status = "arguing"
    row = Opinion(id=new_id("opinion"), kind="scenario", subject=scenario.id, version=scenario.version, stage="review",
                  organisation_id=city.departments[0], party="source_department", due_at=utc_now())
    session.add_all([scenario, row])
    session.flush()
    return row


def _hold(session: Session, city: City) -> GrantHold:
    grant = _grant(session, city)
    grant.status = "held"
    row = GrantHold(id=new_id("hold"), grant_id=grant.id, organisation_id=city.departments[0], party="source_department",
                    status="placed", reason="说明", placed_by="somebody")
    session.add_all([grant, row])
    session.flush()
    return row


def _give(action: str) -> Act:
    return lambda session, actor, row: authorisation.give_opinion(session, actor, row.id, action, note="说明")  # type: ignore[arg-type]


BODY = {"resources": [{"resource_id": "res_unknown", "columns": ["age"], "reason": "说明"}], "apps": ["statistics"],
        "output_forms": ["statistics"]}

ADAPTERS: dict[str, Adapter] = {
    "scenario": Adapter(_scenario, {
        "edit": lambda session, actor, row: authorisation.edit_scenario(session, actor, row.id, authorisation.Content(**CONTENT)),
        "submit": plain(authorisation.submit_scenario), "revise": plain(authorisation.revise_scenario),
        "withdraw": plain(authorisation.withdraw_scenario)}),
    "demand": Adapter(_demand, {
        "edit": lambda session, actor, row: authorisation.edit_demand(session, actor, row.id, BODY),
        "submit": plain(authorisation.submit_demand), "withdraw": plain(authorisation.withdraw_demand),
        "grant": plain(authorisation.grant_draft)}),
    # an opinion on what is over is refused to everybody, whoever asks
    "opinion": Adapter(_opinion, {name: _give(name) for name in ("approve", "return", "refuse")}, shut=frozenset({"review_over"})),
    # revoked by the authority's signed list; see the tests of the authority's command
    "grant": Adapter(_grant, {}, elsewhere={"revoke": "revocation list"}),
    "grant_hold": Adapter(_hold, {
        "release": lambda session, actor, row: authorisation.release_grant(session, actor, row.grant_id),
        "follow": lambda session, actor, row: authorisation.decide_withdrawal(session, actor, row.id, follow=True),
        "dismiss": lambda session, actor, row: authorisation.decide_withdrawal(session, actor, row.id, follow=False)}),
}
