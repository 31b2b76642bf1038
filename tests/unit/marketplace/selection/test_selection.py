"""Operator selection: a fair call, sealed applications, experts who score alone, negotiation in the order of the ranking."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.agreements import pass_notice
from tests.factories.selections import CRITERIA, NOTICE, TERMS, Call, apply, make_call, person, points

from marketplace import clock, db, work
from marketplace.actor import PUBLIC, Actor
from marketplace.agreements import service as agreements
from marketplace.deadlines import service as deadlines
from marketplace.notices import service as notices
from marketplace.selection import rules
from marketplace.selection import service as selections
from shuyan.problems import ProblemError

LATER = dt.timedelta(days=11)


@pytest.fixture
def call(sqlite_database: Any) -> Call:
    del sqlite_database
    with db.transaction() as session:
        return make_call(session)


def act(name: str, actor: Actor, *arguments: Any, **more: Any) -> Any:
    with db.transaction() as session:
        return getattr(selections, name)(session, actor, *arguments, **more)


def refused(code: str, name: str, actor: Actor, *arguments: Any, **more: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        act(name, actor, *arguments, **more)
    assert caught.value.code == code


def page(actor: Actor, call: Call) -> selections.SelectionPage:
    with db.reading() as session:
        return selections.page(session, actor, call.id)


def applied(call: Call) -> None:
    with db.transaction() as session:
        for applicant in call.applicants:
            apply(session, call, applicant)


def closed(call: Call) -> None:
    applied(call)
    with clock.shifted(LATER):
        deadlines.fire_due()


def ranked(call: Call) -> None:
    closed(call)
    for expert in call.experts:
        for application, security in zip(call.applications, (70, 90), strict=True):
            act("score", expert, application, points(security))


def test_the_best_ranked_negotiates_is_noticed_and_has_an_agreement_drafted(call: Call) -> None:
    ranked(call)
    second, first = call.applications
    shown = page(PUBLIC, call)
    assert [(one["application_id"], one["total"]) for one in shown.ranking] == [(first, "85.00"), (second, "75.00")]
    assert shown.applications == []
    act("negotiate", call.authority, call.id)
    act("conclude", call.authority, call.id, TERMS)
    refused("agreement_self_review", "approve", call.authority, call.id)
    act("approve", call.reviewer, call.id)
    with db.transaction() as session:
        notice = notices.list_notices(session, subject=call.id).items[0]
        assert "候选机构1（85.00 分）" in {fact["value_zh"] for fact in notice.facts}
        pass_notice(session, call.id)
    row = page(PUBLIC, call).selection
    assert row.status == "selected"
    with db.reading() as session:
        agreement = agreements.page(session, call.authority, row.agreement_id or "")
        assert (agreement.agreement.status, agreement.agreement.grantee_id) == ("draft", call.applicants[1].organisation_id)
        assert (agreement.terms.months, agreement.terms.usage_fee_fen) == (36, 1000)
    assert [one.application.status for one in page(call.authority, call).applications] == ["passed_over", "chosen"]


@pytest.mark.parametrize(("changes", "code"), [
    ({"criteria": [{**CRITERIA[0], "weight": 49}, *CRITERIA[1:]]}, "selection_weights"),
    ({"criteria": [{**CRITERIA[0], "weight": 100, "key": "Bad Key"}]}, "selection_invalid"),
    ({"criteria": [{**CRITERIA[0]}, {**CRITERIA[0]}]}, "selection_invalid"),
    ({"criteria": []}, "selection_invalid"),
    ({"criteria": [{**CRITERIA[0], "weight": True}]}, "selection_invalid"),
    ({"title_zh": " "}, "selection_invalid"),
    ({"conditions": "\x00"}, "selection_invalid"),
    ({"conditions": "长" * 10_001}, "selection_invalid"),
])
def test_notices_that_do_not_hold_are_refused(call: Call, changes: dict[str, Any], code: str) -> None:
    refused(code, "draft", call.authority, apply_until=db.utc_now() + dt.timedelta(days=1), notice=NOTICE | changes)


def test_who_calls_and_when(call: Call) -> None:
    for until in (db.utc_now() - dt.timedelta(seconds=1), db.utc_now() + dt.timedelta(days=400)):
        refused("selection_deadline", "draft", call.authority, apply_until=until, notice=NOTICE)
    refused("not_allowed", "draft", call.applicants[0], apply_until=db.utc_now() + dt.timedelta(days=1), notice=NOTICE)
    draft = act("draft", call.authority, apply_until=db.utc_now() + dt.timedelta(days=1), notice=NOTICE).id
    refused("agreement_self_review", "publish", call.authority, draft)
    with db.reading() as session, pytest.raises(ProblemError, match="not_found"):
        selections.page(session, PUBLIC, draft)


def test_applications_come_from_operators_once_complete_and_in_time_and_stay_sealed(call: Call) -> None:
    with db.transaction() as session:
        apply(session, call, call.applicants[0])
    with db.transaction() as session, pytest.raises(ProblemError, match="selection_applied"):
        apply(session, call, call.applicants[0])
    refused("selection_files_missing", "apply", call.applicants[1], call.id, statement="方案", files=[])
    refused("selection_statement", "apply", call.applicants[1], call.id, statement=" ", files=["file_x"])
    refused("not_allowed", "apply", call.city["developer"], call.id, statement="方案", files=[])
    assert (page(call.authority, call).applied, page(call.authority, call).applications) == (1, [])
    assert [one.own for one in page(call.applicants[0], call).applications] == [True]
    assert page(call.applicants[1], call).applications == []
    with clock.shifted(LATER):
        refused("selection_closed", "apply", call.applicants[1], call.id, statement="方案", files=["file_x"])
        deadlines.fire_due()
    refused("selection_closed", "withdraw", call.applicants[0], call.applications[0])
    assert len(page(call.authority, call).applications) == 1


def test_a_call_that_nobody_answers_has_failed(call: Call) -> None:
    with clock.shifted(LATER):
        deadlines.fire_due()
    assert page(PUBLIC, call).selection.status == "failed"


def test_nobody_judges_their_own_organisation_and_nobody_outside_the_panel_judges(call: Call) -> None:
    with db.transaction() as session:
        insider = person(session, call.applicants[0].organisation_id or "", "operator")
        selections.name_expert(session, call.authority, call.id, insider.member_id or "")
    assert len(page(call.authority, call).experts) == 4
    closed(call)
    assert len(page(call.authority, call).experts) == 3  # applying struck the applicant's own member
    refused("expert_conflict", "name_expert", call.authority, call.id, insider.member_id)
    refused("expert_unknown", "name_expert", call.authority, call.id, "mem_none")
    refused("expert_named", "name_expert", call.authority, call.id, call.experts[0].member_id)
    refused("not_found", "score", insider, call.applications[1], points(100))
    refused("not_found", "score", call.authority, call.applications[0], points(100))


@pytest.mark.parametrize("bad", [{}, {"security": 80}, points(101), points(-1), points(True), {**points(80), "more": 1},
                                 {**points(80), "funds": "80"}])
def test_points_are_whole_for_every_criterion(call: Call, bad: dict[str, Any]) -> None:
    closed(call)
    refused("score_invalid", "score", call.experts[0], call.applications[0], bad)


def test_a_scorer_sees_no_other_score_until_all_are_in(call: Call) -> None:
    closed(call)
    first, second, third = call.experts
    for expert in (first, second):
        for application in call.applications:
            act("score", expert, application, points(60))
    act("score", third, call.applications[0], points(95))

    def seen(actor: Actor) -> int:
        return sum(len(one.scores) for one in page(actor, call).applications)

    assert [seen(one) for one in (first, second, third, call.authority, *call.applicants)] == [2, 2, 1, 0, 0, 0]
    assert (page(call.authority, call).scored, page(call.authority, call).ranking) == (2, [])
    act("score", third, call.applications[0], points(50))  # one's own may be changed until the ranking
    act("score", third, call.applications[1], points(95))
    assert [seen(one) for one in (first, third, call.authority)] == [6, 6, 6]
    refused("wrong_state", "score", first, call.applications[0], points(100))


def test_an_expert_who_never_scores_is_taken_off_and_the_ranking_comes(call: Call) -> None:
    with db.transaction() as session:
        idle = person(session, call.city.departments[0], "source_department")
        seat = selections.name_expert(session, call.authority, call.id, idle.member_id or "").id
    ranked(call)
    assert page(call.authority, call).selection.status == "scoring"
    experts = page(call.authority, call).experts
    refused("expert_scored", "dismiss_expert", call.authority, call.id, experts[0].id)
    act("dismiss_expert", call.authority, call.id, seat)
    assert page(call.authority, call).selection.status == "ranked"


def test_the_next_is_asked_when_a_negotiation_fails_and_after_the_last_it_is_over(call: Call) -> None:
    ranked(call)
    act("negotiate", call.authority, call.id)
    refused("agreement_reason_missing", "next_candidate", call.authority, call.id, "")
    assert act("next_candidate", call.authority, call.id, "费用未谈拢").candidate_id == call.applications[0]
    refused("agreement_term_length", "conclude", call.authority, call.id, {**TERMS, "months": 37})
    assert act("next_candidate", call.authority, call.id, "也未谈拢").status == "failed"


def selected(call: Call) -> str:
    """Brings the candidate in turn through approval and notice; the id of the agreement that is drafted."""
    act("conclude", call.authority, call.id, TERMS)
    act("approve", call.reviewer, call.id)
    with db.transaction() as session:
        pass_notice(session, call.id)
    return page(PUBLIC, call).selection.agreement_id or ""


def test_a_selection_goes_on_with_the_next_when_its_agreement_does_not_come_about(call: Call) -> None:
    ranked(call)
    second, first = call.applications
    act("negotiate", call.authority, call.id)
    agreement = selected(call)
    with db.transaction() as session:
        agreements.propose(session, call.authority, agreement)
        agreements.refuse(session, call.applicants[1], agreement, "条款无法接受")
    row = page(call.authority, call)
    assert (row.selection.status, row.selection.candidate_id, row.selection.agreement_id) == ("negotiating", second, None)
    assert {one.application.id: (one.application.status, one.application.reason) for one in row.applications} == {
        first: ("passed_over", "条款无法接受"), second: ("submitted", "")}
    agreement = selected(call)
    with db.transaction() as session:
        agreements.withdraw(session, call.authority, agreement)  # the draft is thrown away, and nobody is left
    row = page(call.authority, call)
    assert (row.selection.status, {one.application.status for one in row.applications}) == ("failed", {"passed_over"})
    from marketplace.trust import service as trust

    with db.reading() as session:
        assert trust.check_database(session).ok


def test_an_upheld_objection_passes_the_candidate_over(call: Call) -> None:
    ranked(call)
    act("negotiate", call.authority, call.id)
    act("conclude", call.authority, call.id, TERMS)
    act("approve", call.reviewer, call.id)
    with db.transaction() as session:
        notice = notices.list_notices(session, subject=call.id).items[0]
        objection = notices.object_to(session, PUBLIC, notice.id, "近三年有违法记录")
        notices.answer(session, call.authority, objection.id, "uphold", "属实")
    row = page(call.authority, call).selection
    assert (row.status, row.candidate_id, row.terms) == ("negotiating", call.applications[0], {})


def test_an_application_that_meets_no_condition_is_set_aside_before_the_ranking(call: Call) -> None:
    closed(call)
    refused("not_allowed", "set_aside", call.applicants[0], call.applications[0], "不符")
    act("set_aside", call.reviewer, call.applications[1], "列入失信名单")
    for expert in call.experts:
        act("score", expert, call.applications[0], points(60))
    assert [one["application_id"] for one in page(PUBLIC, call).ranking] == [call.applications[0]]


def test_work_waits_for_those_whose_turn_it_is(call: Call) -> None:
    def kinds(actor: Actor) -> list[str]:
        with db.reading() as session:
            return [item.kind for item in work.waiting(session, actor, db.utc_now()) if item.subject == call.id]

    closed(call)
    assert [kinds(one) for one in (call.experts[0], call.authority, call.applicants[0])] == [["selection.score"], [], []]
    for expert in call.experts:
        for application in call.applications:
            act("score", expert, application, points(60))
    assert [kinds(one) for one in (call.experts[0], call.authority)] == [[], ["selection.negotiate"]]


@pytest.mark.usefixtures("database")
def test_the_last_scores_at_once_make_one_ranking() -> None:
    with db.transaction() as session:
        call = make_call(session, applicants=1)
    closed(call)
    ready = Barrier(3)

    def score(expert: Actor) -> Callable[[], None]:
        def run() -> None:
            ready.wait(10)
            act("score", expert, call.applications[0], points(70))
        return run

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(score(expert)) for expert in call.experts]:
            done.result()
    assert page(PUBLIC, call).selection.status == "ranked"
    from marketplace.trust import service as trust

    with db.reading() as session:
        assert [row.tag for row in trust.events_for(session, call.id)].count("selection:selection:ranked") == 1


# --- ranking (pure) ---

MOMENT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SHEETS = st.lists(st.lists(st.fixed_dictionaries({key: st.integers(0, 100) for key in ("security", "technique", "funds")}),
                           min_size=3, max_size=3), min_size=1, max_size=6)


def rated(sheets: list[list[dict[str, int]]]) -> list[rules.Rated]:
    return [rules.Rated(f"a{place}", MOMENT + dt.timedelta(minutes=place), tuple(sheet)) for place, sheet in enumerate(sheets)]


@given(SHEETS, st.randoms(use_true_random=False))
def test_the_ranking_depends_on_nothing_but_points_and_time(sheets: list[list[dict[str, int]]], chance: Any) -> None:
    one, other = rated(sheets), rated(sheets)
    chance.shuffle(other)
    found = rules.rank(one, CRITERIA)
    assert found == rules.rank(other, CRITERIA)
    assert [place.total for place in found] == sorted((place.total for place in found), reverse=True)
    assert all(0 <= place.total <= 100 for place in found)


@given(SHEETS, st.data())
def test_a_better_score_never_costs_a_place(sheets: list[list[dict[str, int]]], data: st.DataObject) -> None:
    who = data.draw(st.integers(0, len(sheets) - 1))
    key = data.draw(st.sampled_from(["security", "technique", "funds"]))
    before = [place.application_id for place in rules.rank(rated(sheets), CRITERIA)].index(f"a{who}")
    better = [[dict(one) for one in sheet] for sheet in sheets]
    better[who][0][key] = data.draw(st.integers(better[who][0][key], 100))
    assert [place.application_id for place in rules.rank(rated(better), CRITERIA)].index(f"a{who}") <= before


def test_ties_go_to_the_heavier_criterion_then_to_the_earlier_application() -> None:
    safe, skilled = points(80, 50, 50), points(65, 75, 50)  # both 65
    assert [place.application_id for place in rules.rank(rated([[skilled], [safe]]), CRITERIA)] == ["a1", "a0"]
    assert [place.application_id for place in rules.rank(rated([[safe], [safe]]), CRITERIA)] == ["a0", "a1"]


@given(st.fractions(0, 100))
def test_scores_are_shown_to_the_nearest_hundredth(value: Fraction) -> None:
    assert abs(Fraction(rules.shown(value)) - value) <= Fraction(1, 200)
