"""The node's journal: append-only and hash-chained, so that a removed or changed line shows.

``hash[n] = SHA-256(hash[n-1] || canonical({"sequence", "at_ms", "event", "data"}))``, ``hash[0]`` is 32 zero bytes,
canonical JSON is RFC 8785. The journal holds ids, digests and counts, never a row of anybody's data.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from node_agent import errors
from node_agent.state import State
from shuyan.problems import ProblemError
from shuyan.trust.canonical import canonical

_ORIGIN = bytes(32)


@dataclass(frozen=True)
class Entry:
    """One line of the journal; ``hash`` in hex."""

    sequence: int
    at_ms: int
    event: str
    data: dict[str, Any]
    hash: str


def entry_hash(previous: bytes, sequence: int, at_ms: int, event: str, data: bytes) -> bytes:
    """The hash of one entry, chained to the one before it.

    Args:
        data: as canonical JSON, which here is put in its place among the others instead of being made a second time.
    """
    body = b'{"at_ms":%d,"data":%b,"event":%b,"sequence":%d}' % (at_ms, data, canonical(event), sequence)
    return hashlib.sha256(previous + body).digest()


class Journal:
    """Appends inside the caller's transaction: an entry and what it records are one commit."""

    def __init__(self, state: State) -> None:
        self._state = state

    def append(self, event: str, **data: Any) -> int:
        """Add one entry and return its sequence number, from 1.

        The head is read from the database each time, so a rolled-back append leaves no gap.
        """
        with self._state.transaction():
            sequence, head = self.head()
            at_ms = time.time_ns() // 1_000_000
            encoded = canonical(data)
            digest = entry_hash(head, sequence + 1, at_ms, event, encoded)
            self._state.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
                                (sequence + 1, at_ms, event, encoded.decode(), digest.hex()))
        return sequence + 1

    def head(self) -> tuple[int, bytes]:
        """The last sequence number and hash; (0, zeros) when empty."""
        row = self._state.one("SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1")
        return (0, _ORIGIN) if row is None else (row["sequence"], bytes.fromhex(row["hash"]))

    def read(self, after: int = 0, limit: int = 100) -> list[Entry]:
        """Entries whose sequence is above ``after``, oldest first, at most ``limit``."""
        rows = self._state.all("SELECT * FROM journal WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit))
        return [Entry(row["sequence"], row["at_ms"], row["event"], json.loads(row["data"]), row["hash"])
                for row in rows]

    def verify(self) -> int:
        """Recompute the whole chain and return how many entries it has.

        Raises:
            ProblemError: ``journal_broken`` with the first sequence number that does not fit.
        """
        previous, expected = _ORIGIN, 1
        for row in self._state.execute("SELECT * FROM journal ORDER BY sequence"):
            digest = entry_hash(previous, row["sequence"], row["at_ms"], row["event"], str(row["data"]).encode())
            if row["sequence"] != expected or digest.hex() != row["hash"]:
                raise ProblemError(errors.JOURNAL_BROKEN, sequence=expected)
            previous, expected = digest, expected + 1
        return expected - 1
