"""What agent and worker say to each other: length-prefixed frames of a JSON header and raw bytes, never pickles."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

_PREFIX = struct.Struct(">II")
MAX_HEADER = 8 * 1024 * 1024
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
    except ValueError as error:
        raise WireError("no JSON header") from error
    if not isinstance(header, dict):
        raise WireError("no JSON header")
    return header


async def read_frame(reader: asyncio.StreamReader, max_body: int = MAX_BODY) -> tuple[dict[str, Any], bytes]:
    """The agent's side.

    Raises:
        WireError: not a frame, or its body is above ``max_body`` bytes.
        asyncio.IncompleteReadError: the worker is gone.
    """
    header_size, body_size = _sizes(await reader.readexactly(_PREFIX.size), max_body)
    header = _header(await reader.readexactly(header_size))
    return header, await reader.readexactly(body_size)


def receive_frame(connection: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """The worker's side; None when the agent is gone."""
    prefix = _receive(connection, _PREFIX.size)
    if prefix is None:
        return None
    header_size, body_size = _sizes(prefix, MAX_BODY)
    header = _receive(connection, header_size)
    body = _receive(connection, body_size)
    return None if header is None or body is None else (_header(header), body)


def _receive(connection: socket.socket, size: int) -> bytes | None:
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if count == 0:
            return None
        filled += count
    return bytes(buffer)
