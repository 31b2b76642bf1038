"""Lists of data: drafted with a preview, reviewed side by side and line by line, changed in versions, limited in total."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlmodel import Session, select
from tests.factories import review
from tests.factories.agreements import operation_agreement

from marketplace import clock, db, work
from marketplace.actor import Actor
from marketplace.agreements import service as agreements
from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import DataDemand, GrantRecord, Opinion
from marketplace.catalogue import negative
from marketplace.catalogue.models import DataResource
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.trust import service as trust
from shuyan.problems import ProblemError
from shuyan.trust.grants import sign_grant

from . import market as city

AUTHORITY, DEVELOPER, RIVAL, OPERATOR, INDUSTRY = city.AUTHORITY, city.DEVELOPER, city.RIVAL, city.OPERATOR, city.INDUSTRY
SCRIPT = "<script>alert(1)</script>"
ALL_FOUR = [{"resource_id": f"res_{n}", "columns": ["age", "income"]} for n in (1, 2, 3, 4)]


@pytest.fixture
def market(database: Any) -> Any:
    return city.build(database)


@dataclass(frozen=True)
class Small:
    """SQLite with a city in it."""

    database: Any
    city: city.Market

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)


@pytest.fixture
def small(sqlite_database: Any) -> Any:
    return Small(sqlite_database, city.build(sqlite_database))


def asked(session: Session, subject: str) -> dict[str, Opinion]:
    return {one.organisation_id: one for one in review.open_opinions(session, subject)}


def department(number: int) -> Actor:
    return Actor("source_department", f"org_{number}", f"mem_{number}")


def in_review(session: Session, **changes: Any) -> DataDemand:
    row = review.submitted_demand(session, DEVELOPER, city.body(**changes))
    authorisation.give_opinion(session, OPERATOR, asked(session, row.id)["org_operator"].id, "approve")
    return row


def test_departments_and_authority_look_at_a_list_side_by_side(database: Any, market: Any) -> None:
    with database.transaction() as session:
        row = in_review(session, resources=ALL_FOUR)
        found = asked(session, row.id)
        assert sorted(found) == ["org_1", "org_2", "org_3", "org_4", "org_authority"]
        assert (row.status, row.mode) == ("in_review", "overall")
        with pytest.raises(ProblemError, match="review_line_not_yours"):
            authorisation.give_opinion(session, department(1), found["org_1"].id, "approve", struck=["res_2"])
        with pytest.raises(ProblemError, match="review_comment_invalid"):
            authorisation.give_opinion(session, department(1), found["org_1"].id, "approve", comments={"res_9": "x"})
        authorisation.give_opinion(session, department(1), found["org_1"].id, "approve", comments={"res_1": SCRIPT})
        authorisation.give_opinion(session, department(2), found["org_2"].id, "refuse", note="正在整改")
        authorisation.give_opinion(session, AUTHORITY, found["org_authority"].id, "approve")
        assert authorisation.opinions(session, DEVELOPER, row) == [one for one in authorisation.opinions(session, AUTHORITY, row)
                                                                   if one.stage == "check"]  # words come when all have answered
        for number in (3, 4):
            authorisation.give_opinion(session, department(number), found[f"org_{number}"].id, "approve")
        assert (row.status, row.struck) == ("approved", ["res_2"])
        review.sign(session, row)
        draft = authorisation.grant_draft(session, AUTHORITY, row.id)
        assert [item.resource_id for item in draft.resources] == ["res_1", "res_3", "res_4"]
        assert len(authorisation.opinions(session, DEVELOPER, row)) == 6
        assert trust.check_database(session).ok


def test_too_few_departments_left_is_a_refusal(small: Any) -> None:
    with small.transaction() as session:
        row = in_review(session)
        found = asked(session, row.id)
        authorisation.give_opinion(session, department(2), found["org_2"].id, "refuse", note="不同意")
        for actor in (department(1), department(3), AUTHORITY):
            authorisation.give_opinion(session, actor, found[actor.organisation_id or ""].id, "approve")
        assert (row.status, row.struck, row.reason) == ("refused", ["res_2"], "不同意")


def test_a_return_names_lines_and_comes_back_as_the_next_version_with_its_changes(small: Any) -> None:
    with small.transaction() as session:
        row = in_review(session)
        found = asked(session, row.id)
        authorisation.give_opinion(session, department(2), found["org_2"].id, "return", note="请说明用途", comments={"res_2": "为何需要收入"})
        assert (row.status, row.reason) == ("returned", "请说明用途")
        with pytest.raises(ProblemError, match="review_over"):
            authorisation.give_opinion(session, department(1), found["org_1"].id, "approve")
        assert [one.comments for one in authorisation.opinions(session, DEVELOPER, row) if one.comments] == [{"res_2": "为何需要收入"}]
        changed = review.explained(city.body(term_days=60))
        changed["resources"][1] = {"resource_id": "res_2", "columns": ["age"], "reason": "只需年龄"}
        authorisation.edit_demand(session, DEVELOPER, row.id, changed)
        authorisation.submit_demand(session, DEVELOPER, row.id)
        assert (row.status, row.version) == ("submitted", 2)
        told = {(one["what"], one["key"]): (one["before"], one["after"]) for one in authorisation.changes(session, row)}
        assert told == {("columns", "res_2"): (["age", "income"], ["age"]), ("reason", "res_2"): (review.REASON, "只需年龄"),
                        ("term", "term_days"): (90, 60)}
        with pytest.raises(ProblemError, match="wrong_state"):
            authorisation.submit_demand(session, DEVELOPER, row.id)


def test_in_field_mode_the_industry_department_alone_decides(small: Any) -> None:
    with small.transaction() as session:
        operation_agreement(session, AUTHORITY, OPERATOR, mode="field", sectors=["livelihood"])
        authorisation.assign_sector(session, AUTHORITY, "livelihood", "org_industry")
        row = review.submitted_demand(session, DEVELOPER, city.body(), sector="livelihood")
        authorisation.give_opinion(session, OPERATOR, asked(session, row.id)["org_operator"].id, "approve")
        assert list(asked(session, row.id)) == ["org_industry"]
        authorisation.give_opinion(session, INDUSTRY, asked(session, row.id)["org_industry"].id, "approve", struck=[])
        assert row.status == "approved"


def test_in_scenario_mode_all_of_them_do(small: Any) -> None:
    with small.transaction() as session:
        operation_agreement(session, AUTHORITY, OPERATOR, mode="scenario", sectors=["livelihood"])
        authorisation.assign_sector(session, AUTHORITY, "livelihood", "org_industry")
        row = review.submitted_demand(session, DEVELOPER, city.body(), sector="livelihood")
        authorisation.give_opinion(session, OPERATOR, asked(session, row.id)["org_operator"].id, "approve")
        assert sorted(asked(session, row.id)) == ["org_1", "org_2", "org_3", "org_authority", "org_industry"]


def test_silence_approves_nothing(small: Any) -> None:
    """With a quorum below all, whoever is late is left out with its lines; before it is late it is waited for."""
    object.__setattr__(small.settings, "review_quorum", 70)
    with small.transaction() as session:
        row = in_review(session, resources=ALL_FOUR)
        found = asked(session, row.id)
        for actor in (AUTHORITY, department(1), department(2), department(3)):
            authorisation.give_opinion(session, actor, found[actor.organisation_id or ""].id, "approve")
        assert row.status == "in_review"
        due = found["org_4"].due_at
    with clock.shifted(due - utc_now() + dt.timedelta(seconds=1)):
        deadlines.fire_due()
    with small.reading() as session:
        row = session.get_one(DataDemand, row.id)
        assert (row.status, row.struck) == ("approved", ["res_4"])


def test_the_preview_says_all_that_would_be_refused_and_keeps_nothing(small: Any) -> None:
    with small.transaction() as session:
        scenario = review.accepted_scenario(session, DEVELOPER, months=1)
        negative.enter(session, AUTHORITY, kind="column", resource_id="res_2", column="income", reason="敏感")
        authorisation.set_volume(session, department(3), "res_3", max_grants=1, max_rows=None)
        authorisation.set_volume(session, department(3), "res_3", max_grants=None, max_rows=1)
        authorisation.record_use(session, "run_1", {"res_3": 1})
        body = city.body(apps=["statistics", "none"], term_days=90, resources=[
            {"resource_id": "res_1", "columns": ["age", "id_number", "salary"], "reason": "a"},
            {"resource_id": "res_2", "columns": ["income"], "reason": "b"}, {"resource_id": "res_3", "columns": ["age"], "reason": "c"},
            {"resource_id": "res_core", "columns": ["age"], "reason": ""}, {"resource_id": "res_9", "columns": ["age"], "reason": "e"}])
        found = authorisation.preview(session, DEVELOPER, scenario.id, body)
        assert [(one.code, one.field) for one in found] == [
            ("demand_term_beyond_scenario", "term_days"), ("demand_column_identifier", "resources.0.columns"),
            ("demand_column_unknown", "resources.0.columns"), ("demand_column_negative", "resources.1.columns"),
            ("demand_volume_exhausted", "resources.2.resource_id"), ("demand_line_unexplained", "resources.3.reason"),
            ("demand_grade_forbidden", "resources.3.resource_id"), ("demand_resource_unknown", "resources.4.resource_id"),
            ("demand_app_unknown", "apps.1"), ("demand_departments_too_few", "resources")]
        assert not [one for one in found if "?" in one.text("zh") + one.text("en")]
        wrong = authorisation.preview(session, DEVELOPER, scenario.id, {**body, "term_days": True, "more": 1})
        assert {one.field for one in wrong} == {"term_days", "more"}
        with pytest.raises(ProblemError, match="not_found"):
            authorisation.preview(session, RIVAL, scenario.id, body)
        assert session.exec(select(DataDemand)).all() == []


def test_data_that_no_agreement_covers_are_refused_line_by_line(small: Any) -> None:
    with small.transaction() as session:
        scenario = review.accepted_scenario(session, DEVELOPER)
        session.get_one(DataResource, "res_2").sector = "health"
        session.flush()
        agreement = session.exec(select(review.Agreement)).one()
        agreements.terminate(session, AUTHORITY, agreement.id, "违约")
        operation_agreement(session, AUTHORITY, OPERATOR, sectors=["livelihood"])
        found = authorisation.preview(session, DEVELOPER, scenario.id, review.explained(city.body()))
        assert [(one.code, one.field) for one in found] == [("agreement_expired", "resources.1.resource_id")]


@pytest.mark.parametrize(("changes", "code"), [
    ({"term_days": 37 * 31}, "demand_term_too_long"), ({"resources": [{"resource_id": "res_1", "columns": ["age"], "reason": "长" * 501}]},
                                                       "demand_invalid"),
    ({"own_figures": True, "own_figures_reason": "\x00"}, "demand_invalid")])
def test_what_a_list_may_not_say(small: Any, changes: dict[str, Any], code: str) -> None:
    with small.transaction() as session, pytest.raises(ProblemError, match=code):
        review.submitted_demand(session, DEVELOPER, city.body(**changes))


def test_nothing_is_asked_under_a_scenario_that_is_not_accepted(small: Any) -> None:
    with small.transaction() as session:
        row = authorisation.propose_scenario(session, DEVELOPER, authorisation.Content(**review.CONTENT))
        demand = authorisation.draft_demand(session, DEVELOPER, row.id, review.explained(city.body()), key="form")
        assert authorisation.draft_demand(session, DEVELOPER, row.id, city.body(), key="form").id == demand.id
        with pytest.raises(ProblemError, match="scenario_not_accepted"):
            authorisation.submit_demand(session, DEVELOPER, demand.id)


def test_a_changed_list_is_reviewed_anew_and_takes_the_place_of_its_grant(small: Any) -> None:
    with small.transaction() as session:
        first = review.granted(session, DEVELOPER, AUTHORITY, small.city.authority_key, city.body())
        new = authorisation.revise_demand(session, DEVELOPER, first.demand_id)
        assert (new.status, new.version, new.follows_id) == ("draft", 2, first.demand_id)
        with pytest.raises(ProblemError, match="demand_open_version"):
            authorisation.revise_demand(session, DEVELOPER, first.demand_id)
        authorisation.edit_demand(session, DEVELOPER, new.id, review.explained(city.body(term_days=30)))
        authorisation.submit_demand(session, DEVELOPER, new.id)
        assert [one["key"] for one in authorisation.changes(session, new)] == ["term_days"]
        review.agree(session, new.id)
        review.sign(session, new)
        draft = authorisation.grant_draft(session, AUTHORITY, new.id)
        authorisation.usable_grant(session, first.id, utc_now())
        second = authorisation.accept_grant(session, AUTHORITY, new.id, sign_grant(draft, small.city.authority_key))
        with pytest.raises(ProblemError, match="grant_held"):
            authorisation.usable_grant(session, first.id, utc_now())
        authorisation.usable_grant(session, second.id, utc_now())


def test_no_grant_outlives_its_agreements(small: Any) -> None:
    with small.transaction() as session:
        operation_agreement(session, AUTHORITY, OPERATOR, months=2)
        demand = review.reviewed_demand(session, DEVELOPER, city.body(term_days=30))
        ends = session.get_one(review.Agreement, demand.agreement_id).ends_at
    assert ends is not None
    with clock.shifted(ends - utc_now() - dt.timedelta(days=3)), small.transaction() as session:
        draft = authorisation.grant_draft(session, AUTHORITY, demand.id)
        assert draft.exp - draft.iat == 30 * 86_400  # signed by this machine's own clock, which no test moves
    with small.transaction() as session:
        agreement = session.get_one(review.Agreement, demand.agreement_id)
        agreement.ends_at = utc_now() + dt.timedelta(days=10)
        session.flush()
        draft = authorisation.grant_draft(session, AUTHORITY, demand.id)
        assert draft.exp <= agreement.ends_at.timestamp()
        longer = draft.model_copy(update={"exp": draft.iat + 30 * 86_400})
        with pytest.raises(ProblemError, match="grant_too_wide"):
            authorisation.accept_grant(session, AUTHORITY, demand.id, sign_grant(longer, small.city.authority_key))


def test_the_last_grant_of_a_limited_resource_is_the_last(small: Any) -> None:
    with small.transaction() as session:
        authorisation.set_volume(session, department(1), "res_1", max_grants=1, max_rows=250, period="month")
        first, second = (review.reviewed_demand(session, DEVELOPER, city.body()) for _ in range(2))
        jws = [sign_grant(authorisation.grant_draft(session, AUTHORITY, one.id), small.city.authority_key) for one in (first, second)]
        record = authorisation.accept_grant(session, AUTHORITY, first.id, jws[0])
        with pytest.raises(ProblemError, match="demand_volume_exhausted"):
            authorisation.accept_grant(session, AUTHORITY, second.id, jws[1])
        authorisation.record_use(session, "run_a", {"res_1": 100})
        authorisation.record_use(session, "run_a", {"res_1": 100})  # told twice, counted once
        authorisation.record_use(session, "run_b", {"res_1": 100})
        with pytest.raises(ProblemError, match="volume_exhausted"):
            authorisation.record_use(session, "run_c", {"res_1": 100})
        assert (authorisation.volumes(session, ["res_1"])["res_1"].grants, record.status) == (1, "active")
        for limit in ({"max_grants": 0, "max_rows": None}, {"max_grants": None, "max_rows": -1}, {"max_grants": 1, "max_rows": 1, "period": "day"}):
            with pytest.raises(ProblemError, match="volume_invalid"):
                authorisation.set_volume(session, department(1), "res_1", **limit)
        with pytest.raises(ProblemError, match="not_allowed"):
            authorisation.set_volume(session, department(2), "res_1", max_grants=5, max_rows=None)


def test_two_reviewers_of_one_organisation_at_once_make_one_opinion(database: Any, market: Any) -> None:
    with database.transaction() as session:
        row = in_review(session)
        opinion = asked(session, row.id)["org_1"].id
    said = together(
        lambda session: authorisation.give_opinion(session, department(1), opinion, "approve"),
        lambda session: authorisation.give_opinion(session, Actor("source_department", "org_1", "mem_other"), opinion, "refuse", note="不"))
    assert sorted(said) == ["", "wrong_state"]
    with database.reading() as session:
        assert session.get_one(Opinion, opinion).status == ("approved" if said[0] == "" else "refused")
        assert len([one for one in trust.events_for(session, opinion) if one.tag == "authorisation:opinion:given"]) == 1


def test_the_last_two_opinions_at_once_make_one_outcome(database: Any, market: Any) -> None:
    with database.transaction() as session:
        row = in_review(session)
        found = {name: one.id for name, one in asked(session, row.id).items()}
        for actor in (AUTHORITY, department(3)):
            authorisation.give_opinion(session, actor, found[actor.organisation_id or ""], "approve")
    said = together(*(
        (lambda session, actor=actor: authorisation.give_opinion(session, actor, found[actor.organisation_id], "approve"))
        for actor in (department(1), department(2))))
    assert said == ["", ""]
    with database.reading() as session:
        assert session.get_one(DataDemand, row.id).status == "approved"
        assert [one.tag for one in trust.events_for(session, row.id)].count("authorisation:demand:approved") == 1
        assert trust.check_database(session).ok


def test_a_withdrawal_and_a_return_at_once_end_one_way(database: Any, market: Any) -> None:
    with database.transaction() as session:
        row = in_review(session)
        opinion = asked(session, row.id)["org_1"].id
    said = together(lambda session: authorisation.withdraw_demand(session, DEVELOPER, row.id),
                    lambda session: authorisation.give_opinion(session, department(1), opinion, "return", note="补充材料"))
    with database.reading() as session:
        status = session.get_one(DataDemand, row.id).status
    assert (status, said) in [("withdrawn", ["", "review_over"]), ("withdrawn", ["", ""])]


def together(*acts: Callable[[Session], object]) -> list[str]:
    """What came of acts done at the same time, in transactions of their own: a problem's code, or "" where it was done."""
    start, said = threading.Barrier(len(acts)), [""] * len(acts)

    def run(place: int, act: Callable[[Session], object]) -> None:
        start.wait()
        try:
            with db.transaction() as session:
                act(session)
        except ProblemError as problem:
            said[place] = problem.code

    threads = [threading.Thread(target=run, args=(place, act)) for place, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_what_waits_for_whom(small: Any) -> None:
    with small.transaction() as session:
        row = in_review(session)

        def kinds(actor: Actor) -> list[str]:
            return [item.kind for item in work.waiting(session, actor, utc_now()) if item.subject == row.id]

        assert [kinds(actor) for actor in (AUTHORITY, department(1), department(4), DEVELOPER)] == [["demand.review"], ["demand.review"], [], []]
        review.agree(session, row.id)
        review.sign(session, row)
        assert [kinds(actor) for actor in (AUTHORITY, department(1))] == [["demand.issue"], []]
        assert session.exec(select(GrantRecord)).all() == []
