"""Federated SQL gives the golden answers, each department keeping its own file.

Out of scope here are the queries that join one department's rows with another's (the ``credit_*``, ``bank_*`` and
``adult_*`` ones): federated SQL joins within a department only.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.problems import ProblemError
from shuyan.trust.grants import SoleValues

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not (DATA / "golden_sql.csv").is_file(), reason="the shared data sets are not beside the checkout"),
]


def _numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, last + 1))


WIND = ("E", "ENE", "ESE", "N", "NE", "NNE", "NNW", "NW", "S", "SE", "SSE", "SSW", "SW", "W", "WNW", "WSW")


# Measurements and published counts are about no one, and their departments say so: extremes show as they are.


def _air(station: str) -> dict[str, Column]:
    return {
        "PM2.5": Column("PM2.5", "number", lower=0, upper=1000, resolution=0.1, free=True),
        "year": Column("year", "integer", domain=_numbers(2013, 2017)),
        "month": Column("month", "integer", domain=_numbers(1, 12)),
        "day": Column("day", "integer", domain=_numbers(1, 31)),
        "wd": Column("wd", "string", domain=WIND),
        "station": Column("station", "string", domain=(station,)),
    }


HOLIDAYS = {"date": Column("date", "date"), "is_off_day": Column("is_off_day", "integer", domain=("0", "1"))}


def _answer(name: str) -> tuple[str, list[list[Any]]]:
    with (DATA / "golden_sql.csv").open(newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["name"] == name)
    return row["sql"], json.loads(row["answer"])


def _same(content: dict[str, Any], expected: list[list[Any]]) -> None:
    assert len(content["rows"]) == len(expected)
    for row, wanted in zip(content["rows"], expected, strict=True):
        for found, value in zip(row, wanted, strict=True):
            assert found == (pytest.approx(value, rel=1e-6) if isinstance(value, (int, float)) else value)


def _sole(resource: str, column: str, values: list[str]) -> dict[str, Any]:
    return {"sole_values": (SoleValues(resource=resource, column=column, values=tuple(sorted(values))),)}


def _stations(**grant: Any) -> LocalFederation:
    files = sorted((DATA / "beijing_air").glob("*.parquet"))
    assert len(files) == 12
    holidays = LocalResource.files([DATA / "china_public" / "holidays_2007_2026.csv"], "csv", HOLIDAYS)
    return LocalFederation({
        file.stem.lower(): {"air": LocalResource.files([file], "parquet", _air(file.stem)), "holidays": holidays}
        for file in files}, grant=_sole("air", "station", [file.stem for file in files]) | grant)


@pytest.fixture(scope="module")
def air() -> Iterator[LocalFederation]:
    with _stations() as made:
        yield made


@pytest.mark.parametrize("name", [
    "air_count_mean_var", "air_by_year", "air_top_wd", "air_exceed_days", "air_city_daily_max", "air_median_p95", "air_holiday",
])
def test_air(air: LocalFederation, name: str) -> None:
    sql, expected = _answer(name)
    content = air.run("query", {"sql": sql})
    _same(content, expected)
    assert (content["departments"], content["suppressed"], content["rows_used"]) == (12, 0, 420_768)


def test_a_station_of_its_own_is_refused_without_leave(air: LocalFederation) -> None:
    with pytest.raises(ProblemError) as refused:
        air.run("query", {"sql": 'SELECT station, avg("PM2.5") FROM air GROUP BY station'})
    assert (refused.value.code, refused.value.args_["dimension"]) == ("own_figure_refused", "station")


def test_a_station_is_answered_with_leave() -> None:
    with _stations(own_figures=True) as federation:
        content = federation.run("query", {
            "sql": 'SELECT station, count(*) n, avg("PM2.5") m FROM air GROUP BY station ORDER BY station'})
    expected = duckdb.sql(f"SELECT station, count(*), avg(\"PM2.5\") FROM '{DATA}/beijing_air/*.parquet' GROUP BY 1 ORDER BY 1")
    _same(content, [list(row) for row in expected.fetchall()])


HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")


def _heart(**grant: Any) -> LocalFederation:
    resources = {}
    for name in HOSPITALS:
        schema = {"hospital": Column("hospital", "string", domain=(name,)), "num": Column("num", "integer"),
                  "age": Column("age", "number"), "chol": Column("chol", "number"), "thalach": Column("thalach", "number")}
        rows = duckdb.sql(f"SELECT num, age, chol, thalach FROM read_csv('{DATA}/heart_disease/{name}.csv')").fetchall()
        columns = dict(zip(("num", "age", "chol", "thalach"), map(list, zip(*rows, strict=True)), strict=True))
        resources[name] = {"heart": LocalResource.arrays({"hospital": [name] * len(rows), **columns}, schema)}
    # One hospital has eight healthy patients only: a cohort of ten would keep its figures back.
    return LocalFederation(resources, grant={"minimum_cohort": 5} | _sole("heart", "hospital", list(HOSPITALS)) | grant)


def test_heart_correlation() -> None:
    sql, expected = _answer("heart_corr")
    with _heart() as federation:
        _same(federation.run("query", {"sql": sql}), expected)


def test_heart_by_hospital() -> None:
    sql, expected = _answer("heart_by_hospital")
    with _heart() as federation, pytest.raises(ProblemError) as refused:
        federation.run("query", {"sql": sql})
    assert (refused.value.code, refused.value.args_["dimension"]) == ("own_figure_refused", "hospital")
    with _heart(own_figures=True) as federation:
        _same(federation.run("query", {"sql": sql}), expected)


def _provinces(**grant: Any) -> LocalFederation:
    path = DATA / "china_public" / "covid_province_daily_2020.parquet"
    resources, names = {}, []
    for (name,) in duckdb.sql(f"SELECT DISTINCT province FROM '{path}' ORDER BY 1").fetchall():
        rows = duckdb.execute(f"SELECT provinceCode, confirmed FROM '{path}' WHERE province = ?", [name]).fetchall()
        schema = {"province": Column("province", "string", domain=(name,)), "provinceCode": Column("provinceCode", "string"),
                  "confirmed": Column("confirmed", "integer", lower=0, upper=100_000, free=True)}
        resources[f"p{rows[0][0]}"] = {"covid": LocalResource.arrays({
            "province": [name] * len(rows), "provinceCode": [row[0] for row in rows],
            "confirmed": [row[1] for row in rows]}, schema)}
        names.append(name)
    return LocalFederation(resources, grant=_sole("covid", "province", names) | grant)


def test_covid_peak() -> None:
    sql, expected = _answer("covid_peak")
    with _provinces() as federation, pytest.raises(ProblemError) as refused:
        federation.run("query", {"sql": sql})
    assert refused.value.code == "own_figure_refused"
    with _provinces(own_figures=True) as federation:
        content = federation.run("query", {"sql": sql})
    _same(content, expected)
    assert content["departments"] == 34


def test_areas_per_province() -> None:
    """A public list cut into four parts, joined on each node with a lookup table that all have."""
    sql, expected = _answer("areas_per_province")
    folder = DATA / "china_public"
    names = [row[0] for row in duckdb.sql(f"SELECT name FROM read_csv('{folder}/divisions_provinces.csv')").fetchall()]
    provinces = {"code": Column("code", "string"), "name": Column("name", "string", domain=tuple(names))}
    areas = {"code": Column("code", "string"), "name": Column("name", "string"), "provinceCode": Column("provinceCode", "string")}
    rows = duckdb.sql(f"SELECT code, name, provinceCode FROM read_csv('{folder}/divisions_areas.csv', all_varchar = true)").fetchall()
    resources = {}
    for part in range(4):
        mine = rows[part::4]
        resources[f"n{part}"] = {
            "areas": LocalResource.arrays(dict(zip(areas, map(list, zip(*mine, strict=True)), strict=True)), areas),
            "provinces": LocalResource.files([folder / "divisions_provinces.csv"], "csv", provinces)}
    with LocalFederation(resources) as federation:
        content = federation.run("query", {"sql": sql})
    _same(content, expected)
