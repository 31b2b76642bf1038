"""Small federations of known content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shuyan.federation.differencing import GuardRules
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

SCHEMA = {
    "amount": Column("amount", "number"),
    "age": Column("age", "integer"),
    "district": Column("district", "string", domain=("east", "north", "south", "west")),
    "year": Column("year", "number", domain=("2023", "2024")),
    "paid": Column("paid", "boolean"),
    "owner": Column("owner", "string", identifier=True),
    "note": Column("note", "string"),
}


def department(seed: int, rows: int = 200) -> dict[str, Any]:
    """One department's table."""
    random = np.random.default_rng(seed)
    return {
        "amount": random.normal(1e6, 3.0, rows),
        "age": random.integers(18, 90, rows),
        "district": random.choice(SCHEMA["district"].domain, rows).astype(object),
        "year": random.choice([2023.0, 2024.0], rows),
        "paid": random.random(rows) < 0.4,
        "owner": np.array([f"owner {index}" for index in range(rows)], dtype=object),
        "note": np.array(["x"] * rows, dtype=object),
    }


@pytest.fixture
def federate() -> Iterator[Callable[..., LocalFederation]]:
    """Makes federations from one dict of columns per department."""
    made: list[LocalFederation] = []

    def make(
        tables: list[dict[str, Any]], schema: dict[str, Column] = SCHEMA, *, record: bool = False,
        guard: GuardRules | None = None, **grant: Any
    ) -> LocalFederation:
        nodes = {f"node-{place}": {"cases": LocalResource.arrays(table, schema)} for place, table in enumerate(tables)}
        made.append(LocalFederation(nodes, record=record, grant=grant, guard=guard))
        return made[-1]

    yield make
    for federation in made:
        federation.close()
