"""A real, fresh database for every marketplace test: SQLite, and PostgreSQL where its binaries are.

``database`` runs a test on both; ``sqlite_database`` on SQLite alone. Both point the settings at a data folder of the
test's own, with the log's key in it, so that services, faces and commands under test all see the same market.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session

from marketplace import db, tables
from marketplace.settings import Settings, settings
from marketplace.trust.service import ensure_log_key


@dataclass(frozen=True)
class Database:
    """The database of one test."""

    url: str
    settings: Settings

    def transaction(self) -> AbstractContextManager[Session]:
        """A writing use case: commits at the end, rolls back on an exception."""
        return db.transaction()

    def reading(self) -> AbstractContextManager[Session]:
        """A consistent read."""
        return db.reading()

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with every table, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite"
    engine = db.make_engine(f"sqlite:///{path}", writer=True)
    tables.metadata.create_all(engine)
    engine.dispose()  # closing the last connection folds the write-ahead log into the file
    return path


def _postgres_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of our own on a Unix socket; yields the socket folder. Skips where there is none."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server binaries are not installed here")
    account: dict[str, object] = {}
    folder = Path(tempfile.mkdtemp(prefix="shuyan-pg-"))
    if os.geteuid() == 0:  # the server refuses to run as root
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
        try:
            shutil.chown(folder, "postgres", "postgres")
        except LookupError:
            folder.rmdir()
            pytest.skip("PostgreSQL cannot run as root and there is no postgres account here")
    quiet = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, **account}
    data = folder / "data"
    subprocess.run([binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                    "--locale=C.UTF-8"], **quiet)
    # Nothing here outlives the run, so durability is off: it is what makes a database a test affordable.
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c full_page_writes=off"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"], **quiet)
    try:
        yield str(folder)
    finally:
        subprocess.run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], **quiet)
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_url(folder: str, name: str) -> str:
    return f"postgresql://postgres@/{name}?host={folder}"


def _administer(folder: str, statement: str) -> None:
    engine = db.make_engine(_postgres_url(folder, "postgres"), writer=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """A template database with every table; yields the socket folder."""
    _administer(postgres_server, "CREATE DATABASE shuyan_template")
    engine = db.make_engine(_postgres_url(postgres_server, "shuyan_template"), writer=True)
    tables.metadata.create_all(engine)
    engine.dispose()
    return postgres_server


def _use(url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("SHUYAN_DATA_DIR", str(data_dir))
    monkeypatch.setenv("SHUYAN_DATABASE_URL", url)
    settings.cache_clear()
    db._engines.cache_clear()
    ensure_log_key(settings())
    try:
        yield Database(url, settings())
    finally:
        db.writer_engine().dispose()
        db.reader_engine().dispose()
        db._engines.cache_clear()
        settings.cache_clear()


@pytest.fixture
def sqlite_database(tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A fresh market on SQLite."""
    data_dir = tmp_path / "market"
    data_dir.mkdir()
    shutil.copy(sqlite_template, data_dir / "market.sqlite")
    yield from _use(f"sqlite:///{data_dir / 'market.sqlite'}", data_dir, monkeypatch)


@pytest.fixture
def postgres_database(tmp_path: Path, request: pytest.FixtureRequest,
                      monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A fresh market on PostgreSQL."""
    folder = request.getfixturevalue("postgres_template")
    data_dir = tmp_path / "market"
    data_dir.mkdir()
    name = f"market_{os.urandom(6).hex()}"
    _administer(folder, f"CREATE DATABASE {name} TEMPLATE shuyan_template")
    yield from _use(_postgres_url(folder, name), data_dir, monkeypatch)
    _administer(folder, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    """A fresh market, once on each database we support."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found
