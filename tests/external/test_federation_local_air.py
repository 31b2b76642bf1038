"""Statistics over the twelve stations of ``beijing_air`` equal the golden answers, and no station's value is carried."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.federation.transport import OpenReply, OpenRequest, TaskReply, TaskRequest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
STATIONS = DATA / "beijing_air"

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not STATIONS.is_dir(), reason="the shared data set beijing_air is not beside the checkout"),
]

WIND = ("E", "ENE", "ESE", "N", "NE", "NNE", "NNW", "NW", "S", "SE", "SSE", "SSW", "SW", "W", "WNW", "WSW")
SCHEMA = {
    "PM2.5": Column("PM2.5", "number"),
    "year": Column("year", "integer", domain=("2013", "2014", "2015", "2016", "2017")),
    "wd": Column("wd", "string", domain=WIND),
}


def golden(name: str) -> list[dict[str, Any]]:
    """One golden query's rows."""
    with (DATA / "golden_sql.csv").open(newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["name"] == name)
    return [dict(zip(json.loads(row["columns"]), values, strict=True)) for values in json.loads(row["answer"])]


@pytest.fixture(scope="module")
def federation() -> Any:
    files = sorted(STATIONS.glob("*.parquet"))
    assert len(files) == 12
    with LocalFederation(
        {file.stem.lower(): {"air": LocalResource.files([file], "parquet", SCHEMA)} for file in files}, record=True
    ) as made:
        yield made


@pytest.fixture(scope="module")
def content(federation: LocalFederation) -> dict[str, Any]:
    return federation.run("statistics", {
        "resource": "air", "columns": ["PM2.5"], "group_by": [[], ["year"], ["wd"]],
        "histograms": [{"column": "PM2.5", "lower": 0, "upper": 1000, "bins": 20}],
    })


def test_count_mean_variance(content: dict[str, Any]) -> None:
    (answer,) = golden("air_count_mean_var")
    (cell,) = content["tables"][0]["cells"]

    assert (content["rows"], cell["rows"], content["departments"]) == (answer["n"], answer["n"], 12)
    found = cell["columns"]["PM2.5"]
    assert found["count"] == answer["n_obs"]
    assert found["mean"] == pytest.approx(answer["mean"], rel=1e-6)
    assert found["variance"] == pytest.approx(answer["var"], rel=1e-6)


def test_by_year(content: dict[str, Any]) -> None:
    found = {int(cell["group"]["year"]): cell["columns"]["PM2.5"] for cell in content["tables"][1]["cells"]}
    answers = golden("air_by_year")
    assert sorted(found) == [answer["year"] for answer in answers]
    for answer in answers:
        assert found[answer["year"]]["count"] == answer["n"]
        assert found[answer["year"]]["mean"] == pytest.approx(answer["mean"], rel=1e-6)
        assert found[answer["year"]]["sd"] == pytest.approx(answer["sd"], rel=1e-6)


def test_top_wind_directions(content: dict[str, Any]) -> None:
    cells = sorted(content["tables"][2]["cells"], key=lambda cell: (-cell["rows"], cell["group"]["wd"]))[:5]
    for cell, answer in zip(cells, golden("air_top_wd"), strict=True):
        assert (cell["group"]["wd"], cell["rows"]) == (answer["wd"], answer["n"])
        assert cell["columns"]["PM2.5"]["mean"] == pytest.approx(answer["m"], rel=1e-6)


def test_histogram_equals_the_union(content: dict[str, Any]) -> None:
    (histogram,) = content["histograms"]
    sql = (f"SELECT least(floor(\"PM2.5\" / 50), 19)::INT b, count(*) n FROM read_parquet('{STATIONS}/*.parquet') "
           "WHERE \"PM2.5\" BETWEEN 0 AND 1000 GROUP BY b HAVING n >= 10 ORDER BY b")
    expected = dict(duckdb.sql(sql).fetchall())
    shown = {place: count for place, count in enumerate(histogram["counts"]) if count is not None}
    assert shown.items() <= expected.items()
    assert len(expected) - len(shown) <= 1  # the bin that hides another


def test_nothing_carried_holds_a_stations_value(federation: LocalFederation, content: dict[str, Any]) -> None:
    """Counts and sums of each station, in any encoding they could plausibly have, occur nowhere on the wire."""
    carried = federation.transport.carried
    assert {type(item) for item in carried} == {TaskRequest, TaskReply, OpenRequest, OpenReply}
    wire = b"".join(item.flower_message for item in carried if isinstance(item, TaskReply))
    assert len(wire) > 12 * 2000
    for file in sorted(STATIONS.glob("*.parquet")):
        row = duckdb.sql(f"SELECT count(\"PM2.5\"), sum(\"PM2.5\"), var_pop(\"PM2.5\") * count(\"PM2.5\") FROM '{file}'").fetchone()
        assert row
        count, total, centred = int(row[0]), float(row[1]), float(row[2])
        for needle in (struct.pack("<Q", count), struct.pack("<d", count), struct.pack("<d", total),
                       struct.pack("<d", centred), round(total * 2**80).to_bytes(24, "little")[-16:]):
            assert needle not in wire, file.stem
