"""Frames on the wire, for both ends of a link: cut into chunks when large, put together again without trusting the sender."""

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

_CHUNK_OVERHEAD: Final = 256  # field tags, id, digest and the envelope of one chunk

F = TypeVar("F", pb.NodeFrame, pb.CoordinatorFrame)


class FrameError(Exception):
    """The other side does not keep to the protocol.

    Attributes:
        reason: ``garbage_frame``, ``message_too_large``, ``chunk_order``, ``chunk_digest`` or ``unexpected_frame``.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def split(frame: F, max_chunk_bytes: int = MAX_CHUNK_BYTES, max_message_bytes: int | None = None) -> Iterator[F]:
    """``frame`` itself, or the chunks it travels in; none encodes to more than ``max_chunk_bytes`` (from 257).

    Raises:
        FrameError: it is larger than ``max_message_bytes``, by default :data:`MAX_MESSAGE_BYTES`.
    """
    if frame.ByteSize() <= max_chunk_bytes:
        yield frame
        return
    data = frame.SerializeToString()
    if len(data) > (MAX_MESSAGE_BYTES if max_message_bytes is None else max_message_bytes):
        raise FrameError("message_too_large")
    step = max(1, max_chunk_bytes - _CHUNK_OVERHEAD)
    message_id, kind = secrets.token_hex(8), type(frame)
    last = (len(data) - 1) // step
    for index in range(last + 1):
        yield kind(chunk=pb.Chunk(
            message_id=message_id, index=index, last=index == last, data=data[index * step:(index + 1) * step],
            sha256=hashlib.sha256(data).digest() if index == last else b""))


class Reader(Generic[F]):
    """Turns what arrives into whole frames. Chunks of one message are consecutive, so one buffer is enough.

    Args:
        kind: the frames of the other side.
        max_message_bytes: largest frame after reassembly, by default :data:`MAX_MESSAGE_BYTES`.
    """

    def __init__(self, kind: type[F], max_message_bytes: int | None = None) -> None:
        self._kind: type[F] = kind
        self._limit = MAX_MESSAGE_BYTES if max_message_bytes is None else max_message_bytes
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
                raise FrameError("chunk_order")
            return frame
        chunk = frame.chunk
        if not self._parts:
            self._message_id = chunk.message_id
        # An empty chunk would let a message go on for ever within its size.
        if chunk.message_id != self._message_id or chunk.index != len(self._parts) or not chunk.data:
            raise FrameError("chunk_order")
        self._size += len(chunk.data)
        if self._size > self._limit:
            raise FrameError("message_too_large")
        self._parts.append(chunk.data)
        if not chunk.last:
            return None
        whole = b"".join(self._parts)
        self._parts, self._size = [], 0
        if hashlib.sha256(whole).digest() != chunk.sha256:
            raise FrameError("chunk_digest")
        inner = self._decode(whole)
        if inner.WhichOneof("body") == "chunk":
            raise FrameError("garbage_frame")
        return inner

    def _decode(self, data: bytes) -> F:
        frame: F = self._kind()
        try:
            frame.ParseFromString(data)
        except DecodeError:
            raise FrameError("garbage_frame") from None
        if frame.WhichOneof("body") is None:
            raise FrameError("garbage_frame")
        return frame
