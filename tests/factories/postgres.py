"""A PostgreSQL server of a test's own, on a Unix socket; it can be stopped and started again under those who use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from marketplace import db


class Absent(Exception):
    """There is no PostgreSQL to start here; the text says why."""


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    if found:
        return found[0].parent
    if on_path:
        return Path(on_path).parent
    raise Absent("PostgreSQL's server binaries are not installed here")


def _memory() -> str | None:
    """A folder in memory, if there is one with room: what makes and drops databases by the dozen is the disk."""
    shared = Path("/dev/shm")
    return str(shared) if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2 * 1024**3 else None


class Server:
    """A fresh cluster in a temporary folder; ``folder`` also holds the socket.

    Raises:
        Absent: no binaries, or no account it could run as.
    """

    def __init__(self) -> None:
        self._bin = _binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="shuyan-pg-", dir=_memory()))
        account: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            account = {"user": "postgres", "group": "postgres", "extra_groups": []}
            try:
                shutil.chown(self.folder, "postgres", "postgres")
            except LookupError:
                self.folder.rmdir()
                raise Absent("PostgreSQL cannot run as root and there is no postgres account here") from None
        self._quiet: dict[str, Any] = {
            "check": True, "cwd": self.folder, "stdout": subprocess.DEVNULL, **account}
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        # Nothing here outlives the run, so durability is off: it is what makes a database a test affordable.
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, cutting every connection, as a crash would."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        """Delete the cluster of a stopped server."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._bin / program, "-D", self.folder / "data", *arguments], **self._quiet)


def url_of(folder: str | Path, name: str) -> str:
    """The SQLAlchemy URL of a database on the server whose socket is in ``folder``."""
    return f"postgresql://postgres@/{name}?host={folder}"


def administer(folder: str | Path, statement: str) -> None:
    """Run one statement that takes no transaction, such as ``CREATE DATABASE``."""
    with _administering(folder) as connection:
        connection.execute(text(statement))


def copy(folder: str | Path, template: str, name: str) -> None:
    """A new database like another, its files copied where the server knows how: with small ones that takes half the time."""
    with _administering(folder) as connection:
        files = " STRATEGY = FILE_COPY" if (connection.dialect.server_version_info or (0,)) >= (15,) else ""
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}{files}"))


@contextmanager
def _administering(folder: str | Path) -> Iterator[Connection]:
    engine = db.make_engine(url_of(folder, "postgres"), writer=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()
