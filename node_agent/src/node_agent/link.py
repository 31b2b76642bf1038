"""The one outbound connection to the coordinator: mutual TLS, one bidirectional stream, reconnected for ever.

The link knows frames, not their meaning; that is the handler's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog

from node_agent.journal import Journal
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.link.v1.framing import FrameError, Reader, split

PROTOCOL_VERSIONS = (1,)

_METHOD = "/shuyan.link.v1.NodeLink/Connect"
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 5.0  # seconds
_WELCOME_SECONDS = 10.0
_STEADY_SECONDS = 2.0  # a link that lasted this long was a good one: the next attempt starts fast again
_MISSED_HEARTBEATS = 3
MAX_FRAME_BYTES = 4 * 1024 * 1024 + 64 * 1024  # the largest single gRPC message, before Welcome says how large a chunk is
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024  # whatever Welcome says

# Goodbyes after which dialling again is pointless until somebody acts.
_FINAL_GOODBYES = frozenset({"node_revoked", "protocol_version", "superseded"})

_log = structlog.get_logger("node.link")


@dataclass(frozen=True)
class Credentials:
    """What the TLS connection is made with, PEM."""

    authority: bytes
    key: bytes
    chain: bytes


class Handler(Protocol):
    """What the link serves."""

    def hello(self) -> link_pb2.Hello:
        """The first frame of a connection."""

    async def connected(self) -> None:
        """The coordinator welcomed us: send what it may have missed."""

    def received(self, frame: link_pb2.CoordinatorFrame) -> None:
        """One frame; must not block."""

    def cut_off(self, code: str) -> None:
        """The coordinator said goodbye for good."""


class Backoff:
    """Jittered exponential delays: about 0.2 s, doubling to 5 s, each cut by up to half at random."""

    def __init__(self) -> None:
        self._next = _FIRST_DELAY

    def reset(self) -> None:
        self._next = _FIRST_DELAY

    def delay(self) -> float:
        """Seconds to wait before the next attempt."""
        delay, self._next = self._next, min(self._next * 2, _LONGEST_DELAY)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311


class _GoodbyeError(Exception):
    def __init__(self, code: str, after_ms: int) -> None:
        self.code, self.after_ms = code, after_ms
        super().__init__(code)


class Link:
    """Keeps the connection. ``state`` is "connecting", "connected", "revoked" or "stopped"."""

    def __init__(self, address: str, credentials: Credentials, handler: Handler, journal: Journal) -> None:
        self._address = address
        self._credentials = credentials
        self._handler = handler
        self._journal = journal
        self._call: Any = None
        self._write_lock = asyncio.Lock()
        self._max_chunk = MAX_FRAME_BYTES
        self._heard = 0.0  # monotonic seconds
        self._stale = False  # what the last Hello said has changed since
        self.state = "connecting"
        self.last_contact_ms = 0

    async def run(self) -> None:
        """Connect, serve, reconnect; returns only after a final goodbye. Cancel to stop."""
        backoff = Backoff()
        while True:
            self.state = "connecting"
            started = time.monotonic()
            wait = None
            try:
                await self._serve()
            except _GoodbyeError as goodbye:
                self._journal.append("link:goodbye", code=goodbye.code)
                if goodbye.after_ms == 0 and goodbye.code in _FINAL_GOODBYES:
                    self.state = "revoked" if goodbye.code == "node_revoked" else "stopped"
                    self._handler.cut_off(goodbye.code)
                    return
                wait = min(goodbye.after_ms / 1000, 60.0) or None
            except FrameError as fault:
                self._journal.append("link:fault", reason=fault.reason)
            except (grpc.RpcError, OSError, TimeoutError) as error:
                _log.info("link lost", address=self._address, reason=_reason(error))
            except Exception:
                # Whatever it was (a full disk, say): a node that stops dialling needs a person, so it does not stop.
                _log.exception("link failed")
            finally:
                self._call = None
            if time.monotonic() - started > _STEADY_SECONDS:
                backoff.reset()
            await asyncio.sleep(wait if wait is not None else backoff.delay())

    async def send(self, **body: Any) -> bool:
        """Write one frame (``task_reply=…``); False when there is no connection or it broke meanwhile."""
        return await self.send_frame(link_pb2.NodeFrame(**body))

    async def send_frame(self, frame: link_pb2.NodeFrame) -> bool:
        """Like :meth:`send`, with the frame made already."""
        call = self._call
        return call is not None and await self._write(call, frame)

    def redial(self) -> None:
        """Drop the connection, or the one that is being made, and make a new one, whose Hello says what has changed."""
        self._stale = True
        if self._call is not None:
            self._call.cancel()

    async def _write(self, call: Any, frame: link_pb2.NodeFrame) -> bool:
        # Chunks of one frame are consecutive, and gRPC takes one write at a time.
        async with self._write_lock:
            if call is not self._call:
                return False
            try:
                for part in split(frame, self._max_chunk, _MAX_MESSAGE_BYTES):
                    await call.write(part.SerializeToString())
            except (grpc.RpcError, asyncio.InvalidStateError):
                return False
        return True

    async def _serve(self) -> None:
        credentials = grpc.ssl_channel_credentials(
            self._credentials.authority, self._credentials.key, self._credentials.chain)
        options = [("grpc.max_receive_message_length", MAX_FRAME_BYTES), ("grpc.max_send_message_length", -1),
                   ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.secure_channel(self._address, credentials, options=options) as channel:
            call = channel.stream_stream(_METHOD)()
            try:
                await self._converse(call)
            except asyncio.CancelledError:
                # A call cancelled by the watchdog or by redial() reads like this, and so does being stopped.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise ConnectionAbortedError from None
            except grpc.aio.AioRpcError as error:
                # Our own transport refuses a message above the limit before we see it.
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise FrameError("message_too_large") from error
                raise
            finally:
                call.cancel()

    async def _converse(self, call: Any) -> None:
        self._stale = False
        hello = link_pb2.NodeFrame(hello=self._handler.hello())
        await asyncio.wait_for(call.write(hello.SerializeToString()), _WELCOME_SECONDS)
        welcome = await self._welcome(call)
        reader = Reader(link_pb2.CoordinatorFrame,
                        min(welcome.max_message_bytes or MAX_FRAME_BYTES, _MAX_MESSAGE_BYTES))
        self._max_chunk = welcome.max_chunk_bytes or MAX_FRAME_BYTES
        if self._stale:
            raise ConnectionAbortedError("changed since Hello")
        self._call = call
        self.state = "connected"
        self._journal.append("link:connected", protocol=welcome.protocol_version)
        interval = float(welcome.heartbeat_seconds or 5)
        beating = asyncio.create_task(self._beat(call, interval))
        greeting = asyncio.create_task(self._handler.connected())
        try:
            while (raw := await call.read()) is not grpc.aio.EOF:
                self._touch()
                frame = reader.take(raw)
                if frame is None or frame.WhichOneof("body") == "heartbeat":
                    continue
                if frame.HasField("goodbye"):
                    raise _GoodbyeError(frame.goodbye.code, frame.goodbye.reconnect_after_ms)
                if frame.HasField("welcome"):
                    raise FrameError("unexpected_frame")
                self._handler.received(frame)
            status = await call.code()
            if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise FrameError("message_too_large")
            raise ConnectionResetError(status.name)
        finally:
            self._call = None
            for task in (beating, greeting):
                task.cancel()
            with contextlib.suppress(Exception):
                self._journal.append("link:closed")

    async def _welcome(self, call: Any) -> link_pb2.Welcome:
        raw = await asyncio.wait_for(call.read(), _WELCOME_SECONDS)
        if raw is grpc.aio.EOF:
            raise ConnectionResetError("closed before welcome")
        self._touch()
        frame = Reader(link_pb2.CoordinatorFrame, MAX_FRAME_BYTES).take(raw)
        if frame is not None and frame.HasField("goodbye"):
            raise _GoodbyeError(frame.goodbye.code, frame.goodbye.reconnect_after_ms)
        if frame is None or not frame.HasField("welcome"):
            raise FrameError("unexpected_frame")
        if frame.welcome.protocol_version not in PROTOCOL_VERSIONS:
            raise _GoodbyeError("protocol_version", 0)
        return frame.welcome

    async def _beat(self, call: Any, interval: float) -> None:
        """Sends heartbeats, and gives the connection up when nothing came for three intervals."""
        sequence = 0
        while True:
            if time.monotonic() - self._heard > _MISSED_HEARTBEATS * interval:
                call.cancel()
                return
            sequence += 1
            beat = link_pb2.Heartbeat(sequence=sequence, sent_at_ms=time.time_ns() // 1_000_000)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._write(call, link_pb2.NodeFrame(heartbeat=beat)), interval)
            await asyncio.sleep(interval)

    def _touch(self) -> None:
        self._heard = time.monotonic()
        self.last_contact_ms = time.time_ns() // 1_000_000


def _reason(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return type(error).__name__
