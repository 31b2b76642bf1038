"""Use cases of metering: count a call exactly once, collect, seal into the audit log, and say how many there were."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Row, bindparam, update
from sqlmodel import Session, col, func, select

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.events import Tag
from marketplace.logging import get_logger
from marketplace.metering import files, tables
from marketplace.metering.errors import NOT_COUNTED
from marketplace.metering.models import UsageRecord
from marketplace.metering.rules import Outcome, Usage, seal_digest
from marketplace.metering.writer import writer
from marketplace.products import service as products
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

COLLECT_SECONDS = 1.0
SEAL_SECONDS = 30.0
_SEAL_BATCH = 10_000  # what one transaction seals: a few tenths of a second of the write lock


def record(usage: Usage, *, chosen_key: bool) -> bool:
    """Count one call durably; returns whether it is new (``False``: counted before under the same key).

    Raises:
        ProblemError: ``idempotency_mismatch`` if the key stands for another request, ``call_not_counted`` if the
            record could not be made durable: nothing may be delivered then.
    """
    try:
        outcome = writer().record(usage, chosen_key=chosen_key)
    except Exception as error:
        get_logger("metering").error("usage could not be recorded", exc_info=error)
        raise ProblemError(NOT_COUNTED) from error
    if outcome is Outcome.MISMATCH:
        raise ProblemError("idempotency_mismatch")
    return outcome is Outcome.NEW


def calls(session: Session, entitlement_id: str) -> int:
    """The calls counted on an entitlement, those not collected yet included."""
    collected = int(session.exec(select(func.count()).select_from(UsageRecord)
                                 .where(UsageRecord.entitlement_id == entitlement_id)).one())
    if session.get_bind().dialect.name == "postgresql":
        return collected
    waiting = sorted(files.pending(settings().data_dir / "usage", entitlement_id))
    for start in range(0, len(waiting), 500):
        part = waiting[start:start + 500]
        there = int(session.exec(select(func.count()).select_from(UsageRecord).where(
            UsageRecord.entitlement_id == entitlement_id, col(UsageRecord.idempotency_key).in_(part))).one())
        collected += len(part) - there
    return collected


def sealed_calls(session: Session, product_id: str) -> int:
    """The calls of a product's versions that were sealed, over all buyers."""
    return sum(int(json.loads(leaf)["data"]["count"]) for leaf in trust.leaves(session, product_id, Tag.USAGE_SEALED))


class Collector:
    """Moves records from usage files into the database and seals them. One at a time over all processes."""

    def __init__(self) -> None:
        self._readers: dict[Path, files.FileReader] = {}
        self._busy = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def collect(self, *, seal: bool = True, wait: float = 0) -> None:
        """One round; with ``seal`` every record without a seal gets one.

        While another collector is at work this waits up to ``wait`` seconds for it, then leaves the work to it.
        """
        with self._busy:
            if db.writer_engine().dialect.name == "postgresql":
                if seal:
                    seal_all()
                return
            folder = settings().data_dir / "usage"
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder / "collector.lock", wait)
            if lock is None:
                return
            try:
                for path in sorted(folder.glob("usage-*.sqlite")):
                    self._collect_file(path)
                if seal:
                    seal_all()
            finally:
                lock.release()

    def _collect_file(self, path: Path) -> None:
        reader = self._readers.get(path)
        if reader is None:
            reader = self._readers[path] = files.FileReader(path)
        reader.forget_collected()
        while True:
            batch, mark = reader.read()
            if not batch:
                return
            with db.transaction() as session:
                tables.insert_missing(session, batch)
            reader.collected(mark)

    def start(self) -> None:
        """Collect in the background every second; the web process does."""
        self._thread = threading.Thread(target=self._run, name="usage-collector", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        since_seal = SEAL_SECONDS
        while not self._stop.wait(COLLECT_SECONDS):
            since_seal += COLLECT_SECONDS
            try:
                self.collect(seal=since_seal >= SEAL_SECONDS)
            except Exception as error:  # tried again next second; the records stay where they are
                get_logger("metering").error("usage could not be collected", exc_info=error)
                continue
            if since_seal >= SEAL_SECONDS:
                since_seal = 0.0

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()


def collect_now() -> None:
    """Collect and seal at once, from a process that has no collector of its own running or does not want to wait."""
    collector = Collector()
    try:
        collector.collect(wait=5)
    finally:
        collector.close()


def _lock(path: Path, wait: float) -> files.FileLock | None:
    end = time.monotonic() + wait
    while True:
        try:
            return files.FileLock(path)
        except OSError:
            if time.monotonic() >= end:
                return None
            time.sleep(0.02)


def seal_all() -> int:
    """Seal every record that has no seal: one audit event for each product, with count and digest. Returns how many."""
    sealed = 0
    table = UsageRecord.__table__  # type: ignore[attr-defined]
    mark = update(table).where(table.c.entitlement_id == bindparam("e"),
                               table.c.idempotency_key == bindparam("k")).values(seal_index=bindparam("seal"))
    while True:
        with db.transaction() as session:
            rows = session.execute(select(*table.c).where(col(UsageRecord.seal_index).is_(None)).order_by(
                col(UsageRecord.entitlement_id), col(UsageRecord.idempotency_key)).limit(_SEAL_BATCH)
                .with_for_update(skip_locked=True)).all()
            if not rows:
                return sealed
            versions = products.versions_by_id(session, {row.product_version_id for row in rows})
            groups: dict[str, list[Row[Any]]] = {}
            for row in rows:
                groups.setdefault(versions[row.product_version_id].product_id, []).append(row)
            products.add_calls(session, {product_id: len(group) for product_id, group in groups.items()})
            for product_id, group in sorted(groups.items()):
                batch = [_usage(row) for row in group]
                index = trust.append(session, Tag.USAGE_SEALED, SYSTEM, product_id,
                                     related=sorted({row.product_version_id for row in group}),
                                     data={"count": len(batch), "digest": seal_digest(batch)})
                session.connection().execute(mark, [
                    {"e": row.entitlement_id, "k": row.idempotency_key, "seal": index} for row in group])
            sealed += len(rows)


def broken_seals(session: Session) -> list[int]:
    """The audit events whose usage records are no longer what was sealed: changed, removed or added to."""
    broken = []
    claimed = set(session.exec(select(UsageRecord.seal_index).where(col(UsageRecord.seal_index).is_not(None)).distinct()))
    after = -1
    while events := trust.events_for(session, None, after, 500):
        after = events[-1].index
        for event in events:
            if event.tag != Tag.USAGE_SEALED:
                continue
            stated = json.loads(event.leaf)["data"]
            batch = [_usage(row) for row in session.exec(select(UsageRecord).where(
                UsageRecord.seal_index == event.index))]
            claimed.discard(event.index)
            if (stated["count"], stated["digest"]) != (len(batch), seal_digest(batch)):
                broken.append(event.index)
            session.expunge_all()
    return sorted([*broken, *(index for index in claimed if index is not None)])


def _usage(row: UsageRecord | Row[Any]) -> Usage:
    return Usage(row.entitlement_id, row.idempotency_key, row.product_version_id, row.client_id, row.at,
                 row.request_digest)
