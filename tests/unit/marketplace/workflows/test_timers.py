"""Deadlines happen by themselves, exactly once, whatever fails or is killed."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import Session
from tests.factories.federation import RunTransport, eventually

from marketplace import clock, db
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.settings import settings
from marketplace.workflows import timers
from marketplace.workflows.engine import Engine

HOUR = dt.timedelta(hours=1)


class Nothing(RunTransport):
    """No department: nothing is computed here."""

    def __init__(self) -> None:
        pass


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def handler(session: Session, due: Deadline) -> None:
        if due.data.get("poison"):
            raise RuntimeError("something secret")
        if due.data.get("next"):
            deadlines.put(session, "test.next", due.subject, db.utc_now())
        seen.append(f"{due.kind} {due.subject}")

    monkeypatch.setattr(timers, "LOOK_SECONDS", 0.0)
    monkeypatch.setitem(deadlines.HANDLERS, "test", handler)
    monkeypatch.setitem(deadlines.HANDLERS, "test.next", handler)
    return seen


@pytest.fixture
def coordinator() -> Iterator[Any]:
    running: list[Engine] = []

    def start() -> Engine:
        engine = Engine(settings(), Nothing())
        running.append(engine)
        engine.start()
        return engine

    yield start
    for engine in running:
        if Engine.current is engine:
            engine.stop()


def put(subject: str, *, after: dt.timedelta = HOUR, **data: Any) -> str:
    with db.transaction() as session:
        return deadlines.put(session, "test", subject, db.utc_now() + after, data=data).id


def row(deadline_id: str) -> Deadline:
    with db.reading() as session:
        return session.get_one(Deadline, deadline_id)


def fired(deadline_id: str) -> Any:
    return lambda: row(deadline_id).status == "fired"


@pytest.mark.usefixtures("database")
def test_what_is_due_happens_once_and_what_it_makes_due_as_well(happened: list[str], coordinator: Any) -> None:
    due, later = put("a", next=True), put("b", after=5 * HOUR)
    engine = coordinator()
    with clock.shifted(2 * HOUR):
        eventually(lambda: len(happened) == 2)
        engine.stop()
        coordinator()  # a second start finds nothing more to do
        third = put("c", after=-HOUR)
        eventually(fired(third))
    assert happened == ["test a", "test.next a", "test c"]
    assert (row(due).status, row(later).status) == ("fired", "pending")


@pytest.mark.usefixtures("database")
def test_a_handler_that_fails_is_tried_again_later_and_holds_up_nobody(happened: list[str], coordinator: Any) -> None:
    poisoned = put("poisoned", after=-2 * HOUR, poison=True)
    others = [put(f"other {number}", after=-HOUR) for number in range(3)]
    coordinator()
    for other in others:
        eventually(fired(other))
    eventually(lambda: row(poisoned).attempts == 1)
    found = row(poisoned)
    assert (found.status, found.error) == ("pending", "RuntimeError")
    assert found.retry_at is not None
    assert found.retry_at > db.utc_now()
    with clock.shifted(HOUR):
        eventually(lambda: row(poisoned).attempts == 2)
        with db.transaction() as session:
            session.get_one(Deadline, poisoned).data = {}
    with clock.shifted(2 * HOUR):
        eventually(fired(poisoned))
    assert happened.count("test poisoned") == 1


@pytest.mark.usefixtures("database")
def test_a_workflow_that_ended_without_doing_it_gets_another_one(
        happened: list[str], coordinator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "_AGAIN_SECONDS", 0.0)
    real, outages = deadlines.fire, iter([True])

    def fire(deadline_id: str) -> bool:
        if next(outages, False):
            raise db.OperationalError("", {}, Exception("away"))
        return real(deadline_id)

    monkeypatch.setattr(deadlines, "fire", fire)
    due = put("a", after=-HOUR)
    coordinator()
    eventually(fired(due))
    assert (happened, row(due).attempts) == (["test a"], 0)


@pytest.mark.usefixtures("database")
def test_two_that_fire_the_same_deadline_at_once_make_it_happen_once(happened: list[str]) -> None:
    due, barrier, outcomes = put("a", after=-HOUR), threading.Barrier(4), list[bool]()

    def fire() -> None:
        barrier.wait()
        outcomes.append(deadlines.fire(due))

    threads = [threading.Thread(target=fire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]
    assert happened == ["test a"]


@pytest.mark.usefixtures("sqlite_database")
def test_back_off_doubles_up_to_an_hour_and_setting_it_anew_forgets_it() -> None:
    due, waits = put("a", after=-HOUR), list[float]()
    for attempt in range(12):
        with db.transaction() as session:
            deadlines.failed(session, due, attempt, "x")
            deadlines.failed(session, due, attempt, "x")  # told twice, counted once
        found = row(due)
        assert found.retry_at is not None
        waits.append(round((found.retry_at - db.utc_now()).total_seconds() / 10) * 10)
    assert waits[:4] == [10, 20, 40, 80]
    assert waits[-1] == 3600
    put("a", after=-HOUR)
    assert (row(due).attempts, row(due).retry_at) == (0, None)


def test_every_handler_is_known_to_the_coordinator() -> None:
    import subprocess
    import sys

    program = ("import marketplace.workflows.timers, marketplace.deadlines.service as d; before = set(d.HANDLERS);"
               "import marketplace.api, marketplace.web.views, marketplace.cli;"
               "import marketplace.powers; assert set(d.HANDLERS) == before, set(d.HANDLERS) - before")
    subprocess.run([sys.executable, "-c", program], check=True)
