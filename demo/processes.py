"""Starts, watches and stops real processes by name; none survives whoever started it.

Each process leads a session of its own, so Ctrl-C reaches us first and we stop them in order; and the kernel sends it
SIGTERM when we die without having done so (``PR_SET_PDEATHSIG``). Start processes from the main thread: that signal
follows the *thread* that started them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

Ready = Callable[[], bool]

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_LOOK_EVERY = 0.05  # seconds


@dataclass(frozen=True)
class Service:
    """One long-running command. ``ready`` says whether it serves yet; its output goes to ``log``."""

    name: str
    command: tuple[str, ...]
    log: Path
    ready: Ready
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_within: float = 60.0  # seconds


class Process(Protocol):
    """A running process; as :class:`subprocess.Popen` has it."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Spawn = Callable[[Service, IO[bytes]], Process]


class ProcessFailed(Exception):
    """A process ended or did not become ready.

    Attributes:
        name: of the service.
        exit_code: its exit code, ``None`` if it runs and is not ready.
        last_lines: the end of its log.
    """

    def __init__(self, name: str, exit_code: int | None, last_lines: list[str]) -> None:
        self.name, self.exit_code, self.last_lines = name, exit_code, last_lines
        state = "not ready in time" if exit_code is None else f"ended with exit code {exit_code}"
        super().__init__("\n".join([f"{name}: {state}", *last_lines]))


class Processes:
    """The processes of one market. Leaving the ``with`` block stops them all."""

    def __init__(self, spawn: Spawn | None = None) -> None:
        """``spawn``: how a process is started, with its output going to a file; by default as any program."""
        self._services: dict[str, Service] = {}
        self._running: dict[str, Process] = {}
        self._spawn_process = spawn or program

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop_all()

    def start(self, *services: Service) -> None:
        """Start ``services`` together and wait until every one is ready.

        Raises:
            ProcessFailed: one ended or took too long; those started here are stopped again.
        """
        try:
            for service in services:
                self._spawn(service)
            for service in services:
                self.wait_ready(service.name)
        except BaseException:
            self.stop(*(service.name for service in services))
            raise

    def _spawn(self, service: Service) -> None:
        if self.alive(service.name):
            raise ValueError(f"{service.name} is running")
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as log:
            self._running[service.name] = self._spawn_process(service, log)
        self._services[service.name] = service

    def wait_ready(self, name: str) -> None:
        """Wait until the process serves.

        Raises:
            ProcessFailed: it ended, or its time is over.
        """
        service, process = self._services[name], self._running[name]
        end = time.monotonic() + service.ready_within
        while not service.ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                # Waiting for it to end is how we wait: an early end is seen at once.
                raise ProcessFailed(name, process.wait(_LOOK_EVERY), last_lines(service.log))
            if time.monotonic() > end:
                raise ProcessFailed(name, None, last_lines(service.log))

    def stop(self, *names: str, within: float = 15.0) -> None:
        """Ask processes to end, together; after ``within`` seconds their whole group is killed."""
        asked = [(name, self._running.pop(name)) for name in names if name in self._running]
        for _, process in asked:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        end = time.monotonic() + within
        for _, process in asked:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill_group(process)
                process.wait()
            _kill_group(process)  # whatever it left behind

    def stop_all(self) -> None:
        """Stop everything, last started first asked."""
        self.stop(*reversed(self._running))

    def kill(self, name: str) -> None:
        """``kill -9`` the process itself; its children are left to notice."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def restart(self, name: str) -> None:
        """Start a stopped, killed or running process (again) and wait until it is ready."""
        self.stop(name)
        self.start(self._services[name])

    def alive(self, name: str) -> bool:
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    @property
    def names(self) -> list[str]:
        """Of everything that was started and not stopped."""
        return [*self._running]

    def ended(self) -> list[ProcessFailed]:
        """Processes that ended by themselves."""
        return [ProcessFailed(name, process.returncode, last_lines(self._services[name].log))
                for name, process in self._running.items() if process.poll() is not None]


def program(service: Service, log: IO[bytes]) -> Process:
    """Start a program in a session of its own that ends with us."""
    parent = os.getpid()
    return subprocess.Popen(service.command, env=dict(service.environment), stdin=subprocess.DEVNULL, stdout=log,
                            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=lambda: tie_to(parent))


def tie_to(parent: int) -> None:
    """In a child, between fork and exec: end when its parent does."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _kill_group(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def last_lines(log: Path, count: int = 12) -> list[str]:
    """The end of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []


def http_ready(url: str) -> Ready:
    """Ready when ``url`` answers with success."""
    def look() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
                return bool(answer.status < 300)
        except (urllib.error.URLError, OSError, ssl.SSLError):
            return False
    return look


def port_ready(host: str, *ports: int) -> Ready:
    """Ready when every port accepts a connection."""
    return lambda: all(port_taken(host, port) for port in ports)


def socket_ready(path: Path) -> Ready:
    """Ready when somebody listens on the Unix socket."""
    def look() -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(str(path))
                return True
        except OSError:
            return False
    return look


def port_taken(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def process_environment(extra: Mapping[str, str], *, keep: Iterable[str] = ("SHUYAN_LANG",)) -> dict[str, str]:
    """Our environment with ``extra``, without settings of ours that leak in from a developer's shell."""
    kept = set(keep)
    inherited = {key: value for key, value in os.environ.items()
                 if (not key.startswith("SHUYAN_") or key in kept) and key != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONUNBUFFERED": "1", **extra}
