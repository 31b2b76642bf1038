"""Time-based one-time passwords (RFC 6238): HMAC-SHA-1, six digits, steps of 30 seconds, as every authenticator app has them."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import secrets
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP: Final = 30
DIGITS: Final = 6
DRIFT: Final = 1
"""Steps that a phone's clock may be off, either way."""


def new_key() -> str:
    """160 random bits in base 32, as authenticator apps take them."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def _codes(key: str) -> TOTP:
    return TOTP(base64.b32decode(key), DIGITS, SHA1(), STEP)  # noqa: S303 (the algorithm of RFC 6238 and of the apps)


def code(key: str, step: int) -> str:
    """The code of one time step."""
    return _codes(key).generate(step * STEP).decode()


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
    return _codes(key).get_provisioning_uri(email, "Shuyan")
