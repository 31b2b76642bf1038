"""Frames of the link as bytes: cut into chunks when large, put together again and checked."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator

from google.protobuf.message import DecodeError

from shuyan_protos.link.v1 import link_pb2

_CHUNK_OVERHEAD = 256  # field tags, id, digest and the envelope of one Chunk frame

# The largest single gRPC message taken before Welcome says how large a chunk is.
MAX_FRAME_BYTES = 4 * 1024 * 1024 + 64 * 1024


class LinkFaultError(Exception):
    """The other side broke the protocol; the link is closed and the reason journalled.

    Attributes:
        reason: one of ``garbage_frame``, ``message_too_large``, ``chunk_order``, ``chunk_digest``,
            ``unexpected_frame``.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def encode(frame: link_pb2.NodeFrame, max_chunk_bytes: int) -> Iterator[bytes]:
    """The frame's wire messages: one, or consecutive chunks if it is larger than ``max_chunk_bytes``."""
    whole = frame.SerializeToString()
    if len(whole) <= max_chunk_bytes:
        yield whole
        return
    step = max(1, max_chunk_bytes - _CHUNK_OVERHEAD)
    message_id, digest = uuid.uuid4().hex, hashlib.sha256(whole).digest()
    count = -(-len(whole) // step)
    for index in range(count):
        last = index == count - 1
        yield link_pb2.NodeFrame(chunk=link_pb2.Chunk(
            message_id=message_id, index=index, last=last, data=whole[index * step:(index + 1) * step],
            sha256=digest if last else b"")).SerializeToString()


class Assembler:
    """Turns the coordinator's wire messages into frames."""

    def __init__(self, max_message_bytes: int) -> None:
        self._limit = max_message_bytes
        self._message_id = ""
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, raw: bytes) -> link_pb2.CoordinatorFrame | None:
        """The frame that ``raw`` completes, or None in the midst of a chunked one.

        Raises:
            LinkFaultError: the bytes break the protocol.
        """
        frame = _parse(raw)
        kind = frame.WhichOneof("body")
        if kind != "chunk":
            if self._parts:
                raise LinkFaultError("chunk_order")
            if kind is None:
                raise LinkFaultError("garbage_frame")
            return frame
        chunk = frame.chunk
        if chunk.index != len(self._parts) or (self._parts and chunk.message_id != self._message_id):
            raise LinkFaultError("chunk_order")
        self._message_id = chunk.message_id
        self._size += len(chunk.data)
        if self._size > self._limit:
            raise LinkFaultError("message_too_large")
        self._parts.append(chunk.data)
        if not chunk.last:
            return None
        whole = b"".join(self._parts)
        self._parts, self._size = [], 0
        if hashlib.sha256(whole).digest() != chunk.sha256:
            raise LinkFaultError("chunk_digest")
        inner = _parse(whole)
        if inner.WhichOneof("body") in (None, "chunk"):
            raise LinkFaultError("garbage_frame")
        return inner


def _parse(raw: bytes) -> link_pb2.CoordinatorFrame:
    try:
        return link_pb2.CoordinatorFrame.FromString(raw)
    except DecodeError as error:
        raise LinkFaultError("garbage_frame") from error
