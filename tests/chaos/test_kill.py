"""A few kills in every test run; ``make chaos`` kills a hundred times."""

from __future__ import annotations

import pytest
from tests.chaos.play import play


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_or_doubled() -> None:
    outcome = play(kills=4, seed=7)
    assert outcome.findings.found == [], outcome.summary()
    assert outcome.client.ledger.sales
    assert outcome.kills.total() == 4
