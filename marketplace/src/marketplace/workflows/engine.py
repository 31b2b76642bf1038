"""Durable execution of jobs with DBOS: a workflow for each attempt, its steps recorded in a database of its own.

The job's tables stay the only truth about a job; DBOS remembers how far an attempt had come, so that a coordinator
that starts again finds every attempt its predecessor left behind. An attempt whose run had begun under another process
is never continued: departments may have answered it already. It is closed as interrupted and a new attempt begins.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from dbos import DBOS, SetWorkflowID
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from marketplace.computing import approvals, runs
from marketplace.db import reading, transaction
from marketplace.logging import get_logger
from marketplace.settings import Settings
from marketplace.workflows import timers
from marketplace.workflows.card_sweep import CardSweep
from marketplace.workflows.execution import WAIT_SECONDS, RunTransport, ShuttingDown, Watched, execute
from marketplace.workflows.mailer import Mailer

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
_PENDING: Final = ["PENDING", "ENQUEUED"]


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
        self._started: dict[tuple[str, int], float] = {}  # queued attempts, and when their workflow was started
        self._alive: set[tuple[str, int]] = set()  # attempts whose workflow runs in this process
        self._orphans: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._timers = timers.Timers()
        self._mailer = Mailer(settings)
        self._cards = CardSweep()
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
        # what DBOS still knows it takes up itself
        known = {tuple(status.workflow_id.split(":")[:2]) for status in DBOS.list_workflows(status=_PENDING)}
        self._take_up(lambda job_id, attempt: (job_id, str(max(attempt, 1))) not in known)
        self._thread.start()
        self._mailer.start()
        self._cards.start()
        threading.Thread(target=_load_apps, name="app-load", daemon=True).start()

    def stop(self) -> None:
        """Stop polling and running; jobs under way are taken up by the next start."""
        self._stopping.set()
        self._mailer.stop()
        self._cards.stop()
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

    def claim(self, job_id: str, attempt: int) -> bool:
        """Begin an attempt's workflow; ``False`` if one for the same attempt runs already."""
        with self._lock:
            if (job_id, attempt) in self._alive:
                return False
            self._alive.add((job_id, attempt))
            return True

    def release(self, job_id: str, attempt: int) -> None:
        """An attempt's workflow has ended, whatever DBOS could write down about it."""
        with self._lock:
            self._alive.discard((job_id, attempt))

    # --- polling ---

    def _work(self) -> None:
        taken_up = time.monotonic()
        while not self._stopping.wait(POLL_SECONDS):
            for step in (self._start_queued, self._stop_cancelled, self._flush, self._timers.look):
                self._guarded(step)
            if time.monotonic() - taken_up > TAKE_UP_SECONDS:
                self._guarded(self._look_after)
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
            queued = runs.queued_jobs(session)
        now = time.monotonic()
        self._started = {key: at for key, at in self._started.items() if queued.get(key[0]) == key[1]}
        # A workflow that ended before it could begin its attempt, the database being away, leaves the job queued.
        due = [key for key in sorted(queued.items())
               if key not in self._alive and now - self._started.get(key, -TAKE_UP_SECONDS) >= TAKE_UP_SECONDS]
        for key in due[:room]:
            start_attempt(*key)
            self._started[key] = now

    def _stop_cancelled(self) -> None:
        if not (under_way := self._current_runs()):
            return
        with reading() as session:
            wanted = set(runs.cancel_requests(session))
            withdrawn = set(runs.withdrawn(session, [watched.job_id for watched in under_way]))
        for watched in under_way:
            if watched.job_id in wanted:
                watched.stop("cancelled")
            elif watched.job_id in withdrawn:
                watched.stop("withdrawn")

    def _flush(self) -> None:
        for watched in self._current_runs():
            watched.flush()

    def _current_runs(self) -> list[Watched]:
        with self._lock:
            return list(self._watched.values())

    def _take_up(self, abandoned: Callable[[str, int], bool]) -> None:
        """Begin new attempts of the jobs that run in the tables and whose latest attempt is ``abandoned``."""
        with reading() as session:
            left = runs.running_jobs(session)
        for job_id, attempt in left.items():
            if abandoned(job_id, attempt):
                with transaction() as session:
                    following = runs.interrupted(session, job_id, attempt)
                if following is not None:
                    start_attempt(job_id, following)

    def _look_after(self) -> None:
        """Take up what nobody runs any more, though DBOS may believe so: the database was away when its end was to be
        written down. What is seen twice in a row is not just between two steps."""
        before, self._orphans = self._orphans, set()

        def abandoned(job_id: str, attempt: int) -> bool:
            with self._lock:
                if any(job == job_id for job, _ in self._alive):
                    return False
            if (job_id, attempt) in before:
                return True
            self._orphans.add((job_id, attempt))
            return False

        self._take_up(abandoned)
        with reading() as session:
            waiting = approvals.waited_for(session)
        if waiting:
            with transaction() as session:
                approvals.look_after(session)


def _load_apps() -> None:
    """Import Flower and the apps while nobody waits, and verify developers' packages, so that the first job need not."""
    from marketplace.programs import service as programs
    from shuyan.federation import grid  # noqa: F401

    with contextlib.suppress(SQLAlchemyError), reading() as session:  # a job looks again
        programs.installed(session)


def start_attempt(job_id: str, attempt: int) -> None:
    """Start a workflow for an attempt. Each has an id of its own, since DBOS runs none twice; a second one for an attempt
    that is under way or over finds nothing to do."""
    with SetWorkflowID(f"{job_id}:{attempt}:{secrets.token_hex(4)}"):
        DBOS.start_workflow(attempt_workflow, job_id, attempt)


@DBOS.workflow(name="job_attempt")  # type: ignore[untyped-decorator,unused-ignore]
def attempt_workflow(job_id: str, attempt: int) -> str:
    """One attempt: begin, execute, and the next attempt if this one was interrupted."""
    engine = _engine()
    if not engine.claim(job_id, attempt):
        return "nothing_to_do"
    try:
        begun = begin_step(job_id, attempt)
        if begun is None:
            return "nothing_to_do"
        outcome: str = execute_step(job_id, begun["run_id"], begun["epoch"])
        if outcome == "interrupted":
            following = interrupted_step(job_id, attempt)
            if following is not None:
                start_attempt(job_id, following)
        return outcome
    finally:
        engine.release(job_id, attempt)


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


def _system_database(settings: Settings) -> str:
    url = settings.resolved_database_url
    if url.startswith("sqlite"):
        return f"sqlite:///{(settings.data_dir / 'dbos.sqlite').resolve()}"
    return url
