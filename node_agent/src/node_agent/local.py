"""The administrator's gRPC service on a Unix socket in the node's directory, and how the command line reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog

from node_agent import errors
from node_agent.admin import Admin
from node_agent.config import Lock, NodeDir
from shuyan.problems import ProblemError
from shuyan_protos.local.v1 import local_pb2, local_pb2_grpc

_log = structlog.get_logger("node.local")

_STATUS = {400: grpc.StatusCode.INVALID_ARGUMENT, 403: grpc.StatusCode.PERMISSION_DENIED,
           404: grpc.StatusCode.NOT_FOUND, 409: grpc.StatusCode.FAILED_PRECONDITION,
           422: grpc.StatusCode.INVALID_ARGUMENT, 503: grpc.StatusCode.UNAVAILABLE}

_METHODS = [method.name for method in local_pb2.DESCRIPTOR.services_by_name["NodeAdmin"].methods]

_TIMEOUT_SECONDS = 600.0  # registering may read a large source


# These read a whole source, which may take long: they run apart, on a connection of their own.
_SLOW = frozenset({"AddSource", "RegisterResource", "AddView", "PreviewView", "Classify", "MeasureRisk", "RefreshResources"})


def _servicer(admin: Admin) -> Any:
    """A servicer whose methods are the admin's, with problems as status codes and nothing else told."""

    def method(name: str) -> Any:
        async def serve(_self: object, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                if name not in _SLOW:
                    return getattr(admin, name)(request)
                reply = await asyncio.to_thread(_apart, admin, name, request)
                admin.changed_elsewhere()
                return reply
            except ProblemError as problem:
                code, detail = _STATUS.get(problem.problem.status, grpc.StatusCode.UNKNOWN), _pack(problem)
            except Exception:
                _log.exception("administrator's call failed")
                code, detail = grpc.StatusCode.INTERNAL, _pack(ProblemError("internal_error", reference="node.log"))
            await context.abort(code, detail)
            return None

        return serve

    return type("AdminServicer", (local_pb2_grpc.NodeAdminServicer,), {name: method(name) for name in _METHODS})()


def _apart(admin: Admin, name: str, request: Any) -> Any:
    other = Admin(admin.node_dir)
    try:
        return getattr(other, name)(request)
    finally:
        other.close()


def _pack(problem: ProblemError) -> str:
    return json.dumps({"code": problem.code, "field": problem.field,
                       "args": {name: str(value) for name, value in problem.args_.items()}}, ensure_ascii=True)


def _unpack(details: str) -> ProblemError:
    try:
        said = json.loads(details)
        return ProblemError(said["code"], field=said["field"], **said["args"])
    except (ValueError, KeyError, TypeError):
        return ProblemError("internal_error", reference="node.log")


@contextlib.asynccontextmanager
async def serving(admin: Admin, path: Path) -> AsyncIterator[None]:
    """Serve on ``path``, which only its owner can open, for the time of the context."""
    _unlink(path)
    server = grpc.aio.server()
    local_pb2_grpc.add_NodeAdminServicer_to_server(_servicer(admin), server)
    _listen(server, path)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0.5)
        _unlink(path)


def _listen(server: grpc.aio.Server, path: Path) -> None:
    before = os.umask(0o177)  # the socket is never open to others, not even for a moment
    try:
        server.add_insecure_port(f"unix:{path.absolute()}")
    finally:
        os.umask(before)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def reach(node_dir: NodeDir) -> Iterator[Any]:
    """The administrator's service of a node: its running agent's, or the same code on the directory when none runs.

    The object has the methods of :class:`~node_agent.admin.Admin`.

    Raises:
        ProblemError: ``node_dir_missing``, ``agent_not_running``, and what the calls raise.
    """
    node_dir.require()
    try:
        with Lock(node_dir):
            admin = Admin(node_dir)
            try:
                yield admin
            finally:
                admin.close()
            return
    except ProblemError as problem:
        if problem.code != errors.NODE_DIR_LOCKED:
            raise
    options = [("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"unix:{node_dir.socket.absolute()}", options=options) as channel:
        yield _Client(local_pb2_grpc.NodeAdminStub(channel), node_dir)


class _Client:
    """The stub, with status codes turned back into problems."""

    def __init__(self, stub: Any, node_dir: NodeDir) -> None:
        self._stub = stub
        self._node_dir = node_dir

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        def call(request: Any) -> Any:
            try:
                # An agent that is just starting holds the lock before it listens.
                return getattr(self._stub, name)(request, timeout=_TIMEOUT_SECONDS, wait_for_ready=False)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE and not (error.details() or "").startswith("{"):
                    raise ProblemError(errors.AGENT_NOT_RUNNING, path=self._node_dir.path) from error
                raise _unpack(error.details() or "") from error

        return call


def _load_what_tasks_need() -> None:
    """So that the first task does not wait for it, nor a later one for the collector to go through what stays anyway."""
    from node_agent import guard  # noqa: F401
    from shuyan.federation import _flower, answers, checks, differencing, egress, masking, own  # noqa: F401

    gc.collect()
    gc.freeze()


async def run_agent(node_dir: NodeDir, stop: asyncio.Event) -> None:
    """Run the agent with its local service until ``stop`` is set.

    Raises:
        ProblemError: ``node_dir_missing``, ``node_dir_locked``, ``not_enrolled``, …
    """
    node_dir.require()
    with Lock(node_dir):
        from node_agent.agent import Agent

        _load_what_tasks_need()
        agent = Agent(node_dir)
        async with serving(agent.admin, node_dir.socket):
            running = asyncio.create_task(agent.run())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        agent.admin.close()
