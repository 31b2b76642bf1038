"""An objection to quality is answered, fixed and checked, each in time, or goes up to the authority; every step is kept."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlmodel import select
from tests.factories.federation import Zone, zone

from marketplace import clock, db, work
from marketplace.actor import PUBLIC, Actor
from marketplace.catalogue import service as catalogue
from marketplace.deadlines import service as deadlines
from marketplace.notices.models import Message
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@pytest.fixture
def market(sqlite_database: Any) -> Zone:
    return zone()


@pytest.fixture
def any_market(database: Any) -> Zone:
    return zone()


DEPARTMENT = Actor("source_department", "org_station0", "mem_station0")
OTHER = Actor("source_department", "org_station1", "mem_station1")


def raised(market: Zone, **body: Any) -> str:
    with db.transaction() as session:
        return catalogue.raise_objection(session, market.developer, market.departments[0].resource_id,
                                         **{"measure": "completeness", "text": "风向缺失过半", "column": "wind", **body}).id


def act(actor: Actor, objection: str, action: str, text: str = "已核实") -> str:
    with db.transaction() as session:
        return catalogue.act(session, actor, objection, action, text).status


def queue(actor: Actor) -> list[str]:
    with db.reading() as session:
        return [item.kind for item in work.waiting(session, actor, db.utc_now()) if item.kind.startswith("quality_objection")]


def test_from_the_objection_to_a_checked_correction(any_market: Zone) -> None:
    one = raised(any_market)
    assert queue(DEPARTMENT) == ["quality_objection.answer"]
    assert queue(any_market.developer) == queue(OTHER) == queue(any_market.authority) == []
    assert act(DEPARTMENT, one, "accept") == "accepted"
    assert queue(DEPARTMENT) == ["quality_objection.fix"]
    assert act(DEPARTMENT, one, "fix") == "fixed"
    assert (queue(DEPARTMENT), queue(any_market.developer)) == ([], ["quality_objection.check"])
    assert act(any_market.developer, one, "reopen", "仍有缺失") == "open"
    assert act(DEPARTMENT, one, "accept") == "accepted"
    assert act(DEPARTMENT, one, "fix") == "fixed"
    assert act(any_market.developer, one, "confirm", "") == "closed"
    with db.reading() as session:
        page = catalogue.get_objection(session, any_market.developer, one)
        assert [step.action for step in page.steps] == ["raise", "accept", "fix", "reopen", "accept", "fix", "confirm"]
        assert page.steps[3].text == "仍有缺失"
        assert (page.objection.due_at, page.actions) == (None, [])
        assert catalogue.open_objections(session, page.resource.id) == 0
        told = session.exec(select(Message.organisation_id).where(Message.subject == one)).all()
        assert set(told) == {"org_station0", "org_developer"}
        assert trust.check_database(session).ok


def test_what_is_not_answered_in_time_goes_to_the_authority(any_market: Zone) -> None:
    one = raised(any_market)
    with db.reading() as session:
        due = catalogue.get_objection(session, DEPARTMENT, one).objection.due_at
    assert due is not None
    assert due > db.utc_now()
    deadlines.fire_due()
    assert queue(any_market.authority) == []
    with clock.shifted(due - db.utc_now() + dt.timedelta(seconds=1)):
        assert deadlines.fire_due() >= 1
        assert deadlines.fire_due() == 0
        assert queue(any_market.authority) == ["quality_objection.decide"]
        assert act(any_market.authority, one, "order", "限期整改") == "ordered"
        assert queue(DEPARTMENT) == ["quality_objection.fix"]
        with clock.shifted(dt.timedelta(days=60)):
            deadlines.fire_due()
            assert queue(any_market.authority) == ["quality_objection.decide"]
            assert act(any_market.authority, one, "dismiss", "经核查数据符合标准") == "closed"
            assert deadlines.fire_due() == 0


def test_who_does_not_agree_with_an_answer_goes_to_the_authority(market: Zone) -> None:
    one = raised(market)
    assert act(DEPARTMENT, one, "decline", "数据符合标准") == "declined"
    assert queue(market.developer) == ["quality_objection.check"]
    assert act(market.developer, one, "dispute", "请主管部门核查") == "escalated"
    assert queue(market.authority) == ["quality_objection.decide"]


def test_only_the_two_sides_and_the_overseers_see_it_and_each_does_its_own(market: Zone) -> None:
    one = raised(market)
    for stranger in (OTHER, PUBLIC, Actor("consumer", "org_x", "m")):
        with db.reading() as session, pytest.raises(ProblemError, match="not_found"):
            catalogue.get_objection(session, stranger, one)
        with db.transaction() as session, pytest.raises(ProblemError, match="not_found"):
            catalogue.act(session, stranger, one, "accept", "x")
    for actor, action in ((market.developer, "accept"), (market.authority, "accept"), (DEPARTMENT, "withdraw"), (DEPARTMENT, "escalate")):
        with db.transaction() as session, pytest.raises(ProblemError, match="not_allowed"):
            catalogue.act(session, actor, one, action, "x")
    with db.transaction() as session, pytest.raises(ProblemError, match="wrong_state"):
        catalogue.act(session, DEPARTMENT, one, "fix", "x")
    with db.transaction() as session, pytest.raises(ProblemError, match="catalogue_reason_invalid"):
        catalogue.act(session, DEPARTMENT, one, "accept", " ")


def test_bad_objections_are_refused(market: Zone) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"measure": "beauty"}, "quality_objection_invalid"), ({"text": "  "}, "quality_objection_invalid"),
        ({"text": "长" * 2001}, "quality_objection_invalid"), ({"text": "a\x00b"}, "quality_objection_invalid"),
        ({"column": "nothing"}, "quality_objection_invalid")]
    for body, code in bad:
        with pytest.raises(ProblemError, match=code):
            raised(market, **body)
    raised(market)
    with pytest.raises(ProblemError, match="quality_objection_twice"):
        raised(market)
    raised(market, measure="validity")
    mine = market.departments[0].resource_id
    for actor, code in ((DEPARTMENT, "not_allowed"), (PUBLIC, "not_signed_in"), (Actor("operator", "org_station0", "m"), "quality_objection_own")):
        with db.transaction() as session, pytest.raises(ProblemError, match=code):
            catalogue.raise_objection(session, actor, mine, measure="validity", text="x")
    with db.transaction() as session, pytest.raises(ProblemError, match="not_found"):
        catalogue.raise_objection(session, market.developer, "res_none", measure="validity", text="x")
