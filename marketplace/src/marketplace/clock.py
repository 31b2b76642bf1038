"""What time it is. Everything asks here, so that a test can stand at any moment of a term, a deadline or a notice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

CITY: dt.tzinfo = dt.timezone(dt.timedelta(hours=8))
"""The city's own time: days of notices, terms and registration years begin at its midnight."""

_shift = dt.timedelta()


def utc_now() -> dt.datetime:
    """Now, aware, in UTC."""
    return dt.datetime.now(dt.UTC) + _shift


def today() -> dt.date:
    """The date in the city."""
    return utc_now().astimezone(CITY).date()


@contextmanager
def shifted(by: dt.timedelta) -> Iterator[None]:
    """For tests: this process's clock runs ``by`` ahead inside the block. No setting and no request reaches it."""
    global _shift
    before = _shift
    _shift = before + by
    try:
        yield
    finally:
        _shift = before
