"""Runs the product's commands in processes of their own that need not import it again: that is half of what a command costs.

One process imports each command when it is first asked for, and forks another for each that is asked for, with its own environment,
arguments, output and session. What a command does is its own code from ``main`` on; its help is in the language that this process
was started in. Tests of whole towns use it, and tests that give many commands; the demo, its tests and the benchmarks start programs
from nothing, as people do, and so does what tests an agent as a process.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from demo.processes import Process, Service, program, tie_to

COMMANDS: Final = {"shuyan-node": "node_agent.cli", "shuyan-market": "marketplace.cli", "shuyan-coordinator": "marketplace.rpc.cli",
                   "shuyan-authority": "marketplace.authorisation.authority_cli", "shuyan": "shuyan.cli"}
_WITH: Final = {"shuyan-node": "node_agent.local", "shuyan-market": "marketplace.app", "shuyan-coordinator": "marketplace.rpc.server"}
"""Modules that services load when they start."""
_LONGEST: Final = 1 << 17
_STATUS: Final = 4  # bytes of a process id and of an exit code


class Forked:
    """A process that was forked for us, with what the tests use of :class:`subprocess.Popen`."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self.returncode: int | None = None
        self.pid = self._number(None)

    def _number(self, within: float | None) -> int:
        if not select.select([self._told], [], [], within)[0]:
            raise TimeoutError
        found = self._told.recv(_STATUS, socket.MSG_WAITALL)
        if len(found) != _STATUS:
            raise RuntimeError("the process that forks commands is gone")
        return int.from_bytes(found, "big", signed=True)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises :class:`subprocess.TimeoutExpired`."""
        if self.returncode is None:
            try:
                self.returncode = self._number(timeout)
            except TimeoutError as error:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from error
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class _Forker:
    """Our end of the one process that forks, which starts with the first command and ends with us."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-m", "tests.factories.forking", str(theirs.fileno())],
                                             pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
        self._socket = ours
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait(10)

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], out: int, err: int) -> Forked:
        request = json.dumps([name, [*arguments], dict(environment), os.getcwd()]).encode()
        if len(request) > _LONGEST:
            raise ValueError("too many arguments")
        told, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._socket, [request], [out, err, theirs.fileno()])
        return Forked(told)


_forker: _Forker | None = None
_lock = threading.Lock()


def start(command: Sequence[str], *, environment: Mapping[str, str], out: int, err: int) -> Forked:
    """Start a command of ours, by the path or name of its program, with its output going to these file descriptors."""
    global _forker
    with _lock:
        _forker = _forker or _Forker()
    return _forker.start(Path(command[0]).name, command[1:], environment, out, err)


def service(wanted: Service, log: IO[bytes]) -> Process:
    """Start a service; one that is no command of ours as a program."""
    if Path(wanted.command[0]).name not in COMMANDS:
        return program(wanted, log)
    return start(wanted.command, environment=wanted.environment, out=log.fileno(), err=log.fileno())


def finished(command: Sequence[str], *, environment: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end. Raises :class:`subprocess.TimeoutExpired`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(command, environment=environment, out=out.fileno(), err=err.fileno())
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
        return subprocess.CompletedProcess([*command], code, said[0], said[1])


# --- in the process that forks -------------------------------------------------------------------------------------------


def _serve(asked: socket.socket) -> None:
    before = dict(os.environ)
    known: set[str] = set()
    imported: dict[str, str] = {}
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake.fileno())
    running: dict[int, socket.socket] = {}
    forker = os.getpid()
    while True:
        ready = select.select([asked, woken], [], [])[0]
        if woken in ready:
            with suppress(BlockingIOError):
                woken.recv(4096)
            _report(running)
        if asked not in ready:
            continue
        request, files, _, _ = socket.recv_fds(asked, _LONGEST, 3)
        if not request:
            return
        out, err, told = files
        name = json.loads(request)[0]
        if name not in known:
            known.add(name)
            _import(name)
            imported = {name: value for name, value in os.environ.items() if name not in before}  # some set what libraries read later
        pid = os.fork()
        if pid == 0:
            tie_to(forker)
            os.setsid()
            os.write(told, os.getpid().to_bytes(_STATUS, "big"))  # from now on its group can be killed
            _become(*json.loads(request), out=out, err=err, imported=imported)
        os.close(out)
        os.close(err)
        running[pid] = socket.socket(fileno=told)


def _import(command: str) -> None:
    for module in (COMMANDS[command], _WITH.get(command)):
        if module is not None:
            importlib.import_module(module)
    for app in entry_points(group="shuyan.apps"):  # of ours: an app of a command's own path is found by the command
        app.load()
    gc.collect()
    gc.freeze()


def _report(running: dict[int, socket.socket]) -> None:
    """Tell of those that have ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as told, suppress(OSError):
            told.sendall(os.waitstatus_to_exitcode(status).to_bytes(_STATUS, "big", signed=True))


def _become(name: str, arguments: list[str], environment: dict[str, str], folder: str, *, out: int, err: int,
            imported: dict[str, str]) -> NoReturn:
    """Go on as the command."""
    code: Any = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
        os.environ.clear()
        os.environ.update(imported | environment)
        sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
        time.tzset()
        os.chdir(folder)
        sys.argv = [name, *arguments]
        sys.modules["__main__"] = types.ModuleType("__main__")  # who starts processes of Python's own looks for it
        try:
            code = importlib.import_module(COMMANDS[name]).main()
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                sys.stderr.write(f"{code}\n")
                code = 1
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _asked:
        _serve(_asked)
