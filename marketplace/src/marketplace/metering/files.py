"""Usage on SQLite: each worker process appends to a file of its own, so that no two processes wait for each other.

``data_dir/usage/usage-<n>.sqlite`` belongs to whichever process holds the lock on ``usage-<n>.lock``. A record is
acknowledged after its transaction is on disk (WAL, ``synchronous=FULL``). The collector copies records into
``usage_record`` and removes them here one round later, when that copy is surely durable and visible to every reader.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from marketplace.metering.rules import Outcome, Usage, parse_timestamp, timestamp

_SCHEMA = """
CREATE TABLE IF NOT EXISTS usage (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, entitlement_id TEXT NOT NULL, idempotency_key TEXT NOT NULL,
  product_version_id TEXT NOT NULL, client_id TEXT NOT NULL, at TEXT NOT NULL, request_digest TEXT NOT NULL,
  UNIQUE (entitlement_id, idempotency_key))
"""
_INSERT = """
INSERT INTO usage (entitlement_id, idempotency_key, product_version_id, client_id, at, request_digest)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_COLUMNS = "entitlement_id, idempotency_key, product_version_id, client_id, at, request_digest"

KnownDigests = Callable[[Sequence[tuple[str, str]]], dict[tuple[str, str], str]]


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a usage file, creating the file if need be."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(_SCHEMA)
    return connection


class FileLock:
    """A lock file held until :meth:`release` or the end of the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        os.close(self._descriptor)


class FileStore:
    """The usage file of this process.

    ``known`` tells the request digests of records already collected, for keys that are not in the file (any more).
    """

    def __init__(self, folder: Path, known: KnownDigests) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._known = known
        number = 0
        while True:
            with contextlib.suppress(OSError):
                self._lock = FileLock(folder / f"usage-{number}.lock")
                break
            number += 1
        self.path = folder / f"usage-{number}.sqlite"
        self._connection = connect(self.path)

    def write(self, batch: Sequence[tuple[Usage, bool]]) -> list[Outcome]:
        """Record a batch in one transaction; each comes with whether its key was the caller's own choice."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            inserted = [
                connection.execute(_INSERT, (
                    item.entitlement_id, item.idempotency_key, item.product_version_id, item.client_id,
                    timestamp(item.at), item.request_digest)).rowcount == 1
                for item, _chosen in batch
            ]
            # A key missing from the file may have been collected: what is removed here is committed there before.
            ask = [item.identity for (item, chosen), new in zip(batch, inserted, strict=True) if chosen and new]
            known = self._known(ask) if ask else {}
            outcomes = []
            for (item, _chosen), new in zip(batch, inserted, strict=True):
                if new and item.identity not in known:
                    outcomes.append(Outcome.NEW)
                    continue
                digest = known[item.identity] if item.identity in known else self._digest(item)
                if new:
                    connection.execute("DELETE FROM usage WHERE entitlement_id = ? AND idempotency_key = ?",
                                       item.identity)
                outcomes.append(Outcome.REPEAT if digest == item.request_digest else Outcome.MISMATCH)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return outcomes

    def _digest(self, item: Usage) -> str:
        row = self._connection.execute(
            "SELECT request_digest FROM usage WHERE entitlement_id = ? AND idempotency_key = ?",
            item.identity).fetchone()
        return str(row[0]) if row else item.request_digest

    def close(self) -> None:
        self._connection.close()
        self._lock.release()


class FileReader:
    """The collector's view of one usage file, whoever writes it."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._done = 0

    def forget_collected(self) -> None:
        """Remove what an earlier round has committed to the database."""
        if self._done:
            self._connection.execute("DELETE FROM usage WHERE seq <= ?", (self._done,))

    def read(self, limit: int = 5000) -> tuple[list[Usage], int]:
        """The next records in order, and the mark to pass to :meth:`collected` once they are committed."""
        rows = self._connection.execute(
            f"SELECT seq, {_COLUMNS} FROM usage WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608  (constant columns)
            (self._done, limit)).fetchall()
        return [_usage(row[1:]) for row in rows], rows[-1][0] if rows else self._done

    def collected(self, mark: int) -> None:
        self._done = max(self._done, mark)

    def close(self) -> None:
        self._connection.close()


def pending(folder: Path, entitlement_id: str) -> set[str]:
    """The idempotency keys of an entitlement's calls that lie in usage files, collected already or not."""
    keys: set[str] = set()
    for path in sorted(folder.glob("usage-*.sqlite")):
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection, contextlib.suppress(
                sqlite3.OperationalError):  # a file just made has no table yet
            keys.update(row[0] for row in connection.execute(
                "SELECT idempotency_key FROM usage WHERE entitlement_id = ?", (entitlement_id,)))
    return keys


def _usage(row: tuple[str, ...]) -> Usage:
    entitlement_id, key, version, client, at, request_digest = row
    return Usage(entitlement_id, key, version, client, parse_timestamp(at), request_digest)
