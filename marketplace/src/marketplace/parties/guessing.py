"""Slowing guessing down: attempts are counted before they are tried, so that a hundred at once are a hundred.

Past a few free ones, each further attempt doubles a pause, up to a quarter of an hour: nobody can lock somebody else out
for good, and a pause says nothing about whether a password was right, for it was not looked at. Whoever signed in
from this browser before is counted apart from strangers (OWASP's device cookies): their guessing does not keep
the person out. Unknown addresses are counted as known ones are.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from typing import Final

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace import db
from marketplace.db import utc_now
from marketplace.parties import rules
from marketplace.parties.errors import TOO_MANY_ATTEMPTS
from marketplace.parties.models import GuessCounter
from shuyan.problems import ProblemError

FREE: Final = {"account": 10, "known": 10, "address": 100, "code": 5, "reset": 3, "link": 10, "device": 20, "change": 5}
"""Attempts before pauses begin: at one account by strangers, by a browser known to it, from one network address, at one
second factor, at mailing one person a reset link, at guessing links and device codes from one address,
at mailing links to addresses that one account wants."""
FIRST_PAUSE: Final = dt.timedelta(seconds=30)
LONGEST_PAUSE: Final = dt.timedelta(minutes=15)
FORGOTTEN_AFTER: Final = dt.timedelta(hours=24)

_PLACES: Final = frozenset({"address", "link"})
"""The kinds whose value is a network address."""

Key = tuple[str, str]


def reserve(keys: Iterable[Key]) -> None:
    """Count one attempt under every key, in a transaction of its own, before it is tried.

    Raises:
        ProblemError: ``too_many_attempts`` while any of them is paused; then nothing is counted.
    """
    _tidy_up()
    with db.transaction() as session:
        rows = [(kind, _row(session, kind, value)) for kind, value in sorted(set(keys))]
        now = utc_now()
        pauses = [row.blocked_until - now for _kind, row in rows if row.blocked_until and row.blocked_until > now]
        if pauses:
            raise ProblemError(TOO_MANY_ATTEMPTS, minutes=max(1, math.ceil(max(pauses).total_seconds() / 60)))
        for kind, row in rows:
            row.attempts = 1 if row.last_at + FORGOTTEN_AFTER < now else row.attempts + 1
            over = row.attempts - FREE[kind]
            row.last_at = now
            row.blocked_until = now + min(FIRST_PAUSE * 2 ** min(over, 10), LONGEST_PAUSE) if over >= 0 else None
            session.add(row)


def forgive(session: Session, keys: Iterable[Key]) -> None:
    """An attempt was none of guessing: its counters start anew, but an address, or a person who enters devices'
    codes, only gets that one attempt back: anybody can make one that is right."""
    for kind, value in sorted(set(keys)):
        row = _row(session, kind, value)
        row.attempts = max(0, row.attempts - 1) if kind in ("address", "device") else 0
        row.blocked_until = None
        session.add(row)


def _tidy_up() -> None:
    """Forget a few counters that count no more; those somebody has in hand are left for later."""
    with db.transaction() as session:
        old = session.exec(select(GuessCounter.key).where(col(GuessCounter.last_at) < utc_now() - FORGOTTEN_AFTER)
                           .limit(20).with_for_update(skip_locked=True)).all()
        if old:
            session.execute(delete(GuessCounter).where(col(GuessCounter.key).in_(old)))


def _network(address: str) -> str:
    """An IPv6 subscriber has a whole /64."""
    return ":".join(address.split(":")[:4]) if ":" in address else address


def _row(session: Session, kind: str, value: str) -> GuessCounter:
    """The counter, locked; made if there is none."""
    if kind in _PLACES:
        value = _network(value)
    key = rules.hash_secret(f"{kind}\n{value}")
    row = session.get(GuessCounter, key, with_for_update=True)
    if row is None:
        try:
            with session.begin_nested():
                session.add(GuessCounter(key=key, last_at=utc_now()))
        except IntegrityError:
            session.expire_all()
        row = session.get_one(GuessCounter, key, with_for_update=True, populate_existing=True)
    return row
