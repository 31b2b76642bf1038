"""The migrations and the models describe the same database, on both databases, and go up and down."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import DateTime, MetaData, String, inspect, text
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
            context = MigrationContext.configure(connection, opts={
                "compare_type": same, "include_name": lambda name, kind, _of: kind != "table" or not name.startswith("resource_words")})
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


def _fill_first(url: str) -> None:
    """A market of the first version, with a job under a grant."""
    migrations.upgrade(url, "0001")
    engine = db.make_engine(url, writer=True)
    rows: dict[str, dict[str, object]] = {
        "organisation": {"id": "org_1", "kind": "developer", "name_zh": "公司", "name_en": "Company"},
        "scenario": {"id": "scn_1", "organisation_id": "org_1", "title": "t", "purpose": "p", "sector": "finance",
                     "public_benefit": False, "status": "authorised"},
        "data_demand": {"id": "dem_1", "scenario_id": "scn_1", "organisation_id": "org_1", "body": {}, "status": "granted",
                        "reason": ""},
        "grant_record": {"id": "grant_1", "demand_id": "dem_1", "scenario_id": "scn_1", "organisation_id": "org_1",
                         "jws": "a.b.c", "digest": "sha256:0", "status": "active", "revocation_reason": ""},
        "job": {"id": "job_1", "organisation_id": "org_1", "submitted_by": "x", "grant_id": "grant_1", "title": "",
                "app_name": "statistics", "app_digest": "d", "params": {}, "status": "running", "round": 1, "rounds": 2,
                "error_args": {}, "cancel_requested": False, "waiting_for": {}, "idempotency_key": "k",
                "request_digest": "r"},
        "member": {"id": "mem_1", "organisation_id": "org_1", "email": "a@example.org", "display_name": "A", "roles": ["admin"],
                   "password_hash": "h", "session_epoch": 3},
        "run": {"id": "run_1", "job_id": "job_1", "attempt": 1, "participants": [], "status": "running"},
    }
    found = MetaData()
    with engine.begin() as connection:
        found.reflect(connection)
        now = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
        for name, row in rows.items():
            table = found.tables[name]
            times = {column.name: now for column in table.columns
                     if isinstance(column.type, DateTime) and not column.nullable}
            filled = {column.name: "" for column in table.columns if not column.nullable and column.name not in times}
            connection.execute(table.insert().values(filled | times | row))
    engine.dispose()


def _check_with_rows(url: str) -> None:
    _fill_first(url)
    migrations.upgrade(url)
    engine = db.make_engine(url, writer=False)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT claims_version FROM grant_record")).all() == [(1,)]
        assert connection.execute(text("SELECT id, question_digest, reused_from FROM job")).all() == [("job_1", "", None)]
        assert connection.execute(text("SELECT job_id FROM run")).all() == [("job_1",)]
        assert connection.execute(text("SELECT member.id, account.id, email, status, password_hash FROM member "
                                       "JOIN account ON account.id = account_id")).all() == [
            ("mem_1", "acct_1", "a@example.org", "active", "h")]
    engine.dispose()
    command.downgrade(migrations.configuration(url), "0001")
    assert migrations.upgrade(url) != "0001"


def test_on_sqlite(tmp_path: Path) -> None:
    _check(f"sqlite:///{tmp_path / 'market.sqlite'}")


def test_what_is_there_is_kept_on_sqlite(tmp_path: Path) -> None:
    _check_with_rows(f"sqlite:///{tmp_path / 'market.sqlite'}")


@pytest.mark.needs_postgres
@pytest.mark.parametrize("check", [_check, _check_with_rows])
def test_on_postgresql(postgres_server: str, check: Callable[[str], None]) -> None:
    name = f"migrations_{os.urandom(4).hex()}"
    engine = db.make_engine(f"postgresql://postgres@/postgres?host={postgres_server}", writer=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    check(f"postgresql://postgres@/{name}?host={postgres_server}")
