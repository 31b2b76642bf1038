"""Departments with rows of one kind, and the same rows pooled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shuyan.federation.apps.regression._content import RegressionContent
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

SCHEMA = {
    "x": Column("x", "number"), "big": Column("big", "number"), "kind": Column("kind", "string", domain=("a", "b", "c")),
    "grade": Column("grade", "integer", domain=("1", "2")), "flat": Column("flat", "number"), "twin": Column("twin", "number"),
    "bad": Column("bad", "integer"), "price": Column("price", "number"), "visits": Column("visits", "integer"),
    "years": Column("years", "number"), "outcome": Column("outcome", "string", domain=("cured", "ill", "dead")),
    "split": Column("split", "string", domain=("test", "train")), "held": Column("held", "integer"),
}
DOMAINS = {"kind": ["a", "b", "c"], "grade": ["1", "2"]}
FEATURES = ["x", "big", "kind", "grade"]


def table(seed: int, rows: int) -> dict[str, Any]:
    """One department's rows."""
    random = np.random.default_rng(seed)
    x, big = random.normal(seed, 1.0, rows), random.normal(1e7, 50.0, rows)
    kind, grade = random.choice(["a", "b", "c"], rows).astype(object), random.integers(1, 3, rows)
    linear = 0.8 * (x - 1) - (big - 1e7) / 60 + 1.2 * (kind == "b") - 0.5 * grade
    years = random.uniform(0.5, 3.0, rows)
    ranked = linear + random.logistic(size=rows)
    return {
        "x": x, "big": big, "kind": kind, "grade": grade, "flat": np.full(rows, 0.1), "twin": 2 * x - (kind == "b"),
        "bad": (random.random(rows) < 1 / (1 + np.exp(-linear))).astype(int),
        "price": 3e5 + 2e4 * linear + random.normal(0, 1e4, rows), "visits": random.poisson(years * np.exp(0.3 * linear)),
        "years": years, "outcome": np.select([ranked < -1, ranked < 1], ["cured", "ill"], "dead").astype(object),
        "split": random.choice(["train", "test"], rows, p=[0.7, 0.3]).astype(object), "held": random.integers(0, 2, rows),
    }


TABLES = [table(seed, rows) for seed, rows in ((0, 300), (1, 160), (2, 140))]


def pooled(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """All departments' rows."""
    return {name: np.concatenate([np.asarray(part[name]) for part in tables]) for name in tables[0]}


def design(data: dict[str, Any]) -> np.ndarray:
    """The terms of ``FEATURES``."""
    return np.column_stack([data["x"], data["big"], data["kind"] == "b", data["kind"] == "c", data["grade"] == 2]).astype(float)


Fit = Callable[..., dict[str, Any]]


@pytest.fixture
def fit() -> Iterator[Fit]:
    """Fits a regression over departments; the content is what its model says."""
    made: list[LocalFederation] = []

    def run(tables: list[dict[str, Any]] = TABLES, grant: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        nodes = {f"node-{place}": {"cases": LocalResource.arrays(part, SCHEMA)} for place, part in enumerate(tables)}
        made.append(LocalFederation(nodes, grant=grant or {}))
        merged = {"resource": "cases", "features": FEATURES, **params}
        merged.setdefault("domains", {name: values for name, values in DOMAINS.items() if name in merged["features"]})
        content = made[-1].run("regression", merged)
        RegressionContent.model_validate(content)
        return content

    yield run
    for federation in made:
        federation.close()
