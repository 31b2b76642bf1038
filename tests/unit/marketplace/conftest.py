"""A real, fresh database for every marketplace test: SQLite, and PostgreSQL where its binaries are.

``database`` runs a test on both; ``sqlite_database`` on SQLite alone. Both point the settings at a data folder of the
test's own, with the log's key in it, so that services, faces and commands under test all see the same market.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlmodel import Session
from tests.factories import engines, postgres

from marketplace import db, tables
from marketplace.parties import accounts
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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of our own on a Unix socket; yields the socket folder. Skips where there is none."""
    try:
        server = postgres.Server()
    except postgres.Absent as absent:
        pytest.skip(str(absent))
    server.start()
    try:
        yield str(server.folder)
    finally:
        server.stop()
        server.remove()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """A template database with every table; yields the socket folder."""
    postgres.administer(postgres_server, "CREATE DATABASE shuyan_template")
    engine = db.make_engine(postgres.url_of(postgres_server, "shuyan_template"), writer=True)
    tables.metadata.create_all(engine)
    engine.dispose()
    return postgres_server


@pytest.fixture(scope="session", autouse=True)
def full_strength() -> Iterator[PasswordHasher]:
    """What the product hashes passwords with; tests hash at the least cost there is."""
    product = accounts._hasher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        patch.setattr(accounts, "_nobody_hash", accounts._hasher.hash("nobody"))
        yield product


def _use(url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("SHUYAN_DATA_DIR", str(data_dir))
    monkeypatch.setenv("SHUYAN_DATABASE_URL", url)
    monkeypatch.setattr(db, "_engines", engines.engines)
    settings.cache_clear()
    ensure_log_key(settings())
    try:
        yield Database(url, settings())
    finally:
        engines.release()
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
    postgres.copy(folder, "shuyan_template", name)
    yield from _use(postgres.url_of(folder, name), data_dir, monkeypatch)
    postgres.administer(folder, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    """A fresh market, once on each database we support."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found
