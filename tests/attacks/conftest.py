"""A city whose hospitals hold people's data, attackers with a valid grant, and the figures attacks come to.

Every attack runs on real federations: grants, checks, masks and openings included. Each prints its figure for
``docs/threat-model.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shuyan.federation.differencing import Asked, Basis, GuardRules, MemoryGuard
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

SCHEMA = {
    "age": Column("age", "integer", lower=0, upper=120, resolution=1),
    "sex": Column("sex", "string", domain=("f", "m")),
    "district": Column("district", "string", domain=("east", "north", "south", "west")),
    "ward": Column("ward", "string", domain=("a", "b", "c", "d", "e")),
    "cost": Column("cost", "number", lower=0, upper=1_000_000),
    "ill": Column("ill", "integer", domain=("0", "1")),
}
COHORT = 10
ROWS = 400

Tables = dict[str, dict[str, Any]]
City = Callable[..., LocalFederation]


def hospital(seed: int) -> dict[str, Any]:
    """One hospital's patients."""
    random = np.random.default_rng(seed)
    return {
        "age": random.integers(0, 100, ROWS), "sex": random.choice(["f", "m"], ROWS).astype(object),
        "district": random.choice(["east", "north", "south", "west"], ROWS, p=[0.4, 0.3, 0.2, 0.1]).astype(object),
        "ward": random.choice(["a", "b", "c", "d", "e"], ROWS, p=[0.4, 0.3, 0.2, 0.08, 0.02]).astype(object),
        "cost": random.integers(100, 90_000, ROWS).astype(float), "ill": (random.random(ROWS) < 0.1).astype(np.int64),
    }


class NoGuard(MemoryGuard):
    """A node without a differencing guard: what an attack comes to where nothing holds it up."""

    def answer(self, asked: Asked, minimum: int) -> None:
        """Anything goes."""

    def open(self, basis: Basis) -> None:
        """With anybody."""


@pytest.fixture
def tables() -> Tables:
    return {f"hospital-{number}": hospital(number) for number in range(5)}


@pytest.fixture
def city(tables: Tables) -> Iterator[City]:
    """Makes federations of the hospitals."""
    made: list[LocalFederation] = []

    def make(*, guarded: bool = True, rules: GuardRules | None = None, record: bool = False, **grant: Any) -> LocalFederation:
        resources = {name: {"patients": LocalResource.arrays(table, SCHEMA)} for name, table in tables.items()}
        federation = LocalFederation(resources, record=record, guard=rules, grant={"minimum_cohort": COHORT, **grant})
        made.append(federation)
        if not guarded:
            for node in federation.nodes.values():
                node.guard = NoGuard()
        return federation

    yield make
    for federation in made:
        federation.close()


@pytest.fixture
def figure(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]) -> Callable[[str, object], None]:
    """Tell what an attack came to."""
    def tell(what: str, value: object) -> None:
        record_property(what, value)
        with capsys.disabled():
            print(f"\n[figure] {what}: {value}")
    return tell
