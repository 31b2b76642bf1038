"""The egress report on honest results: it finds no identifier in any golden answer, nor in any model of real data.

Membership audits of models trained on real data are measured here as well: ``pytest -s`` prints them as ``[figure] …``.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from marketplace.computing.egress import identifiers
from shuyan.federation.audit import lira
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not (DATA / "golden_sql.csv").is_file(), reason="the shared data sets are not beside the checkout"),
]

with_golden = list(csv.DictReader((DATA / "golden_sql.csv").open(newline="", encoding="utf-8"))) if (DATA / "golden_sql.csv").is_file() else []


@pytest.mark.parametrize("row", with_golden, ids=lambda row: row["name"])
def test_no_golden_answer_is_taken_for_an_identifier(row: dict[str, str]) -> None:
    content = {"kind": "table", "sql": row["sql"], "columns": [{"name": name, "type": "x"} for name in json.loads(row["columns"])],
               "rows": json.loads(row["answer"])}
    found = identifiers.findings(content)
    assert [one for one in found if one.severity == "fail"] == []


FEATURES = ("age", "education_num", "hours_per_week", "capital_gain", "capital_loss", "fnlwgt", "married", "female")


@pytest.fixture(scope="module")
def adult() -> Iterator[dict[str, LocalFederation]]:
    """The census rows, all of them and some, cut into four departments at random."""
    folder = DATA / "adult"
    frame = duckdb.sql(
        "SELECT age, education_num, hours_per_week, capital_gain, capital_loss, fnlwgt, "
        "CAST(marital_status LIKE 'Married%' AS INTEGER) AS married, CAST(sex = 'Female' AS INTEGER) AS female, "
        "y "
        f"FROM '{folder}/tax.parquet' JOIN '{folder}/civil_affairs.parquet' USING (id) JOIN '{folder}/social_security.parquet' USING (id) "
        "ORDER BY id").fetchnumpy()
    frame = {name: np.ma.filled(values.astype(np.float64), np.nan) for name, values in frame.items()}
    made = [_cut(frame, size) for size in (len(frame["y"]), 1_200)]
    yield dict(zip(("whole", "small"), made, strict=True))
    for one in made:
        one.close()


def _cut(frame: dict[str, np.ndarray], rows: int) -> LocalFederation:
    schema = {**{name: Column(name, "number") for name in FEATURES}, "y": Column("y", "integer")}
    parts = np.array_split(np.random.default_rng(0).permutation(len(frame["y"]))[:rows], 4)
    return LocalFederation({f"node-{place}": {"people": LocalResource.arrays(
        {name: values[part] for name, values in frame.items()}, schema)} for place, part in enumerate(parts)})


@pytest.mark.parametrize(("rows", "app", "params", "outcome"), [
    ("whole", "regression", {"family": "logistic", "l2": 1.0}, "passed"),
    # 50 rounds with SHUYAN_PRIVACY_FULL=1, which takes minutes
    ("whole", "boosting", {"rounds": 50 if os.environ.get("SHUYAN_PRIVACY_FULL") else 8, "max_depth": 4, "eta": 0.1,
                           "min_rows": 50}, "passed"),
    ("small", "boosting", {"rounds": 40, "max_depth": 8, "eta": 1.0, "reg_lambda": 0.0, "min_child_weight": 0.0}, "failed"),
])
@pytest.mark.timeout(900)
def test_models_of_real_people(adult: dict[str, LocalFederation], rows: str, app: str, params: dict[str, Any], outcome: str,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts: list[lira.Verdict] = []
    honest = lira.judge

    def seen(*args: Any) -> lira.Verdict:
        verdicts.append(honest(*args))
        return verdicts[-1]

    monkeypatch.setattr(lira, "judge", seen)
    audit = {"holdout": 0.1 if rows == "whole" else 0.3, "models": 8}
    content = adult[rows].run(app, {"resource": "people", "target": "y", "features": list(FEATURES),
                              **params, "audit": audit})
    shares = {name: max(one.share[name] for one in verdicts) for name in verdicts[0].share}
    bounds = {name: max(one.bound[name] for one in verdicts) for name in verdicts[0].bound}
    print(f"[figure] membership of {rows} {app} {params}: {content['audit']['passed']} passed, {content['audit']['failed']} failed, "
          f"{content['audit']['undecided']} undecided; worst share {shares}, bound {bounds}")
    assert content["audit"]["passed"] == (4 if outcome == "passed" else 0)
    assert bool(content["audit"]["failed"]) == (outcome == "failed")
    assert [one for one in identifiers.findings(content) if one.severity == "fail"] == []
