"""The node link: one bidirectional stream a node, under mutual TLS, identified by the certificate alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol

import grpc

from marketplace.authorisation.service import HeldThere
from marketplace.logging import get_logger
from marketplace.rpc import ledger
from marketplace.rpc.hub import Hub
from marketplace.rpc.pki import node_of
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2 as pb
from shuyan_protos.link.v1.framing import MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES, FrameError, Reader, split

log = get_logger("link")

PROTOCOL_VERSIONS: Final = frozenset({1})
HELLO_SECONDS: Final = 10.0
MISSED_HEARTBEATS: Final = 3
RECONNECT_MS: Final = 500
"""How soon a node may come back after a goodbye it is not to blame for; it adds jitter itself."""

_MISBEHAVED_MS: Final = 5000  # and after one it is
_FLUSH_SECONDS: Final = 1.0


class Recorder(Protocol):
    """Sees every decoded frame from nodes. For tests that prove what the coordinator gets to know; no setting makes one."""

    def __call__(self, node_id: str, frame: pb.NodeFrame) -> None: ...


class Link:
    """One connection of one node."""

    def __init__(self, node_id: str, hello: pb.Hello) -> None:
        self.node_id = node_id
        self.heard = time.monotonic()
        self.cosigned_size = hello.checkpoint_size
        self.revocations_number = hello.revocations_number
        self.holds: HeldThere | None = None  # as last told on this link
        self.holds_number = 0  # how often they were told on it
        self.come_back = True
        self._outbox: asyncio.Queue[pb.CoordinatorFrame | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    def send(self, frame: pb.CoordinatorFrame) -> None:
        """Queue a frame; nothing is sent after a goodbye."""
        if not self.closed.is_set():
            self._outbox.put_nowait(frame)

    def close(self, code: str, reconnect_after_ms: int) -> None:
        """Say goodbye and end the link. ``reconnect_after_ms`` 0: the node is not to come back by itself."""
        if self.closed.is_set():
            return
        log.info("link closed", node_id=self.node_id, code=code)
        self.come_back = reconnect_after_ms > 0
        self._outbox.put_nowait(goodbye(code, reconnect_after_ms))
        self._outbox.put_nowait(None)
        self.closed.set()

    async def write(self, context: Any) -> None:
        """Send what is queued until the link is closed."""
        while (frame := await self._outbox.get()) is not None:
            for part in split(frame):
                await context.write(part)


class NodeLinks:
    """The NodeLink service. Use :meth:`handler` to add it to a server."""

    def __init__(self, hub: Hub, *, heartbeat_seconds: float, recorder: Recorder | None = None) -> None:
        self.hub = hub
        self._heartbeat_seconds = heartbeat_seconds
        self._recorder = recorder

    def handler(self) -> grpc.GenericRpcHandler:
        """The service, reading raw bytes: what cannot be decoded is answered with a goodbye, not by gRPC's own text."""
        return grpc.method_handlers_generic_handler("shuyan.link.v1.NodeLink", {
            "Connect": grpc.stream_stream_rpc_method_handler(
                self.connect, request_deserializer=None, response_serializer=pb.CoordinatorFrame.SerializeToString)})

    async def connect(self, _requests: Any, context: Any) -> None:
        """One link's life: who is it, hello, then frames both ways until one side ends it."""
        try:
            await self._connect(context)
        except (grpc.RpcError, grpc.aio.UsageError):  # the node is gone
            pass
        except Exception as error:  # gRPC would tell the node its text
            log.error("link failed", error=type(error).__name__)
            await context.abort(grpc.StatusCode.INTERNAL, "internal_error")

    async def _connect(self, context: Any) -> None:
        certificate = context.auth_context().get("x509_pem_cert", [b""])[0]
        identity = node_of(certificate)
        if identity is None:
            await context.write(goodbye("node_unknown", 0))
            return
        node_id, serial = identity
        reader: Reader[pb.NodeFrame] = Reader(pb.NodeFrame)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await self._next(context, reader, node_id)
            if first is None:
                return
            if first.WhichOneof("body") != "hello":
                raise FrameError("unexpected_frame")
        except (FrameError, TimeoutError):
            log.warning("no hello", node_id=node_id)
            await context.write(goodbye("bad_frame", _MISBEHAVED_MS))
            return
        if not PROTOCOL_VERSIONS & set(first.hello.protocol_versions):
            await context.write(goodbye("protocol_version", 0))
            return
        if not await ledger.arrived(node_id, serial, first.hello):
            log.warning("revoked or unknown node refused", node_id=node_id)
            await context.write(goodbye("node_revoked", 0))
            return
        await self._serve(Link(node_id, first.hello), first.hello, context, reader)

    async def _serve(self, link: Link, hello: pb.Hello, context: Any, reader: Reader[pb.NodeFrame]) -> None:
        link.send(pb.CoordinatorFrame(welcome=pb.Welcome(
            protocol_version=max(PROTOCOL_VERSIONS & set(hello.protocol_versions)),
            heartbeat_seconds=max(1, round(self._heartbeat_seconds)), coordinator_time_ms=time.time_ns() // 1_000_000,
            max_chunk_bytes=MAX_CHUNK_BYTES, max_message_bytes=MAX_MESSAGE_BYTES)))
        self.hub.join(link)
        log.info("node linked", node_id=link.node_id)
        book = Bookkeeping(link)
        tasks = [asyncio.create_task(work) for work in (
            link.write(context), self._read(link, context, reader, book), self._beat(link), book.work())]
        book.put(ledger.greet(link))
        try:
            await asyncio.wait(tasks[:3], return_when=asyncio.FIRST_COMPLETED)
            if link.closed.is_set():  # let the goodbye out
                await asyncio.wait(tasks[:1], timeout=_FLUSH_SECONDS)
        finally:
            link.closed.set()
            for task in tasks:
                task.cancel()
            current = self.hub.leave(link, come_back=link.come_back)
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, grpc.RpcError | grpc.aio.UsageError):
                    log.error("link failed", node_id=link.node_id, error=type(outcome).__name__)
            if current:
                log.info("node unlinked", node_id=link.node_id)
                # the handler may itself be cancelled here, and the database must learn of it all the same
                await asyncio.shield(asyncio.ensure_future(ledger.left(
                    link.node_id, lambda: link.node_id in self.hub.links)))

    async def _read(self, link: Link, context: Any, reader: Reader[pb.NodeFrame], book: Bookkeeping) -> None:
        try:
            while not link.closed.is_set():
                frame = await self._next(context, reader, link.node_id, link)
                if frame is None:
                    return
                self._dispatch(link, frame, book)
        except FrameError:
            log.warning("bad frame", node_id=link.node_id)
            link.close("bad_frame", _MISBEHAVED_MS)
            await asyncio.sleep(_FLUSH_SECONDS)

    def _dispatch(self, link: Link, frame: pb.NodeFrame, book: Bookkeeping) -> None:
        match frame.WhichOneof("body"):
            case "heartbeat":
                pass
            case "task_reply":
                self.hub.answered(link.node_id, frame.task_reply)
            case "open_reply":
                self.hub.answered(link.node_id, frame.open_reply)
            case "resources":
                book.put(ledger.resources(link, frame.resources))
            case "approvals_decided":
                book.put(ledger.approvals_decided(link, frame.approvals_decided))
            case "budgets":
                book.put(ledger.budgets(link, frame.budgets))
            case "cosignature":
                book.put(ledger.cosignature(link, frame.cosignature))
            case "revocations_seen":
                book.put(ledger.revocations_seen(link, frame.revocations_seen.number))
            case "holds_seen":
                book.put(ledger.holds_seen(link, frame.holds_seen.number))
            case _:
                raise FrameError("unexpected_frame")

    async def _next(self, context: Any, reader: Reader[pb.NodeFrame], node_id: str,
                    link: Link | None = None) -> pb.NodeFrame | None:
        while True:
            data = await context.read()
            if data is grpc.aio.EOF:
                return None
            if link is not None:
                link.heard = time.monotonic()
            frame: pb.NodeFrame | None = reader.take(data)
            if frame is not None:
                if self._recorder is not None:
                    self._recorder(node_id, frame)
                return frame

    async def _beat(self, link: Link) -> None:
        sequence = 0
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            if time.monotonic() - link.heard > MISSED_HEARTBEATS * self._heartbeat_seconds:
                link.close("heartbeat_lost", RECONNECT_MS)
                return
            sequence += 1
            link.send(pb.CoordinatorFrame(heartbeat=pb.Heartbeat(
                sequence=sequence, sent_at_ms=time.time_ns() // 1_000_000)))


class Bookkeeping:
    """What a link writes down, in order and beside its frames, so that no round waits for the database."""

    _LIMIT = 64  # a node that floods us is made to reconnect

    def __init__(self, link: Link) -> None:
        self._link = link
        self._queue: asyncio.Queue[Awaitable[Sequence[pb.CoordinatorFrame]]] = asyncio.Queue()

    def put(self, job: Awaitable[Sequence[pb.CoordinatorFrame]]) -> None:
        """Queue one use case; the frames it gives are sent."""
        if self._queue.qsize() >= self._LIMIT:
            with contextlib.suppress(AttributeError):
                job.close()  # type: ignore[attr-defined]
            raise FrameError("unexpected_frame")
        self._queue.put_nowait(job)

    async def work(self) -> None:
        """Do what is queued, for as long as the link lives."""
        while True:
            job = await self._queue.get()
            try:
                for frame in await job:
                    self._link.send(frame)
            except ProblemError as problem:
                log.warning("frame refused", node_id=self._link.node_id, code=problem.code)
            except Exception as error:  # a full disk or a lost database must not take the link down
                log.error("bookkeeping failed", node_id=self._link.node_id, error=type(error).__name__)


def goodbye(code: str, reconnect_after_ms: int) -> pb.CoordinatorFrame:
    """The last frame of a link."""
    return pb.CoordinatorFrame(goodbye=pb.Goodbye(code=code, reconnect_after_ms=reconnect_after_ms))


