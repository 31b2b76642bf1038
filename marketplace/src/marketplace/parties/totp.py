"""Time-based one-time passwords (RFC 6238 on RFC 4226): HMAC-SHA-1, six digits, steps of 30 seconds."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import quote, urlencode

STEP: Final = 30
DIGITS: Final = 6
DRIFT: Final = 1
"""Steps that a phone's clock may be off, either way."""


def new_key() -> str:
    """160 random bits in base 32, as authenticator apps take them."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code(key: str, step: int) -> str:
    """The code of one time step (RFC 4226, section 5.3)."""
    mac = hmac.digest(base64.b32decode(key), step.to_bytes(8, "big"), hashlib.sha1)
    offset = mac[-1] & 15
    number = int.from_bytes(mac[offset:offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10 ** DIGITS:0{DIGITS}d}"


def matching_step(key: str, given: str, now: dt.datetime, after: int = 0) -> int | None:
    """The time step whose code ``given`` is, if it is later than ``after``: no code is taken twice."""
    current = int(now.timestamp()) // STEP
    found = None
    for step in range(current - DRIFT, current + DRIFT + 1):
        if hmac.compare_digest(code(key, step).encode(), given.encode()) and step > after:
            found = step
    return found


def address(key: str, email: str) -> str:
    """The ``otpauth:`` address that a QR code carries."""
    return f"otpauth://totp/{quote(f'Shuyan:{email}')}?{urlencode({'secret': key, 'issuer': 'Shuyan', 'digits': DIGITS, 'period': STEP})}"
