"""Inside the worker process: sandbox and limits first, then one task after the other until the agent goes away."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import resource
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from node_agent.worker.host import EXIT_MEMORY
from node_agent.worker.process import die_with_the_agent, limit_memory, table_source
from shuyan import confinement
from shuyan.confinement.frames import Channel

if TYPE_CHECKING:
    from shuyan.federation.apps.base import FederatedApp
    from shuyan.federation.inputs import Inputs

_MIB = 1024 * 1024
_KEPT_RUNS = 2
_WORTH_TELLING_SECONDS = 0.1  # of reading: a line a run would cost as much as a small query

_log = logging.getLogger("node.worker")


def work(descriptor: int) -> None:
    """Take tasks from the agent until it is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    channel = Channel(descriptor)
    begin = channel.receive()
    if begin is None:
        return
    settings = begin[0]
    if settings["mode"] == "foreign":
        from node_agent.worker import foreign

        foreign.serve(channel, settings)
        return
    worker = _Worker(settings)
    channel.send({"status": "ready", "layers": worker.layers})
    while (frame := channel.receive()) is not None:
        header, body = frame
        if header["op"] == "forget":
            worker.forget(header["run_id"])
            continue
        try:
            channel.send(*worker.run(header, body))
        except MemoryError:
            # Not even the answer fits: the status says why.
            os._exit(EXIT_MEMORY)


class _Worker:
    """The warm process of the apps that come with the product. It may read the registered sources and write its scratch."""

    def __init__(self, settings: dict[str, Any]) -> None:
        # Apps are installed software here: where Python looks for it may be read.
        importable = [path for path in sys.path if path and os.path.isdir(path)]
        walls = confinement.Confinement(
            read=(*importable, *settings["read"]), write=tuple(settings["write"]), network=bool(settings["network"]),
            layers=frozenset(settings["layers"]))
        self.layers = [*confinement.shut_in(walls)]
        # Everything a task will need is loaded now, before the limits and before the first task waits for it.
        import duckdb  # noqa: F401

        from shuyan.federation import _flower
        from shuyan.federation.inputs import Inputs as _Inputs  # noqa: F401

        self._answer = _flower.answer
        self._memory_mb = int(settings["memory_mb"])
        self._named: dict[str, str] | None = settings["apps"]
        self._apps: dict[str, FederatedApp] = {}
        if self._named is None:
            from shuyan.federation.apps.base import built_in

            self._apps = {name: app.load() for name, app in built_in().items()}
        self._runs: dict[tuple[str, str], Inputs] = {}
        # What was loaded stays for good: the collector need not walk through it again in the middle of a round.
        gc.collect()
        gc.freeze()
        limit_memory(self._memory_mb)
        self._threads = int(settings["threads"])
        self._spill_mb = int(settings["spill_mb"])
        self._spill = _spill_folder(settings["home"]) if self._spill_mb else ""
        size = max(int(settings["file_mb"]), self._spill_mb) * _MIB
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.nice(int(settings["nice"]))
        from shuyan.federation.inputs import WarmDatabases

        self._warm = WarmDatabases(self._memory_mb * 3 // 4, self._threads, self._spill, self._spill_mb)
        # New machine code: an extension that reads a database is loaded when the database is first read.
        self.layers += confinement.seal(walls, new_code=True)

    def run(self, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        """One task's answer: header and body."""
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
            self._warm.close()
            out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException"
            code = problems.WORKER_MEMORY if out_of_memory else problems.APP_FAILED
            # The text stays in this department's own log.
            _log.warning("task of app %s failed", header["app"], exc_info=True)
        return {"status": "failed", "code": code}, b""

    def _run(self, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        from shuyan.federation.own import OwnFigures

        app = self._app(header["app"])
        inputs = self._inputs(header["run_id"], header["tables"], app.in_place)
        plain = self._answer(app, body, app.params(header["params"]), inputs,
                             OwnFigures.from_wire(header.get("own", {})))
        return {"status": "ok"}, plain.to_bytes()

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

        key = (run_id, repr([(table["location"], [column["name"] for column in table["columns"]], table["unit"])
                             for table in tables]))
        inputs = self._runs.pop(key, None)
        if inputs is None:
            started = time.monotonic()
            inputs = Inputs.from_tables([table_source(table) for table in tables], in_place=in_place,
                                        memory_mb=self._memory_mb * 3 // 4, threads=self._threads, spill=self._spill,
                                        spill_mb=self._spill_mb, warm=self._warm)
            if (took := time.monotonic() - started) > _WORTH_TELLING_SECONDS:
                _log.info("read %s in %.3f s", ", ".join(table["name"] for table in tables), took)
        self._runs[key] = inputs  # the most recently used last
        while len(self._runs) > _KEPT_RUNS:
            self._runs.pop(next(iter(self._runs))).close()
        return inputs

    def forget(self, run_id: str) -> None:
        """Drop what is kept for a run."""
        for key in [key for key in self._runs if key[0] == run_id]:
            self._runs.pop(key).close()


def _spill_folder(home: str) -> str:
    """An empty folder for what does not fit into memory; whatever a process that was killed left there is deleted."""
    folder = os.path.join(home, "spill")
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder, 0o700)
    return folder


def _limit_cpu(seconds: int) -> None:
    """A stop behind the agent's own deadline: processor time from now on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (used + 2 * seconds, hard))


if __name__ == "__main__":
    die_with_the_agent()
    work(int(sys.argv[1]))
