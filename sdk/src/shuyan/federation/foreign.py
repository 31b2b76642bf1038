"""Apps that are not ours: known by their package's manifest, run by nobody but a process that is shut in.

:func:`installed_app` turns a package into an :class:`InstalledApp` that nodes, coordinator and marketplace treat like any
other: its parameters are checked with a model rebuilt from the manifest, its columns and arrays are worked out from
declarations, and its ``serve`` runs in a sandbox (:func:`run_foreign`), where all it can do is ask for secure sums. Its code
is never imported here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from flwr.app import RecordDict
from pydantic import ValidationError

from shuyan import confinement
from shuyan.appkit.package import SUFFIX, Package, read_package
from shuyan.confinement.frames import Channel, Deadline, FrameError
from shuyan.federation import _flower, problems
from shuyan.federation.apps.base import FederatedApp, InstalledApp, Progress
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.federation.ring import Floats

_log = logging.getLogger(__name__)

MAX_CONTENT: Final = 16 * 1024 * 1024
MAX_QUESTION: Final = 256 * 1024 * 1024
_START_SECONDS: Final = 60.0
_TOLD: Final = frozenset({"standardised", "converged", "not_converged"})
_WHERE: Final = re.compile(r"[A-Za-z0-9_./:]{1,120}")


# --- a package as an app -------------------------------------------------------------------------------------------


def installed_app(package: Package) -> InstalledApp:
    """A package as an installed app; its digest is the package's."""
    from flwr.clientapp import ClientApp

    manifest, needs = package.manifest.app, package.needs

    def serve(grid: SecureGrid, _params: Any, _progress: Progress) -> dict[str, Any]:
        return run_foreign(package, grid, grid.raw_params)

    # A ClientApp without handlers: it answers nothing here, its code runs in a worker only.
    app = FederatedApp(
        manifest=manifest, client_app=ClientApp(), serve=serve, params_model=package.params_model, needs=needs,
        arrays=package.arrays, relations=needs.relations, content_model=package.content_model)
    return InstalledApp(package.name, package.version, package.digest, manifest, app)


@lru_cache(maxsize=256)
def _known(path: Path, _changed_ns: int, _size: int) -> InstalledApp | None:
    try:
        return installed_app(read_package(path.read_bytes()))
    except (ProblemError, OSError) as error:
        _log.warning("package %s is left out: %s", path.name, error)
        return None


def installed_in(directory: Path) -> dict[str, InstalledApp]:
    """The apps whose packages are in a directory, by name, the highest version of each; a broken package is left out."""
    found: dict[str, InstalledApp] = {}
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            status = path.stat()
        except OSError:
            continue
        app = _known(path, status.st_mtime_ns, status.st_size)
        if app is not None and (app.name not in found or version_key(app.version) > version_key(found[app.name].version)):
            found[app.name] = app
    return found


def version_key(version: str) -> tuple[int, ...]:
    """Versions in their order: 1.10 comes after 1.9."""
    return tuple(int(part) for part in version.split("."))


# --- the coordinator's side ----------------------------------------------------------------------------------------


def run_foreign(package: Package, grid: SecureGrid, params: Mapping[str, Any]) -> dict[str, Any]:
    """Run an app's ``serve`` in a sandboxed process and return its content, which is as the manifest declares.

    The process gets the parameters, the numbers of the grant and the sums it asks for. What it reports as progress is
    dropped, but for the number of rounds and three fixed words: a result leaves by egress review and no other way.

    Raises:
        ProblemError: ``sandbox_unavailable``, ``sandbox_violation``, ``app_server_failed``, ``app_server_timeout``,
            ``app_content_undeclared``.
        Exception: what ``grid.secure_sum`` raises, unchanged; the process is ended then.
    """
    ours, theirs = socket.socketpair()
    limits = package.manifest.app.limits
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "shuyan.federation._foreign_child", str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                env=_environment(), start_new_session=True)
        wait = Deadline(_START_SECONDS + limits.seconds, grid._stop_if_cancelled)
        try:
            channel = Channel(ours.fileno(), wait)
            channel.send({"op": "start", "seconds": limits.seconds, "memory_mb": limits.memory_mb, "params": dict(params),
                          "grant": _terms(grid), "participants": list(grid.participants)}, package.data)
            return _converse(channel, wait, package, grid)
        except TimeoutError:
            raise ProblemError(problems.APP_SERVER_TIMEOUT) from None
        except (FrameError, OSError):
            raise ProblemError(_cause(process), where="serve") from None
        finally:
            _end(process)


def _terms(grid: SecureGrid) -> dict[str, Any]:
    return {"minimum_cohort": grid.minimum_cohort, "own_figures": grid.own_figures, "release": "dp" if grid.noisy else "exact"}


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return {**kept, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONHASHSEED": "0"}


def _converse(channel: Channel, wait: Deadline, package: Package, grid: SecureGrid) -> dict[str, Any]:
    """Answer what the process asks until it has a result. Everything it says is taken as hostile."""
    while True:
        wait.again()
        frame = channel.receive(max_header=MAX_CONTENT, max_body=MAX_QUESTION)
        if frame is None:
            raise FrameError("gone")
        header, body = frame
        match header.get("op"):
            case "sealed":
                if not confinement.sufficient([str(layer) for layer in _list(header, "layers")]):
                    raise ProblemError(problems.SANDBOX_UNAVAILABLE)
            case "sum":
                total = _sum(header, body, grid)
                names = sorted(total.words)
                channel.send({"cohort": total.cohort, "participants": list(total.participants),
                              "words": [[name, list(total.words[name].shape)] for name in names]},
                             b"".join(total.words[name].astype("<u8", copy=False).tobytes() for name in names))
            case "plan" if type(header.get("rounds")) is int and 0 <= header["rounds"] <= 1_000_000:
                grid.plan(header["rounds"])
            case "tell":
                if header.get("code") in _TOLD:
                    grid.tell(str(header["code"]))
            case "result":
                return _content(package, header)
            case "failed":
                where = str(header.get("where", ""))
                raise ProblemError(problems.APP_SERVER_FAILED, where=where if _WHERE.fullmatch(where) else "serve")
            case _:
                raise FrameError("not a question")


def _list(header: Mapping[str, Any], name: str) -> list[Any]:
    value = header.get(name)
    if not isinstance(value, list):
        raise FrameError(name)
    return value


def _sum(header: Mapping[str, Any], body: bytes, grid: SecureGrid) -> Sum:
    action, expect, config = header.get("action"), header.get("expect"), header.get("config")
    arrays: dict[str, Floats] = {}
    at = 0
    for item in _list(header, "arrays"):
        match item:
            case [str() as name, int() as length] if 0 <= length <= len(body) // 8 - at:
                arrays[name] = np.frombuffer(body, dtype="<f8", count=length, offset=8 * at)
                at += length
            case _:
                raise FrameError("arrays")
    if not isinstance(action, str) or not isinstance(expect, dict) or not isinstance(config, dict) or 8 * at != len(body):
        raise FrameError("question")
    if any(type(value) is not int for value in expect.values()) or any(
            not isinstance(value, (bool, int, float, str)) for value in config.values()):
        raise FrameError("question")
    return grid.secure_sum(action, expect=expect, config=config, arrays=arrays)


def _content(package: Package, header: Mapping[str, Any]) -> dict[str, Any]:
    content = header.get("content")
    try:
        package.content_model.model_validate_json(json.dumps(content, allow_nan=False))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"] if not isinstance(part, str) or part.isidentifier())
        raise ProblemError(problems.APP_CONTENT_UNDECLARED, where=where[:80] or "content") from None
    except (ValueError, RecursionError):
        raise ProblemError(problems.APP_CONTENT_UNDECLARED, where="content") from None
    assert isinstance(content, dict)
    if content.get("kind") != package.manifest.app.output_form:
        raise ProblemError(problems.APP_CONTENT_UNDECLARED, where="kind")
    return content


def _cause(process: subprocess.Popen[bytes]) -> str:
    """Why the process ended by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    if process.returncode == -confinement.VIOLATION_SIGNAL:
        return problems.SANDBOX_VIOLATION
    return problems.APP_SERVER_TIMEOUT if process.returncode == -signal.SIGXCPU else problems.APP_SERVER_FAILED


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# --- inside the sandbox --------------------------------------------------------------------------------------------


class GridProxy(SecureGrid):
    """The grid as an app sees it in its sandbox: every question goes to the process that started this one."""

    def __init__(self, channel: Channel, app: FederatedApp, start: Mapping[str, Any]) -> None:
        # Nothing of the real one is here: no transport, no grant, no keys.
        self._channel = channel
        self._manifest = app.manifest
        self._grant = SimpleNamespace(**start["grant"], sole_values=())  # type: ignore[assignment]
        self._participants = tuple(start["participants"])
        self.raw_params = dict(start["params"])
        self.params = app.params(self.raw_params)
        self._smallest = None
        self._round = self._rounds = 0
        self._run_id = "sandbox"
        self._run = _flower.empty_run(self._run_id)
        self._replies = {}

    def plan(self, rounds: int) -> None:
        super().plan(rounds)
        self._channel.send({"op": "plan", "rounds": int(rounds)})

    def progress(self, round_: int, rounds: int, code: str, /, **args: object) -> None:
        self._channel.send({"op": "tell", "code": str(code)})

    def cancel(self) -> None:
        """An app cannot cancel its run; it may end it by failing."""

    def _ask(self, message_type: str, content: RecordDict, expect: Mapping[str, int]) -> Sum:
        self._round += 1
        config, arrays = _flower.question_parts(content)
        names = sorted(arrays)
        self._channel.send(
            {"op": "sum", "action": message_type, "expect": dict(expect), "config": config,
             "arrays": [[name, len(arrays[name])] for name in names]},
            b"".join(np.ascontiguousarray(arrays[name], dtype="<f8").tobytes() for name in names))
        frame = self._channel.receive()
        if frame is None:
            raise SystemExit(1)
        header, body = frame
        words, at = {}, 0
        for name, shape in header["words"]:
            count = int(np.prod(shape))
            words[name] = np.frombuffer(body, dtype="<u8", count=count, offset=8 * at).reshape(shape)
            at += count
        cohort = int(header["cohort"])
        self._participants = tuple(header["participants"])
        self._smallest = cohort if self._smallest is None else min(self._smallest, cohort)
        return Sum(words, self._manifest.actions[message_type], cohort, self._participants)
