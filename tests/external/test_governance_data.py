"""Classification, risk and codes on real data: keys are found, nothing harmless is taken for a number of a person."""

from __future__ import annotations

import csv
from collections import Counter

import duckdb
import pytest
from tests.factories.town import SHARED_DATA

from node_agent.classify import classify
from node_agent.risk import measure_risk
from node_agent.views_functions import divisions

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the public data sets are not beside this checkout"),
]


def files():
    return sorted(path for kind in ("csv", "parquet") for path in SHARED_DATA.glob(f"*/*.{kind}"))


def suggested(path, sample=2_000):
    kind = path.suffix.removeprefix(".")
    return {column.name: column for column in classify(kind, str(path), rows=1, sample=sample, steps=False).columns}


def test_no_column_of_public_data_is_certainly_an_identifier():
    """What would refuse a registration must not fire on measurements, codes and categories."""
    certain = {f"{path.parent.name}/{path.name}:{column.name}" for path in files() for column in suggested(path).values()
               if column.certain}
    assert certain == set()


@pytest.mark.parametrize(("name", "identifiers"), [
    ("adult/social_security.parquet", {"id"}), ("bank_marketing/bank.parquet", {"id"}), ("german_credit/bank.csv", {"id"}),
    ("heart_disease/cleveland.csv", {"row"}), ("beijing_air/Dongsi.parquet", set()),
    ("china_public/fever_clinic_hospitals_2020.csv", {"name", "address"})])
def test_keys_are_found_and_measurements_left_alone(name, identifiers):
    found = suggested(SHARED_DATA / name)
    assert {column.name for column in found.values() if column.classification == "direct_identifier"} <= identifiers | {"No"}
    assert identifiers <= {column.name for column in found.values() if column.classification == "direct_identifier"}


def test_sensitive_and_quasi_identifying_columns_of_patients():
    found = {name: column.classification for name, column in suggested(SHARED_DATA / "heart_disease" / "cleveland.csv").items()}
    assert (found["age"], found["sex"], found["num"], found["chol"]) == (
        "quasi_identifier", "quasi_identifier", "sensitive", "free")


def test_risk_of_patients_equals_a_count_by_hand():
    path = SHARED_DATA / "heart_disease" / "cleveland.csv"
    risk = measure_risk("csv", str(path), ["age", "sex"], ["num"])
    with path.open(newline="") as file:
        sizes = Counter((row["age"], row["sex"]) for row in csv.DictReader(file))
    rows = sum(sizes.values())
    assert (risk.rows, risk.classes, risk.smallest_class) == (rows, len(sizes), min(sizes.values()))
    assert risk.share_below_5 == pytest.approx(sum(n for n in sizes.values() if n < 5) / rows)
    banded = duckdb.sql(f"SELECT min(n) FROM (SELECT count(*) AS n FROM '{path}' GROUP BY age // 20, sex)").fetchone()
    assert banded[0] >= 5 > risk.smallest_class


def test_divisions_are_the_published_ones():
    named = divisions()
    with (SHARED_DATA / "china_public" / "divisions_cities.csv").open(newline="") as file:
        cities = {row["code"]: row["name"] for row in csv.DictReader(file)}
    assert {code for code in named if len(code) == 4} == set(cities)
    assert all(named[code] == name or name in ("市辖区", "县") for code, name in cities.items())
