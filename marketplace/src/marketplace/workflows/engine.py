"""Durable execution of jobs with DBOS: a workflow for each attempt, its steps recorded in a database of its own.

The job's tables stay the only truth about a job; DBOS remembers how far an attempt had come, so that a coordinator
that starts again finds every attempt its predecessor left behind. An attempt whose run had begun under another process
is never continued: departments may have answered it already. It is closed as interrupted and a new attempt begins.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from dbos import DBOS, SetWorkflowID
from dbos import error as dbos_error

from marketplace.computing import approvals, runs
from marketplace.db import reading, transaction
from marketplace.logging import get_logger
from marketplace.settings import Settings
from marketplace.workflows.execution import WAIT_SECONDS, RunTransport, ShuttingDown, Watched, execute

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger("jobs")

EXECUTOR: Final = "coordinator"
"""There is one coordinator; the lock of :mod:`.lock` sees to it."""

MAX_PARALLEL: Final = 4
"""Jobs run at once: each holds a thread, and the sums of one round in memory."""

POLL_SECONDS: Final = 0.15
TAKE_UP_SECONDS: Final = 3.0
"""How often jobs are looked for that nobody runs any more."""

_STOP_SECONDS: Final = 5.0
_OVER: Final = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


class Engine:
    """Runs queued jobs until stopped. One in a process, since DBOS is."""

    current: Engine | None = None

    def __init__(self, settings: Settings, transport: RunTransport, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self.transport = transport
        self.wait_seconds = wait_seconds
        self.epoch = secrets.token_hex(8)
        """Names this process: an attempt that began under another epoch was interrupted."""
        self._settings = settings
        self._watched: dict[str, Watched] = {}
        self._started: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="job-poll", daemon=True)

    def start(self) -> None:
        """Take up what a predecessor left behind, then poll the queue."""
        Engine.current = self
        DBOS(config={
            "name": "shuyan", "system_database_url": _system_database(self._settings), "executor_id": EXECUTOR,
            # the same for every release: an upgraded coordinator must take up what the one before left
            "application_version": "1", "run_admin_server": False, "log_level": "ERROR",
        })
        DBOS.launch()
        self._take_up()
        self._thread.start()
        threading.Thread(target=_load_apps, name="app-load", daemon=True).start()

    def stop(self) -> None:
        """Stop polling and running; jobs under way are taken up by the next start."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)
        for watched in self._current_runs():
            watched.stop("shutting_down")
        deadline = time.monotonic() + _STOP_SECONDS
        while self._current_runs() and time.monotonic() < deadline:
            time.sleep(0.02)
        # without a time-out of its own, which costs a second even if nothing runs
        DBOS.destroy(workflow_completion_timeout_sec=0)
        Engine.current = None

    # --- called by the workflow ---

    def watch_run(self, job_id: str) -> Watched:
        """Begin to watch a job's run."""
        with self._lock:
            watched = self._watched[job_id] = Watched(job_id)
        if self._stopping.is_set():
            watched.stop("shutting_down")
        return watched

    def unwatch(self, job_id: str) -> None:
        """A run has ended, one way or another."""
        with self._lock:
            self._watched.pop(job_id, None)

    # --- polling ---

    def _work(self) -> None:
        taken_up = time.monotonic()
        while not self._stopping.wait(POLL_SECONDS):
            for step in (self._start_queued, self._stop_cancelled, self._flush):
                self._guarded(step)
            if time.monotonic() - taken_up > TAKE_UP_SECONDS:
                self._guarded(self._take_up)
                taken_up = time.monotonic()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # a database that is away comes back
            log.error("job poll failed", error=type(error).__name__)

    def _start_queued(self) -> None:
        room = MAX_PARALLEL - len(self._current_runs())
        if room <= 0:
            return
        with reading() as session:
            queued = set(runs.queued_jobs(session).items())
        self._started &= queued
        for job_id, attempt in sorted(queued - self._started)[:room]:
            start_attempt(job_id, attempt)
            self._started.add((job_id, attempt))

    def _stop_cancelled(self) -> None:
        if not (under_way := self._current_runs()):
            return
        with reading() as session:
            wanted = set(runs.cancel_requests(session))
        for watched in under_way:
            if watched.job_id in wanted:
                watched.stop("cancelled")

    def _flush(self) -> None:
        for watched in self._current_runs():
            watched.flush()

    def _current_runs(self) -> list[Watched]:
        with self._lock:
            return list(self._watched.values())

    def _take_up(self) -> None:
        """Jobs that run in the tables but not in DBOS: the coordinator was stopped politely, the database was away when
        a run ended, or DBOS's own is a new one."""
        with reading() as session:
            left = runs.running_jobs(session)
        for job_id, attempt in left.items():
            if any(watched.job_id == job_id for watched in self._current_runs()):
                continue
            status = DBOS.get_workflow_status(_workflow_id(job_id, max(attempt, 1)))
            if status is not None and status.status not in _OVER:
                continue  # DBOS has taken it up itself
            with transaction() as session:
                following = runs.interrupted(session, job_id, attempt)
            if following is not None:
                start_attempt(job_id, following)
        with reading() as session:
            waiting = approvals.waited_for(session)
        if waiting:
            with transaction() as session:
                approvals.look_after(session)


def _load_apps() -> None:
    """Import Flower and the apps while nobody waits, so that the first job does not have to."""
    from shuyan.federation import apps, grid  # noqa: F401

    apps.installed()


def start_attempt(job_id: str, attempt: int) -> None:
    """Start the workflow of an attempt; starting it again is no second run."""
    with SetWorkflowID(_workflow_id(job_id, attempt)):
        DBOS.start_workflow(attempt_workflow, job_id, attempt)


@DBOS.workflow(name="job_attempt")  # type: ignore[untyped-decorator,unused-ignore]
def attempt_workflow(job_id: str, attempt: int) -> str:
    """One attempt: begin, execute, and the next attempt if this one was interrupted."""
    begun = begin_step(job_id, attempt)
    if begun is None:
        return "nothing_to_do"
    outcome: str = execute_step(job_id, begun["run_id"], begun["epoch"])
    if outcome == "interrupted":
        following = interrupted_step(job_id, attempt)
        if following is not None:
            start_attempt(job_id, following)
    return outcome


@DBOS.step(name="begin")  # type: ignore[untyped-decorator,unused-ignore]
def begin_step(job_id: str, attempt: int) -> dict[str, Any] | None:
    """Record that the attempt runs, and under which process."""
    with transaction() as session:
        run_id = runs.begin(session, job_id, attempt)
    return None if run_id is None else {"run_id": run_id, "epoch": _engine().epoch}


@DBOS.step(name="execute")  # type: ignore[untyped-decorator,unused-ignore]
def execute_step(job_id: str, run_id: str, epoch: str) -> str:
    """Run the app over the links. Its output goes to the job's tables, never into DBOS's records."""
    engine = _engine()
    if epoch != engine.epoch:
        return "interrupted"
    watched = engine.watch_run(job_id)
    try:
        return execute(engine.transport, watched, run_id, wait_seconds=engine.wait_seconds)
    except ShuttingDown:
        raise dbos_error.DBOSException("shutting down") from None
    finally:
        engine.unwatch(job_id)


@DBOS.step(name="interrupted")  # type: ignore[untyped-decorator,unused-ignore]
def interrupted_step(job_id: str, attempt: int) -> int | None:
    """Close the interrupted run; the number of the attempt to follow."""
    with transaction() as session:
        return runs.interrupted(session, job_id, attempt)


def _engine() -> Engine:
    if Engine.current is None:
        raise RuntimeError("the engine is not running")
    return Engine.current


def _workflow_id(job_id: str, attempt: int) -> str:
    return f"{job_id}:{attempt}"


def _system_database(settings: Settings) -> str:
    url = settings.resolved_database_url
    if url.startswith("sqlite"):
        return f"sqlite:///{(settings.data_dir / 'dbos.sqlite').resolve()}"
    return url
