"""How a grid reaches the nodes: requests, replies, failures, and the interface a link implements.

The shapes mirror ``shuyan_protos.link.v1`` so that the coordinator's link only copies fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from shuyan.federation import problems
from shuyan.problems import describe


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One round's question to one node.

    Attributes:
        task_id: unique per (run, round, attempt, node).
        round: 1-based.
        attempt: 1-based; a new attempt of a round has a new participant list.
        grant: the grant as the authority signed it (compact JWS).
        grant_digest: ``sha256:<hex>`` over ``grant``.
        participants: node ids, sorted; the secure sum is over exactly these.
        flower_message: a serialised ``flwr.proto.Message``.
        params_json: the job's parameters as canonical JSON (RFC 8785).
        deadline_ms: from receipt.
    """

    task_id: str
    node_id: str
    run_id: str
    round: int
    attempt: int
    grant: str
    grant_digest: str
    app_name: str
    app_digest: str
    purpose: str
    participants: tuple[str, ...]
    flower_message: bytes = field(repr=False)
    params_json: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class TaskReply:
    """A node's masked answer: a serialised ``flwr.proto.Message`` whose arrays are ring elements."""

    task_id: str
    node_id: str
    flower_message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Asks a node for its self-mask seed of one attempt; sent after every participant's masked answer arrived."""

    task_id: str
    node_id: str
    run_id: str
    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class OpenReply:
    """``self_mask_seed`` is 32 bytes."""

    task_id: str
    node_id: str
    self_mask_seed: bytes = field(repr=False)


class NodeFailure(Exception):
    """A node refused or failed a task. ``args_`` are the catalogue's own arguments, strings only."""

    def __init__(
        self, node_id: str, code: str, args: Mapping[str, object] | None = None, *, retryable: bool | None = None
    ) -> None:
        self.node_id = node_id
        self.code = code
        self.args_ = dict(args or {})
        self.retryable = code in problems.RETRYABLE if retryable is None else retryable
        super().__init__(f"{node_id}: {code}: {describe(code, self.args_, 'en')}")


class NodeLost(NodeFailure):
    """The link to a node is gone and did not come back in time."""

    def __init__(self, node_id: str) -> None:
        super().__init__(node_id, problems.NODE_OFFLINE, {"node": node_id}, retryable=True)


class Transport(ABC):
    """What a grid needs of a link layer. Implementations are thread-safe.

    Futures end with a reply or with :class:`NodeFailure` / :class:`NodeLost`; anything else is a bug of the transport.
    """

    @abstractmethod
    def connected(self) -> set[str]:
        """Ids of the nodes that can be asked now."""

    @abstractmethod
    def submit(self, request: TaskRequest) -> Future[TaskReply]:
        """Send one task; the transport re-sends it unchanged after a reconnection until its deadline."""

    @abstractmethod
    def open(self, request: OpenRequest) -> Future[OpenReply]:
        """Ask for a self-mask seed; re-sent after a reconnection like a task."""

    @abstractmethod
    def cancel(self, run_id: str) -> None:
        """Tell every node to stop work on a run; pending futures end with ``NodeFailure(code="run_cancelled")``."""
