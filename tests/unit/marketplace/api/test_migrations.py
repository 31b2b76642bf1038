"""The migrations and the models describe the same database, on both databases, and go up and down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import DateTime, String, inspect, text
from sqlmodel.sql.sqltypes import AutoString

from marketplace import db, migrations, tables


def _differences(url: str) -> list[object]:
    engine = db.make_engine(url, writer=True)

    def same(_c: object, _i: object, _m: object, found: object, wanted: object) -> bool | None:
        if isinstance(wanted, db.UtcDateTime):
            return not isinstance(found, DateTime)
        return not isinstance(found, String) if isinstance(wanted, AutoString) else None

    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": same})
            return list(compare_metadata(context, tables.metadata))
    finally:
        engine.dispose()


def _tables(url: str) -> set[str]:
    engine = db.make_engine(url, writer=False)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def _check(url: str) -> None:
    first = migrations.upgrade(url)
    assert migrations.upgrade(url) == first != "-"
    assert _differences(url) == []
    assert set(tables.metadata.tables) < _tables(url)
    command.downgrade(migrations.configuration(url), "base")
    assert _tables(url) == {"alembic_version"}
    assert migrations.upgrade(url) == first


def test_on_sqlite(tmp_path: Path) -> None:
    _check(f"sqlite:///{tmp_path / 'market.sqlite'}")


@pytest.mark.needs_postgres
def test_on_postgresql(postgres_server: str) -> None:
    name = f"migrations_{os.urandom(4).hex()}"
    engine = db.make_engine(f"postgresql://postgres@/postgres?host={postgres_server}", writer=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    _check(f"postgresql://postgres@/{name}?host={postgres_server}")
