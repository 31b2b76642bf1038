"""The database: one engine for writers, one for readers, and the transaction that every use case runs in.

SQLite: the stock driver behaviour loses concurrent commits, so transactions are begun by us (``BEGIN IMMEDIATE`` for
writers), with WAL and ``synchronous=FULL``. PostgreSQL: READ COMMITTED with explicit row locks, ordered by id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Engine, Integer, TypeDecorator, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from marketplace.clock import utc_now as utc_now
from marketplace.settings import settings
from marketplace.text import storable as storable

JSONType = JSON().with_variant(JSONB(), "postgresql")
BigInt = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[dt.datetime]):
    """Aware UTC datetimes in every database; a naive one is a programming error."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Any) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: dt.datetime | None, dialect: Any) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def make_engine(url: str, *, writer: bool) -> Engine:
    """An engine with our transaction rules; ``writer`` decides how SQLite transactions begin.

    Parameters are hidden in errors: they end up in logs, and may be personal or secret.
    """
    if not url.startswith("sqlite"):
        return create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_pre_ping=True,
                             pool_size=10, max_overflow=10, pool_recycle=1800, pool_timeout=10, hide_parameters=True,
                             # a server that vanished with its network is given up in seconds, not in minutes
                             connect_args={"connect_timeout": 5, "tcp_user_timeout": 10_000, "options": _options(url)})
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": 30, "check_same_thread": False},
                           hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")
        if not writer:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def _options(url: str) -> str:
    """PostgreSQL's settings for our connections, after those of the URL. A plan depends on how frequent the word or value asked for
    is, so none is kept for the next question; and compiling a query takes longer than any of ours should run.
    """
    given = make_url(url).query.get("options", ())
    return " ".join([*((given,) if isinstance(given, str) else given), "-c plan_cache_mode=force_custom_plan", "-c jit=off"])


def is_unavailable(error: BaseException) -> bool:
    """Whether ``error`` means that the database cannot be used for the moment: gone, starting, full, locked for long."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, (OperationalError, InterfaceError, PoolTimeout))


@lru_cache(maxsize=4)
def _engines(url: str) -> tuple[Engine, Engine]:
    return make_engine(url, writer=True), make_engine(url, writer=False)


def writer_engine() -> Engine:
    return _engines(settings().resolved_database_url)[0]


def reader_engine() -> Engine:
    return _engines(settings().resolved_database_url)[1]


def dispose() -> None:
    """Close every idle connection of this process; to be called before it forks."""
    for engine in _engines(settings().resolved_database_url):
        engine.dispose()
    _engines.cache_clear()


@contextmanager
def transaction() -> Iterator[Session]:
    """One use case: commits on success, rolls back on any exception."""
    with Session(writer_engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """A consistent read."""
    with Session(reader_engine(), expire_on_commit=False) as session, session.begin():
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield session
