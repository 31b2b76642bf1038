"""All workers of a node: the warm one of the apps that come with the product, and one for each run of a developer's app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from node_agent.worker.host import Limits, Work, Worker, WorkerFailureError
from shuyan import confinement
from shuyan.federation import problems

MAX_FOREIGN = 4

_Key = tuple[str, str, str, str]  # grant, app, run, tables


class Workers:
    """Routes tasks. It has the methods of :class:`~node_agent.worker.host.Worker`.

    A process that has run a developer's app is bound to one grant, one app and one run; after it, and after any failure,
    it is ended. A spare one, which has seen nothing yet, is kept ready once such an app has been asked for.

    Args:
        required: refuse even the apps that come with the product where the process cannot be shut in.
        layers: the sandbox's layers to use; only tests leave some out.
        sources: (kind, location) of the registered sources.
    """

    def __init__(self, limits: Limits, home: Path, log: Path, apps: Mapping[str, str] | None = None, *,
                 required: bool = False, layers: Iterable[str] = confinement.LAYERS,
                 sources: Callable[[], Iterable[tuple[str, str]]] = tuple) -> None:
        self._layers = tuple(layers)
        self._limits, self._home, self._log = limits, home, log
        self._own = Worker(limits, home, log, apps, required=required, layers=self._layers, sources=sources)
        self._foreign: dict[_Key, Worker] = {}
        self._used: dict[_Key, float] = {}
        self._spare: Worker | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._cancelled: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The warm process's id while it runs."""
        return self._own.pid

    @property
    def foreign_pids(self) -> list[int]:
        """Ids of the processes that run developers' apps."""
        return [worker.pid for worker in self._foreign.values() if worker.pid is not None]

    @property
    def busy(self) -> int:
        """Tasks running or waiting."""
        return self._own.busy + sum(worker.busy for worker in self._foreign.values())

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers around the warm process; empty before it has started."""
        return self._own.layers

    def warm(self) -> None:
        """Begin starting the warm process."""
        self._own.warm()

    async def run(self, work: Work, deadline: float) -> bytes:
        """Run one task; see :meth:`~node_agent.worker.host.Worker.run`. ``sandbox_unavailable`` and ``sandbox_violation``
        may end it as well."""
        if work.package is None:
            return await self._own.run(work, deadline)
        if work.run_id in self._cancelled:
            raise WorkerFailureError(problems.RUN_CANCELLED)
        key = (work.grant, work.app_digest, work.run_id, sha256(repr(work.tables).encode()).hexdigest())
        worker = self._foreign.get(key) or self._hire(key)
        try:
            return await worker.run(work, deadline)
        except BaseException as error:
            if not (isinstance(error, WorkerFailureError) and error.code in (problems.NODE_BUSY, problems.TASK_EXPIRED)):
                self._dismiss(key, worker)
            if isinstance(error, WorkerFailureError) and work.run_id in self._cancelled:
                raise WorkerFailureError(problems.RUN_CANCELLED) from None
            raise
        finally:
            if key in self._foreign:
                self._used[key] = time.monotonic()

    def _hire(self, key: _Key) -> Worker:
        """A process for one run.

        Raises:
            WorkerFailureError: ``node_busy``.
        """
        if len(self._foreign) >= MAX_FOREIGN:
            idle = [other for other, worker in self._foreign.items() if not worker.busy]
            if not idle:
                raise WorkerFailureError(problems.NODE_BUSY)
            oldest = min(idle, key=lambda other: self._used.get(other, 0.0))
            self._dismiss(oldest, self._foreign[oldest])
        worker = self._spare or self._new()
        self._foreign[key] = worker
        self._used[key] = time.monotonic()
        self._spare = self._new()
        self._spare.warm()
        return worker

    def _new(self) -> Worker:
        return Worker(self._limits, self._home, self._log, foreign=True, layers=self._layers)

    def _dismiss(self, key: _Key, worker: Worker) -> None:
        """End a process; what is still waiting for it fails."""
        if self._foreign.get(key) is worker:
            del self._foreign[key]
            self._used.pop(key, None)
        task = asyncio.create_task(worker.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def forget_idle(self, seconds: float) -> None:
        """Drop what is kept for runs that asked nothing for so long."""
        before = time.monotonic() - seconds
        for key, used in list(self._used.items()):
            if used < before and not self._foreign[key].busy:
                self._dismiss(key, self._foreign[key])
        await self._own.forget_idle(seconds)

    async def forget(self, run_id: str) -> None:
        """The run is over."""
        for key, worker in list(self._foreign.items()):
            if key[2] == run_id:
                self._dismiss(key, worker)
        await self._own.forget(run_id)

    async def cancel(self, run_id: str) -> None:
        """Stop work on a run at once."""
        self._cancelled.add(run_id)
        if len(self._cancelled) > 10_000:
            self._cancelled.clear()
        for key, worker in list(self._foreign.items()):
            if key[2] == run_id:
                await worker.cancel(run_id)
                self._dismiss(key, worker)
        await self._own.cancel(run_id)

    async def stop(self) -> None:
        """End every process for good."""
        spare = [self._spare] if self._spare is not None else []
        workers = [self._own, *spare, *self._foreign.values()]
        self._foreign.clear()
        self._used.clear()
        self._spare = None
        await asyncio.gather(*(worker.stop() for worker in workers), *self._ending)
