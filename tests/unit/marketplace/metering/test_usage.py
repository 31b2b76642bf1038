"""Every call is counted exactly once, whoever retries, whatever dies, and the seal tells when somebody edits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import select
from tests.factories.market import buy, make_city, make_product

from marketplace.commerce import service as commerce
from marketplace.metering import files, tables
from marketplace.metering import service as metering
from marketplace.metering.models import UsageRecord
from marketplace.metering.rules import Outcome, Usage, parse_timestamp, seal_digest, timestamp
from marketplace.metering.writer import close_writers
from marketplace.products import service as products
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@pytest.fixture(autouse=True)
def _writers() -> Iterator[None]:
    yield
    close_writers()


@pytest.fixture
def sold(database: Any) -> tuple[str, str, str]:
    """(entitlement, version, product) of a paid order."""
    return _sell(database)


def _sell(database: Any) -> tuple[str, str, str]:
    with database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        entitlement = commerce.entitlement_of_order(session, buy(session, city, product_id))
        assert entitlement is not None
        return entitlement.id, products.on_sale(session, product_id)[1].id, product_id


def _usage(sold: tuple[str, str, str], key: str, digest: str = "sha256:a") -> Usage:
    return Usage(sold[0], key, sold[1], "client_1", datetime.now(UTC), digest)


def _count(database: Any, entitlement: str) -> int:
    with database.reading() as session:
        return metering.calls(session, entitlement)


def test_a_retry_is_the_same_call(database: Any, sold: tuple[str, str, str]) -> None:
    assert metering.record(_usage(sold, "k"), chosen_key=True)
    assert not metering.record(_usage(sold, "k"), chosen_key=True)
    with pytest.raises(ProblemError, match="idempotency_mismatch"):
        metering.record(_usage(sold, "k", "sha256:b"), chosen_key=True)
    assert _count(database, sold[0]) == 1
    for _round in range(3):  # collected, forgotten in the file, and still known
        collector = metering.Collector()
        collector.collect()
        collector.collect()
        collector.close()
        assert not metering.record(_usage(sold, "k"), chosen_key=True)
        with pytest.raises(ProblemError, match="idempotency_mismatch"):
            metering.record(_usage(sold, "k", "sha256:b"), chosen_key=True)
        assert _count(database, sold[0]) == 1


def test_many_threads_with_the_same_keys(database: Any, sold: tuple[str, str, str]) -> None:
    keys = [f"k{number % 50}" for number in range(400)]
    collector = metering.Collector()
    with ThreadPoolExecutor(16) as pool:
        fresh = pool.map(lambda key: metering.record(_usage(sold, key), chosen_key=True), keys)
        for _round in range(4):
            collector.collect()
        assert sum(fresh) == 50
    collector.collect()
    collector.close()
    assert _count(database, sold[0]) == 50


def test_one_batch_may_hold_a_call_twice(database: Any, sold: tuple[str, str, str]) -> None:
    store = (files.FileStore(settings().data_dir / "usage", tables.known_digests) if database.is_sqlite
             else tables.TableStore())
    batch = [(_usage(sold, "a"), True), (_usage(sold, "a"), True), (_usage(sold, "a", "sha256:b"), True),
             (_usage(sold, "b"), False)]
    assert store.write(batch) == [Outcome.NEW, Outcome.REPEAT, Outcome.MISMATCH, Outcome.NEW]
    assert store.write(batch) == [Outcome.REPEAT, Outcome.REPEAT, Outcome.MISMATCH, Outcome.REPEAT]
    store.close()
    metering.collect_now()
    assert _count(database, sold[0]) == 2


def test_collected_before_it_was_acknowledged_is_not_counted_again(
        sqlite_database: Any, tmp_path: Path) -> None:
    sold = _sell(sqlite_database)
    store = files.FileStore(tmp_path / "other", tables.known_digests)
    with sqlite_database.transaction() as session:
        tables.insert_missing(session, [_usage(sold, "k")])
    batch = [(_usage(sold, "k"), True), (_usage(sold, "k", "sha256:b"), True)]
    assert store.write(batch) == [Outcome.REPEAT, Outcome.MISMATCH]
    store.close()
    assert files.pending(tmp_path / "other", sold[0]) == set()


def test_each_worker_has_a_file_of_its_own(tmp_path: Path) -> None:
    first, second = (files.FileStore(tmp_path, lambda _keys: {}) for _ in range(2))
    assert first.path != second.path
    first.close()
    third = files.FileStore(tmp_path, lambda _keys: {})
    assert third.path == first.path
    second.close()
    third.close()


def test_sealing_and_tampering(database: Any, sold: tuple[str, str, str]) -> None:
    for number in range(5):
        metering.record(_usage(sold, f"k{number}"), chosen_key=True)
    metering.collect_now()
    metering.collect_now()
    with database.reading() as session:
        sealed = [event for event in trust.events_for(session, sold[2], -1, 100)
                  if event.tag == "metering:usage:sealed"]
        assert len(sealed) == 1
        assert '"count":5' in sealed[0].leaf
        assert metering.broken_seals(session) == []
    metering.record(_usage(sold, "later"), chosen_key=True)
    metering.collect_now()
    with database.transaction() as session:
        session.execute(text("DELETE FROM usage_record WHERE idempotency_key = 'k3'"))
    with database.reading() as session:
        assert metering.broken_seals(session) == [sealed[0].index]
    with database.transaction() as session:
        session.execute(text("UPDATE usage_record SET seal_index = 0 WHERE idempotency_key = 'later'"))
    with database.reading() as session:
        assert metering.broken_seals(session)[:2] == [0, sealed[0].index]


def test_what_cannot_be_recorded_is_not_delivered(sqlite_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sold = _sell(sqlite_database)
    metering.record(_usage(sold, "a"), chosen_key=False)

    def full(*_args: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(files.FileStore, "write", full)
    with pytest.raises(ProblemError, match="call_not_counted"):
        metering.record(_usage(sold, "b"), chosen_key=False)
    monkeypatch.undo()


def test_kill_9_loses_nothing_acknowledged(database: Any, sold: tuple[str, str, str]) -> None:
    acknowledged: list[str] = []
    for name in ("one", "two"):
        child = subprocess.Popen([sys.executable, Path(__file__).with_name("usage_child.py"), sold[0], sold[1], name],
                                 stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(300)]
        child.kill()
        rest = child.stdout.read()
        child.wait()
        child.stdout.close()
        # the last line may have been cut in the middle
        acknowledged += [line.strip() for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]
    assert len(acknowledged) >= 600
    metering.collect_now()
    metering.collect_now()
    with database.reading() as session:
        stored = set(session.exec(select(UsageRecord.idempotency_key)))
        assert set(acknowledged) <= stored
        assert metering.calls(session, sold[0]) == len(stored)
    again = acknowledged[-1]
    assert not metering.record(_usage(sold, again, "sha256:x"), chosen_key=True)


def test_the_seal_does_not_depend_on_order() -> None:
    sold = ("ent", "ver", "prod")
    batch = [_usage(sold, f"k{number}") for number in range(3)]
    assert seal_digest(batch) == seal_digest(reversed(batch))
    assert parse_timestamp(timestamp(batch[0].at)) == batch[0].at
