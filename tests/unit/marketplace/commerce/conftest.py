"""Tests of commerce: a stand-in for Stripe as its own process, and a market that takes cards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.factories.cards import CardMarket
from tests.factories.stripe import StandIn, accept_cards


@pytest.fixture(scope="session")
def stripe_process() -> Iterator[StandIn]:
    running = StandIn()
    yield running
    running.stop()


@pytest.fixture
def stripe(stripe_process: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in, and settings by which the market uses it. To be asked for after the database."""
    with accept_cards(stripe_process, tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def market(database: Any, stripe: StandIn) -> Any:
    """A market with a product on sale that takes cards, on each database."""
    return CardMarket(stripe)
