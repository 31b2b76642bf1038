"""Inside the worker process: limits first, then one task after the other until the agent goes away."""

from __future__ import annotations

import ctypes
import gc
import glob
import importlib
import logging
import os
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from node_agent.worker.host import EXIT_MEMORY
from node_agent.worker.wire import pack, receive_frame

if TYPE_CHECKING:
    from shuyan.federation.apps.base import FederatedApp
    from shuyan.federation.inputs import Inputs, TableSource

_PR_SET_PDEATHSIG = 1
_MIB = 1024 * 1024
_KEPT_RUNS = 2

_log = logging.getLogger("node.worker")


def serve(connection: socket.socket) -> None:
    """Take tasks from the agent until it is gone."""
    _die_with_the_agent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    begin = receive_frame(connection)
    if begin is None:
        return
    worker = _Worker(begin[0])
    connection.sendall(pack({"status": "ready"}))
    while (frame := receive_frame(connection)) is not None:
        header, body = frame
        if header["op"] == "forget":
            worker.forget(header["run_id"])
            continue
        try:
            connection.sendall(worker.run(header, body))
        except MemoryError:
            # Not even the answer fits: the status says why.
            os._exit(EXIT_MEMORY)


def _die_with_the_agent() -> None:
    """Ask the kernel to end this process when the agent dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit(settings: dict[str, Any]) -> None:
    """What this process may use from now on; address space counts from what it has already."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    ceiling = used + int(settings["memory_mb"]) * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    size = int(settings["file_mb"]) * _MIB
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(int(settings["nice"]))


class _Worker:
    def __init__(self, settings: dict[str, Any]) -> None:
        # Everything a task will need is loaded now, before the limits and before the first task waits for it.
        import duckdb  # noqa: F401

        from shuyan.federation import _flower
        from shuyan.federation.inputs import Inputs as _Inputs  # noqa: F401

        self._answer = _flower.answer
        self._memory_mb = int(settings["memory_mb"])
        self._named: dict[str, str] | None = settings["apps"]
        self._apps: dict[str, FederatedApp] = {}
        if self._named is None:
            from shuyan.federation.apps import installed

            self._apps = {name: app.load() for name, app in installed().items()}
        self._runs: dict[tuple[str, str], Inputs] = {}
        # What was loaded stays for good: the collector need not walk through it again in the middle of a round.
        gc.collect()
        gc.freeze()
        _limit(settings)

    def run(self, header: dict[str, Any], body: bytes) -> bytes:
        """One task's answer frame."""
        from shuyan.federation import problems
        from shuyan.problems import ProblemError

        _limit_cpu(int(header["cpu_seconds"]))
        try:
            return self._run(header, body)
        except ProblemError as problem:
            _log.info("refused: %s", problem)
            code = problem.code if problem.code in problems.APP_CODES else problems.APP_FAILED
        except Exception as error:
            self.forget(header["run_id"])
            out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException"
            code = problems.WORKER_MEMORY if out_of_memory else problems.APP_FAILED
            # The text stays in this department's own log.
            _log.warning("task of app %s failed", header["app"], exc_info=True)
        return pack({"status": "failed", "code": code})

    def _run(self, header: dict[str, Any], body: bytes) -> bytes:
        import json

        app = self._app(header["app"])
        inputs = self._inputs(header["run_id"], header["tables"], app.in_place)
        plain = self._answer(app, body, app.params(json.loads(header["params"])), inputs)
        return pack({"status": "ok"}, plain.to_bytes())

    def _app(self, name: str) -> FederatedApp:
        app = self._apps.get(name)
        if app is None and self._named is not None:
            module, _, attribute = self._named[name].partition(":")
            app = self._apps[name] = getattr(importlib.import_module(module), attribute)
        if app is None:
            raise LookupError(name)
        return app

    def _inputs(self, run_id: str, tables: list[dict[str, Any]], in_place: bool) -> Inputs:
        """The tables' granted columns, read once a run and kept warm between its rounds."""
        from shuyan.federation.inputs import Inputs

        key = (run_id, repr([(table["location"], [column["name"] for column in table["columns"]]) for table in tables]))
        inputs = self._runs.pop(key, None)
        if inputs is None:
            started = time.monotonic()
            inputs = Inputs.from_tables([_source(table) for table in tables], in_place=in_place,
                                        memory_mb=self._memory_mb * 3 // 4)
            _log.info("read %s in %.3f s", ", ".join(table["name"] for table in tables), time.monotonic() - started)
        self._runs[key] = inputs  # the most recently used last
        while len(self._runs) > _KEPT_RUNS:
            self._runs.pop(next(iter(self._runs))).close()
        return inputs

    def forget(self, run_id: str) -> None:
        """Drop what is kept for a run."""
        for key in [key for key in self._runs if key[0] == run_id]:
            self._runs.pop(key).close()


def _source(table: dict[str, Any]) -> TableSource:
    from node_agent.sources import relation
    from shuyan.federation.inputs import TableSource
    from shuyan.federation.schema import Column

    schema = {column["name"]: Column(**{**column, "domain": tuple(column["domain"])}) for column in table["columns"]}
    files = tuple(sorted(glob.glob(table["location"], recursive=True))) if table["kind"] == "parquet" else ()
    return TableSource(table["name"], relation(table["kind"], table["location"]), schema, tuple(schema), files)


def _limit_cpu(seconds: int) -> None:
    """A stop behind the agent's own deadline: processor time from now on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (used + 2 * seconds, hard))
