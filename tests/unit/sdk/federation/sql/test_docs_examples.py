"""Every query that the documentation shows can be asked, as it stands there."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

DOCS = Path(__file__).parents[5] / "docs"
STATIONS = ("Aotizhongxin", "Changping", "Dingling")
INDUSTRIES = ("制造业", "建筑业", "批发零售")
FIRST = 15706
"""2013-01-01, in days."""


def examples() -> list[str]:
    """Whole queries in the pages: between quotation marks or backticks, however the lines are broken."""
    found = []
    for page in ("sql.md", "developer.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        found += re.findall(r'"((?:SELECT|WITH)\s[^"]+)"', text, re.IGNORECASE)
        found += re.findall(r"`((?:SELECT|WITH)\s[^`\"]+\sFROM\s[^`\"]+)`", text, re.IGNORECASE)
    return list(dict.fromkeys(re.sub(r"\s+", " ", one) for one in found))


def _air(station: str) -> LocalResource:
    chance = random.Random(station)
    rows = range(400)
    days = [chance.randrange(0, 40) for _ in rows]
    table: dict[str, list[Any]] = {
        "station": [station for _ in rows], "year": [2013 + day % 2 for day in days], "month": [1 + day % 2 for day in days],
        "day": [f"2013-{1 + day // 28:02}-{1 + day % 28:02}" for day in days],
        "pm25": [chance.uniform(0, 300) for _ in rows]}
    return LocalResource.arrays(table, {
        "station": Column("station", "string", domain=(station,)),
        "year": Column("year", "integer", domain=("2013", "2014")), "month": Column("month", "integer", domain=("1", "2")),
        "day": Column("day", "date", lower=FIRST, upper=FIRST + 60), "pm25": Column("pm25", "number", lower=0, upper=1000)})


def _credit(seed: str) -> LocalResource:
    chance = random.Random(seed)
    rows = range(300)
    table: dict[str, list[Any]] = {
        "industry": [chance.choice(INDUSTRIES) for _ in rows], "tax_paid": [chance.lognormvariate(3, 1) for _ in rows]}
    return LocalResource.arrays(table, {
        "industry": Column("industry", "string", domain=INDUSTRIES), "tax_paid": Column("tax_paid", "number")})


def test_there_are_examples() -> None:
    assert len(examples()) >= 4


@pytest.mark.parametrize("sql", examples())
def test_an_example_is_answered(sql: str) -> None:
    resources = {station: {"air": _air(station), "enterprise_credit": _credit(station)} for station in STATIONS}
    with LocalFederation(resources, grant={"minimum_cohort": 10}) as federation:
        content = federation.run("query", {"sql": sql})
    assert content["rows"]
