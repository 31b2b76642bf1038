"""Who is linked and what they still owe: the meeting point of the links (event loop) and the jobs (threads).

All state belongs to the event loop; jobs reach it through :class:`LinkTransport`, which crosses over.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from marketplace.computing.rules import clean_text
from marketplace.logging import get_logger
from marketplace.workflows.execution import RunTransport
from shuyan.federation import problems
from shuyan.federation.transport import (
    NodeFailure,
    NodeLost,
    OpenReply,
    OpenRequest,
    TaskReply,
    TaskRequest,
)
from shuyan.problems import get
from shuyan_protos.link.v1 import link_pb2 as pb

log = get_logger("link")

GRACE_SECONDS: Final = 10.0
"""How long a node that dropped may take to come back before its tasks are given up: agents reconnect within a few
seconds, and a round abandoned sooner would be paid for by all the others computing it again."""

OPEN_SECONDS: Final = 60.0
"""How long an opening may take; a node only reads its seed from disk."""

_MAX_ARGUMENT = 200  # characters of a failure's argument that are kept: they end up in logs of jobs


class Linked(Protocol):
    """One live link, as the hub sees it."""

    node_id: str

    def send(self, frame: pb.CoordinatorFrame) -> None: ...

    def close(self, code: str, reconnect_after_ms: int) -> None: ...


@dataclass
class _Pending:
    """A question a node has not answered yet."""

    frame: pb.CoordinatorFrame
    node_id: str
    run_id: str
    future: Future[Any]
    expiry: asyncio.TimerHandle | None = field(default=None)


class Hub:
    """Links by node, and unanswered questions. Every method runs on the event loop."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self.links: dict[str, Linked] = {}
        self._grace_seconds = grace_seconds
        self._grace: dict[str, asyncio.TimerHandle] = {}
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._asked: dict[str, set[str]] = {}  # run id → nodes that were asked anything in it

    # --- links ---

    def reachable(self) -> set[str]:
        """Nodes that are linked, or were a moment ago and may be back in time."""
        return set(self.links) | set(self._grace)

    def join(self, link: Linked) -> None:
        """A node has said hello: it supersedes its older link and gets what it still owes an answer to."""
        older = self.links.get(link.node_id)
        self.links[link.node_id] = link
        if older is not None:
            older.close("superseded", 0)
        if timer := self._grace.pop(link.node_id, None):
            timer.cancel()
        for pending in self._pending.values():
            if pending.node_id == link.node_id:
                link.send(pending.frame)

    def leave(self, link: Linked, *, come_back: bool = True) -> bool:
        """A link has ended; whether it was the node's current one. ``come_back`` False gives up its tasks at once."""
        if self.links.get(link.node_id) is not link:
            return False
        del self.links[link.node_id]
        if come_back:
            self._grace[link.node_id] = asyncio.get_running_loop().call_later(
                self._grace_seconds, self.lose, link.node_id)
        else:
            self.lose(link.node_id)
        return True

    def lose(self, node_id: str) -> None:
        """A node did not come back: whatever it owes ends with :class:`NodeLost`."""
        if timer := self._grace.pop(node_id, None):
            timer.cancel()
        for key, pending in list(self._pending.items()):
            if pending.node_id == node_id:
                self._end(key, error=NodeLost(node_id))

    def close_all(self, code: str, reconnect_after_ms: int) -> None:
        """Tell every node goodbye."""
        for link in list(self.links.values()):
            link.close(code, reconnect_after_ms)

    # --- questions ---

    def ask(self, kind: str, task_id: str, pending: _Pending, seconds: float) -> None:
        """Send a question to a node, now or when it is back."""
        key = (kind, task_id)
        if key in self._pending:
            _settle(pending.future, error=NodeFailure(pending.node_id, problems.TASK_REPLAYED))
            return
        link = self.links.get(pending.node_id)
        if link is None and pending.node_id not in self._grace:
            _settle(pending.future, error=NodeLost(pending.node_id))
            return
        pending.expiry = asyncio.get_running_loop().call_later(seconds, self._expire, key)
        self._pending[key] = pending
        self._asked.setdefault(pending.run_id, set()).add(pending.node_id)
        if link is not None:
            link.send(pending.frame)

    def answered(self, node_id: str, reply: pb.TaskReply | pb.OpenReply) -> None:
        """A node's answer; one to a question that is not, or no longer, put to this node is dropped."""
        kind = "task" if isinstance(reply, pb.TaskReply) else "open"
        key = (kind, reply.task_id)
        pending = self._pending.get(key)
        if pending is None or pending.node_id != node_id:
            log.info("answer to no open question", node_id=node_id)
            return
        outcome = reply.WhichOneof("outcome")
        if outcome == "failure":
            self._end(key, error=_failure(node_id, reply.failure))
        elif isinstance(reply, pb.TaskReply) and outcome == "flower_message":
            self._end(key, TaskReply(reply.task_id, node_id, reply.flower_message))
        elif isinstance(reply, pb.OpenReply) and outcome == "self_mask_seed" and len(reply.self_mask_seed) == 32:
            self._end(key, OpenReply(reply.task_id, node_id, reply.self_mask_seed))
        else:
            self._end(key, error=NodeFailure(node_id, problems.OUTPUT_UNDECLARED))

    def cancel(self, run_id: str) -> None:
        """Stop a run: tell the nodes, end what is pending."""
        for key, pending in list(self._pending.items()):
            if pending.run_id == run_id:
                self._end(key, error=NodeFailure(pending.node_id, problems.RUN_CANCELLED))
        frame = pb.CoordinatorFrame(cancel=pb.Cancel(run_id=run_id, reason=problems.RUN_CANCELLED))
        for node_id in self._asked.pop(run_id, ()):
            if link := self.links.get(node_id):
                link.send(frame)

    def forget(self, run_id: str) -> None:
        """A run has ended; nothing of it needs to be remembered."""
        self._asked.pop(run_id, None)

    def _expire(self, key: tuple[str, str]) -> None:
        if pending := self._pending.get(key):
            self._end(key, error=NodeFailure(pending.node_id, problems.TASK_EXPIRED))

    def _end(self, key: tuple[str, str], result: object = None, *, error: NodeFailure | None = None) -> None:
        pending = self._pending.pop(key)
        if pending.expiry is not None:
            pending.expiry.cancel()
        _settle(pending.future, result, error=error)


class LinkTransport(RunTransport):
    """The hub as jobs see it, from any thread."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop

    def connected(self) -> set[str]:
        """Nodes linked now, or dropped so recently that their tasks are still kept."""
        return self._hub.reachable()

    def submit(self, request: TaskRequest) -> Future[TaskReply]:
        frame = pb.CoordinatorFrame(task_request=pb.TaskRequest(
            task_id=request.task_id, run_id=request.run_id, round=request.round, attempt=request.attempt,
            grant=request.grant, grant_digest=request.grant_digest, app_name=request.app_name,
            app_digest=request.app_digest, purpose=request.purpose, participants=request.participants,
            flower_message=request.flower_message, params_json=request.params_json, deadline_ms=request.deadline_ms))
        return self._ask("task", request, frame, request.deadline_ms / 1000)

    def open(self, request: OpenRequest) -> Future[OpenReply]:
        frame = pb.CoordinatorFrame(open_request=pb.OpenRequest(
            task_id=request.task_id, run_id=request.run_id, round=request.round, attempt=request.attempt))
        return self._ask("open", request, frame, OPEN_SECONDS)

    def cancel(self, run_id: str) -> None:
        self._call(self._hub.cancel, run_id)

    def forget(self, run_id: str) -> None:
        """A run has ended."""
        self._call(self._hub.forget, run_id)

    def _ask(self, kind: str, request: TaskRequest | OpenRequest, frame: pb.CoordinatorFrame, seconds: float) -> Future[Any]:
        future: Future[Any] = Future()
        pending = _Pending(frame, request.node_id, request.run_id, future)
        if not self._call(self._hub.ask, kind, request.task_id, pending, seconds):
            future.set_exception(NodeLost(request.node_id))
        return future

    def _call(self, function: Any, *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: the coordinator is going away
            return False
        return True


def _failure(node_id: str, failure: pb.Failure) -> NodeFailure:
    """What a node says went wrong, as far as the catalogue knows it: no other text is let in."""
    if get(failure.code).code != failure.code:
        return NodeFailure(node_id, problems.INTERNAL, retryable=False)
    args = {clean_text(key, 40): clean_text(value, _MAX_ARGUMENT) for key, value in list(failure.args.items())[:8]}
    return NodeFailure(node_id, failure.code, args, retryable=failure.retryable)


def _settle(future: Future[Any], result: object = None, *, error: NodeFailure | None = None) -> None:
    try:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
    except InvalidStateError:  # nobody waits any more
        pass
