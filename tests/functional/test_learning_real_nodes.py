"""Models trained over three real node processes, up to the released result: exactly, and with noise that is paid for."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo.layout import DEVELOPER
from tests.factories.town import Town, department, town

import shuyan
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

pytestmark = pytest.mark.slow

DEPARTMENTS = [department(slug, name) for slug, name in (("east", "东区医院"), ("west", "西区医院"), ("north", "北区医院"))]
COLUMNS = ["age", "dose", "ward", "ill"]
PRIVACY = {"unit": "person", "unit_columns": {"cases": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1, "delta": 1e-6,
           "rho_nano": 200 * 10**9, "honest_fraction": 0.66}
EACH = 20 * 10**9
WARDS = ["a", "b", "c", "d"]
SCHEMA = {"age": Column("age", "integer"), "dose": Column("dose", "number"), "ward": Column("ward", "string", domain=tuple(WARDS)),
          "ill": Column("ill", "integer")}
JOBS: dict[str, dict[str, Any]] = {
    "boosting": {"resource": "cases", "target": "ill", "features": ["age", "dose", "ward"], "rounds": 6, "max_depth": 3,
                 "validation": 0.2},
    "network": {"resource": "cases", "target": "ill", "features": ["age", "dose", "ward"], "rounds": 5, "hidden": [4]},
}
NOISY: dict[str, dict[str, Any]] = {
    "regression": {"family": "logistic", "target": "ill", "features": ["age", "dose"], "standardise": "bounds"},
    "boosting": {"target": "ill", "features": ["age", "dose", "ward"], "rounds": 4, "max_depth": 2},
    "network": {"target": "ill", "features": ["age", "dose", "ward"], "rounds": 5, "hidden": [4], "update": "gradient", "row_clip": 1.0,
                "standardise": "bounds"},
    "clustering": {"features": ["age", "dose"], "clusters": 2, "noisy_rounds": 3},
    "components": {"features": ["age", "dose"]},
}


def table(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    age, dose, ward = random.integers(20, 90, 240), random.gamma(2, 3, 240).round(1), random.choice(WARDS, 240)
    odds = (age - 55) / 12 - dose / 5 + 2 * (ward == "c")
    return {"age": age, "dose": dose, "ward": ward, "ill": (random.random(240) < 1 / (1 + np.exp(-odds))).astype(int)}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, list[shuyan.Resource]]]:
    with town(DEPARTMENTS) as running:
        running.enrol_all()
        files: dict[str, Path] = {}
        for number, one in enumerate(DEPARTMENTS):
            files[one.slug] = tmp_path_factory.mktemp(one.slug) / "cases.csv"
            with files[one.slug].open("w", newline="") as out:
                writer = csv.writer(out)
                writer.writerow([*COLUMNS, "pid"])
                people = [f"{one.slug}-{person}" for person in range(240)]
                writer.writerows(zip(*(table(number)[name].tolist() for name in COLUMNS), people, strict=True))
        resources = running.offer("cases", files, ["age", "dose", "ill"], [f"ward={','.join(WARDS)}"], identifiers=["pid"],
                                  bounds={"age": (0, 100), "dose": (0, 30)}, sector="health", grade=3)
        yield running, resources


@pytest.fixture(scope="module")
def exact(market: tuple[Town, list[shuyan.Resource]]) -> tuple[Town, str]:
    return market[0], market[0].grant(market[1], COLUMNS, apps=tuple(JOBS))


@pytest.mark.parametrize("app", list(JOBS))
def test_the_model_is_that_of_a_local_federation(exact: tuple[Town, str], app: str) -> None:
    running, grant = exact

    content = running.compute(grant, app, JOBS[app])

    nodes = {f"node-{number}": {"cases": LocalResource.arrays(table(number), SCHEMA)} for number in range(3)}
    with LocalFederation(nodes) as federation:
        assert content == federation.run(app, JOBS[app])


def test_with_noise_every_model_is_paid_from_the_departments_budgets(market: tuple[Town, list[shuyan.Resource]]) -> None:
    running, resources = market
    running.in_parallel(lambda one: running.node_command(one, "budget", "set", "cases", "--cap-rho", "1000", "--renew", "never"))
    grant = running.grant(resources, COLUMNS, apps=tuple(NOISY), privacy=PRIVACY)
    spent = 0
    for app, params in NOISY.items():
        content = running.compute(grant, app, {"resource": "cases", "rho_nano": EACH, **params})
        assert 0 < content["privacy"]["rho_nano"] <= EACH, app
        spent += content["privacy"]["rho_nano"]

    developer = running.connect(DEVELOPER)

    def told() -> bool:
        budgets = [one for one in developer.budgets(grant) if one.scope == "grant"]
        return len(budgets) == 3 and all(one.spent_nano == spent for one in budgets)

    running.wait_for(told, "every node's budget, charged with what the results say")
