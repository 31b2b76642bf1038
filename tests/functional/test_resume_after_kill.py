"""A long training goes on after the coordinator was killed in the middle of it, and no department answers a round twice."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from demo.layout import DEVELOPER
from demo.market import COORDINATOR
from tests.factories.town import Town, department, town

pytestmark = pytest.mark.slow

DEPARTMENTS = [department(slug, name) for slug, name in (("east", "东区医院"), ("west", "西区医院"), ("north", "北区医院"))]
PARAMS: dict[str, Any] = {
    "resource": "visits", "target": "sick", "features": ["age", "weight", "pulse"], "rounds": 30, "max_depth": 4, "eta": 0.1}
KILLED_AFTER = 12  # rounds


def write(file: Path, number: int) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["age", "weight", "pulse", "sick"])
        for row in range(3000):
            age, weight, pulse = 18 + (row * 7 + number) % 70, 45 + (row * 13) % 60 + row / 3000, 50 + (row * 11 + 5 * number) % 60
            writer.writerow([age, weight, pulse, int((age * 3 + weight * 2 + pulse + row % 97) % 100 < 40)])


def opened(running: Town) -> dict[str, list[tuple[str, int]]]:
    """By department, the run and number of every round it opened, in order."""
    found: dict[str, list[tuple[str, int]]] = {}
    for one in DEPARTMENTS:
        found[one.slug], after = [], 0
        while entries := running.node_json(one, "journal", "--after", str(after), "--limit", "1000")["entries"]:
            found[one.slug] += [(entry["data"]["run"], entry["data"]["round"]) for entry in entries
                                if entry["event"] == "round:opened"]
            after = entries[-1]["sequence"]
    return found


def test_a_training_goes_on_where_the_coordinator_was_killed(tmp_path: Path) -> None:
    with town(DEPARTMENTS) as running:
        running.enrol_all()
        files = {}
        for number, one in enumerate(DEPARTMENTS):
            files[one.slug] = tmp_path / f"{one.slug}.csv"
            write(files[one.slug], number)
        resources = running.offer("visits", files, ["age", "weight", "pulse", "sick"])
        grant = running.grant(resources, ["age", "weight", "pulse", "sick"], apps=["boosting"])
        developer = running.connect(DEVELOPER)

        job = developer.jobs.submit(grant, "boosting", PARAMS, title="中断后继续")
        running.wait_for(lambda: job if job.refresh().round >= KILLED_AFTER or job.ended else None, "rounds", within=120)
        assert job.status == "running", [line.text for line in job.log()]
        running.processes.kill(COORDINATOR)
        before = opened(running)
        running.processes.start(running.coordinator_service())
        job.wait(timeout=180, until=("reviewing",), poll=0.1)
        assert job.status == "reviewing", [line.text for line in job.log()]

        codes = [line.code for line in job.log()]
        assert "rounds_resumed" in codes
        after = opened(running)
        for one in DEPARTMENTS:
            rounds = [number for _run, number in after[one.slug]]
            finished = {number for _run, number in before[one.slug]}
            second = [number for run, number in after[one.slug] if run != after[one.slug][0][0]]
            assert max(finished) >= KILLED_AFTER - 1
            # A round that was opened but not yet written down by the coordinator may be the only one that comes again.
            assert len(set(second) & finished) <= 1
            assert sorted(set(rounds)) == list(range(1, max(rounds) + 1))
            assert len(rounds) - len(set(rounds)) <= 1
        running.approve(job.id)
        broken = job.refresh().result()["content"]

        whole = running.compute(grant, "boosting", PARAMS)
        assert broken["model"] == whole["model"]  # the very model that an undisturbed run gives
