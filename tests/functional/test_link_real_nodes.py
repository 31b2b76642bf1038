"""Three real node processes: enrol, register, compute; the coordinator killed under way; a node revoked."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo import authorise
from demo.data import District
from demo.layout import DEVELOPER, OPERATOR
from demo.market import COORDINATOR
from tests.factories.town import Town, department, town, until

import shuyan

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
            register(running, one, "automatic")
            running.node_command(one, "app", "allow", "statistics")
        developer = running.connect(DEVELOPER)

        def offered() -> list[Any] | None:
            found = [resource for resource in developer.resources.list() if resource.name == "air"]
            return found if len(found) == len(DEPARTMENTS) else None

        yield running, authorise.obtain(
            running, title="空气质量统计", purpose="汇总各区空气质量，不涉及原始记录。", sector="environment",
            columns={one.id: ["year", "pm25"] for one in running.wait_for(offered, "resources")}, apps=["statistics"],
            output_forms=["statistics"], minimum_cohort=10, minimum_participants=3, term_days=30)


def register(running: Town, one: District, approval: str) -> None:
    running.node_command(one, "resource", "register", "air", "--source", "air", "--sector", "environment", "--grade", "2",
                         "--approval", approval, "--dimension", "year=2013,2014")


def write(file: Path, number: int) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["year", "pm25"])
        writer.writerows([2013 + row % 2, value(number, row)] for row in range(60))


def submit(running: Town, grant: str, title: str, params: dict[str, Any] = PARAMS) -> Any:
    return running.connect(DEVELOPER).jobs.submit(grant, "statistics", params, title=title, fresh=True)


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


@pytest.fixture
def asking(market: tuple[Town, str]) -> Iterator[District]:
    """A department that approves each new use of its resource."""
    running, _ = market
    register(running, DEPARTMENTS[0], "manual")
    yield DEPARTMENTS[0]
    register(running, DEPARTMENTS[0], "automatic")


def test_a_job_waits_for_an_approval_given_while_the_coordinator_is_away(market: tuple[Town, str], asking: District) -> None:
    running, grant = market
    job = submit(running, grant, "待审批", {**PARAMS, "group_by": [[]]})
    job.wait(timeout=30, until=("awaiting_approval",), poll=0.05)
    (approval,) = job.waiting_for.values()
    said = job.log()[-1].text
    assert "东区" in said
    assert approval in said
    running.processes.kill(COORDINATOR)
    assert [one["approval_id"] for one in running.node_json(asking, "approvals")] == [approval]
    running.node_command(asking, "approve", approval)
    running.processes.start(running.coordinator_service())
    job.wait(timeout=60, until=("reviewing",), poll=0.05)
    assert job.status == "reviewing", [line.text for line in job.log()]
    again = submit(running, grant, "已审批的同一问题", {**PARAMS, "group_by": [[]]})
    again.wait(timeout=30, until=("awaiting_approval", "reviewing"), poll=0.05)
    assert again.status == "reviewing"


def test_a_rejection_names_the_department_and_stays(market: tuple[Town, str], asking: District) -> None:
    running, grant = market
    params = {**PARAMS, "group_by": [["year"]]}
    job = submit(running, grant, "将被拒绝", params)
    job.wait(timeout=30, until=("awaiting_approval",), poll=0.05)
    running.node_command(asking, "reject", *job.waiting_for.values(), "--note", "用途不明")
    job.wait(timeout=30, poll=0.05)
    assert (job.status, job.error_code) == ("failed", "approval_rejected")
    assert "东区" in job.log()[-1].text
    assert "用途不明" not in job.log()[-1].text
    repeated = submit(running, grant, "再次提交", params).wait(timeout=30, poll=0.05)
    assert repeated.error_code == "approval_rejected"


def test_a_department_withdraws_in_the_market_and_every_node_stops(market: tuple[Town, str]) -> None:
    running, grant = market
    party = next(one for one in running.layout.parties if one.slug == "west")
    department = running.connect(party)
    department.grants.hold(grant, "超出申请的用途")

    def held() -> list[bool]:
        return [one["held_by_market"] for node in DEPARTMENTS for one in running.node_json(node, "grant", "list") if one["grant_id"] == grant]

    assert until(lambda: held() == [True] * 3, 10)
    assert until(lambda: [one.seen_at is not None for one in department.grants.stops(grant)] == [True] * 3, 10)
    assert running.connect(DEVELOPER).grants.get(grant).state == "held"
    with pytest.raises(shuyan.ProblemResponse) as refused:
        submit(running, grant, "已撤回")
    assert refused.value.code == "grant_held"
    department.grants.release(grant)
    assert until(lambda: not any(one.get("held_by_market") for node in DEPARTMENTS for one in running.node_json(node, "grant", "list")), 10)


def test_a_department_withdraws_at_its_own_node(market: tuple[Town, str]) -> None:
    running, grant = market
    one = DEPARTMENTS[1]
    running.node_command(one, "grant", "hold", grant, "--reason", "正在核查")
    job = submit(running, grant, "本部门已撤回")
    job.wait(timeout=60, poll=0.05)
    assert (job.status, job.error_code) == ("failed", "grant_held")
    running.node_command(one, "grant", "release", grant)
    again = submit(running, grant, "已恢复")
    again.wait(timeout=60, until=("reviewing",), poll=0.05)
    assert again.status == "reviewing", [line.text for line in again.log()]


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
