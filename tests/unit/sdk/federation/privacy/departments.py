"""Departments whose rows belong to people, under a grant with differential privacy."""

from __future__ import annotations

from typing import Any

import numpy as np

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

SCHEMA = {
    "pid": Column("pid", "string", identifier=True), "ward": Column("ward", "string", domain=("a", "b", "c")),
    "cost": Column("cost", "number", lower=0.0, upper=100.0),
}
TERMS = {
    "unit": "person", "unit_columns": {"visits": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1, "delta": 1e-6,
    "rho_nano": 10**9, "honest_fraction": 0.5}
PARAMS = {"resource": "visits", "columns": ["cost"], "group_by": [[], ["ward"]], "bounds": {"cost": [0.0, 100.0]},
          "rho_nano": 10**7}


def visits(seed: int, rows: int = 400, people: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """Rows of as many people, or of fewer."""
    random = np.random.default_rng(seed)
    return {"pid": np.array([f"p{number % (people or rows)}" for number in range(rows)]),
            "ward": random.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2]), "cost": random.uniform(0, 100, rows)}


def federation(tables: list[dict[str, Any]] | None = None, *, record: bool = False, **terms: object) -> LocalFederation:
    """Three departments, unless told otherwise."""
    tables = [visits(seed) for seed in range(3)] if tables is None else tables
    from shuyan.trust.grants import PrivacyTerms

    return LocalFederation(
        {f"d{number}": {"visits": LocalResource.arrays(table, SCHEMA)} for number, table in enumerate(tables)},
        record=record, grant={"release": "dp", "privacy": PrivacyTerms.model_validate({**TERMS, **terms})})
