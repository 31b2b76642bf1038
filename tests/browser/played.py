"""Results for the scene, computed by the real apps over a small federation in this process."""

from __future__ import annotations

from typing import Any

import numpy as np

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

ROWS = 600


def _departments(columns: list[dict[str, Any]]) -> dict[str, dict[str, LocalResource]]:
    schema = {one["name"]: Column(one["name"], one["type"], one["identifier"], tuple(one["domain"]), one.get("lower"),
                                  one.get("upper"), one.get("resolution"), one.get("unit", "")) for one in columns}
    return {f"n{at}": {"inpatients": LocalResource.arrays(_rows(np.random.default_rng(at), at), schema)} for at in range(4)}


def _rows(random: Any, at: int) -> dict[str, Any]:
    """Inpatients of one hospital: cost and risk rise with age, blood pressure and stay."""
    age = random.integers(0, 96, ROWS)
    systolic = np.clip(random.normal(112 + 0.35 * age, 14), 80, 220).round(0)
    cholesterol = np.clip(random.normal(4.2 + 0.012 * age, 0.8), 1, 12).round(2)
    days = np.clip(random.poisson(3 + age / 14), 1, 60)
    cost = np.clip(random.normal(2600 + 1150 * days + 40 * age, 2300), 100, 80000).round(2)
    risk = 1 / (1 + np.exp(-(-4.6 + 0.028 * age + 0.011 * systolic + 0.08 * days)))
    month = random.integers(1, 13, ROWS)
    return {"id_number": [f"p{at}{row:05d}" for row in range(ROWS)], "age": age, "systolic": systolic, "cholesterol": cholesterol,
            "cost": cost + 900 * np.cos(month / 6 * np.pi), "days": days, "month": month, "readmitted": random.random(ROWS) < risk,
            "district": np.array(["城北", "城东", "城南", "城西"])[random.integers(0, 4, ROWS)],
            "age_group": np.array(["0-17", "18-39", "40-59", "60+"])[np.digitize(age, (18, 40, 60))]}


def computed(columns: list[dict[str, Any]], app: str, params: dict[str, Any], privacy: dict[str, Any] | None = None
             ) -> tuple[dict[str, Any], list[tuple[int, int, str, dict[str, Any]]]]:
    """An app's content, and what it told on its way: ``(round, rounds, code, args)``."""
    told: list[tuple[int, int, str, dict[str, Any]]] = []

    def tell(round_: int, rounds: int, code: str, /, **args: Any) -> None:
        if code != "round_opening":  # the coordinator keeps that to itself
            told.append((round_, rounds, code, args))

    with _federation(columns, privacy) as federation:
        content = federation.run(app, params, progress=tell)
    return content, told


def _federation(columns: list[dict[str, Any]], privacy: dict[str, Any] | None) -> LocalFederation:
    from shuyan.trust.grants import PrivacyTerms

    more = {"release": "dp", "privacy": PrivacyTerms.model_validate(privacy)} if privacy else {}
    granted = [one for one in columns if privacy or not one["identifier"]]
    return LocalFederation(_departments(granted), grant=more)


__all__ = ["computed"]
