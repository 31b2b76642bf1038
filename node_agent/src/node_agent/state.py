"""The node's durable state: one SQLite file, one writer, every commit on the disk before it returns.

The exceptions are commits that nothing depends on before a later one is on the disk. They outlive the process whatever
happens to it, but a power failure may undo them (SQLite's ``synchronous=NORMAL`` with a write-ahead log). The next
commit that waits for the disk takes those before it along, for they stand before it in the same log.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
  sequence INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, event TEXT NOT NULL, data TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS journal_no_update BEFORE UPDATE ON journal
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS journal_no_delete BEFORE DELETE ON journal
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE IF NOT EXISTS source (
  name TEXT PRIMARY KEY, kind TEXT NOT NULL, location TEXT NOT NULL, row_count INTEGER NOT NULL, columns TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS resource (
  name TEXT PRIMARY KEY, source TEXT NOT NULL REFERENCES source(name), resource BLOB NOT NULL,
  resource_id TEXT NOT NULL DEFAULT '');
-- What was measured about a resource and stays here.
CREATE TABLE IF NOT EXISTS measured (
  name TEXT PRIMARY KEY REFERENCES resource(name) ON DELETE CASCADE, risk BLOB NOT NULL, details BLOB NOT NULL,
  date_column TEXT NOT NULL) WITHOUT ROWID;
-- How values spread: measured and waiting for the administrator, and approved for the market.
CREATE TABLE IF NOT EXISTS marginals (
  name TEXT PRIMARY KEY REFERENCES resource(name) ON DELETE CASCADE, measured BLOB, approved BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS allowed_app (name TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (name, digest));
CREATE TABLE IF NOT EXISTS approval (
  id TEXT PRIMARY KEY, subject TEXT NOT NULL UNIQUE, grant_id TEXT NOT NULL, resource TEXT NOT NULL,
  grantee TEXT NOT NULL, purpose TEXT NOT NULL, app_name TEXT NOT NULL, params TEXT NOT NULL,
  state TEXT NOT NULL, asked_at_ms INTEGER NOT NULL, decided_at_ms INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT '');
-- Grants as signed, by digest: an opening after a restart checks them again.
CREATE TABLE IF NOT EXISTS grant_seen (digest TEXT PRIMARY KEY, jws TEXT NOT NULL) WITHOUT ROWID;
-- Grants that the department itself has withdrawn here.
CREATE TABLE IF NOT EXISTS grant_held (grant_id TEXT PRIMARY KEY, reason TEXT NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
-- One row a task that was answered: reply is the TaskReply as it left, seed the self-mask until the round opens.
CREATE TABLE IF NOT EXISTS task (
  task_id TEXT PRIMARY KEY, request_digest TEXT NOT NULL, run_id TEXT NOT NULL, round INTEGER NOT NULL,
  attempt INTEGER NOT NULL, grant_digest TEXT NOT NULL, question TEXT NOT NULL, participants TEXT NOT NULL,
  reply BLOB, seed BLOB, answered INTEGER NOT NULL, at_ms INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS task_attempt ON task (run_id, round, attempt) WHERE answered;
CREATE INDEX IF NOT EXISTS task_at ON task (at_ms);
-- At most one attempt of a round is ever opened.
CREATE TABLE IF NOT EXISTS opening (
  run_id TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, task_id TEXT NOT NULL,
  at_ms INTEGER NOT NULL, PRIMARY KEY (run_id, round));
-- Among whom each question was answered: never among others.
CREATE TABLE IF NOT EXISTS question (digest TEXT PRIMARY KEY, participants TEXT NOT NULL) WITHOUT ROWID;
-- Caps of the department; without a row a resource has the default's. ρ in units of 1e-9.
CREATE TABLE IF NOT EXISTS budget_cap (
  resource TEXT NOT NULL, grantee TEXT NOT NULL, cap_nano INTEGER NOT NULL, renewal TEXT NOT NULL,
  PRIMARY KEY (resource, grantee)) WITHOUT ROWID;
-- One row a question and resource, for good.
CREATE TABLE IF NOT EXISTS budget_charge (
  question TEXT NOT NULL, resource TEXT NOT NULL, grant_id TEXT NOT NULL, grantee TEXT NOT NULL, app TEXT NOT NULL,
  rho_nano INTEGER NOT NULL, at_ms INTEGER NOT NULL, repeats INTEGER NOT NULL, PRIMARY KEY (question, resource));
CREATE INDEX IF NOT EXISTS budget_charge_at ON budget_charge (resource, at_ms);
CREATE INDEX IF NOT EXISTS budget_charge_grant ON budget_charge (grant_id);
CREATE TABLE IF NOT EXISTS budget_grant (
  grant_id TEXT PRIMARY KEY, grantee TEXT NOT NULL, grantee_name TEXT NOT NULL, cap_nano INTEGER NOT NULL,
  delta REAL NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
-- Answers with their noise, unmasked: the same question gets the same one again.
CREATE TABLE IF NOT EXISTS noisy_answer (
  question TEXT NOT NULL, participants TEXT NOT NULL, words BLOB NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (question, participants));
-- The differencing guard: which rows were answered about, and among whom; scope is the grantee, or * for all of them.
CREATE TABLE IF NOT EXISTS guard_set (
  scope TEXT NOT NULL, resource TEXT NOT NULL, digest TEXT NOT NULL, rows BLOB NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (scope, resource, digest));
CREATE TABLE IF NOT EXISTS guard_question (
  scope TEXT NOT NULL, resource TEXT NOT NULL, grantee TEXT NOT NULL, app TEXT NOT NULL, rows TEXT NOT NULL,
  at_ms INTEGER NOT NULL, grantee_name TEXT NOT NULL, share REAL NOT NULL, sets INTEGER NOT NULL,
  times INTEGER NOT NULL, PRIMARY KEY (scope, resource, grantee, app, rows));
CREATE TABLE IF NOT EXISTS guard_opened (
  scope TEXT NOT NULL, resource TEXT NOT NULL, rows TEXT NOT NULL, columns TEXT NOT NULL, participants TEXT NOT NULL,
  run_id TEXT NOT NULL, PRIMARY KEY (scope, resource, rows, columns, participants, run_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS guard_task (task_id TEXT PRIMARY KEY, basis TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS guard_refusal (scope TEXT NOT NULL, at_ms INTEGER NOT NULL);
"""


class State:
    """The database of one node. Not shared between threads: the agent's event loop owns it.

    ``transaction()`` begins IMMEDIATE and is re-entrant: an inner one joins the outer, so that a journal entry
    and what it records are one commit, which waits for the disk if the outer one does.
    """

    def __init__(self, path: Path) -> None:
        new = not path.exists()
        self._connection = sqlite3.connect(path, isolation_level=None)
        if new:
            os.chmod(path, 0o600)
        self._connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_SCHEMA)
        self._depth = 0
        self._waits = True

    @contextmanager
    def transaction(self, *, wait: bool = True) -> Iterator[State]:
        """Commit on success, roll back on any exception.

        Args:
            wait: for the disk. Without, a power failure may undo the commit, until a later one has waited.
        """
        if self._depth == 0:
            if wait != self._waits:  # SQLite changes it between transactions only
                self._connection.execute(f"PRAGMA synchronous={'FULL' if wait else 'NORMAL'}")
                self._waits = wait
            self._connection.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield self
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            self._connection.execute("COMMIT")

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """One statement; writing ones only inside :meth:`transaction`."""
        return self._connection.execute(statement, parameters)

    def one(self, statement: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        """The first row, or None."""
        row: sqlite3.Row | None = self._connection.execute(statement, parameters).fetchone()
        return row

    def all(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows."""
        return self._connection.execute(statement, parameters).fetchall()

    def get(self, key: str, default: str = "") -> str:
        """A remembered single value."""
        row = self.one("SELECT value FROM meta WHERE key = ?", (key,))
        return default if row is None else str(row["value"])

    def put(self, key: str, value: str) -> None:
        """Remember a single value; inside :meth:`transaction`."""
        self.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                     (key, value))

    def close(self) -> None:
        self._connection.close()
