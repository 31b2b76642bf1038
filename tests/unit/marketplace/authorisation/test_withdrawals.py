"""Withdrawal of grants by those responsible, and how it meets what runs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import Session, select
from tests.factories import review

from marketplace import work
from marketplace.actor import Actor
from marketplace.agreements import service as agreements
from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import DataDemand, GrantRecord
from marketplace.db import utc_now
from marketplace.notices import inbox
from marketplace.notices.models import Message
from marketplace.parties.models import Organisation
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


def test_everybody_is_told_in_their_language_who_withdrew(database: Any, grant: str) -> None:
    with database.transaction() as session:
        organisation = session.get_one(Organisation, FIRST.organisation_id)
        organisation.name_en = "First Department"
        authorisation.hold_grant(session, FIRST, grant, "用途不符")
        told = session.exec(select(Message).where(Message.subject == grant, Message.kind == "grant.held")).all()
        assert told
        for message in told:
            assert inbox.sentence(message, "zh").startswith(f"{organisation.name_zh}已撤回")
            assert inbox.sentence(message, "en").startswith("First Department has withdrawn")


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


@pytest.mark.parametrize("kind", ["operation", "development"])
def test_a_suspended_agreement_holds_its_grants_and_its_resumption_lifts_exactly_that(database: Any, grant: str, kind: str) -> None:
    with database.transaction() as session:
        record = session.get_one(GrantRecord, grant)
        agreement = record.operation_id if kind == "operation" else record.agreement_id
        agreements.suspend(session, AUTHORITY, agreement, "核查")
        assert (usable(session, grant), record.status) == ("agreement_not_in_force", "held")
        assert set(authorisation.held_by_node(session)) == {"node_1", "node_2", "node_3"}
        with pytest.raises(ProblemError, match="not_found"):  # nobody's to lift but the agreement's
            authorisation.release_grant(session, AUTHORITY, grant)
        authorisation.hold_grant(session, FIRST, grant, "用途不符")
        agreements.resume(session, AUTHORITY, agreement)
        assert [(one.cause, one.status) for one in authorisation.grant_holds(session, AUTHORITY, grant)] == [
            ("withdrawn", "placed"), ("agreement_suspended", "void")]
        assert usable(session, grant) == "grant_held"
        authorisation.release_grant(session, FIRST, grant)
        assert (usable(session, grant), authorisation.held_by_node(session)) == ("", {})
        assert trust.check_database(session).ok


def test_a_grant_goes_on_only_once_both_its_agreements_do(database: Any, grant: str) -> None:
    with database.transaction() as session:
        record = session.get_one(GrantRecord, grant)
        for agreement in (record.operation_id, record.agreement_id):
            agreements.suspend(session, AUTHORITY, agreement, "核查")
        agreements.resume(session, AUTHORITY, record.operation_id)
        assert record.status == "held"
        agreements.resume(session, AUTHORITY, record.agreement_id)
        assert record.status == "active"


def test_what_nodes_answer_shows_where_a_grant_is_stopped(database: Any, grant: str) -> None:
    with database.transaction() as session:
        assert authorisation.stops(session, AUTHORITY, grant) == []
        authorisation.hold_grant(session, FIRST, grant, "用途不符")
        held = authorisation.held_by_node(session)["node_2"]
        assert held.grants == (grant,)
        authorisation.holds_seen(session, "node_2", held.holds)
        authorisation.holds_seen(session, "node_2", held.holds)  # and again after a reconnection
        assert [(one.node_id, one.seen_at is not None) for one in authorisation.stops(session, FIRST, grant)] == [
            ("node_1", False), ("node_2", True), ("node_3", False)]
        assert authorisation.reached(session, held.holds) == {held.holds[0]: 1}
        with pytest.raises(ProblemError, match="not_found"):
            authorisation.stops(session, RIVAL, grant)
        authorisation.release_grant(session, FIRST, grant)
        assert authorisation.stops(session, AUTHORITY, grant) == []
        authorisation.hold_grant(session, FIRST, grant, "again")  # a new hold wants a new answer
        assert [one.seen_at for one in authorisation.stops(session, AUTHORITY, grant)] == [None] * 3
        assert [one.tag.rsplit(":", 1)[-1] for one in trust.events_for(session, grant)] == ["issued", "held", "stopped", "released", "held"]


def test_a_revocation_is_answered_too(database: Any, grant: str) -> None:
    with database.transaction() as session:
        record = session.get_one(GrantRecord, grant)
        record.status, record.revoked_in = "revoked", 5
        session.add(record)
        session.flush()
        authorisation.revocations_seen(session, "node_1", 4)
        assert all(one.seen_at is None for one in authorisation.stops(session, AUTHORITY, grant))
        authorisation.revocations_seen(session, "node_1", 5)
        authorisation.revocations_seen(session, "node_1", 6)
        assert [one.seen_at is not None for one in authorisation.stops(session, AUTHORITY, grant)] == [True, False, False]


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
