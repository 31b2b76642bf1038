"""What a process in a sandbox and the one that started it say to each other: a JSON header and raw bytes, never pickles.

A frame is two 32-bit lengths (big-endian), the header, the body. It goes over a descriptor with plain reads and writes,
which a sandboxed process may still do when every socket call is refused to it.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Callable
from typing import Any, Final

_PREFIX: Final = struct.Struct(">II")
MAX_HEADER: Final = 8 * 1024 * 1024
MAX_BODY: Final = 512 * 1024 * 1024
_CHUNK: Final = 1 << 20


class FrameError(Exception):
    """The other side sent something that is no frame."""


class Channel:
    """One end.

    Args:
        descriptor: a connected stream, read and written here; not closed.
        wait: called about five times a second while nothing comes; may raise to give up.
    """

    def __init__(self, descriptor: int, wait: Callable[[], None] | None = None) -> None:
        self._descriptor = descriptor
        self._wait = wait

    def send(self, header: dict[str, Any], body: bytes | memoryview = b"") -> None:
        """Send one frame; raises ``OSError`` when the other side is gone."""
        encoded = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
        for part in (_PREFIX.pack(len(encoded), len(body)) + encoded, body):
            view = memoryview(part)
            while view:
                view = view[os.write(self._descriptor, view[:_CHUNK]):]

    def receive(self, *, max_header: int = MAX_HEADER, max_body: int = MAX_BODY) -> tuple[dict[str, Any], bytes] | None:
        """The next frame; None when the other side is gone.

        Raises:
            FrameError: not a frame, or larger than allowed.
        """
        prefix = self._read(_PREFIX.size)
        if prefix is None:
            return None
        header_size, body_size = _PREFIX.unpack(prefix)
        if header_size > max_header or body_size > max_body:
            raise FrameError("frame too large")
        encoded, body = self._read(header_size), self._read(body_size)
        if encoded is None or body is None:
            return None
        try:
            header = json.loads(encoded)
        except (ValueError, RecursionError) as error:
            raise FrameError("no JSON header") from error
        if not isinstance(header, dict):
            raise FrameError("no JSON header")
        return header, body

    def _read(self, size: int) -> bytes | None:
        buffer = bytearray()
        while len(buffer) < size:
            if self._wait is not None:
                while not select.select([self._descriptor], [], [], 0.2)[0]:
                    self._wait()
            part = os.read(self._descriptor, min(size - len(buffer), _CHUNK))
            if not part:
                return None
            buffer += part
        return bytes(buffer)


class Deadline:
    """A ``wait`` that gives up: raises ``TimeoutError`` when ``seconds`` have passed since :meth:`again`."""

    def __init__(self, seconds: float, also: Callable[[], None] | None = None) -> None:
        self._seconds = seconds
        self._also = also
        self.again()

    def again(self) -> None:
        """Begin to count anew."""
        self._end = time.monotonic() + self._seconds

    def __call__(self) -> None:
        if self._also is not None:
            self._also()
        if time.monotonic() >= self._end:
            raise TimeoutError
