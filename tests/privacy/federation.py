"""A federation whose departments' rows belong to people, and how often a measurement is repeated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.trust.grants import PrivacyTerms

WARDS = tuple(f"w{number:02}" for number in range(40))
SCHEMA = {
    "pid": Column("pid", "string", identifier=True), "ward": Column("ward", "string", domain=WARDS),
    "cost": Column("cost", "number", lower=0.0, upper=100.0),
}


def repetitions(quick: int, full: int) -> int:
    """How often to measure: ``SHUYAN_PRIVACY_FULL=1`` asks for the whole of it, which takes minutes."""
    return full if os.environ.get("SHUYAN_PRIVACY_FULL") else quick


def visits(seed: int, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """One row a person."""
    random = np.random.default_rng(seed)
    return {"pid": np.array([f"p{number}" for number in range(rows)]), "ward": random.choice(WARDS, rows),
            "cost": random.beta(2, 5, rows) * 100}


PAIR_SCHEMA = {"pid": SCHEMA["pid"], "cost": SCHEMA["cost"], "days": Column("days", "number", lower=0.0, upper=60.0)}


def pairs(seed: int, rows: int, *, corner: bool) -> dict[str, np.ndarray[Any, Any]]:
    """One row a person, of two numbers; ``corner``: and one more person, at the bounds."""
    random = np.random.default_rng(seed)
    cost, days = random.beta(2, 5, rows) * 100, random.uniform(0, 60, rows)
    if corner:
        cost, days = np.append(cost, 100.0), np.append(days, 60.0)
    return {"pid": np.array([f"p{number}" for number in range(len(cost))]), "cost": cost, "days": days}


def paired(tables: Sequence[Mapping[str, Any]]) -> LocalFederation:
    """Departments with these."""
    return federation(tables, PAIR_SCHEMA)


def federation(tables: Sequence[Mapping[str, Any]], schema: Mapping[str, Column] = SCHEMA, **terms: Any) -> LocalFederation:
    """Those departments under a grant with differential privacy that never runs out."""
    privacy = PrivacyTerms.model_validate({
        "unit": "person", "unit_columns": {"visits": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
        "delta": 1e-6, "rho_nano": 10**15, "honest_fraction": 1.0, **terms})
    return LocalFederation({f"d{number}": {"visits": LocalResource.arrays(table, schema)}
                            for number, table in enumerate(tables)}, grant={"release": "dp", "privacy": privacy})
