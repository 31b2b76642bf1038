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
from sqlalchemy import Boolean, DateTime, MetaData, String, inspect, text
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
        "api_client": {"client_id": "client_1", "organisation_id": "org_1", "name": "app", "secret_hash": "s", "scope": "read"},
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
        assert connection.execute(text("SELECT client_id, grants, redirect_uris FROM api_client")).all() in (
            [("client_1", '["client_credentials"]', "[]")], [("client_1", ["client_credentials"], [])])
        assert connection.execute(text("SELECT count(*) FROM account WHERE email_verified_at = created_at")).scalar() == 1
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


def _check_products_on_sale(url: str) -> None:
    """What was on sale and under review before 0016 is found and routed after it."""
    _fill_first(url)
    migrations.upgrade(url, "0015")
    engine = db.make_engine(url, writer=True)
    now = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    product = {"organisation_id": "org_1", "tier": 2, "sector": "finance", "delivery_form": "api", "title_en": "Statistics", "status": "listed",
               "current_version_id": "ver_1", "listed_at": now}
    rows: list[tuple[str, dict[str, object]]] = [
        ("organisation", {"id": "org_dep", "kind": "source_department", "name_zh": "部门", "name_en": "Department"}),
        ("organisation", {"id": "org_far", "kind": "source_department", "name_zh": "外地", "name_en": "Elsewhere"}),
        ("organisation", {"id": "org_ind", "kind": "industry_department", "name_zh": "行业", "name_en": "Industry"}),
        ("node", {"id": "node_1", "organisation_id": "org_dep", "certificate_serial": "1"}),
        ("job_output", {"id": "out_1", "job_id": "job_1", "run_id": "run_1", "form": "statistics", "digest": "d", "participants": ["node_1"]}),
        ("egress_review", {"id": "rev_1", "job_id": "job_1", "output_id": "out_1", "status": "pending", "checks": []}),
        *(("review_opinion", {"id": f"op_{who}", "kind": "demand", "subject": "dem_1", "version": 1, "stage": "review",
                              "organisation_id": f"org_{who}", "party": party, "status": "approved", "struck": [], "comments": {}})
          for who, party in (("dep", "source_department"), ("far", "source_department"), ("ind", "industry_department"))),
        ("product_version", {"id": "ver_1", "product_id": "prod_1", "number": 1, "job_id": "job_1", "output_id": "out_1", "manifest": {},
                             "sample": {}, "status": "listed", "registration_code": "SZ-2026-2-000001-C"}),
        *(("price_plan", {"id": f"plan_{number}", "product_id": f"prod_{number}", "access_fee_fen": 5_000_000, "call_fee_fen": 1,
                          "status": "active", "currency": "CNY"}) for number in (1, 2)),
        ("audit_event", {"index": 0, "tag": "metering:usage:sealed", "subject": "prod_1", "leaf": '{"data":{"count":7}}', "leaf_hash": "h"}),
    ]
    found = MetaData()
    with engine.begin() as connection:
        found.reflect(connection)

        def put(name: str, row: dict[str, object]) -> None:
            table = found.tables[name]
            times = {column.name: now for column in table.columns if isinstance(column.type, DateTime) and not column.nullable}
            filled: dict[str, object] = {column.name: "" if isinstance(column.type, String) else False if isinstance(column.type, Boolean) else 0
                                         for column in table.columns if not column.nullable and column.name not in times}
            connection.execute(table.insert().values(filled | times | row))

        for number, title in ((1, "企业税收统计"), (2, "税收季报")):
            put("product", {**product, "id": f"prod_{number}", "title_zh": title})
        put("product", {**product, "id": "prod_3", "title_zh": "停售", "status": "suspended", "suspended_by": "system",
                        "reason": "协议已终止 The agreement has ended"})
        connection.execute(found.tables["grant_record"].update().values(mode="field"))
        connection.execute(found.tables["data_demand"].update().values(version=1))
        for name, row in rows:
            put(name, row)
    engine.dispose()
    migrations.upgrade(url)
    engine = db.make_engine(url, writer=False)
    with engine.connect() as connection:
        listed = connection.execute(text("SELECT product_id, band, calls FROM product_listing ORDER BY product_id")).all()
        assert listed == [("prod_1", "high", 7), ("prod_2", "high", 0)]
        counted = "SELECT organisation_id, sector, delivery_form, tier, band, count FROM product_listing_count"
        assert connection.execute(text(counted)).all() == [("org_1", "finance", "api", 2, "high", 2)]
        hits = connection.execute(text("SELECT count(*) FROM product_listing_word WHERE word IN ('税收', 'statistics')"))
        assert hits.scalar_one() == 4
        asked = connection.execute(text("SELECT party, organisation_id, decision FROM egress_opinion ORDER BY party")).all()
        assert asked == [("industry_department", "org_ind", "pending"), ("source_department", "org_dep", "pending")]
        assert connection.execute(text("SELECT reason, reason_code FROM product WHERE id = 'prod_3'")).all() == [("", "agreement_ended")]
    engine.dispose()


def test_products_on_sale_are_found_after_an_upgrade_on_sqlite(tmp_path: Path) -> None:
    _check_products_on_sale(f"sqlite:///{tmp_path / 'market.sqlite'}")


@pytest.mark.needs_postgres
@pytest.mark.parametrize("check", [_check, _check_with_rows, _check_products_on_sale])
def test_on_postgresql(postgres_server: str, check: Callable[[str], None]) -> None:
    name = f"migrations_{os.urandom(4).hex()}"
    engine = db.make_engine(f"postgresql://postgres@/postgres?host={postgres_server}", writer=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    check(f"postgresql://postgres@/{name}?host={postgres_server}")
