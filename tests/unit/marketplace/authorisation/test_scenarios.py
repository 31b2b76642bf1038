"""Scenarios: drafted, checked, argued, returned, revised; and who answers for a sector."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlmodel import Session
from tests.factories import review

from marketplace import clock, work
from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import Opinion
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.notices.models import Message
from marketplace.parties.models import Organisation
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

from . import market as city

AUTHORITY, DEVELOPER, RIVAL, OPERATOR, INDUSTRY = city.AUTHORITY, city.DEVELOPER, city.RIVAL, city.OPERATOR, city.INDUSTRY
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def market(database: Any) -> Any:
    return city.build(database)


@pytest.fixture
def small(sqlite_database: Any) -> Any:
    city.build(sqlite_database)
    return sqlite_database


def content(**changes: Any) -> authorisation.Content:
    return authorisation.Content(**{**review.CONTENT, **changes})


def submitted(session: Session, actor: Actor = DEVELOPER, **changes: Any) -> str:
    review.operation(session)
    row = authorisation.propose_scenario(session, actor, content(**changes))
    return authorisation.submit_scenario(session, actor, row.id).id


def asked(session: Session, subject: str) -> dict[str, Opinion]:
    return {one.organisation_id: one for one in review.open_opinions(session, subject)}


def test_a_scenario_is_checked_then_argued_by_two_in_parallel(database: Any, market: Any) -> None:
    with database.transaction() as session:
        authorisation.assign_sector(session, AUTHORITY, "finance", "org_industry")
        id_ = submitted(session)
        assert list(asked(session, id_)) == ["org_operator"]
        authorisation.give_opinion(session, OPERATOR, asked(session, id_)["org_operator"].id, "approve")
        both = asked(session, id_)
        assert sorted(both) == ["org_authority", "org_industry"]
        authorisation.give_opinion(session, INDUSTRY, both["org_industry"].id, "approve", note="确有必要")
        assert authorisation.get_scenario(session, DEVELOPER, id_).status == "arguing"
        authorisation.give_opinion(session, AUTHORITY, both["org_authority"].id, "approve")
        assert authorisation.get_scenario(session, DEVELOPER, id_).status == "accepted"
        told = {(one.organisation_id, one.kind) for one in session.exec(Message.__table__.select())}
        assert {("org_operator", "scenario.review_asked"), ("org_industry", "scenario.review_asked"),
                ("org_authority", "scenario.review_asked"), ("org_developer", "scenario.accepted")} <= told
        assert trust.check_database(session).ok


def test_a_returned_scenario_comes_back_as_its_next_version(small: Any) -> None:
    with small.transaction() as session:
        id_ = submitted(session)
        opinion = asked(session, id_)["org_operator"]
        with pytest.raises(ProblemError, match="review_reason_missing"):
            authorisation.give_opinion(session, OPERATOR, opinion.id, "return")
        authorisation.give_opinion(session, OPERATOR, opinion.id, "return", note="请说明时限")
        row = authorisation.get_scenario(session, DEVELOPER, id_)
        assert (row.status, row.version, row.reason) == ("returned", 1, "请说明时限")
        assert [one.kind for one in work.waiting(session, DEVELOPER, utc_now())] == ["scenario.correct"]
        authorisation.edit_scenario(session, DEVELOPER, id_, content(months=12))
        authorisation.submit_scenario(session, DEVELOPER, id_)
        assert (row.status, row.version) == ("submitted", 2)
        with pytest.raises(ProblemError, match="review_over"):  # the form of the first version, sent again
            authorisation.give_opinion(session, OPERATOR, opinion.id, "approve")
        review.agree(session, id_)
        assert [one.content["months"] for one in authorisation.scenario_versions(session, AUTHORITY, id_)] == [12, 36]
        with pytest.raises(ProblemError, match="wrong_state"):  # the form of submitting, sent again
            authorisation.submit_scenario(session, DEVELOPER, id_)
        authorisation.revise_scenario(session, DEVELOPER, id_)
        authorisation.edit_scenario(session, DEVELOPER, id_, content(effect="范围扩大"))
        authorisation.submit_scenario(session, DEVELOPER, id_)
        assert (row.status, row.version) == ("submitted", 3)


def test_the_operators_own_scenario_is_not_checked_by_itself(small: Any) -> None:
    with small.transaction() as session:
        id_ = submitted(session, OPERATOR)
        assert list(asked(session, id_)) == ["org_authority"]
        opinion = asked(session, id_)["org_authority"]
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.give_opinion(session, OPERATOR, opinion.id, "approve")
        authorisation.give_opinion(session, AUTHORITY, opinion.id, "refuse", note="与公共利益无关")
        assert authorisation.get_scenario(session, OPERATOR, id_).status == "refused"


def test_nobody_decides_what_they_submitted_themselves_in_another_post(small: Any) -> None:
    """One person with two memberships: the member id is the same, the organisation is not."""
    with small.transaction() as session:
        id_ = submitted(session)
        same = Actor("operator", "org_operator", DEVELOPER.member_id)
        opinion = asked(session, id_)["org_operator"]
        row = authorisation.get_scenario(session, OPERATOR, id_)
        assert authorisation.opinion_actions(same, row, opinion) == []
        assert authorisation.opinion_actions(OPERATOR, row, opinion) == ["approve", "return", "refuse"]
        for action in ("approve", "return", "refuse"):
            with pytest.raises(ProblemError, match="review_own"):
                authorisation.give_opinion(session, same, opinion.id, action, note="x")
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.give_opinion(session, Actor("operator", "org_operator", "m", roles=frozenset({"handler"})), opinion.id,
                                       "approve")
        with pytest.raises(ProblemError, match="not_found"):
            authorisation.give_opinion(session, RIVAL, opinion.id, "approve")


def test_an_opinion_that_is_late_is_the_authoritys_to_give(small: Any) -> None:
    with small.transaction() as session:
        id_ = submitted(session)
        opinion = asked(session, id_)["org_operator"]
        with pytest.raises(ProblemError, match="wrong_state"):
            authorisation.give_opinion(session, AUTHORITY, opinion.id, "approve")
        assert [one.due for one in work.waiting(session, OPERATOR, utc_now())] == [opinion.due_at]
        assert work.waiting(session, AUTHORITY, utc_now()) == []
    with clock.shifted(opinion.due_at - utc_now() - dt.timedelta(hours=1)):
        deadlines.fire_due()
    with small.reading() as session:
        assert session.get_one(Opinion, opinion.id).status == "pending"
        kinds = [one.kind for one in session.exec(Message.__table__.select()) if one.organisation_id == "org_operator"]
        assert [one for one in kinds if one.startswith("scenario.")] == ["scenario.review_asked", "scenario.review_reminder"]
    with clock.shifted(opinion.due_at - utc_now() + dt.timedelta(seconds=1)):
        deadlines.fire_due()
        with small.transaction() as session:
            assert session.get_one(Opinion, opinion.id).status == "overdue"
            assert [one.kind for one in work.waiting(session, AUTHORITY, utc_now())] == ["scenario.check"]
            given = authorisation.give_opinion(session, AUTHORITY, opinion.id, "approve")
            assert (given.decided_for, authorisation.get_scenario(session, DEVELOPER, id_).status) == (True, "arguing")
            tags = [one.tag for one in trust.events_for(session, opinion.id)]
    assert tags == ["authorisation:opinion:overdue", "authorisation:opinion:given"]


@pytest.mark.parametrize(("changes", "field"), [
    ({"title": " "}, "title"), ({"title": "长" * 121}, "title"), ({"purpose": "长" * 2001}, "purpose"), ({"sector": "space"}, "sector"),
    ({"months": 37}, "months"), ({"months": 0}, "months"), ({"necessity": "\ud800"}, "necessity"), ({"effect": "\x00"}, "effect"),
    ({"benefit": "长" * 1001}, "benefit")])
def test_what_a_scenario_may_not_say(small: Any, changes: dict[str, Any], field: str) -> None:
    with small.transaction() as session, pytest.raises(ProblemError, match="scenario_invalid") as caught:
        authorisation.propose_scenario(session, DEVELOPER, content(**changes))
    assert caught.value.field == field


@pytest.mark.parametrize("changes", [{"purpose": ""}, {"necessity": ""}, {"effect": " "}, {"public_benefit": True, "benefit": ""}])
def test_a_draft_may_be_unfinished_and_cannot_be_put_forward(small: Any, changes: dict[str, Any]) -> None:
    with small.transaction() as session:
        review.operation(session)
        row = authorisation.propose_scenario(session, DEVELOPER, content(**changes))
        with pytest.raises(ProblemError, match="scenario_invalid"):
            authorisation.submit_scenario(session, DEVELOPER, row.id)


def test_a_form_sent_twice_makes_one_draft(database: Any, market: Any) -> None:
    with database.transaction() as session:
        first = authorisation.propose_scenario(session, DEVELOPER, content(title=SCRIPT), key="form-1")
        assert authorisation.propose_scenario(session, DEVELOPER, content(title="other"), key="form-1").id == first.id
        assert authorisation.propose_scenario(session, RIVAL, content(), key="form-1").id != first.id


def test_drafts_and_other_peoples_scenarios(small: Any) -> None:
    with small.transaction() as session:
        row = authorisation.propose_scenario(session, DEVELOPER, content())
        for actor in (RIVAL, AUTHORITY, OPERATOR):
            with pytest.raises(ProblemError, match="not_found"):
                authorisation.get_scenario(session, actor, row.id)
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.propose_scenario(session, city.DEPARTMENT, content())
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.propose_scenario(session, Actor("developer", "org_developer", "m", roles=frozenset({"auditor"})), content())


def test_the_authority_says_who_answers_for_a_sector(small: Any) -> None:
    with small.transaction() as session:
        session.add(Organisation(id="org_health", kind="industry_department", name_zh="卫健委", name_en=""))
        session.flush()
        for sector, organisation in (("space", "org_industry"), ("finance", "org_developer"), ("finance", "org_9")):
            with pytest.raises(ProblemError, match="sector_department_invalid"):
                authorisation.assign_sector(session, AUTHORITY, sector, organisation)
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.assign_sector(session, INDUSTRY, "finance", "org_industry")
        authorisation.assign_sector(session, AUTHORITY, "finance", "org_industry")
        authorisation.assign_sector(session, AUTHORITY, "finance", "org_health")
        assert authorisation.sector_departments(session) == {"finance": "org_health"}
        authorisation.assign_sector(session, AUTHORITY, "finance", None)
        assert authorisation.sector_departments(session) == {}


def test_without_an_operation_agreement_nothing_is_put_forward(small: Any) -> None:
    with small.transaction() as session:
        row = authorisation.propose_scenario(session, DEVELOPER, content())
        with pytest.raises(ProblemError, match="operation_missing"):
            authorisation.submit_scenario(session, DEVELOPER, row.id)
