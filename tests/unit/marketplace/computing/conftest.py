"""A market with three departments and a grant."""

from __future__ import annotations

from typing import Any

import pytest
from tests.factories.federation import Zone, zone


@pytest.fixture
def market(database: Any) -> Zone:
    return zone()


@pytest.fixture
def small_market(sqlite_database: Any) -> Zone:
    return zone()
