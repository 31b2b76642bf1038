"""Three real node processes: enrol, register, compute; the coordinator killed under way; a node revoked."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo.layout import DEVELOPER, OPERATOR
from demo.market import COORDINATOR
from tests.factories.town import Town, department, town, until

pytestmark = pytest.mark.slow

DEPARTMENTS = [department(slug, name) for slug, name in (("east", "东区监测站"), ("west", "西区监测站"), ("north", "北区监测站"))]
PARAMS: dict[str, Any] = {"resource": "air", "columns": ["pm25"], "group_by": [[], ["year"]]}


def value(department_number: int, row: int) -> float:
    return 10.0 * department_number + row / 4


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, str]]:
    with town(DEPARTMENTS) as running:
        running.enrol_all()
        for number, one in enumerate(DEPARTMENTS):
            file = tmp_path_factory.mktemp(one.slug) / "air.csv"
            write(file, number)
            running.node_command(one, "source", "add", "air", file)
            running.node_command(one, "resource", "register", "air", "--source", "air", "--sector", "environment",
                                 "--grade", "2", "--approval", "automatic", "--dimension", "year=2013,2014")
            running.node_command(one, "app", "allow", "statistics")
        developer = running.connect(DEVELOPER)

        def offered() -> list[Any] | None:
            found = [resource for resource in developer.resources.list() if resource.name == "air"]
            return found if len(found) == len(DEPARTMENTS) else None

        scenario = developer.scenarios.propose("空气质量统计", "汇总各区空气质量，不涉及原始记录。", "environment")
        demand = developer.demands.submit(
            scenario.id, {one.id: ["year", "pm25"] for one in running.wait_for(offered, "resources")}, ["statistics"],
            output_forms=["statistics"], minimum_cohort=10, minimum_participants=3, term_days=30)
        running.authority_command("issue", demand.id, "--yes")
        yield running, next(grant.id for grant in developer.grants.list() if grant.demand_id == demand.id)


def write(file: Path, number: int) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["year", "pm25"])
        writer.writerows([2013 + row % 2, value(number, row)] for row in range(60))


def submit(running: Town, grant: str, title: str) -> Any:
    return running.connect(DEVELOPER).jobs.submit(grant, "statistics", PARAMS, title=title)


def test_a_job_runs_to_review_over_real_nodes(market: tuple[Town, str]) -> None:
    running, grant = market
    content = running.compute(grant, "statistics", PARAMS)
    cell = content["tables"][0]["cells"][0]
    assert cell["rows"] == content["rows"] == 180
    assert cell["columns"]["pm25"]["sum"] == pytest.approx(sum(value(n, r) for n in range(3) for r in range(60)), rel=1e-12)
    assert [table["suppressed"] for table in content["tables"]] == [0, 0]


def test_after_a_killed_coordinator_everything_comes_back_by_itself(market: tuple[Town, str]) -> None:
    running, grant = market
    running.processes.kill(COORDINATOR)
    job = submit(running, grant, "协调服务中断期间提交")
    running.processes.start(running.coordinator_service())
    job.wait(timeout=60, until=("reviewing",), poll=0.05)
    assert job.status == "reviewing", [line.text for line in job.log()]


def test_a_revoked_node_is_cut_off_and_the_job_says_who_is_missing(market: tuple[Town, str]) -> None:
    running, grant = market
    operator = running.connect(OPERATOR)
    victim = next(node for node in operator.nodes.list() if "北区" in node.name)
    operator.nodes.revoke(victim.id)
    one = DEPARTMENTS[2]
    assert until(lambda: running.node_json(one, "status")["state"] == "revoked", 5)
    job = submit(running, grant, "缺一家单位")
    job.wait(timeout=60, until=("failed",), poll=0.05)
    assert job.status == "failed"
