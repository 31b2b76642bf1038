"""One attempt of a job, from its order to a candidate output in review; runs in a workflow's thread."""

from __future__ import annotations

import threading
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from marketplace.computing import approvals, rounds, runs
from marketplace.computing.errors import APP_NOT_GRANTED, APP_NOT_INSTALLED, NODES_MISSING, RUN_FAILED
from marketplace.db import reading, transaction
from marketplace.logging import get_logger
from marketplace.programs import service as programs
from shuyan.federation.transport import NodeFailure, Transport
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.federation.grid import SecureGrid
    from shuyan.federation.rounds import StoredRound

log = get_logger("jobs")

WAIT_SECONDS: Final = 15.0
"""How long a run waits for departments that are offline at its start."""

_POLL_SECONDS: Final = 0.05
_WARNINGS: Final = frozenset({"department_lost", "round_repeated"})
_COUNTERS_ONLY: Final = frozenset({"round_started", "round_opening"})  # several a round would drown the log


class RunTransport(Transport):
    """A transport that is also told when a run is over."""

    @abstractmethod
    def forget(self, run_id: str) -> None:
        """Nothing of this run will be asked any more."""


class KeptRounds:
    """The finished rounds of one job, in the market's database. A database that is away loses the round, not the run."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._keeping = True

    def load(self, round_: int, /) -> StoredRound | None:
        from shuyan.federation.rounds import StoredRound

        with reading() as session:
            data = rounds.load(session, self._job_id, round_)
        return None if data is None else StoredRound.from_bytes(data)

    def save(self, round_: int, stored: StoredRound, /) -> None:
        if not self._keeping:
            return
        try:
            with transaction() as session:
                self._keeping = rounds.save(session, self._job_id, round_, stored)
        except DBAPIError as error:
            self._keeping = False
            log.error("round not kept", job_id=self._job_id, round=round_, error=type(error).__name__)

    def discard(self, from_round: int, /) -> None:
        with transaction() as session:
            rounds.forget(session, self._job_id, from_round)


class ShuttingDown(BaseException):
    """The coordinator stops: the run ends here without a word, and the next start decides on it."""


class Watched:
    """One run under way: how it is cancelled, and its log lines on their way to the database.

    Lines are written by :meth:`flush`, called every so often from outside, so that no round waits for a disk.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.names: dict[str, str] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lines: list[runs.ProgressLine] = []
        self._grid: SecureGrid | None = None
        self._stop: str | None = None

    def attach(self, grid: SecureGrid) -> None:
        """The run has got a grid, which a cancellation has to reach."""
        with self._lock:
            self._grid = grid
            stopped = self._stop is not None
        if stopped:
            grid.cancel()

    def stop(self, reason: str) -> None:
        """Stop the run: ``cancelled`` for its job, ``withdrawn`` for its grant, ``shutting_down`` for the coordinator.

        The first reason counts.
        """
        with self._lock:
            if self._stop is not None:
                return
            self._stop, grid = reason, self._grid
        if grid is not None:
            grid.cancel()

    def check(self) -> None:
        """Raises :class:`RunCancelled` or :class:`ShuttingDown` if the run is to stop."""
        from shuyan.federation.grid import RunCancelled

        if self._stop == "shutting_down":
            raise ShuttingDown
        if self._stop is not None:
            raise RunCancelled

    def progress(self, round_: int, rounds: int, code: str, /, **args: object) -> None:
        """The callback of the grid and its apps."""
        said: dict[str, Any] = {"round": round_, "rounds": rounds, **args}
        if "node" in said:
            said["node"] = self.names.get(str(said["node"]), said["node"])
        level = "warning" if code in _WARNINGS else "info"
        line = runs.ProgressLine("" if code in _COUNTERS_ONLY else code, said, level, round_, rounds)
        with self._lock:
            last = self._lines[-1] if self._lines else None
            if code == "round_loss" and last is not None and (last.code, last.round) == ("round_finished", round_):
                self._lines.pop()  # the loss says all that the end of its round said
            self._lines.append(line)

    def say(self, code: str, level: str = "info", **args: Any) -> None:
        """A line outside any round."""
        self._add(runs.ProgressLine(code, args, level))

    def flush(self) -> None:
        """Write what was said since; lines stay in order whoever calls."""
        with self._writing:
            with self._lock:
                lines, self._lines = self._lines, []
            if not lines:
                return
            try:
                with transaction() as session:
                    runs.record_progress(session, self.job_id, lines)
            except Exception:
                with self._lock:
                    self._lines[:0] = lines
                raise

    def _add(self, line: runs.ProgressLine) -> None:
        with self._lock:
            self._lines.append(line)


def execute(transport: RunTransport, watched: Watched, run_id: str, *, wait_seconds: float = WAIT_SECONDS) -> str:
    """Execute one attempt and record how it ended: ``finished``, ``failed``, ``cancelled`` or ``waiting`` for an approval.

    Raises:
        ShuttingDown: nothing was recorded.
    """
    from shuyan.federation.grid import ApprovalsPending, RunCancelled

    def failed(code: str, args: dict[str, Any]) -> str:
        log.info("run failed", job_id=watched.job_id, run_id=run_id, code=code)
        return _close(watched, runs.fail, run_id, code, args, outcome="failed")

    try:
        return _attempt(transport, watched, run_id, wait_seconds)
    except RunCancelled:
        if watched._stop == "shutting_down":
            raise ShuttingDown from None
        if watched._stop == "withdrawn":
            return _close(watched, runs.stopped_by_withdrawal, run_id, outcome="failed")
        return _close(watched, runs.cancelled, run_id, outcome="cancelled")
    except NodeFailure as failure:
        if isinstance(failure, ApprovalsPending) and all(failure.approvals.values()):
            return _close(watched, approvals.wait, run_id, failure.approvals, watched.names, outcome="waiting")
        args = dict(failure.args_) | {"node": watched.names.get(failure.node_id, failure.node_id)}
        return failed(failure.code, args)
    except ProblemError as problem:
        return failed(problem.code, dict(problem.args_))
    except Exception as error:
        # where, but not what: the text of an exception may quote numbers
        frame = traceback.extract_tb(error.__traceback__)[-1]
        log.error("run broke", job_id=watched.job_id, run_id=run_id, error=type(error).__name__,
                  at=f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}")
        return failed(RUN_FAILED, {})
    finally:
        transport.forget(run_id)


def _attempt(transport: RunTransport, watched: Watched, run_id: str, wait_seconds: float) -> str:
    from shuyan.federation.grid import SecureGrid

    with reading() as session:
        order = runs.order(session, watched.job_id, run_id)
        app = programs.find(session, order.app_name, order.app_digest)
        known = app is not None or order.app_name in programs.installed(session)
    watched.names = order.departments
    if app is None:  # upgraded or retired since the job was submitted
        raise ProblemError(APP_NOT_GRANTED if known else APP_NOT_INSTALLED, app=order.app_name)
    participants = _gather(transport, watched, order, wait_seconds)
    with transaction() as session:
        runs.set_participants(session, run_id, participants)
    watched.say("run_started", attempt=order.attempt, departments=len(participants))
    grid = SecureGrid(transport, grant=order.grant, grant_jws=order.grant_jws, run_id=run_id, app=app,
                      params=order.params, participants=participants, progress=watched.progress,
                      rounds=KeptRounds(watched.job_id))
    watched.attach(grid)
    content = app.load().run(grid)
    watched.check()
    watched.flush()
    with transaction() as session:
        reviewing = runs.finish(session, run_id, form=app.manifest.output_form, content=content,
                                participants=grid.participants, rows=grid.smallest_cohort,
                                content_model=app.load().content_model)
    log.info("run finished", job_id=watched.job_id, run_id=run_id, reviewing=reviewing)
    return "finished" if reviewing else "failed"


def _gather(transport: RunTransport, watched: Watched, order: runs.Order, wait_seconds: float) -> list[str]:
    """The departments to start with: all, or those online after the wait if they are enough.

    Where rounds are kept of an earlier attempt, only their departments count: no question that may have been answered
    in part is put to another set of them.

    Raises:
        ProblemError: ``nodes_missing``, naming them.
    """
    wanted, minimum = set(order.departments), max(3, order.grant.minimum_participants)
    if order.kept:
        wanted &= set(order.kept)
    deadline = time.monotonic() + wait_seconds
    told = False
    while missing := wanted - transport.connected():
        watched.check()
        if time.monotonic() >= deadline:
            break
        if not told:
            told = True
            watched.say("waiting_for_nodes", seconds=round(wait_seconds), missing=_names(order, missing))
        time.sleep(_POLL_SECONDS)
    watched.check()
    present = sorted(wanted - missing)
    if len(present) < minimum:
        raise ProblemError(NODES_MISSING, connected=len(present), minimum=minimum,
                           missing=_names(order, missing) or "—")
    if missing:
        watched.say("going_on_without", "warning", departments=len(present), missing=_names(order, missing))
    return present


def _names(order: runs.Order, node_ids: set[str]) -> list[str]:
    return sorted(order.departments[node_id] for node_id in node_ids)


def _close(watched: Watched, use_case: Callable[..., None], *args: Any, outcome: str) -> str:
    watched.flush()
    with transaction() as session:
        use_case(session, *args)
    return outcome
