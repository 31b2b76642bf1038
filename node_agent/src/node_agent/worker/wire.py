"""The agent's side of :mod:`shuyan.confinement.frames`: length-prefixed frames of a JSON header and raw bytes, never pickles."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

_PREFIX = struct.Struct(">II")
MAX_HEADER = 64 * 1024  # of an answer; what the agent sends may be longer
MAX_BODY = 512 * 1024 * 1024


class WireError(Exception):
    """The other side sent something that is no frame."""


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """One frame."""
    encoded = json.dumps(header, separators=(",", ":")).encode()
    return _PREFIX.pack(len(encoded), len(body)) + encoded + body


def _sizes(prefix: bytes, max_body: int) -> tuple[int, int]:
    header, body = _PREFIX.unpack(prefix)
    if header > MAX_HEADER or body > max_body:
        raise WireError("frame too large")
    return header, body


def _header(encoded: bytes) -> dict[str, Any]:
    try:
        header = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise WireError("no JSON header") from error
    if not isinstance(header, dict):
        raise WireError("no JSON header")
    return header


async def read_frame(reader: asyncio.StreamReader, max_body: int = MAX_BODY) -> tuple[dict[str, Any], bytes]:
    """The worker's next frame.

    Raises:
        WireError: not a frame, or its body is above ``max_body`` bytes.
        asyncio.IncompleteReadError: the worker is gone.
    """
    header_size, body_size = _sizes(await reader.readexactly(_PREFIX.size), max_body)
    header = _header(await reader.readexactly(header_size))
    return header, await reader.readexactly(body_size)
