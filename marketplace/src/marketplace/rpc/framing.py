"""Frames on the wire: chunking of large ones, and reading what the other side sends without trusting it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from google.protobuf.message import DecodeError

from shuyan_protos.link.v1 import link_pb2 as pb

MAX_CHUNK_BYTES: Final = 1024 * 1024
"""A frame whose encoding is longer travels in chunks, so that a heartbeat never waits behind a large message."""

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Largest frame after reassembly."""

MAX_WIRE_BYTES: Final = MAX_CHUNK_BYTES + 64 * 1024
"""Largest gRPC message: a chunk with its envelope."""

F = TypeVar("F", pb.NodeFrame, pb.CoordinatorFrame)


class FrameError(Exception):
    """The other side does not keep to the protocol."""


def split(frame: F) -> Iterator[F]:
    """``frame`` itself, or the chunks it travels in.

    Raises:
        FrameError: it is larger than :data:`MAX_MESSAGE_BYTES`.
    """
    if frame.ByteSize() <= MAX_CHUNK_BYTES:
        yield frame
        return
    data = frame.SerializeToString()
    if len(data) > MAX_MESSAGE_BYTES:
        raise FrameError("message too large")
    message_id, kind = secrets.token_hex(8), type(frame)
    last = (len(data) - 1) // MAX_CHUNK_BYTES
    for index in range(last + 1):
        part = data[index * MAX_CHUNK_BYTES:(index + 1) * MAX_CHUNK_BYTES]
        yield kind(chunk=pb.Chunk(message_id=message_id, index=index, last=index == last, data=part,
                                  sha256=hashlib.sha256(data).digest() if index == last else b""))


class Reader(Generic[F]):
    """Turns what arrives into whole frames. Chunks of one message are consecutive, so one buffer is enough."""

    def __init__(self, kind: type[F]) -> None:
        self._kind: type[F] = kind
        self._message_id = ""
        self._parts: list[bytes] = []
        self._size = 0

    def take(self, data: bytes) -> F | None:
        """A whole frame, or ``None`` while one is still incomplete.

        Raises:
            FrameError: undecodable, empty, too large, out of order, or with a wrong digest.
        """
        frame = self._decode(data)
        if frame.WhichOneof("body") != "chunk":
            if self._parts:
                raise FrameError("message interrupted")
            return frame
        chunk = frame.chunk
        if not self._parts:
            self._message_id = chunk.message_id
        if chunk.message_id != self._message_id or chunk.index != len(self._parts) or not chunk.data:
            raise FrameError("chunk out of order")
        self._size += len(chunk.data)
        if self._size > MAX_MESSAGE_BYTES:
            raise FrameError("message too large")
        self._parts.append(chunk.data)
        if not chunk.last:
            return None
        whole = b"".join(self._parts)
        self._parts, self._size = [], 0
        if hashlib.sha256(whole).digest() != chunk.sha256:
            raise FrameError("wrong digest")
        inner = self._decode(whole)
        if inner.WhichOneof("body") == "chunk":
            raise FrameError("chunk in a chunk")
        return inner

    def _decode(self, data: bytes) -> F:
        frame: F = self._kind()
        try:
            frame.ParseFromString(data)
        except DecodeError:
            raise FrameError("not a frame") from None
        if frame.WhichOneof("body") is None:
            raise FrameError("empty frame")
        return frame
