"""Rows edited behind the market's back are named; rows as they were written are not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from tests.factories.market import MODEL, STATISTICS, buy, make_city, make_product

from marketplace import db
from marketplace.commerce import service as commerce
from marketplace.pricing import service as pricing
from marketplace.products import service as products


def altered() -> list[str]:
    with db.reading() as session:
        return [one for domain in (products, pricing, commerce) for one in domain.altered_records(session)]


@pytest.fixture
def market(database: Any) -> Any:
    with db.transaction() as session:
        city = make_city(session)
        for content in (STATISTICS, MODEL):
            buy(session, city, make_product(session, city, content))
    return database


@pytest.mark.parametrize(("table", "change"), [
    ("purchase_order", "amount_fen = 1"), ("purchase_order", "currency = 'USD'"), ("purchase_order", "status = 'refunded'"), ("payment", "amount_fen = 1"),
    ("payment", "reference = 'another'"), ("entitlement", "included_calls = 1000000"), ("entitlement", "call_fee_fen = 0"),
    ("price_plan", "call_fee_fen = 0"), ("price_plan", "term_days = 9999"), ("product_version", "number = 7"),
    ("product_version", "manifest = '{}'"),
])
def test_a_changed_row_is_named(market: Any, table: str, change: str) -> None:
    assert altered() == []
    with db.transaction() as session:
        victim = session.scalar(text(f"SELECT min(id) FROM {table}"))
        session.execute(text(f"UPDATE {table} SET {change} WHERE id = :id"), {"id": victim})
    assert altered() == [victim]


def test_a_changed_result_is_named_by_its_version(market: Any) -> None:
    with db.transaction() as session:
        job = session.scalar(text("SELECT min(job_id) FROM job_output"))
        version = session.scalar(text("SELECT id FROM product_version WHERE job_id = :job"), {"job": job})
        session.execute(text("UPDATE job_output SET content = '{\"kind\": \"statistics\"}' WHERE job_id = :job"), {"job": job})
    assert altered() == [version]


def test_a_removed_and_an_added_row_are_named(market: Any) -> None:
    with db.transaction() as session:
        gone = session.scalar(text("SELECT min(id) FROM payment"))
        order = session.scalar(text("SELECT order_id FROM payment WHERE id = :id"), {"id": gone})
        session.execute(text("DELETE FROM payment WHERE id = :id"), {"id": gone})
        session.execute(text(
            "INSERT INTO price_plan (id, product_id, access_fee_fen, call_fee_fen, included_calls, term_days, currency, status, "
            "created_at) SELECT 'price_zzz', product_id, 1, 1, 1, 1, currency, 'replaced', created_at FROM price_plan "
            "WHERE id = (SELECT min(id) FROM price_plan)"))
    assert altered() == ["price_zzz", gone, order]  # which says that it is paid
