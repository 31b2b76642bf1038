"""The process in which a developer's app runs: it reads the granted columns, shuts itself in, and only then imports the app.

1. A child of this process, in which nothing but our code runs, reads the sources and writes the granted columns into
   anonymous memory; then it is gone, with every connection and password it had.
2. This process shuts itself in: no file but the interpreter's, no network, no other process.
3. It loads the columns into a locked database and seals itself: no new machine code, no socket, no process, no signal.
4. It tells the agent how many rows there are and which layers hold. None of the app's code has run yet.
5. It imports the app from the package the agent handed over, and answers tasks of one run under one grant.

It is never used for anything else afterwards.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import resource
import sys
from typing import TYPE_CHECKING, Any, Final

from node_agent.worker.process import die_with_the_agent, limit_memory, table_source
from shuyan import confinement
from shuyan.confinement.frames import Channel

if TYPE_CHECKING:
    from shuyan.federation.apps.base import FederatedApp
    from shuyan.federation.inputs import Inputs

_OPEN_FILES: Final = 64

_log = logging.getLogger("node.worker.foreign")


def serve(channel: Channel, settings: dict[str, Any]) -> None:
    """Answer the tasks of one app until the agent is gone."""
    from shuyan.appkit import allowed

    allowed.preload(threads=False)
    gc.collect()
    gc.freeze()
    os.nice(int(settings["nice"]))
    channel.send({"status": "ready", "layers": []})
    handed = channel.receive()
    asked = channel.receive()
    if handed is None or asked is None:
        return
    try:
        inputs, rows, layers = _shut_in(settings["layers"], int(handed[0]["memory_mb"]), asked[0]["tables"])
    except Exception as error:
        _log.warning("the app's data could not be read", exc_info=True)
        channel.send({"status": "failed", "code": _code(error)})
        return
    channel.send({"status": "sealed", "layers": list(layers), "rows": rows})
    if not confinement.sufficient(layers):
        return
    _answer_tasks(channel, handed[1], inputs, asked)


def _shut_in(
    wanted: list[str], memory_mb: int, tables: list[dict[str, Any]],
) -> tuple[Inputs, dict[str, int], tuple[str, ...]]:
    if any(table.get("unit") is not None for table in tables):
        raise LookupError("an app that does not say how sensitive its answers are has no part in noisy releases")
    walls = confinement.Confinement(hide=True, layers=frozenset(wanted))
    silence = os.open(os.devnull, os.O_WRONLY)
    columns = _granted_columns(tables, memory_mb)
    layers = [*confinement.shut_in(walls)]
    die_with_the_agent()  # what asked for it before may have been forgotten with the old namespace

    from shuyan.appkit import allowed

    allowed.preload()
    inputs = _load(tables, columns, memory_mb)
    for descriptor in columns.values():
        os.close(descriptor)
    rows = {table["name"]: _count(inputs, table["name"]) for table in tables}
    limit_memory(memory_mb)
    for kind, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, _OPEN_FILES),
                       (resource.RLIMIT_MEMLOCK, 0)):
        resource.setrlimit(kind, (most, most))
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor in (1, 2):  # an app's chatter may hold rows, and would fill a disk
        os.dup2(silence, descriptor)
    os.close(silence)
    layers += confinement.seal(walls)
    return inputs, rows, tuple(layers)


def _granted_columns(tables: list[dict[str, Any]], memory_mb: int) -> dict[str, int]:
    """By table, a descriptor of anonymous memory with its granted columns as Parquet.

    Raises:
        ProblemError: what reading raised, by code.
        MemoryError: they do not fit.
    """
    from shuyan.federation import problems
    from shuyan.problems import ProblemError

    columns = {table["name"]: os.memfd_create("columns", 0) for table in tables}
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = problems.APP_FAILED
        try:
            os.close(ours)
            limit_memory(memory_mb)
            _read(tables, columns, memory_mb * 3 // 4)
            code = ""
        except BaseException as error:
            _log.warning("a source could not be read", exc_info=True)
            code = _code(error)
        finally:
            with contextlib.suppress(OSError):
                os.write(theirs, code.encode() or b"ok")
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    if told == problems.WORKER_MEMORY:
        raise MemoryError
    if told != "ok":
        raise ProblemError(told or problems.WORKER_CRASHED)
    return columns


def _read(tables: list[dict[str, Any]], columns: dict[str, int], memory_mb: int) -> None:
    """In the child: the only place where a source is opened."""
    import duckdb

    from shuyan.federation import problems
    from shuyan.federation.schema import cast_sql
    from shuyan.problems import ProblemError

    for table in tables:
        source = table_source(table)
        selected = ", ".join(cast_sql(source.schema[name]) for name in source.columns) or "1 AS one"
        connection = duckdb.connect(":memory:", config={
            "threads": 1, "memory_limit": f"{memory_mb}MB", "temp_directory": "", "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false", "allow_community_extensions": "false", "python_enable_replacements": "false"})
        with connection:
            for statement in source.load:
                connection.execute(statement)
            try:
                connection.execute(f"COPY (SELECT {selected} FROM {source.relation}) TO "  # noqa: S608
                                   f"'/proc/self/fd/{columns[table['name']]}' (FORMAT parquet, USE_TMP_FILE false)")
            except duckdb.ConversionException:
                raise ProblemError(problems.WRONG_TYPE, column="", expected="") from None


def _load(tables: list[dict[str, Any]], columns: dict[str, int], memory_mb: int) -> Inputs:
    from dataclasses import replace

    from shuyan.federation.inputs import Inputs

    sources = [replace(table_source(table, described=True), load=(), files=(),
                       relation=f"read_parquet('/proc/self/fd/{columns[table['name']]}')") for table in tables]
    return Inputs.from_tables(sources, memory_mb=memory_mb * 3 // 4)


def _count(inputs: Inputs, table: str) -> int:
    from shuyan.federation.schema import quote

    row = inputs.connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def _answer_tasks(channel: Channel, package: bytes, inputs: Inputs, asked: tuple[dict[str, Any], bytes]) -> None:
    """From here on the app's code runs, and nothing this process says is believed."""
    from shuyan.appkit import loader
    from shuyan.appkit.package import read_package
    from shuyan.federation import _flower
    from shuyan.federation.own import OwnFigures

    app: FederatedApp | None = None
    frame: tuple[dict[str, Any], bytes] | None = asked
    while frame is not None:
        header, body = frame
        if header["op"] == "run":
            try:
                if app is None:
                    app = loader.load(read_package(package))
                plain = _flower.answer(app, body, app.params(json.loads(header["params"])), inputs,
                                       OwnFigures.from_wire(header.get("own", {})))
                answer: tuple[dict[str, Any], bytes] = ({"status": "ok"}, plain.to_bytes())
            except Exception as error:
                answer = ({"status": "failed", "code": _code(error), "where": _where(error)}, b"")
            channel.send(*answer)
        frame = channel.receive()


def _code(error: BaseException) -> str:
    from shuyan.federation import problems
    from shuyan.federation.failures import code_for

    return problems.SANDBOX_UNAVAILABLE if isinstance(error, confinement.SandboxError) else code_for(error)


def _where(error: BaseException) -> str:
    """For the department's own log: the kind of the error and the app's line; the agent checks that it is no more."""
    from traceback import extract_tb

    frames = extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno}:{type(error).__name__}"[:120] if last else ""
