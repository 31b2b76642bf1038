"""The group-committing writer: many threads hand in calls, one thread makes them durable, batch by batch.

While a batch is being written the next one gathers, so one disk flush serves as many calls as came in meanwhile.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from marketplace import db
from marketplace.metering.files import FileStore
from marketplace.metering.rules import Outcome, Usage
from marketplace.metering.tables import TableStore, known_digests
from marketplace.settings import settings

MAXIMUM_BATCH = 1000


class Store(Protocol):
    """Where a batch becomes durable; the same contract test runs over every store."""

    def write(self, batch: Sequence[tuple[Usage, bool]]) -> list[Outcome]: ...

    def close(self) -> None: ...


class UsageWriter:
    """Hands calls of any number of threads to one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[tuple[Usage, bool, Future[Outcome]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="usage-writer", daemon=True)
        self._thread.start()

    def record(self, usage: Usage, *, chosen_key: bool, timeout: float = 30) -> Outcome:
        """Make one call durable and say whether it was new. Returns only when it is on disk.

        Raises:
            Exception: whatever the store failed with; the call may then be tried again under the same key.
        """
        future: Future[Outcome] = Future()
        self._queue.put((usage, chosen_key, future))
        return future.result(timeout)

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            ended = False
            while len(batch) < MAXIMUM_BATCH:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    ended = True
                    break
                batch.append(item)
            try:
                outcomes = self._store.write([(usage, chosen) for usage, chosen, _future in batch])
            except Exception as error:  # told to every waiting caller; the thread must live on
                for _usage, _chosen, future in batch:
                    future.set_exception(error)
            else:
                for (_usage, _chosen, future), outcome in zip(batch, outcomes, strict=True):
                    future.set_result(outcome)
            if ended:
                return

    def close(self) -> None:
        """Write what is queued, then let go of the store."""
        self._queue.put(None)
        self._thread.join(60)
        self._store.close()


_writers: dict[str, UsageWriter] = {}
_lock = threading.Lock()


def writer() -> UsageWriter:
    """The writer of this process for the current database."""
    url = settings().resolved_database_url
    found = _writers.get(url)
    if found is None:
        with _lock:
            found = _writers.get(url)
            if found is None:
                store: Store = (TableStore() if db.writer_engine().dialect.name == "postgresql"
                                else FileStore(settings().data_dir / "usage", known_digests))
                found = _writers[url] = UsageWriter(store)
    return found


def close_writers() -> None:
    """Close every writer of this process; the next call opens a new one."""
    with _lock:
        while _writers:
            _writers.popitem()[1].close()
