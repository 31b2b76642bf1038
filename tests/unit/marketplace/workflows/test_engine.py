"""Jobs from the queue to review, on a real database and DBOS, with in-process departments."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from dbos import DBOS
from sqlmodel import col, select
from tests.factories.federation import PARAMS, SCHEMA, RunTransport, Zone, eventually, values, zone
from tests.factories.review import release

from marketplace import db
from marketplace.actor import Actor
from marketplace.computing import rounds, runs
from marketplace.computing import service as computing
from marketplace.computing.models import Job, JobOutput, Run
from marketplace.trust import service as trust
from marketplace.workflows.engine import Engine
from shuyan.federation.apps import FederatedApp
from shuyan.federation.local import LocalResource
from shuyan.federation.rounds import StoredRound
from shuyan.federation.transport import OpenRequest


@pytest.fixture
def town(sqlite_database: Any) -> Zone:
    return zone()


@pytest.fixture
def any_town(database: Any) -> Zone:
    return zone()


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    started: list[Engine] = []
    yield started
    for engine in started:
        if Engine.current is engine:
            engine.stop()


def start(town: Zone, engines: list[Engine], transport: RunTransport, **options: Any) -> Engine:
    from marketplace.settings import settings

    engine = Engine(settings(), transport, **options)
    engines.append(engine)
    engine.start()
    return engine


def submit(town: Zone, key: str = "k1", **changes: Any) -> str:
    with db.transaction() as session:
        return computing.submit_job(session, town.developer, grant_id=town.grant_id, app="statistics", params=PARAMS,
                                    idempotency_key=key, **changes).id


def job(job_id: str) -> Job:
    with db.reading() as session:
        return session.get_one(Job, job_id)


def ended(job_id: str) -> Any:
    return lambda: job(job_id).status not in ("queued", "running") and job(job_id)


def attempts(job_id: str) -> list[tuple[int, str]]:
    with db.reading() as session:
        found = session.exec(select(Run).where(Run.job_id == job_id).order_by(col(Run.attempt)))
        return [(run.attempt, run.status) for run in found]


def codes(town: Zone, job_id: str) -> list[str]:
    with db.reading() as session:
        return [line.code for line in computing.job_log(session, town.developer, job_id)]


class Held(RunTransport):
    """Departments that do not answer until let go."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked, self.go = threading.Event(), threading.Event()

    def _deliver(self, request: Any, handle: Any) -> Any:
        self.asked.set()
        self.go.wait(20)
        return super()._deliver(request, handle)


def test_a_job_runs_to_review_and_its_result_is_released_by_a_person(any_town: Zone, engines: list[Engine]) -> None:
    town = any_town
    start(town, engines, town.transport())
    job_id = submit(town)
    assert eventually(ended(job_id)).status == "reviewing"
    with db.transaction() as session:
        with pytest.raises(Exception, match="result_not_released"):
            computing.job_result(session, town.developer, job_id)
        (review,), _ = computing.list_reviews(session, town.authority, status="pending")
        assert all(check["passed"] for check in review.checks)
        release(session, review.id)
    with db.reading() as session:
        content = computing.job_result(session, town.developer, job_id).content
        assert trust.check_database(session).ok
        tags = [event.tag for event in trust.events_for(session, job_id)]
    overall = content["tables"][0]["cells"][0]
    everything = [float(seed * 100 + row) for seed in range(3) for row in range(40)]
    assert overall["columns"]["pm25"]["sum"] == pytest.approx(sum(everything), rel=1e-12)
    assert tags == ["computing:job:submitted", "computing:run:started", "computing:egress:checked",
                    "computing:run:finished", *["computing:egress:agreed"] * 3, "computing:egress:approved"]
    assert codes(town, job_id) == ["job_queued", "run_started", "round_finished", "round_finished", "run_finished",
                                   "checks_passed", *["egress_agreed"] * 3, "egress_approved"]


def test_a_regressions_log_tells_the_loss_of_each_round(town: Zone, engines: list[Engine]) -> None:
    start(town, engines, town.transport())
    with db.transaction() as session:
        params = {"resource": "air", "family": "linear", "target": "pm25", "features": ["year"]}
        job_id = computing.submit_job(session, town.developer, grant_id=town.grant_id, app="regression", params=params,
                                      idempotency_key="loss").id
    assert eventually(ended(job_id)).status == "reviewing"
    with db.reading() as session:
        told = [line.args for line in computing.job_log(session, town.developer, job_id) if line.code == "round_loss"]
    assert [sorted(args) for args in told] == [["departments", "loss", "round", "rounds"]]
    # at the start every weight is nought, so that a row's loss is half its square
    everything = [float(seed * 100 + row) for seed in range(3) for row in range(40)]
    assert told[0]["loss"] == float(f"{sum(value**2 for value in everything) / 2 / len(everything):.4g}")


def test_a_query_runs_to_a_table(town: Zone, engines: list[Engine]) -> None:
    town.grant_id = town.grant(apps=["query"])
    start(town, engines, town.transport())
    sql = "select year, count(*) as n, avg(pm25) as mean from air group by year order by year"
    with db.transaction() as session:
        job_id = computing.submit_job(session, town.developer, grant_id=town.grant_id, app="query", params={"sql": sql},
                                      idempotency_key="sql").id
    assert eventually(ended(job_id)).status == "reviewing", job(job_id).error_code
    with db.reading() as session:
        content = session.exec(select(JobOutput)).one().content
    assert (content["kind"], [column["name"] for column in content["columns"]]) == ("table", ["year", "n", "mean"])
    means = [sum(seed * 100 + row for seed in range(3) for row in range(first, 40, 2)) / 60 for first in (0, 1)]
    assert content["rows"] == [[2013, 60, pytest.approx(means[0])], [2014, 60, pytest.approx(means[1])]]


def test_how_many_rows_a_result_is_about_is_not_the_apps_to_say(town: Zone, engines: list[Engine],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FederatedApp.run
    monkeypatch.setattr(FederatedApp, "run", lambda self, grid: {**honest(self, grid), "rows": 10**6})
    start(town, engines, town.transport())
    failed = eventually(ended(submit(town)))
    assert (failed.status, failed.error_code, failed.error_args) == (
        "failed", "egress_checks_failed", {"checks": "stated_facts"})


def test_a_running_job_is_cancelled(town: Zone, engines: list[Engine]) -> None:
    transport = Held([one.local for one in town.departments])
    start(town, engines, transport)
    job_id = submit(town)
    transport.asked.wait(20)
    with db.transaction() as session:
        computing.cancel_job(session, town.developer, job_id)
    assert eventually(ended(job_id)).status == "cancelled"
    transport.go.set()
    assert attempts(job_id) == [(1, "cancelled")]
    assert transport.cancelled


def test_a_job_left_running_by_a_coordinator_is_run_again(any_town: Zone, engines: list[Engine]) -> None:
    town = any_town
    held = Held([one.local for one in town.departments])
    first = start(town, engines, held)
    job_id = submit(town)
    held.asked.wait(20)
    first.stop()
    held.go.set()
    assert job(job_id).status == "running"
    start(town, engines, town.transport())
    assert eventually(ended(job_id)).status == "reviewing"
    assert attempts(job_id) == [(1, "interrupted"), (2, "finished")]
    with db.reading() as session:
        assert len(session.exec(select(JobOutput)).all()) == 1


def test_a_job_under_a_coordinator_that_died_is_run_again_and_a_late_answer_changes_nothing(
    town: Zone, engines: list[Engine]
) -> None:
    held = Held([one.local for one in town.departments])
    dead = start(town, engines, held)
    job_id = submit(town)
    held.asked.wait(20)
    dead._stopping.set()  # as far as a process can die without ending: nothing is recorded, no run is stopped
    dead._thread.join()
    DBOS.destroy(workflow_completion_timeout_sec=0)
    Engine.current = None
    assert attempts(job_id) == [(1, "running")]

    start(town, engines, town.transport())
    assert eventually(ended(job_id)).status == "reviewing"
    assert attempts(job_id) == [(1, "interrupted"), (2, "finished")]
    held.go.set()
    eventually(lambda: not dead._current_runs())
    assert attempts(job_id) == [(1, "interrupted"), (2, "finished")]
    with db.reading() as session:
        assert len(session.exec(select(JobOutput)).all()) == 1
        assert trust.check_database(session).ok


class Counted(Held):
    """Departments that stop answering at a round, and count what they were asked to open."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stop_at = 0
        self.opened: list[tuple[str, int]] = []

    def _deliver(self, request: Any, handle: Any) -> Any:
        if isinstance(request, OpenRequest):
            self.opened.append((request.node_id, request.round))
        if request.round != self.stop_at:
            return RunTransport._deliver(self, request, handle)
        return super()._deliver(request, handle)


MODEL = {"resource": "air", "family": "logistic", "target": "pm25", "features": ["year"], "tolerance": 1e-12}


def submit_model(town: Zone, key: str = "model") -> str:
    for place, one in enumerate(town.departments):
        table = values(place)
        table["pm25"] = [float((row * 7 + place) % 3 == 0) for row in range(len(table["pm25"]))]
        one.local.resources = {"air": LocalResource.arrays(table, SCHEMA)}
    with db.transaction() as session:
        return computing.submit_job(session, town.developer, grant_id=town.grant_id, app="regression", params=MODEL,
                                    idempotency_key=key).id


def test_a_new_attempt_goes_on_after_the_last_finished_round(any_town: Zone, engines: list[Engine]) -> None:
    town = any_town
    held = Counted([one.local for one in town.departments])
    held.stop_at = 3
    first = start(town, engines, held)
    job_id = submit_model(town)
    held.asked.wait(20)
    with db.reading() as session:
        assert rounds.participants(session, job_id) == tuple(sorted(one.node_id for one in town.departments))
    first.stop()
    held.go.set()

    again = Counted([one.local for one in town.departments])
    start(town, engines, again)
    assert eventually(ended(job_id)).status == "reviewing"
    assert attempts(job_id) == [(1, "interrupted"), (2, "finished")]
    opened = sorted({number for _node, number in held.opened}), sorted({number for _node, number in again.opened})
    assert opened[0] == [1, 2]
    assert opened[1] == list(range(3, job(job_id).round + 1))
    assert "rounds_resumed" in codes(town, job_id)
    with db.reading() as session:
        assert rounds.load(session, job_id, 1) is None  # nothing is kept of a job that is done
        kept = session.exec(select(JobOutput)).one().content
    whole = submit_model(town, "whole")
    assert eventually(ended(whole)).status == "reviewing"
    with db.reading() as session:
        assert session.exec(select(JobOutput).where(JobOutput.job_id == whole)).one().content == kept


def test_rounds_are_kept_in_order_within_bounds_and_only_while_a_job_runs(
    town: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(town)
    some = StoredRound("sha256:q", ("a", "b", "c"), 30, {"rows": np.ones((1, 8), dtype=np.uint64)})
    with db.transaction() as session:
        assert not rounds.save(session, job_id, 1, some)  # it does not run yet
        runs.begin(session, job_id, 1)
        assert rounds.save(session, job_id, 1, some)
        assert not rounds.save(session, job_id, 1, some)
        assert not rounds.save(session, job_id, 3, some)
        monkeypatch.setattr(rounds, "MAX_JOB_BYTES", 2 * len(some.to_bytes()))
        assert rounds.save(session, job_id, 2, some)
        assert not rounds.save(session, job_id, 3, some)
        rounds.forget(session, job_id, 2)
        assert rounds.load(session, job_id, 1)
        assert rounds.load(session, job_id, 2) is None
        monkeypatch.setattr(rounds, "MAX_ROUND_BYTES", 10)
        assert not rounds.save(session, job_id, 2, some)
        runs.interrupted(session, job_id, 1)
        computing.cancel_job(session, town.developer, job_id)
        assert session.get_one(Job, job_id).cancel_requested


def test_a_run_whose_end_could_not_be_written_is_run_again(town: Zone, engines: list[Engine],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    def away_once(name: str) -> None:
        use_case, times = getattr(runs, name), iter([OSError("the database is away")])

        def patched(*args: Any, **options: Any) -> Any:
            if error := next(times, None):
                raise error
            return use_case(*args, **options)

        monkeypatch.setattr(runs, name, patched)

    away_once("finish")
    away_once("fail")
    monkeypatch.setattr("marketplace.workflows.engine.TAKE_UP_SECONDS", 0.1)
    start(town, engines, town.transport())
    job_id = submit(town)
    assert eventually(ended(job_id)).status == "reviewing"
    assert attempts(job_id) == [(1, "interrupted"), (2, "finished")]


def test_a_job_is_given_up_after_three_interruptions(town: Zone, engines: list[Engine]) -> None:
    job_id = submit(town)
    for attempt in (1, 2, 3):
        with db.transaction() as session:
            assert runs.begin(session, job_id, attempt)
            following = runs.interrupted(session, job_id, attempt)
            assert runs.interrupted(session, job_id, attempt) == following  # repeatable
            assert following == (attempt + 1 if attempt < 3 else None)
    assert (job(job_id).status, job(job_id).error_code) == ("failed", "coordinator_interrupted")


def test_an_attempt_that_came_on_does_not_count_as_interrupted(town: Zone) -> None:
    job_id = submit(town)
    some = StoredRound("sha256:q", ("a", "b", "c"), 30, {"rows": np.ones((1, 8), dtype=np.uint64)})
    for attempt in range(1, 9):
        with db.transaction() as session:
            assert runs.begin(session, job_id, attempt)
            if attempt <= 5:
                assert rounds.save(session, job_id, attempt, some)
            assert runs.interrupted(session, job_id, attempt) == (attempt + 1 if attempt < 8 else None)
    assert (job(job_id).status, job(job_id).error_code) == ("failed", "coordinator_interrupted")
    with db.reading() as session:
        assert rounds.participants(session, job_id) == ()


def test_a_department_that_is_offline_is_named(town: Zone, engines: list[Engine]) -> None:
    transport = town.transport()
    transport.offline.add(town.departments[1].node_id)
    start(town, engines, transport, wait_seconds=0.2)
    failed = eventually(ended(submit(town)))
    assert (failed.status, failed.error_code) == ("failed", "nodes_missing")
    assert failed.error_args["missing"] == ["监测站1"]
    assert "waiting_for_nodes" in codes(town, failed.id)


def test_those_online_go_on_if_the_grant_allows_it(sqlite_database: Any, engines: list[Engine]) -> None:
    four = zone(4)
    transport = four.transport()
    transport.offline.add(four.departments[0].node_id)
    start(four, engines, transport, wait_seconds=0.2)
    job_id = submit(four)
    assert eventually(ended(job_id)).status == "reviewing"
    assert "going_on_without" in codes(four, job_id)
    with db.reading() as session:
        output = session.exec(select(JobOutput)).one()
    assert output.participants == sorted(one.node_id for one in four.departments[1:])
    assert output.content["departments"] == 3


def test_a_refusing_department_ends_the_job_with_its_reason(town: Zone, engines: list[Engine]) -> None:
    town.departments[0].local.resources = {}
    start(town, engines, town.transport())
    failed = eventually(ended(submit(town)))
    assert (failed.status, failed.error_code) == ("failed", "resource_unknown")
    with db.reading() as session:
        last = computing.job_log(session, town.developer, failed.id)[-1]
    assert computing.log_sentence(last.code, last.args, "zh") == "任务失败：监测站0：节点上没有登记资源“air”。"
    assert computing.log_sentence(last.code, last.args, "en") == (
        "The job failed: 监测站0: The node has no registered resource “air”.")


def test_a_job_whose_grant_was_revoked_meanwhile_gives_nothing(town: Zone, engines: list[Engine]) -> None:
    from marketplace.authorisation.models import GrantRecord

    job_id = submit(town)
    with db.transaction() as session:
        session.get_one(GrantRecord, town.grant_id).status = "revoked"
    start(town, engines, town.transport())
    failed = eventually(ended(job_id))
    assert (failed.status, failed.error_code) == ("failed", "grant_revoked")


def test_a_withdrawal_while_it_runs_stops_the_job_and_its_result_is_not_taken(town: Zone, engines: list[Engine]) -> None:
    """One outcome: the run fails with what was withdrawn, whether it was stopped in a round or had just finished computing."""
    from marketplace.authorisation import service as authorisation

    department = Actor("source_department", town.departments[0].organisation_id, "mem_department")
    transport = town.transport()
    answered = transport.submit

    def submit_and_withdraw(request: Any) -> Any:
        with db.transaction() as session:
            authorisation.hold_grant(session, department, town.grant_id, "用途不符")
        return answered(request)

    transport.submit = submit_and_withdraw  # type: ignore[method-assign]
    start(town, engines, transport)
    failed = eventually(ended(submit(town)))
    assert (failed.status, failed.error_code) == ("failed", "grant_held")
    with db.reading() as session:
        assert session.exec(select(JobOutput)).all() == []
