"""Cursor pagination: a page of rows and an opaque pointer to the next one (keyset, so pages never shift)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from marketplace.db import storable
from marketplace.errors import BAD_CURSOR
from shuyan.problems import ProblemError

T = TypeVar("T")
V = TypeVar("V", str, int)
MAXIMUM = 100


@dataclass(frozen=True)
class Page(Generic[T]):
    """``next`` is ``None`` on the last page."""

    items: list[T]
    next: str | None = None


def encode_cursor(*values: str | int) -> str:
    """An opaque cursor for the sort key of the last row of a page."""
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, count: int, kind: type[V]) -> list[V]:
    """The ``count`` values of a cursor, all of type ``kind``: it comes from outside, and columns are compared with it.

    Raises:
        ProblemError: ``bad_cursor``.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise ProblemError(BAD_CURSOR, field="cursor") from None
    if not isinstance(values, list) or len(values) != count or any(type(value) is not kind for value in values):
        raise ProblemError(BAD_CURSOR, field="cursor")
    if not all(storable(value) if isinstance(value, str) else abs(value) < 2**63 for value in values):
        raise ProblemError(BAD_CURSOR, field="cursor")
    return values


def clamp(limit: int) -> int:
    """``limit`` within 1 and the maximum page size."""
    return max(1, min(limit, MAXIMUM))


def make_page(rows: Sequence[T], limit: int, key: Callable[[T], tuple[str | int, ...]]) -> Page[T]:
    """A page from up to ``limit + 1`` rows: the extra one only says that there are more."""
    items = list(rows[:limit])
    return Page(items, encode_cursor(*key(items[-1])) if len(rows) > limit else None)
