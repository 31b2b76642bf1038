"""Fed-Heart (FLamby) over four local hospitals, with FLamby's split and inputs and secure aggregation on.

FLamby (Ogier du Terrail et al., NeurIPS 2022) reports pooled-test accuracy .795 for pooled training and at best .785 for
federated training, as means over seeds 42 to 46, which there vary initial weights and the order of batches. Newton's
method on exact sums has neither: it ends at the same minimum from anywhere, so one run *is* the mean over the seeds.
The settings are the app's defaults (pooled standardisation by secure sums, l2 = 1), not chosen by looking at the test.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.scoring import score

HEART = Path(__file__).resolve().parents[3] / "shared" / "data" / "heart_disease"

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not HEART.is_dir(), reason="the shared data set heart_disease is not beside the checkout"),
]

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
NUMBERS = ("age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak")
FEATURES = [*NUMBERS, "cp", "restecg"]
SCHEMA = {
    **{name: Column(name, "number") for name in NUMBERS},
    "cp": Column("cp", "integer", domain=("1", "2", "3", "4")),
    "restecg": Column("restecg", "integer", domain=("0", "1", "2")),
    "sick": Column("sick", "integer"),
}
PARAMS = {"resource": "heart", "family": "logistic", "target": "sick", "features": FEATURES}


def rows(hospital: str, split: str) -> list[dict[str, float]]:
    """FLamby's rows of one hospital: ``num > 0`` is sick."""
    with (HEART / f"{hospital}.csv").open(newline="") as file:
        chosen = [row for row in csv.DictReader(file) if row["flamby_split"] == split]
    return [{**{name: float(row[name]) for name in FEATURES}, "sick": float(int(float(row["num"])) > 0)} for row in chosen]


@pytest.fixture(scope="module")
def federation() -> Any:
    tables = {
        hospital: {"heart": LocalResource.arrays(
            {name: np.array([row[name] for row in rows(hospital, "train")]) for name in SCHEMA}, SCHEMA)}
        for hospital in HOSPITALS
    }
    with LocalFederation(tables) as made:
        yield made


def accuracy(content: dict[str, Any]) -> float:
    """Pooled-test accuracy, scored the way a product delivers it."""
    tested = [row for hospital in HOSPITALS for row in rows(hospital, "test")]
    assert len(tested) == 254
    hits = [score(content, {name: row[name] for name in FEATURES})["label"] == row["sick"] for row in tested]
    return sum(hits) / len(hits)


def test_pooled_test_accuracy_reaches_the_published_pooled_training(federation: LocalFederation) -> None:
    content = federation.run("regression", PARAMS)

    assert (content["rows"], content["departments"], len(content["terms"])) == (486, 4, 13)
    assert content["converged"]
    assert accuracy(content) >= 0.795


def test_the_result_does_not_hang_on_the_penalty(federation: LocalFederation) -> None:
    """0.7874 would be one case fewer than the goal; over four orders of magnitude of l2 the model keeps it."""
    for l2 in (0.0, 0.1, 10.0, 100.0):
        assert accuracy(federation.run("regression", {**PARAMS, "l2": l2})) >= 0.790
