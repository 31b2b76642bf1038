"""The process that workers of developers' apps are forked from: what all of them import is imported once, so that each begins within milliseconds.

It sees nothing: no source, no key and no app is ever opened in it, and what it is asked for names a folder and a log. It has one
thread, since a fork copies no other; so DuckDB, which starts some when it is imported, is left to the workers. It ends when the
agent does, and every worker ends with it. A worker is its child, not the agent's: it tells the agent how one ended, and keeps its
process id from being given to another until the agent has heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from node_agent.worker.process import die_with_the_agent

_LONGEST: Final = 1 << 16
_NUMBER: Final = 4  # bytes of a process id and of an exit code
_TASKS: Final = 3  # the descriptor a worker talks to the agent over


# --- in the agent -----------------------------------------------------------------------------------------------------------


class Forked:
    """A worker, with what is used here of :class:`asyncio.subprocess.Process`."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        self.pid = pid
        self._ended = asyncio.create_task(_end(told))

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the number of the signal that ended it; None while it runs."""
        return self._ended.result() if self._ended.done() and not self._ended.cancelled() else None

    async def wait(self) -> int:
        """Its return code, when it has ended."""
        return await asyncio.shield(self._ended)


async def _end(told: socket.socket) -> int:
    with told:
        found = await _number(told)
    return -signal.SIGKILL if found is None else found  # None: the nursery is gone, and the kernel ended its children


async def _number(told: socket.socket) -> int | None:
    try:
        found = await asyncio.get_running_loop().sock_recv(told, _NUMBER)
    except ConnectionError:
        return None
    return int.from_bytes(found, "big", signed=True) if len(found) == _NUMBER else None


class _Nursery:
    """Our end of one that runs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.owner, self.environment = os.getpid(), dict(environment)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node_agent.worker", str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/", env={**environment, "HOME": "/", "TMPDIR": "/"},
                start_new_session=True)

    def ask(self, request: bytes, files: list[int]) -> None:
        socket.send_fds(self._socket, [request], files)

    def end(self) -> None:
        self._socket.close()
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()


_lock = threading.Lock()
_running: _Nursery | None = None


async def fork(home: Path, environment: Mapping[str, str], *, log: int, tasks: int) -> Forked:
    """A worker that begins in ``home``, writes to ``log`` and is spoken to over ``tasks``, both descriptors.

    The nursery is started first where there is none: by the first worker, by one with another environment (but for ``HOME`` and
    ``TMPDIR``, which are the worker's own), and after it was killed.

    Raises:
        ConnectionError: it broke off twice.
    """
    common = {name: value for name, value in environment.items() if name not in ("HOME", "TMPDIR")}
    request = json.dumps({"home": str(home)}).encode()
    for _ in range(2):
        told, theirs = socket.socketpair()
        told.setblocking(False)
        with theirs:
            asked = _ask(common, request, [log, tasks, theirs.fileno()])
        try:
            pid = await _number(told)
        except BaseException:
            told.close()
            raise
        if pid is not None:
            return Forked(pid, told)
        told.close()
        _forget(asked)
    raise ConnectionError("the process that workers are forked from broke off")


def _ask(common: dict[str, str], request: bytes, files: list[int]) -> _Nursery:
    global _running
    with _lock:
        if _running is not None and (_running.owner, _running.environment) == (os.getpid(), common):
            try:
                _running.ask(request, files)
                return _running
            except OSError:
                _running.end()
        # One of another environment may have workers; it ends with us.
        _running = _Nursery(common)
        _running.ask(request, files)
        return _running


def _forget(broken: _Nursery) -> None:
    global _running
    with _lock:
        if _running is broken:
            _running = None
    broken.end()


# --- in the nursery ---------------------------------------------------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Fork a worker for each that is asked for, until the agent is gone."""
    from node_agent.worker import foreign, main  # noqa: F401
    from shuyan.appkit import allowed

    allowed.preload(threads=False)
    import _duckdb  # noqa: F401  # without the package around it, which is what starts threads

    gc.collect()
    gc.freeze()
    asked = socket.socket(fileno=descriptor)
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    ours = os.getpid()
    running: dict[socket.socket, int] = {}  # process ids by where the end is told
    with selectors.DefaultSelector() as selector:
        for source in (asked, woken):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
                _tell(running)
            for told in [told for told in running if told in ready]:  # the agent has heard, or does not want it any more
                selector.unregister(told)
                pid = running.pop(told)
                told.close()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            if asked in ready:
                request, files, _, _ = socket.recv_fds(asked, _LONGEST, 3)
                if not request:
                    return
                log, tasks, report = files
                pid = os.fork()
                if pid == 0:
                    _become(json.loads(request), ours, log=log, tasks=tasks)
                os.close(log)
                os.close(tasks)
                told = socket.socket(fileno=report)
                _send(told, pid)
                running[told] = pid
                selector.register(told, selectors.EVENT_READ)


def _tell(running: dict[socket.socket, int]) -> None:
    """Tell how those ended that have; they stay until that was heard, so that no other process is killed in their name."""
    for told, pid in running.items():
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            _send(told, ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


def _send(told: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        told.sendall(number.to_bytes(_NUMBER, "big", signed=True))


def _become(request: dict[str, Any], nursery: int, *, log: int, tasks: int) -> NoReturn:
    """Go on as a worker, in a session of its own."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.dup(tasks), _TASKS)  # the copy first: what is overwritten may be what is copied
        os.closerange(_TASKS + 1, os.sysconf("SC_OPEN_MAX"))
        die_with_the_agent()
        if os.getppid() != nursery:  # it ended before the kernel was asked
            os._exit(code)
        import numpy as np

        from node_agent.worker.main import work

        np.random.seed()  # the others' would be the same
        os.environ["HOME"] = os.environ["TMPDIR"] = request["home"]
        tempfile.tempdir = None
        os.chdir(request["home"])
        work(_TASKS)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
