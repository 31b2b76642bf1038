"""Withdrawal of grants by those responsible, and how it meets what runs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import Session
from tests.factories import review

from marketplace import work
from marketplace.actor import Actor
from marketplace.agreements import service as agreements
from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import DataDemand, GrantRecord
from marketplace.db import utc_now
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

from . import market as city
from .test_demands import together

AUTHORITY, DEVELOPER, RIVAL, OPERATOR, INDUSTRY = city.AUTHORITY, city.DEVELOPER, city.RIVAL, city.OPERATOR, city.INDUSTRY
FIRST, FOURTH = (Actor("source_department", f"org_{number}", f"mem_{number}") for number in (1, 4))


@pytest.fixture
def grant(database: Any) -> str:
    market = city.build(database)
    with database.transaction() as session:
        return review.granted(session, DEVELOPER, AUTHORITY, market.authority_key, city.body()).id


def usable(session: Session, grant_id: str) -> str:
    try:
        authorisation.usable_grant(session, grant_id, utc_now())
    except ProblemError as problem:
        return problem.code
    return ""


def test_each_of_those_responsible_withdraws_and_lifts_its_own(database: Any, grant: str) -> None:
    with database.transaction() as session:
        for actor, code in ((FOURTH, "grant_not_concerned"), (INDUSTRY, "grant_not_concerned"), (OPERATOR, "not_allowed"),
                            (DEVELOPER, "not_allowed"), (Actor("source_department", "org_1", "m", roles=frozenset({"handler"})), "not_allowed")):
            with pytest.raises(ProblemError, match=code):
                authorisation.hold_grant(session, actor, grant, "用途不符")
        for reason in ("", " ", "长" * 501, "\x00"):
            with pytest.raises(ProblemError, match="hold_reason_missing"):
                authorisation.hold_grant(session, FIRST, grant, reason)
        first = authorisation.hold_grant(session, FIRST, grant, "用途不符")
        assert authorisation.hold_grant(session, FIRST, grant, "again").id == first.id
        authorisation.hold_grant(session, AUTHORITY, grant, "核查")
        assert usable(session, grant) == "grant_held"
        assert set(authorisation.held_by_node(session)) == {"node_1", "node_2", "node_3"}
        with pytest.raises(ProblemError, match="not_found"):
            authorisation.release_grant(session, FOURTH, grant)
        authorisation.release_grant(session, FIRST, grant)
        assert usable(session, grant) == "grant_held"
        authorisation.release_grant(session, AUTHORITY, grant)
        assert usable(session, grant) == ""
        assert authorisation.held_by_node(session) == {}
        tags = [one.tag.rsplit(":", 1)[-1] for one in trust.events_for(session, grant)]
        assert tags == ["issued", "held", "held", "released", "released"]
        assert trust.check_database(session).ok


def test_the_operator_asks_and_the_authority_answers(database: Any, grant: str) -> None:
    with database.transaction() as session:
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.ask_withdrawal(session, FIRST, grant, "投诉")
        asked = authorisation.ask_withdrawal(session, OPERATOR, grant, "投诉")
        assert usable(session, grant) == ""
        assert [one.kind for one in work.waiting(session, AUTHORITY, utc_now())] == ["grant.withdrawal"]
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.decide_withdrawal(session, OPERATOR, asked.id, follow=True)
        authorisation.decide_withdrawal(session, AUTHORITY, asked.id, follow=False)
        assert (asked.status, usable(session, grant)) == ("dismissed", "")
        again = authorisation.ask_withdrawal(session, OPERATOR, grant, "再次投诉")
        authorisation.decide_withdrawal(session, AUTHORITY, again.id, follow=True)
        assert (again.status, usable(session, grant)) == ("followed", "grant_held")
        with pytest.raises(ProblemError, match="wrong_state"):
            authorisation.decide_withdrawal(session, AUTHORITY, again.id, follow=False)


def test_the_end_of_an_agreement_stops_its_grants_for_good(database: Any, grant: str) -> None:
    with database.transaction() as session:
        record = session.get_one(GrantRecord, grant)
        open_demand = review.reviewed_demand(session, DEVELOPER, city.body())
        agreements.terminate(session, AUTHORITY, record.operation_id, "违约")
        assert usable(session, grant) == "agreement_not_in_force"
        assert session.get_one(DataDemand, open_demand.id).status == "lapsed"
        assert (record.status, [one.cause for one in authorisation.grant_holds(session, AUTHORITY, grant)]) == ("held", ["agreement_ended"])
        with pytest.raises(ProblemError, match="not_found"):  # nobody's to lift
            authorisation.release_grant(session, AUTHORITY, grant)
        assert trust.check_database(session).ok


def test_two_departments_withdraw_at_once_and_both_count(database: Any, grant: str) -> None:
    second = Actor("source_department", "org_2", "mem_2")
    said = together(lambda session: authorisation.hold_grant(session, FIRST, grant, "a"),
                    lambda session: authorisation.hold_grant(session, second, grant, "b"),
                    lambda session: authorisation.hold_grant(session, FIRST, grant, "c"))
    assert said == ["", "", ""]
    with database.transaction() as session:
        assert sorted(one.organisation_id or "" for one in authorisation.grant_holds(session, AUTHORITY, grant)) == ["org_1", "org_2"]
        authorisation.release_grant(session, FIRST, grant)
        assert usable(session, grant) == "grant_held"
