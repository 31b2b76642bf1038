"""Tests of commerce: a stand-in for Stripe as its own process, and a market that takes cards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.factories.stripe import SECRET_KEY, WEBHOOK_SECRET, StandIn

from marketplace.settings import settings


@pytest.fixture(scope="session")
def stripe_process() -> Iterator[StandIn]:
    running = StandIn()
    yield running
    running.stop()


@pytest.fixture
def stripe(stripe_process: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in, and settings by which the market uses it. To be asked for after the database."""
    key, secret = tmp_path / "stripe.key", tmp_path / "stripe.webhook"
    key.write_text(SECRET_KEY + "\n")
    secret.write_text(WEBHOOK_SECRET + "\n")
    monkeypatch.setenv("SHUYAN_STRIPE_SECRET_KEY_FILE", str(key))
    monkeypatch.setenv("SHUYAN_STRIPE_WEBHOOK_SECRET_FILE", str(secret))
    monkeypatch.setenv("SHUYAN_STRIPE_API_BASE", stripe_process.base)
    settings.cache_clear()
    stripe_process.faults(down=0, lose=0, refunds="succeeded")
    yield stripe_process
    settings.cache_clear()


@pytest.fixture
def market(request: pytest.FixtureRequest, database: Any, stripe: StandIn) -> Any:
    """A market with a product on sale that takes cards, on each database."""
    from tests.factories.cards import CardMarket

    return CardMarket(stripe)
