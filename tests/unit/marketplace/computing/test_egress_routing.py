"""谁授权谁审核: who decides what leaves follows from how its use was authorised, and everybody asked must agree."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import Session, select
from tests.factories.federation import PARAMS, Zone, zone

from marketplace import clock, db, work
from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import Opinion
from marketplace.computing import runs
from marketplace.computing import service as computing
from marketplace.computing.models import EgressReview, Job, JobOutput
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.notices.models import Message
from marketplace.parties.models import Organisation
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

CONTENT: dict[str, Any] = {
    "kind": "statistics", "resource": "air", "rows": 120, "departments": 3, "minimum_cohort": 10, "histograms": [],
    "tables": [{"group_by": [], "suppressed": 0, "cells": [
        {"group": {}, "rows": 120, "columns": {"pm25": {"count": 120, "sum": 1.0, "mean": 1.0, "variance": 0.0, "sd": 0.0}}}]}]}
INDUSTRY = Actor("industry_department", "org_industry", "mem_industry", roles=frozenset({"reviewer"}))


def department(number: int, member: str = "a") -> Actor:
    return Actor("source_department", f"org_station{number}", f"mem_{member}{number}", roles=frozenset({"reviewer"}))


def computed(market: Zone, *, inside: int = 3, key: str = "k") -> str:
    """A finished job in which the first ``inside`` departments took part; the id of its review."""
    with db.transaction() as session:
        job = computing.submit_job(session, market.developer, grant_id=market.grant_id, app="statistics", params=PARAMS, idempotency_key=key,
                                   title="年均浓度", fresh=True)
        run = runs.begin(session, job.id, 1)
        assert run is not None
        assert runs.finish(session, run, form="statistics", content=CONTENT,
                           participants=[one.node_id for one in market.departments[:inside]], rows=120)
        review = computing.review_of_job(session, job.id)
        assert review is not None
        return review.id


def decide(actor: Actor, review_id: str, approve: bool = True, note: str = "") -> str:
    """A problem's code, or the review's state after it."""
    try:
        with db.transaction() as session:
            return computing.decide_review(session, actor, review_id, approve, note).status
    except ProblemError as problem:
        return problem.code


def seats(market: Zone, review_id: str) -> list[tuple[str, str | None]]:
    with db.reading() as session:
        return [(one.party, one.organisation_id) for one in computing.get_review(session, market.authority, review_id).opinions]


STATIONS = [("source_department", f"org_station{number}") for number in range(3)]


@pytest.mark.usefixtures("sqlite_database")
@pytest.mark.parametrize(("mode", "asked"), [
    ("overall", [("data_authority", None), *STATIONS]),
    ("scenario", [("data_authority", None), *STATIONS]),
    ("field", [("industry_department", "org_industry")]),
])
def test_the_mode_says_who_decides(mode: str, asked: list[tuple[str, str | None]]) -> None:
    market = zone(mode=mode)
    review = computed(market)
    assert seats(market, review) == asked
    allowed = {"data_authority": market.authority, "industry_department": INDUSTRY}
    for party, actor in allowed.items():
        wanted = "not_reviewer_of_grant" if party != asked[0][0] else "pending" if len(asked) > 1 else "approved"
        assert decide(actor, review) == wanted
    with db.reading() as session:
        told = {row.organisation_id for row in session.exec(select(Message).where(Message.kind == "egress_asked"))}
        assert told == {organisation or "org_data_authority" for _party, organisation in asked}
        if mode == "field":
            for stranger in (department(0), market.operator):
                with pytest.raises(ProblemError, match=r"not_found|not_allowed"):
                    computing.get_review(session, stranger, review)


@pytest.mark.usefixtures("sqlite_database")
def test_it_leaves_once_everybody_asked_has_agreed_and_each_sees_what_the_others_said() -> None:
    market = zone()
    review = computed(market, inside=3)
    assert decide(department(0), review, note="同意，口径一致。") == "pending"
    assert decide(department(0, "b"), review, False, "不同意") == "egress_opinion_given"
    with db.reading() as session:
        for actor in (department(1), market.authority):
            assert [item.subject for item in work.waiting(session, actor, utc_now()) if item.kind == "result.egress"] == [review]
        assert not [item for item in work.waiting(session, department(0), utc_now()) if item.kind == "result.egress"]
        detail = computing.get_review(session, department(1), review)
        assert [(one.organisation_id, one.note) for one in detail.opinions if one.decision == "approved"] == [
            ("org_station0", "同意，口径一致。")]
        assert (detail.actions, detail.output.content) == (["approve", "reject"], CONTENT)
        assert computing.get_review(session, department(0), review).actions == []
        job = detail.job.id
        assert [one.decision for one in computing.decided_by(session, market.developer, job)].count("pending") == 3
    assert [decide(actor, review) for actor in (market.authority, department(2), department(1))] == ["pending", "pending", "approved"]
    with db.reading() as session:
        assert computing.job_result(session, market.developer, job).content == CONTENT
        tags = [event.tag for event in trust.events_for(session, job)]
        assert tags[-4:] == [*["computing:egress:agreed"] * 3, "computing:egress:approved"]
        assert trust.check_database(session).ok


@pytest.mark.usefixtures("sqlite_database")
def test_one_refusal_ends_it_with_its_reason() -> None:
    market = zone()
    review = computed(market)
    assert decide(market.authority, review) == "pending"
    assert decide(department(1), review, False) == "note_required"
    assert decide(department(1), review, False, "本部门分组过细") == "rejected"
    assert decide(department(2), review) == "wrong_state"
    with db.reading() as session:
        row = session.get_one(EgressReview, review)
        assert (row.note, row.decided_by) == ("本部门分组过细", "mem_a1")
        assert session.exec(select(JobOutput)).one().content == {}
        message = session.exec(select(Message).where(Message.kind == "egress_rejected")).one()
        assert (message.organisation_id, message.params["reason"]) == ("org_developer", "本部门分组过细")


@pytest.mark.usefixtures("sqlite_database")
def test_only_departments_whose_data_is_in_it_and_that_reviewed_it_themselves_are_asked() -> None:
    market = zone(4)
    with db.transaction() as session:
        for opinion in session.exec(select(Opinion).where(Opinion.organisation_id == "org_station1", Opinion.stage == "review")):
            opinion.decided_for = True  # the authority decided in its place
        session.get_one(Organisation, "org_station2").status = "suspended"  # asked of nobody who may not act
    review = computed(market, inside=3)
    assert seats(market, review) == [("data_authority", None), ("source_department", "org_station0")]
    assert decide(department(3), review) == "not_reviewer_of_grant"
    with db.reading() as session:
        assert computing.list_reviews(session, department(3))[0] == []
        assert [row.id for row in computing.list_reviews(session, department(0))[0]] == [review]


@pytest.mark.usefixtures("sqlite_database")
def test_nobody_decides_on_what_they_submitted_under_another_membership() -> None:
    market = zone()
    review = computed(market)
    same = Actor("data_authority", market.authority.organisation_id, market.developer.member_id, roles=frozenset({"reviewer"}))
    assert decide(same, review) == "own_review"
    with db.reading() as session:
        assert not [item for item in work.waiting(session, same, utc_now()) if item.kind == "result.egress"]


def late() -> None:
    """The time of everybody who is asked is over."""
    with clock.shifted(dt.timedelta(days=20)):
        deadlines.fire_due()


@pytest.mark.usefixtures("sqlite_database")
def test_the_authority_decides_in_the_place_of_whoever_let_the_time_pass() -> None:
    market = zone()
    review = computed(market)
    assert decide(department(0), review) == "pending"
    late()
    assert decide(department(1), review) == "egress_passed_on"
    assert decide(market.authority, review) == "approved"
    with db.reading() as session:
        job = session.get_one(EgressReview, review).job_id
        assert [one.decision for one in computing.decided_by(session, market.developer, job)] == [
            "approved", "approved", "passed_on", "passed_on"]
        tags = [event.tag.rpartition(":")[2] for event in trust.events_for(session, job)]
        assert tags[-4:] == ["agreed", "passed_on", "passed_on", "approved"]
        assert trust.check_database(session).ok


@pytest.mark.usefixtures("sqlite_database")
def test_what_the_authority_has_agreed_to_leaves_once_the_time_of_the_others_is_over() -> None:
    market = zone()
    review = computed(market)
    assert decide(market.authority, review, note="同意。") == "pending"
    late()
    with db.reading() as session:
        assert _outcome(session, review) == ("approved", "completed", ["computing:egress:approved"])
        assert session.get_one(EgressReview, review).note == "同意。"
        assert trust.check_database(session).ok


@pytest.mark.usefixtures("sqlite_database")
def test_an_industry_department_that_is_gone_holds_no_result_for_ever() -> None:
    market = zone(mode="field")
    review = computed(market)
    assert decide(market.authority, review) == "not_reviewer_of_grant"
    with db.transaction() as session:
        session.get_one(Organisation, "org_industry").status = "ended"
    late()
    with db.reading() as session:
        assert [item.subject for item in work.waiting(session, market.authority, utc_now()) if item.kind == "result.egress"] == [review]
    assert decide(market.authority, review, False, "含可识别信息") == "rejected"


@pytest.mark.usefixtures("database")
def test_a_decision_and_the_end_of_its_time_at_once_make_one_outcome() -> None:
    market = zone(mode="field")
    review = computed(market)
    with clock.shifted(dt.timedelta(days=20)):
        said = together(lambda: decide(INDUSTRY, review), lambda: str(deadlines.fire_due()))
    assert said[0] in ("approved", "egress_passed_on")
    with db.reading() as session:
        status, job, tags = _outcome(session, review)
        assert (status, job, len(tags)) == (("approved", "completed", 1) if said[0] == "approved" else ("pending", "reviewing", 0))


def together(*acts: Callable[[], str]) -> list[str]:
    barrier, said = threading.Barrier(len(acts)), [""] * len(acts)

    def run(place: int, act: Callable[[], str]) -> None:
        barrier.wait()
        said[place] = act()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def _outcome(session: Session, review: str) -> tuple[str, str, list[str]]:
    row = session.get_one(EgressReview, review)
    tags = [event.tag for event in trust.events_for(session, row.job_id)]
    return row.status, session.get_one(Job, row.job_id).status, [tag for tag in tags if tag.rpartition(":")[2] in ("approved", "rejected")]


@pytest.mark.usefixtures("database")
def test_a_result_and_the_withdrawal_of_its_grant_at_once_have_one_order() -> None:
    """Computed first, it goes to review, and the grant is held after; withdrawn first, nothing of it is taken."""
    market = zone()
    with db.transaction() as session:
        job = computing.submit_job(session, market.developer, grant_id=market.grant_id, app="statistics", params=PARAMS,
                                   idempotency_key="k", fresh=True).id
        run = runs.begin(session, job, 1)
        assert run is not None

    def finish() -> str:
        with db.transaction() as session:
            return str(runs.finish(session, run, form="statistics", content=CONTENT,
                                   participants=[one.node_id for one in market.departments], rows=120))

    def withdraw() -> str:
        with db.transaction() as session:
            return authorisation.hold_grant(session, department(0), market.grant_id, "用途不符").status

    taken, held = together(finish, withdraw)
    assert held == "placed"
    with db.reading() as session:
        row, outputs = session.get_one(Job, job), session.exec(select(JobOutput)).all()
        tags = [event.tag.rpartition(":")[2] for event in trust.events_for(session, market.grant_id)]
        if taken == "True":
            assert (row.status, len(outputs)) == ("reviewing", 1)
            assert tags.index("finished") < tags.index("held")
        else:
            assert (row.status, row.error_code, len(outputs)) == ("failed", "grant_held", 0)
            assert "finished" not in tags
        assert trust.check_database(session).ok


@pytest.mark.usefixtures("database")
def test_the_last_two_at_once_make_one_outcome() -> None:
    market = zone()
    review = computed(market)
    for actor in (department(0), department(1)):
        decide(actor, review)
    assert sorted(together(lambda: decide(market.authority, review), lambda: decide(department(2), review))) == ["approved", "pending"]
    with db.reading() as session:
        assert _outcome(session, review) == ("approved", "completed", ["computing:egress:approved"])


@pytest.mark.usefixtures("database")
def test_an_approval_and_a_refusal_at_once_make_one_outcome() -> None:
    market = zone(mode="field")
    review = computed(market)
    other = Actor("industry_department", "org_industry", "mem_other", roles=frozenset({"reviewer"}))
    said = together(lambda: decide(INDUSTRY, review), lambda: decide(other, review, False, "不可以"))
    assert sorted(said) in (["approved", "wrong_state"], ["rejected", "wrong_state"])
    with db.reading() as session:
        status, job, tags = _outcome(session, review)
        assert (status, job, len(tags)) == (*(("approved", "completed") if "approved" in said else ("rejected", "rejected")), 1)
