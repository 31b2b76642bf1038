"""A job waits for a department's approval: on a real database and DBOS, with in-process departments that ask for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import col, select
from tests.factories.federation import PARAMS, RunTransport, Zone, eventually, zone

from marketplace import db
from marketplace.authorisation.models import GrantRecord
from marketplace.computing import approvals, runs
from marketplace.computing import service as computing
from marketplace.computing.models import Job, Run
from marketplace.settings import settings
from marketplace.trust import service as trust
from marketplace.workflows.engine import MAX_PARALLEL, Engine
from shuyan.federation import problems
from shuyan.federation.transport import NodeFailure


@pytest.fixture
def town(sqlite_database: Any) -> Zone:
    return zone()


@pytest.fixture
def any_town(database: Any) -> Zone:
    return zone()


class Careful(RunTransport):
    """Departments of which some approve each question first; ``approved`` are the approvals given."""

    def __init__(self, town: Zone, *which: int) -> None:
        super().__init__([one.local for one in town.departments])
        self.asking = {town.departments[number].node_id: f"apr_{number}" for number in which}
        self.approved: set[str] = set()
        self.rejected: set[str] = set()

    def _deliver(self, request: Any, handle: Any) -> Any:
        approval = self.asking.get(request.node_id)
        if approval in self.rejected:
            raise NodeFailure(request.node_id, problems.APPROVAL_REJECTED)
        if approval is not None and approval not in self.approved:
            raise NodeFailure(request.node_id, problems.APPROVAL_PENDING, {"approval": approval})
        return super()._deliver(request, handle)


@pytest.fixture
def start() -> Iterator[Any]:
    def begin(transport: RunTransport) -> Engine:
        engine = Engine(settings(), transport)
        engine.start()
        return engine

    yield begin
    if Engine.current is not None:
        Engine.current.stop()


_keys = itertools.count()


def submit(town: Zone) -> str:
    with db.transaction() as session:
        return computing.submit_job(session, town.developer, grant_id=town.grant_id, app="statistics", params=PARAMS,
                                    idempotency_key=f"k{next(_keys)}").id


def look(job_id: str) -> Job:
    with db.reading() as session:
        return session.get_one(Job, job_id)


def reaches(job_id: str, status: str) -> Job:
    return eventually(lambda: (row := look(job_id)).status == status and row)


def attempts(job_id: str) -> list[tuple[int, str]]:
    with db.reading() as session:
        found = session.exec(select(Run).where(Run.job_id == job_id).order_by(col(Run.attempt)))
        return [(run.attempt, run.status) for run in found]


def said(town: Zone, job_id: str, code: str) -> list[dict[str, Any]]:
    with db.reading() as session:
        return [line.args for line in computing.job_log(session, town.developer, job_id) if line.code == code]


def decide(town: Zone, transport: Careful, number: int, approve: bool = True) -> None:
    """The department's administrator decides, and its node says so."""
    department = town.departments[number]
    (transport.approved if approve else transport.rejected).add(f"apr_{number}")
    with db.transaction() as session:
        approvals.decided(session, department.node_id, {f"apr_{number}": approve, "apr_of_something_else": True})


def test_a_job_waits_and_goes_on_by_itself(any_town: Zone, start: Any) -> None:
    town, transport = any_town, Careful(any_town, 1)
    start(transport)
    job_id = submit(town)
    waiting = reaches(job_id, "awaiting_approval")
    assert waiting.waiting_for == {town.departments[1].node_id: "apr_1"}
    assert said(town, job_id, "awaiting_approval") == [{"node": "监测站1", "approval": "apr_1"}]
    decide(town, transport, 1)
    finished = reaches(job_id, "reviewing")
    assert finished.waiting_for == {}
    assert finished.started_at == waiting.started_at
    assert attempts(job_id) == [(1, "waiting"), (2, "finished")]
    with db.reading() as session:
        codes = [line.code for line in computing.job_log(session, town.developer, job_id)]
        tags = [event.tag for event in trust.events_for(session, job_id)]
        assert trust.check_database(session).ok
    assert codes == ["job_queued", "run_started", "awaiting_approval", "approval_given", "run_resuming", "run_started",
                     "round_finished", "round_finished", "run_finished", "checks_passed"]
    assert tags == ["computing:job:submitted", "computing:run:started", "computing:run:waiting", "computing:use:approved",
                    "computing:run:started", "computing:egress:checked", "computing:run:finished"]


def test_every_department_that_asks_has_to_approve(town: Zone, start: Any) -> None:
    transport = Careful(town, 0, 2)
    start(transport)
    job_id = submit(town)
    assert set(reaches(job_id, "awaiting_approval").waiting_for.values()) == {"apr_0", "apr_2"}
    decide(town, transport, 2)
    row = look(job_id)
    assert (row.status, set(row.waiting_for.values())) == ("awaiting_approval", {"apr_0"})
    decide(town, transport, 2)  # told again
    assert len(said(town, job_id, "approval_given")) == 1
    decide(town, transport, 0)
    reaches(job_id, "reviewing")
    assert attempts(job_id) == [(1, "waiting"), (2, "finished")]


def test_a_rejection_ends_the_job_and_names_the_department(town: Zone, start: Any) -> None:
    transport = Careful(town, 1)
    start(transport)
    job_id = submit(town)
    reaches(job_id, "awaiting_approval")
    decide(town, transport, 1, approve=False)
    row = look(job_id)
    assert (row.status, row.error_code, row.error_args) == ("failed", "approval_rejected", {"node": "监测站1"})
    assert attempts(job_id) == [(1, "waiting")]


def test_a_question_rejected_before_is_refused_at_once(town: Zone, start: Any) -> None:
    transport = Careful(town, 1)
    transport.rejected.add("apr_1")
    start(transport)
    row = reaches(submit(town), "failed")
    assert (row.error_code, row.error_args["node"]) == ("approval_rejected", "监测站1")


def test_a_decision_about_another_question_changes_nothing(town: Zone, start: Any) -> None:
    transport = Careful(town, 1)
    start(transport)
    job_id = submit(town)
    reaches(job_id, "awaiting_approval")
    for department, approval in ((town.departments[1], "apr_9"), (town.departments[0], "apr_1")):
        with db.transaction() as session:
            approvals.decided(session, department.node_id, {approval: True})
    assert look(job_id).status == "awaiting_approval"


def test_a_waiting_job_is_cancelled_at_once(town: Zone, start: Any) -> None:
    transport = Careful(town, 1)
    start(transport)
    job_id = submit(town)
    reaches(job_id, "awaiting_approval")
    with db.transaction() as session:
        assert computing.job_actions(town.developer, session.get_one(Job, job_id)) == ["cancel"]
        row = computing.cancel_job(session, town.developer, job_id)
        assert (row.status, row.waiting_for) == ("cancelled", {})
    decide(town, transport, 1)
    assert look(job_id).status == "cancelled"


def test_waiting_jobs_take_no_slot(town: Zone, start: Any) -> None:
    transport = Careful(town, 1)
    start(transport)
    waiting = [submit(town) for _ in range(MAX_PARALLEL + 1)]
    for job_id in waiting:
        reaches(job_id, "awaiting_approval")
    transport.asking.clear()
    reaches(submit(town), "reviewing")
    assert {look(job_id).status for job_id in waiting} == {"awaiting_approval"}


def test_waiting_survives_the_coordinator(town: Zone, start: Any) -> None:
    transport = Careful(town, 1)
    first = start(transport)
    job_id = submit(town)
    reaches(job_id, "awaiting_approval")
    first.stop()
    decide(town, transport, 1)
    assert look(job_id).status == "queued"
    start(transport)
    reaches(job_id, "reviewing")
    assert attempts(job_id) == [(1, "waiting"), (2, "finished")]


def test_waiting_is_no_interruption(town: Zone) -> None:
    job_id, node = submit(town), town.departments[0]
    for attempt in (1, 2, 3, 4):
        with db.transaction() as session:
            run_id = runs.begin(session, job_id, attempt)
            assert run_id is not None
            approvals.wait(session, run_id, {node.node_id: "apr_0"}, {})
            approvals.wait(session, run_id, {node.node_id: "apr_0"}, {})  # repeatable
            approvals.decided(session, node.node_id, {"apr_0": True})
            assert runs.queued_jobs(session) == {job_id: attempt + 1}
    for attempt, following in ((5, 6), (6, 7), (7, None)):
        with db.transaction() as session:
            assert runs.begin(session, job_id, attempt)
            assert runs.interrupted(session, job_id, attempt) == following
    assert (look(job_id).status, look(job_id).error_args) == ("failed", {"attempts": "3"})


def test_a_job_does_not_wait_for_a_revoked_node(town: Zone, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketplace.workflows.engine.TAKE_UP_SECONDS", 0.1)
    transport = Careful(town, 1)
    start(transport)
    job_id = submit(town)
    reaches(job_id, "awaiting_approval")
    with db.transaction() as session:
        computing.revoke_node(session, town.operator, town.departments[1].node_id)
    row = reaches(job_id, "failed")  # it went on, and two departments are too few
    assert row.error_code == "nodes_missing"


def test_a_job_does_not_wait_under_a_revoked_grant(town: Zone, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketplace.workflows.engine.TAKE_UP_SECONDS", 0.1)
    start(Careful(town, 1))
    job_id = submit(town)
    reaches(job_id, "awaiting_approval")
    with db.transaction() as session:
        session.get_one(GrantRecord, town.grant_id).status = "revoked"
    assert reaches(job_id, "failed").error_code == "grant_revoked"


def test_a_node_that_does_not_say_which_approval_is_not_waited_for(town: Zone, start: Any) -> None:
    transport = Careful(town, 1)
    transport.asking[town.departments[1].node_id] = ""
    start(transport)
    row = reaches(submit(town), "failed")
    assert (row.error_code, row.error_args["node"]) == ("approval_pending", "监测站1")
