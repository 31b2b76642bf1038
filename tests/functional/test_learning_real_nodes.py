"""Boosted trees and a network trained over three real node processes, up to the released result."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.factories.town import Town, department, town

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

pytestmark = pytest.mark.slow

DEPARTMENTS = [department(slug, name) for slug, name in (("east", "东区医院"), ("west", "西区医院"), ("north", "北区医院"))]
COLUMNS = ["age", "dose", "ward", "ill"]
WARDS = ["a", "b", "c", "d"]
SCHEMA = {"age": Column("age", "integer"), "dose": Column("dose", "number"), "ward": Column("ward", "string", domain=tuple(WARDS)),
          "ill": Column("ill", "integer")}
JOBS: dict[str, dict[str, Any]] = {
    "boosting": {"resource": "cases", "target": "ill", "features": ["age", "dose", "ward"], "rounds": 6, "max_depth": 3,
                 "validation": 0.2},
    "network": {"resource": "cases", "target": "ill", "features": ["age", "dose", "ward"], "rounds": 5, "hidden": [4]},
}


def table(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    age, dose, ward = random.integers(20, 90, 240), random.gamma(2, 3, 240).round(1), random.choice(WARDS, 240)
    odds = (age - 55) / 12 - dose / 5 + 2 * (ward == "c")
    return {"age": age, "dose": dose, "ward": ward, "ill": (random.random(240) < 1 / (1 + np.exp(-odds))).astype(int)}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, str]]:
    with town(DEPARTMENTS) as running:
        running.enrol_all()
        files: dict[str, Path] = {}
        for number, one in enumerate(DEPARTMENTS):
            files[one.slug] = tmp_path_factory.mktemp(one.slug) / "cases.csv"
            with files[one.slug].open("w", newline="") as out:
                writer = csv.writer(out)
                writer.writerow(COLUMNS)
                writer.writerows(zip(*(table(number)[name].tolist() for name in COLUMNS), strict=True))
        resources = running.offer("cases", files, ["age", "dose", "ill"], [f"ward={','.join(WARDS)}"])
        yield running, running.grant(resources, COLUMNS, apps=tuple(JOBS))


@pytest.mark.parametrize("app", list(JOBS))
def test_the_model_is_that_of_a_local_federation(market: tuple[Town, str], app: str) -> None:
    running, grant = market

    content = running.compute(grant, app, JOBS[app])

    nodes = {f"node-{number}": {"cases": LocalResource.arrays(table(number), SCHEMA)} for number in range(3)}
    with LocalFederation(nodes) as federation:
        assert content == federation.run(app, JOBS[app])
