"""One coordinator at a time: two with the same executor id would run a live step twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Final

from sqlalchemy import text

from marketplace.computing.errors import COORDINATOR_RUNNING
from marketplace.db import make_engine
from marketplace.settings import Settings
from shuyan.problems import ProblemError

_KEY: Final = 0x5348_5559  # any number that is ours; PostgreSQL's advisory locks are named by numbers


@contextlib.contextmanager
def single_coordinator(settings: Settings, *, patience_seconds: float = 3.0) -> Iterator[None]:
    """Hold the lock while the block runs: a file in the data folder, and in PostgreSQL an advisory lock as well.

    Both vanish with the process, however it ends.

    Raises:
        ProblemError: ``coordinator_running``.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_seconds  # a predecessor may still be going
    with contextlib.ExitStack() as stack:
        file = os.open(settings.data_dir / "coordinator.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, file)
        while not _locked(file):
            _wait(deadline)
        url = settings.resolved_database_url
        if url.startswith("postgresql"):
            engine = make_engine(url, writer=True)
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect().execution_options(isolation_level="AUTOCOMMIT"))
            while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _KEY}):
                _wait(deadline)
        yield


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ProblemError(COORDINATOR_RUNNING)
    time.sleep(0.1)
