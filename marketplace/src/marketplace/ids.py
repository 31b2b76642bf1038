"""Identifiers: a short kind, an underscore, and a ULID, so that ids sort by creation time."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case


def _base32(value: int, length: int) -> str:
    out = []
    for _ in range(length):
        value, digit = divmod(value, 32)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def new_id(kind: str) -> str:
    """A new identifier such as ``job_01k9…`` (48 bits of milliseconds, 80 random bits)."""
    return f"{kind}_{_base32(time.time_ns() // 1_000_000, 10)}{_base32(secrets.randbits(80), 16)}"
