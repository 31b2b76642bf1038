"""Twelve real stations, twelve real nodes: the golden answers come out, and no station's figure comes in.

The coordinator runs with its recorder on. What it received, wrote and holds in memory is searched for every station's
own counts, sums, means and variances.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from demo.data import District
from tests.external.recording_coordinator import CANARY
from tests.external.sweep import Needles, memory
from tests.factories.recorded import RecordedTown
from tests.factories.town import SHARED_DATA, TownLayout, department, town

from shuyan.federation import masking, ring
from shuyan.federation._flower import read_masked
from shuyan.federation.apps.base import installed
from shuyan.federation.vectors import COHORT, layout

AIR = SHARED_DATA / "beijing_air"
COLUMNS = ("PM2.5", "TEMP")
GROUPINGS = ([], ["year"], ["wd"])

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not AIR.is_dir(), reason="the shared data set beijing_air is not beside the checkout"),
]


def slug(path: Path) -> str:
    return f"air-{path.stem.lower()}"


@pytest.fixture(scope="module")
def stations() -> dict[str, Path]:
    return {slug(path): path for path in sorted(AIR.glob("*.parquet"))}


@pytest.fixture(scope="module")
def city(stations: dict[str, Path]) -> Iterator[RecordedTown]:
    departments: list[District] = [department(slug, path.stem) for slug, path in stations.items()]

    def recorded(layout: TownLayout) -> RecordedTown:
        return RecordedTown(layout)

    with town(departments, recorded) as market:
        market.enrol_all()
        yield market


@pytest.fixture(scope="module")
def answer(city: RecordedTown, stations: dict[str, Path]) -> dict[str, Any]:
    """The one federated job that answers all golden questions."""
    resources = city.offer("air", stations, COLUMNS, ("year", "wd"))
    grant = city.grant(resources, [*COLUMNS, "year", "wd"])
    return city.compute(grant, "statistics", {"resource": "air", "columns": [*COLUMNS], "group_by": [*GROUPINGS]})


def golden(name: str) -> list[list[Any]]:
    with (SHARED_DATA / "golden_sql.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: json.loads(row["answer"]) for row in csv.DictReader(file)}
    answer: list[list[Any]] = rows[name]
    return answer


def table(answer: dict[str, Any], *dims: str) -> list[dict[str, Any]]:
    return next(one["cells"] for one in answer["tables"] if one["group_by"] == [*dims])


def close(value: float, wanted: float) -> bool:
    return math.isclose(value, wanted, rel_tol=1e-6)


def test_twelve_departments_answered(answer: dict[str, Any]) -> None:
    assert answer["departments"] == 12
    assert answer["rows"] == 420_768


def test_air_count_mean_var(answer: dict[str, Any]) -> None:
    rows, seen, mean, variance, _least, _greatest = golden("air_count_mean_var")[0]  # extremes are nobody's sum
    [cell] = table(answer)
    assert cell["rows"] == rows
    found = cell["columns"]["PM2.5"]
    assert found["count"] == seen
    assert close(found["mean"], mean)
    assert close(found["variance"], variance)


def test_air_by_year(answer: dict[str, Any]) -> None:
    cells = {cell["group"]["year"]: cell["columns"]["PM2.5"] for cell in table(answer, "year")}
    wanted = golden("air_by_year")
    assert sorted(cells) == [str(year) for year, *_ in wanted]
    for year, seen, mean, sd in wanted:
        found = cells[str(year)]
        assert found["count"] == seen
        assert close(found["mean"], mean)
        assert close(found["sd"], sd)


def test_air_top_wd(answer: dict[str, Any]) -> None:
    cells = sorted(table(answer, "wd"), key=lambda cell: (-cell["rows"], cell["group"]["wd"]))[:5]
    for cell, (direction, rows, mean) in zip(cells, golden("air_top_wd"), strict=True):
        assert (cell["group"]["wd"], cell["rows"]) == (direction, rows)
        assert close(cell["columns"]["PM2.5"]["mean"], mean)


# --- what the coordinator got to know ------------------------------------------------------------------------------


def own_figures(path: Path) -> Iterator[tuple[str, int, dict[str, float]]]:
    """One station's figures by cell and column: (where, observations, figures)."""
    with duckdb.connect() as connection:
        source = f"read_parquet('{path}')"
        for dims in GROUPINGS:
            group = f" GROUP BY {', '.join(dims)}" if dims else ""
            for column in COLUMNS:
                name = f'"{column}"'
                rows = connection.execute(
                    f"SELECT {', '.join(dims) or 'NULL'}, count({name}), fsum({name}), avg({name}), "
                    f"var_samp({name}), stddev_samp({name}) FROM {source}{group}").fetchall()
                for key, count, total, mean, variance, sd in rows:
                    yield f"{path.stem} {column} {dims} {key}", count, {
                        "sum": total, "mean": mean, "variance": variance, "sd": sd}


@pytest.fixture(scope="module")
def needles(stations: dict[str, Path]) -> Needles:
    """Every figure that belongs to one station alone. Small ones, which anything could be, are left out."""
    found = Needles()
    by_value: defaultdict[float, set[str]] = defaultdict(set)
    spec = installed()["statistics"].manifest.actions["query.tally"]["sum"]
    for path in stations.values():
        for where, count, figures in own_figures(path):
            values = {f"count of {where}": float(count)} | {f"{what} of {where}": v for what, v in figures.items() if v}
            for what, value in values.items():
                by_value[value].add(path.stem)
                if abs(value) > 1000 or (value != round(value) and len(repr(value)) > 9):
                    found.add(value, what)
            if figures["sum"]:
                encoded = ring.encode(np.array([figures["sum"]]), spec.limbs, spec.fraction_bits)
                for word in encoded.ravel().tolist():
                    if (1 << 32) < word < (1 << 64) - (1 << 32):
                        found.words[word] = f"ring word of sum of {where}"
    found.numbers = {value: what for value, what in found.numbers.items() if len(by_value[value]) == 1}
    assert len(found.numbers) > 1500
    return found


def masked_answers(city: RecordedTown) -> dict[str, dict[str, np.ndarray]]:
    """The masked vectors of the job's second round, by node; the first asks who is in which group."""
    messages: defaultdict[str, list[bytes]] = defaultdict(list)
    for node, frame in city.frames():
        if frame.WhichOneof("body") == "task_reply" and frame.task_reply.WhichOneof("outcome") == "flower_message":
            messages[node].append(frame.task_reply.flower_message)
    assert {len(found) for found in messages.values()} == {2}
    return {node: read_masked(found[1], segments()) for node, found in messages.items()}


def segments() -> tuple[Any, ...]:
    app = installed()["statistics"]
    cells = 1 + 5 + 16
    lengths = {"rows": cells, **dict.fromkeys(("count", "sum", "square"), cells * len(COLUMNS))}
    return layout(app.manifest.actions["query.tally"], lengths)


def opened_seeds(city: RecordedTown) -> dict[str, bytes]:
    return {node: frame.open_reply.self_mask_seed for node, frame in city.frames()
            if frame.WhichOneof("body") == "open_reply"}


def test_the_recording_is_all_there_is(city: RecordedTown, answer: dict[str, Any]) -> None:
    """From what was recorded the result can be worked out, so nothing that mattered went unrecorded."""
    answers, seeds = masked_answers(city), opened_seeds(city)
    assert len(answers) == len(seeds) == 12
    total = masking.unmask_sum(masking.sum_masked(answers.values(), segments()), segments(), seeds.values())
    assert ring.integers(total[COHORT]) == [answer["rows"]]
    assert ring.integers(total["count"])[0] == table(answer)[0]["columns"]["PM2.5"]["count"]


def test_no_frame_holds_a_stations_figure(city: RecordedTown, answer: dict[str, Any], needles: Needles) -> None:
    frames = city.frames()
    assert len(frames) >= 12 * 4
    everything = b"\0".join(frame.SerializeToString() for _node, frame in frames)
    assert needles.in_bytes(everything) == set()


def test_answers_stay_masked_even_when_opened(city: RecordedTown, answer: dict[str, Any]) -> None:
    """Self-masks alone reveal nothing: what is left is still under the other stations' masks."""
    seeds = opened_seeds(city)
    for node, words in masked_answers(city).items():
        opened = masking.unmask_sum({name: array.copy() for name, array in words.items()}, segments(), [seeds[node]])
        for name in words:
            for stage in (words[name], opened[name]):
                # A uniform word is this small, or this close below nought, once in 2^31 times.
                assert ((stage > 1 << 32) & (stage < (1 << 64) - (1 << 32))).all(), name


def test_no_log_or_database_holds_a_stations_figure(city: RecordedTown, answer: dict[str, Any],
                                                     needles: Needles) -> None:
    written = [path for path in [*city.layout.logs.glob("marketplace*"), *city.layout.logs.glob("coordinator*"),
                                 *city.layout.market.rglob("*")] if path.is_file()]
    assert any(path.name.startswith("market.sqlite") for path in written)
    content = {path: path.read_bytes() for path in written}
    for path, data in content.items():
        assert needles.in_bytes(data) == set(), path
    pooled = Needles()
    pooled.add(table(answer)[0]["columns"]["PM2.5"]["mean"], "the pooled mean")
    assert any(pooled.in_bytes(data) for data in content.values()), "the search does not even find the result"


def test_memory_holds_no_stations_figure(city: RecordedTown, answer: dict[str, Any], needles: Needles) -> None:
    held = Needles({**needles.numbers, CANARY: "canary"}, needles.words)
    pid = city.processes.pid("coordinator")
    try:
        regions = [*memory(pid)]
    except PermissionError:
        pytest.skip("this machine lets nobody read the memory of its own child processes")
    assert held.in_memory(regions) == {"canary"}
