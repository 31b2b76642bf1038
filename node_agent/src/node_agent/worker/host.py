"""The agent's hold on the worker process: start it warm, feed it one task at a time, kill it when it must stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from node_agent.worker import nursery
from node_agent.worker.access import Access, needed
from node_agent.worker.wire import WireError, pack, read_frame
from shuyan import confinement
from shuyan.federation import problems

MAX_QUEUED = 32
_LOG_KEEP_BYTES = 8 * 1024 * 1024
_READY_SECONDS = 60.0
_RESTARTS = 3  # for sources that change while the process starts; a file that still cannot be read is the app's error

# The worker ends itself with this status when even reporting a MemoryError fails.
EXIT_MEMORY = 77

_log = structlog.get_logger("node.worker")


@dataclass(frozen=True)
class Limits:
    """What the worker may use."""

    memory_mb: int = 2048
    file_mb: int = 64
    nice: int = 5
    spill_mb: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Table:
    """Where the rows are and which columns the task may see."""

    name: str
    kind: str
    location: str
    columns: tuple[dict[str, Any], ...]  # the fields of shuyan.federation.schema.Column
    unit: dict[str, Any] | None = None  # how contributions are bounded: column, max_rows, salt


@dataclass(frozen=True)
class Work:
    """One task for a worker.

    Attributes:
        package: of a developer's app, the package it runs from; None: the app came with the product.
        memory_mb: what a developer's app says it needs; it gets no more than that, nor than the node's own limit.
        grant: digest of the grant; a process that ran a developer's app under one never works under another.
        own: what the grant says about single departments' figures (:class:`shuyan.federation.own.OwnFigures`).
    """

    run_id: str
    app: str
    tables: tuple[Table, ...]
    params_json: str
    flower_message: bytes = field(repr=False)
    max_values: int = 100_000
    package: bytes | None = field(default=None, repr=False)
    app_digest: str = ""
    memory_mb: int = 1024
    grant: str = ""
    own: dict[str, Any] = field(default_factory=dict)


class WorkerFailureError(Exception):
    """A task failed in the worker; ``code`` is one that may cross the link."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Worker:
    """One worker process and the queue before it.

    Args:
        limits: its resource limits.
        home: an empty directory that it may use as its own.
        log: where its output goes.
        apps: app name → ``module:attribute``; None: the installed entry points. Only tests name apps themselves.
        foreign: it is for one run of a developer's app, and sealed before any of that is imported.
        required: do not work unless the process is shut in; always so for a foreign one.
        layers: the sandbox's layers to use; only tests leave some out.
        sources: (kind, location) of what it will be asked to read, so that it need not start again for them.
    """

    def __init__(self, limits: Limits, home: Path, log: Path, apps: Mapping[str, str] | None = None, *, foreign: bool = False,
                 required: bool = False, layers: Iterable[str] = confinement.LAYERS,
                 sources: Callable[[], Iterable[tuple[str, str]]] = tuple) -> None:
        self._foreign = foreign
        self._required = required or foreign
        self._wanted_layers = tuple(layers)
        self._sources = sources
        self._access = Access()
        self._sealed: dict[str, int] | None = None  # of a foreign one: rows by table, as counted before the app's code ran
        self.layers: tuple[str, ...] = ()
        self._limits = limits
        self._home = home
        self._log_path = log
        self._apps = dict(apps) if apps is not None else None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: nursery.Forked | asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._starting: asyncio.Task[None] | None = None
        self._current = ""
        self._cancelled: set[str] = set()
        self._used: dict[str, float] = {}  # run id -> time.monotonic() of its last task

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def busy(self) -> int:
        """Tasks running or waiting."""
        return self._waiting

    def warm(self) -> None:
        """Begin starting the process, so that the first task finds it ready."""
        if self._starting is None and self.pid is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def run(self, work: Work, deadline: float) -> bytes:
        """Run one task; it ends by ``deadline`` (:func:`time.monotonic` seconds) one way or another.

        Returns the serialised plain answer, which nobody has looked at yet.

        Raises:
            WorkerFailureError: worker_crashed, worker_timeout, worker_memory, app_failed, run_cancelled, node_busy,
                task_expired, or a code of ``problems.APP_CODES``.
        """
        if self._waiting >= MAX_QUEUED:
            raise WorkerFailureError(problems.NODE_BUSY)
        self._waiting += 1
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                await self._turn.acquire()
        except TimeoutError:
            self._waiting -= 1
            raise WorkerFailureError(problems.TASK_EXPIRED) from None
        except BaseException:
            self._waiting -= 1
            raise
        try:
            return await self._run(work, deadline)
        finally:
            self._current = ""
            self._used[work.run_id] = time.monotonic()
            self._waiting -= 1
            self._turn.release()

    async def _run(self, work: Work, deadline: float) -> bytes:
        if work.run_id in self._cancelled:
            raise WorkerFailureError(problems.RUN_CANCELLED)
        self._current = work.run_id
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                await self._ready(needed((table.kind, table.location) for table in work.tables))
                return await self._ask(work, deadline)
        except TimeoutError:
            await self._kill("timeout")
            self.warm()
            raise WorkerFailureError(problems.WORKER_TIMEOUT) from None
        except (asyncio.IncompleteReadError, ConnectionError, WireError, OSError) as error:
            code = await self._cause_of_death()
            if self._sealed is not None and isinstance(error, WireError):
                code = problems.OUTPUT_UNDECLARED  # a developer's app wrote to the agent itself
            if work.run_id in self._cancelled:
                code = problems.RUN_CANCELLED
            _log.warning("worker died", code=code, error=type(error).__name__)
            self.warm()
            raise WorkerFailureError(code) from None
        except WorkerFailureError as failure:
            if failure.code == problems.SANDBOX_UNAVAILABLE:
                await self._kill("no sandbox")
            if failure.code == problems.WORKER_MEMORY:  # what it could not have it may still be holding
                await self._kill("memory")
                self.warm()
            raise
        except asyncio.CancelledError:
            await self._kill("stopped")
            raise

    async def _ask(self, work: Work, deadline: float) -> bytes:
        assert self._reader
        assert self._writer
        self._go_on(signal.SIGCONT)
        if self._foreign and self._sealed is None:
            self._writer.write(pack({"op": "package", "memory_mb": min(self._limits.memory_mb, work.memory_mb)},
                                    work.package or b""))
        self._writer.write(pack({
            "op": "run", "run_id": work.run_id, "app": work.app, "params": work.params_json,
            "cpu_seconds": int(deadline - time.monotonic()) + 5, "own": work.own,
            "tables": [{"name": table.name, "kind": table.kind, "location": table.location,
                        "columns": list(table.columns), "unit": table.unit} for table in work.tables]}, work.flower_message))
        await self._writer.drain()
        if self._foreign and self._sealed is None:
            header, _ = await read_frame(self._reader, max_body=0)
            _answer(header, b"", trusted=True)
            self.layers = confinement.in_order(header["layers"])
            if not confinement.sufficient(self.layers):
                raise WorkerFailureError(problems.SANDBOX_UNAVAILABLE)
            self._sealed = {str(name): int(rows) for name, rows in header["rows"].items()}
        # Three terms an element and room to spare: an answer somewhat too large is refused by name at the egress check.
        header, body = await read_frame(self._reader, max_body=48 * work.max_values + 65_536)
        if not self._foreign:
            return _answer(header, body, trusted=True)
        self._go_on(signal.SIGSTOP)  # between tasks its code has nothing to do
        return self._believable(_answer(header, body, trusted=False))

    def _go_on(self, number: signal.Signals) -> None:
        if self._foreign and self.pid is not None:
            os.kill(self.pid, number)

    def _believable(self, answer: bytes) -> bytes:
        """A developer's app says itself how many rows it used; it cannot have used more than there are, and which ones it
        used nobody can know, so the answer counts as one about all of them."""
        from shuyan.federation.answers import PlainAnswer

        try:
            plain = PlainAnswer.from_bytes(answer)
        except ValueError:
            raise WorkerFailureError(problems.OUTPUT_UNDECLARED) from None
        if plain.cohort > sum((self._sealed or {}).values()):
            raise WorkerFailureError(problems.OUTPUT_UNDECLARED)
        return PlainAnswer(plain.vectors, plain.cohort).to_bytes()

    async def forget_idle(self, seconds: float) -> None:
        """Drop what the worker keeps for runs that asked nothing for so long: most ends of runs are not announced."""
        before = time.monotonic() - seconds
        for run_id in [run_id for run_id, used in self._used.items() if used < before]:
            await self.forget(run_id)

    async def forget(self, run_id: str) -> None:
        """The run is over: drop what the worker keeps for it."""
        self._used.pop(run_id, None)
        if self.pid is None or self._writer is None or self._starting is not None:
            return
        async with self._turn:
            if self.pid is not None and self._writer is not None:
                with contextlib.suppress(ConnectionError):
                    self._writer.write(pack({"op": "forget", "run_id": run_id}))

    async def cancel(self, run_id: str) -> None:
        """Stop work on a run at once: the process is killed if the run's task is in it."""
        self._cancelled.add(run_id)
        if len(self._cancelled) > 10_000:
            self._cancelled.clear()
        if self._current == run_id:
            await self._kill("cancelled")

    async def stop(self) -> None:
        """Kill the process for good."""
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._starting
        await self._kill("stopped")

    async def _ready(self, access: Access) -> None:
        for _ in range(_RESTARTS):
            if not self._foreign and self._starting is None and self.pid is not None and not self._access.covers(access):
                # A source was added or replaced since it was shut in.
                await self._kill("sources changed")
            if self.pid is None and self._starting is None:
                self._access |= access
                self.warm()
            if self._starting is not None:
                starting = self._starting
                try:
                    await asyncio.shield(starting)
                finally:
                    if starting.done():
                        self._starting = None
            if self._foreign or self._access.covers(access):
                return

    async def _start(self) -> None:
        self._home.mkdir(exist_ok=True, mode=0o700)
        self._sealed = None
        if not self._foreign:
            # What was replaced or withdrawn since is left behind with the old process.
            self._access = needed(self._sources()) | Access(
                frozenset(entry for entry in self._access.read if _is_now(entry)), self._access.write, self._access.network)
        ours, theirs = socket.socketpair()
        with theirs, _open_log(self._log_path) as log:
            ours.setblocking(False)
            start = nursery.fork if self._foreign else _start_alone
            self._process = await start(self._home, self._environment(), log=log.fileno(), tasks=theirs.fileno())
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
        self._writer.write(pack({
            "op": "begin", "mode": "foreign" if self._foreign else "own", "memory_mb": self._limits.memory_mb,
            "file_mb": self._limits.file_mb, "nice": self._limits.nice, "spill_mb": self._limits.spill_mb,
            "threads": self._limits.threads, "home": str(self._home), "apps": self._apps, "layers": self._wanted_layers,
            "read": sorted(path for path, _ in self._access.read), "write": [str(self._home), *sorted(self._access.write)],
            "network": self._access.network}))
        async with asyncio.timeout(_READY_SECONDS):
            header, _body = await read_frame(self._reader)
        if header.get("status") != "ready":
            raise WireError("worker did not begin")
        if not self._foreign:
            self.layers = confinement.in_order(header["layers"])
            if self._required and not confinement.sufficient(self.layers):
                raise WorkerFailureError(problems.SANDBOX_UNAVAILABLE)

    def _environment(self) -> dict[str, str]:
        """Nothing of ours but what Python needs to find its modules; no telemetry, one thread a library."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        return {**kept, "HOME": str(self._home), "TMPDIR": str(self._home), "FLWR_TELEMETRY_ENABLED": "0",
                "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                "MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}

    async def _kill(self, reason: str) -> None:
        process, writer = self._process, self._writer
        self._process = self._reader = self._writer = None
        if writer is not None:
            writer.close()
        if process is None:
            return
        if process.returncode is None:
            _log.info("worker killed", reason=reason)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: whatever it started goes with it
        await process.wait()

    async def _cause_of_death(self) -> str:
        process = self._process
        status = None
        if process is not None:
            # It closed its end, so it is exiting; if it only pretends to, it is killed below.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    status = await process.wait()
        await self._kill("broke off")
        if status == EXIT_MEMORY:
            return problems.WORKER_MEMORY
        if status == -confinement.VIOLATION_SIGNAL:
            return problems.SANDBOX_VIOLATION
        return problems.WORKER_TIMEOUT if status == -signal.SIGXCPU else problems.WORKER_CRASHED


_WHERE = re.compile(r"[A-Za-z0-9_.]{1,60}:[0-9]{1,6}:[A-Za-z0-9_]{1,60}")


def _answer(header: dict[str, Any], body: bytes, *, trusted: bool) -> bytes:
    """Read a worker's answer as the untrusted input it is.

    Args:
        trusted: no code but ours has run there, so that its choice among the codes says no more than they do.
    """
    status = header.get("status")
    if status == "failed":
        code, where = header.get("code"), header.get("where")
        if isinstance(where, str) and _WHERE.fullmatch(where):
            _log.warning("app failed", where=where)
        known = problems.APP_CODES | {problems.WORKER_MEMORY, problems.WORKER_CRASHED, problems.SANDBOX_UNAVAILABLE}
        if not trusted:
            known = frozenset({problems.WORKER_MEMORY})
        raise WorkerFailureError(code if isinstance(code, str) and code in known else problems.APP_FAILED)
    if status not in (("ok", "sealed") if trusted else ("ok",)):
        raise WireError("no answer")
    return body


def _is_now(entry: tuple[str, int]) -> bool:
    """Whether a file that was readable is still the same file."""
    path, number = entry
    try:
        return number == 0 or os.stat(path).st_ino == number
    except OSError:
        return False


async def _start_alone(home: Path, environment: Mapping[str, str], *, log: int, tasks: int) -> asyncio.subprocess.Process:
    """A worker that stays, and so is no copy of a process kept for copying: a node that runs no developer's app has none of those."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node_agent.worker.main", str(tasks), pass_fds=(tasks,), stdin=asyncio.subprocess.DEVNULL,
        stdout=log, stderr=log, cwd=home, env=dict(environment), start_new_session=True)


def _open_log(path: Path) -> Any:
    if path.exists() and path.stat().st_size > _LOG_KEEP_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab")
