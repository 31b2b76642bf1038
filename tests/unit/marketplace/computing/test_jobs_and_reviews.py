"""Who sees which job, who cancels, who decides what leaves, and what stays of a rejected output."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import select
from tests.factories.federation import PARAMS, Zone
from tests.factories.review import release

from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation.models import GrantRecord
from marketplace.catalogue.models import DataResource
from marketplace.computing import runs, submission
from marketplace.computing import service as computing
from marketplace.computing.models import Job, JobOutput
from marketplace.computing.progress import LINES, sentence
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

STRANGER = Actor("consumer", "org_stranger", member_id="mem_s")
CONTENT: dict[str, Any] = {
    "kind": "statistics", "resource": "air", "rows": 120, "departments": 3, "minimum_cohort": 10, "histograms": [],
    "tables": [{"group_by": [], "suppressed": 0, "cells": [
        {"group": {}, "rows": 120, "columns": {"pm25": {"count": 120, "sum": 1.0, "mean": 1.0, "variance": 0.0, "sd": 0.0}}}]}]}


def submit(market: Zone, key: str = "k", **changes: Any) -> str:
    with db.transaction() as session:
        return computing.submit_job(session, market.developer, grant_id=market.grant_id, app="statistics", params=PARAMS,
                                    idempotency_key=key, **changes).id


def finish(market: Zone, content: dict[str, Any] = CONTENT, key: str = "k") -> tuple[str, bool]:
    job_id = submit(market, key)
    with db.transaction() as session:
        run_id = runs.begin(session, job_id, 1)
        assert run_id is not None
        assert runs.begin(session, job_id, 1) == run_id
    taken = [finished(market, run_id, content) for _ in range(2)]
    assert taken[1] is False  # the second time changes nothing
    return job_id, taken[0]


def finished(market: Zone, run_id: str, content: dict[str, Any]) -> bool:
    with db.transaction() as session:
        return runs.finish(session, run_id, form="statistics", content=content,
                           participants=[one.node_id for one in market.departments], rows=120)


def review_of(market: Zone, job_id: str) -> str:
    with db.reading() as session:
        review = computing.review_of_job(session, job_id)
        assert review is not None
        return review.id


def test_jobs_are_seen_by_their_organisation_and_those_who_oversee(small_market: Zone) -> None:
    market = small_market
    job_id = submit(market)
    with db.reading() as session:
        for actor in (market.developer, market.authority, market.operator, SYSTEM):
            assert computing.get_job(session, actor, job_id).id == job_id
            assert [job.id for job in computing.list_jobs(session, actor)[0]] == [job_id]
        with pytest.raises(ProblemError, match="not_found"):
            computing.get_job(session, STRANGER, job_id)
        assert computing.list_jobs(session, STRANGER) == ([], None)
        with pytest.raises(ProblemError, match="not_found"):
            computing.job_log(session, STRANGER, job_id)


def test_jobs_come_in_pages_newest_first(small_market: Zone) -> None:
    ids = [submit(small_market, f"k{number}") for number in range(5)]
    with db.reading() as session:
        seen: list[str] = []
        cursor = None
        for _ in range(3):
            page, cursor = computing.list_jobs(session, small_market.developer, cursor=cursor, limit=2)
            seen += [job.id for job in page]
    assert seen == sorted(ids, reverse=True)
    assert cursor is None


def test_a_queued_job_is_cancelled_at_once_and_by_its_own_people_only(small_market: Zone) -> None:
    market = small_market
    job_id = submit(market)
    with db.transaction() as session:
        with pytest.raises(ProblemError, match="not_found"):
            computing.cancel_job(session, STRANGER, job_id)
        assert computing.job_actions(market.developer, session.get_one(Job, job_id)) == ["cancel"]
        assert computing.cancel_job(session, market.developer, job_id).status == "cancelled"
        assert computing.cancel_job(session, market.developer, job_id).status == "cancelled"
    with db.transaction() as session:
        assert runs.begin(session, job_id, 1) is None
        assert [e.tag for e in trust.events_for(session, job_id)][1:] == ["computing:job:cancelled"]


def test_a_finished_run_goes_to_review_once(market: Zone) -> None:
    job_id, reviewing = finish(market)
    assert reviewing
    with db.transaction() as session:
        assert len(session.exec(select(JobOutput)).all()) == 1
        with pytest.raises(ProblemError, match="wrong_state"):
            computing.cancel_job(session, market.developer, job_id)
        with pytest.raises(ProblemError, match="result_not_released"):
            computing.approved_output(session, job_id)
        assert trust.check_database(session).ok


def test_what_fails_a_check_is_never_stored(small_market: Zone) -> None:
    market = small_market
    small = {**CONTENT, "tables": [{"group_by": [], "suppressed": 0, "cells": [{"group": {}, "rows": 3, "columns": {}}]}]}
    job_id, reviewing = finish(market, small)
    assert not reviewing
    with db.reading() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.error_code, job.error_args) == ("failed", "egress_checks_failed", {"checks": "cells"})
        assert session.exec(select(JobOutput)).all() == []
        assert [e.tag for e in trust.events_for(session, job_id)][-2:] == ["computing:egress:checked", "computing:run:failed"]


def test_the_authority_decides_once_and_nobody_else_does(market: Zone) -> None:
    job_id, _ = finish(market)
    review_id = review_of(market, job_id)
    own = Actor("data_authority", market.developer.organisation_id, member_id="mem_x")
    for actor, code in ((market.operator, "not_allowed"), (market.developer, "not_allowed"), (own, "own_review")):
        with db.transaction() as session, pytest.raises(ProblemError, match=code):
            computing.decide_review(session, actor, review_id, True)
    with db.reading() as session:
        detail = computing.get_review(session, market.authority, review_id)
        assert detail.output.content == CONTENT
        assert detail.actions == ["approve", "reject"]
        assert computing.get_review(session, own, review_id).actions == []
        with pytest.raises(ProblemError, match="not_allowed"):
            computing.get_review(session, market.developer, review_id)
    with db.transaction() as session:
        release(session, review_id, "可以")
    with db.transaction() as session, pytest.raises(ProblemError, match="wrong_state"):
        computing.decide_review(session, market.authority, review_id, False, "不可以")
    with db.reading() as session:
        assert computing.job_result(session, market.developer, job_id).content == CONTENT
        for actor in (market.operator, STRANGER):  # the operator may not redevelop what it carries
            with pytest.raises(ProblemError, match="not_found"):
                computing.job_result(session, actor, job_id)


def test_a_rejected_output_is_deleted_and_its_digest_stays(small_market: Zone) -> None:
    market = small_market
    job_id, _ = finish(market)
    review_id = review_of(market, job_id)
    with db.transaction() as session, pytest.raises(ProblemError, match="note_required"):
        computing.decide_review(session, market.authority, review_id, False, "  ")
    with db.transaction() as session:
        computing.decide_review(session, market.authority, review_id, False, "分组过细")
    with db.reading() as session:
        output = session.exec(select(JobOutput)).one()
        assert output.content == {}
        assert output.digest.startswith("sha256:")
        assert session.get_one(Job, job_id).status == "rejected"
        with pytest.raises(ProblemError, match="result_not_released"):
            computing.job_result(session, market.developer, job_id)


def test_every_line_of_the_log_reads_in_both_languages() -> None:
    assert sentence("round_loss", {"round": 3, "rounds": 25, "departments": 4, "loss": 0.41234}) == (
        "第 3/25 轮：4 家单位已应答，损失 0.4123。")
    assert sentence("job_failed", {"code": "node_offline", "node": "税务局"}, "zh") == "任务失败：部门节点“税务局”不在线。"
    assert "offline" in sentence("department_lost", {"node": "Tax", "reason": "node_offline"}, "en")
    for code, language in itertools.product(LINES, ("zh", "en")):
        assert sentence(code, {}, language)  # type: ignore[arg-type]
    assert sentence("never_heard_of", {"round": 1, "rounds": 2}, "en") == "Round 1/2 is under way."


def released(market: Zone, key: str = "k") -> str:
    job_id, _ = finish(market, key=key)
    with db.transaction() as session:
        release(session, review_of(market, job_id))
    return job_id


def test_the_same_question_is_not_computed_twice(market: Zone) -> None:
    waiting = finish(market, key="first")[0]
    assert not reused(submit(market, "second"))  # nothing is released yet
    with db.transaction() as session:
        release(session, review_of(market, waiting))
    again = submit(market, "third")
    assert reused(again) == waiting
    with db.reading() as session:
        job = computing.get_job(session, market.developer, again)
        assert (job.status, job.finished_at is not None) == ("completed", True)
        assert computing.job_result(session, market.developer, again).content == CONTENT
        assert computing.output_digest(session, again) == computing.output_digest(session, waiting)
        assert [line.code for line in computing.job_log(session, market.developer, again)] == ["job_reused"]
        assert runs.queued_jobs(session).keys() == {job.id for job in computing.list_jobs(session, SYSTEM, status="queued")[0]}
        assert waiting in trust.events_for(session, again)[0].leaf
        assert trust.check_database(session).ok
    assert review_of(market, again) == review_of(market, waiting)
    assert submit(market, "third") == again
    assert not reused(submit(market, "fourth", fresh=True))
    assert reused(submit(market, "fifth")) == waiting


def reused(job_id: str) -> str | None:
    with db.reading() as session:
        return session.get_one(Job, job_id).reused_from


def test_another_organisation_or_other_data_is_another_question(small_market: Zone) -> None:
    market = small_market
    released(market)
    with db.transaction() as session:
        row = session.get_one(DataResource, market.departments[0].resource_id)
        row.columns = [{**column, "title": "新"} for column in row.columns]
    assert not reused(submit(market, "later"))


def test_noise_is_never_bought_twice(small_market: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    market = small_market
    first = released(market)
    honest = submission.check

    def noisy(*args: Any, **options: Any) -> Any:
        checked = honest(*args, **options)
        return replace(checked, grant=checked.grant.model_copy(update={"release": "dp"}))

    monkeypatch.setattr(submission, "check", noisy)
    assert reused(submit(market, "again", fresh=True)) == first


def test_what_takes_time_can_be_done_before_anything_is_written(small_market: Zone) -> None:
    market = small_market
    with db.reading() as session:
        checked = computing.check_job(session, market.developer, grant_id=market.grant_id, app="statistics", params=PARAMS,
                                      idempotency_key="k")
    first = submit(market, checked=checked)
    with db.reading() as session:  # a key that was used says by itself what is to be done
        assert computing.check_job(session, market.developer, grant_id="none", app="none", params={}, idempotency_key="k") is None
    assert submit(market, checked=None) == first
    with db.transaction() as session:
        session.get_one(GrantRecord, market.grant_id).status = "revoked"
    with pytest.raises(ProblemError, match="grant_revoked"):
        submit(market, "later", checked=checked)
    with db.reading() as session, pytest.raises(ProblemError, match="not_signed_in"):
        computing.check_job(session, Actor("public"), grant_id="g", app="statistics", params={}, idempotency_key="k")
