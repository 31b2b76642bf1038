"""A market of real processes with whatever departments and raw files a test brings, set up as its people would.

The processes, commands and folders are the demo's (:mod:`demo.market`); only the departments differ.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import authorise, commands, processes
from demo.commands import Runner
from demo.data import DISTRICTS, District
from demo.layout import AUTHORITY, DEVELOPER, OPERATOR, PARTIES, Layout, Party, Ports
from demo.market import DemoMarket
from demo.processes import Spawn, free_ports
from tests.factories import forking

import shuyan

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

RESULT_WITHIN = 180.0  # seconds; for a test to end rather than hang


def department(slug: str, name: str) -> District:
    """A department; only its name and slug matter here."""
    return District(slug, "990199", name, name, name, name, 0.0, 0)


@dataclass(frozen=True)
class TownLayout(Layout):
    """The demo's layout with departments of a test's own."""

    departments: tuple[District, ...] = ()

    @property
    def parties(self) -> tuple[Party, ...]:
        known = {party.slug for party in PARTIES}
        return (*PARTIES, *(Party(d.slug, "source_department", d.name_zh, d.name_en, "read review egress")
                            for d in self.departments if d.slug not in known))


class Town(DemoMarket):
    """A market whose departments all offer one resource; its set-up takes half as long by forking. Use :func:`town`."""

    def __init__(self, layout: TownLayout, runner: Runner = forking.finished, spawn: Spawn = forking.service) -> None:
        super().__init__(layout, layout.departments, runner=runner, spawn=spawn)

    def enrol_all(self) -> None:
        """Everything up to linked nodes whose keys the data authority trusts."""
        self.initialise()
        self.start_centre()
        self.in_parallel(self.enrol)
        self.start_nodes()
        self.wait_connected()
        self.trust_cards()
        authorise.operate(self)

    def offer(self, name: str, files: Mapping[str, Path], columns: Sequence[str], dimensions: Sequence[str] = (), *,
              required: Sequence[str] = (), identifiers: Sequence[str] = (), bounds: Mapping[str, tuple[float, float]] | None = None, sector: str = "environment", grade: int = 2) -> list[shuyan.Resource]:
        """Register ``files`` (by department) as resource ``name``; waits until the catalogue shows them.

        Dimensions are columns whose values are published: measured by the node, or named here as ``column=a,b,c``.
        Required ones have a value in every row. Identifiers are columns that are never granted.
        """
        declared = ["--sector", sector, "--grade", str(grade), "--approval", "automatic", "--title", name]
        for column in (*columns, *dimensions):
            declared += ["--column", column.partition("=")[0]]
        for column in dimensions:
            declared += ["--dimension", column]
        for column in required:
            declared += ["--required", column]
        for column in identifiers:
            declared += ["--column", column, "--identifier", column]
        for column, (lower, upper) in (bounds or {}).items():
            declared += ["--bounds", f"{column}={lower}:{upper}"]

        def register(one: District) -> None:
            self.node_command(one, "source", "add", name, files[one.slug])
            self.node_command(one, "resource", "register", name, "--source", name, *declared)
            missing = [app["name"] for app in self.node_json(one, "app", "list") if not app.get("allowed")]
            if missing:
                self.node_command(one, "app", "allow", *missing)

        self.in_parallel(register)
        developer = self.connect(DEVELOPER)

        def offered() -> list[shuyan.Resource] | None:
            found = [resource for resource in developer.resources.list() if resource.name == name]
            return found if len(found) == len(self.districts) else None

        return self.wait_for(offered, f"{len(self.districts)} resources {name}")

    def grant(self, resources: Iterable[shuyan.Resource], columns: Sequence[str], *, apps: Sequence[str] = ("statistics",),
              minimum_cohort: int = 10, minimum_participants: int = 3, privacy: Mapping[str, Any] | None = None) -> str:
        """Scenario, demand, their reviews and the authority's signature; returns the grant's id."""
        return authorise.obtain(
            self, title="城市数据统计", purpose="为城市治理提供汇总统计，不涉及任何原始记录。", sector="urban_governance",
            columns={resource.id: [*columns] for resource in resources}, apps=[*apps], output_forms=["statistics", "model"],
            minimum_cohort=minimum_cohort, minimum_participants=minimum_participants, term_days=30, privacy=privacy)

    def compute(self, grant: str, app: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Run a job up to its approved result and return the result's content."""
        job = self.connect(DEVELOPER).jobs.submit(grant, app, params, title="测试任务", fresh=True)
        job.wait(timeout=RESULT_WITHIN, until=("reviewing",), poll=0.05)
        if job.status not in ("reviewing", "completed"):
            raise AssertionError(f"job {job.status}: {[line.text for line in job.log()]}")
        self.approve(job.id)
        answer = job.refresh().result()
        content: dict[str, Any] = answer.get("content", answer)
        return content

    def review_version(self, product: str, number: int) -> None:
        """A drafted version goes through its tests and every review, up to its registration code."""
        authorise.review_version(self, product, number)

    def approve(self, job_id: str) -> None:
        """Everybody who is asked lets a job's output out."""
        authorise.release(self, job_id)


def of_programs(layout: TownLayout) -> Town:
    """A kind of :func:`town` in which every process is a program started from nothing, for whoever measures what that takes."""
    return Town(layout, runner=commands.program, spawn=processes.program)


@contextmanager
def town(departments: Iterable[District] = DISTRICTS, kind: Callable[[TownLayout], Town] = Town) -> Iterator[Town]:
    """A market in a folder of its own, gone afterwards; with a short path, for Unix sockets allow no long one."""
    web, link, enrol = free_ports(3)
    root = Path(tempfile.mkdtemp(prefix="shuyan-"))
    try:
        with kind(TownLayout(root, Ports(web, link, enrol), tuple(departments))) as market:
            yield market
    finally:
        shutil.rmtree(root, ignore_errors=True)


def until(look: Callable[[], bool], within: float) -> bool:
    """Look again and again until it is so; whether it was in time."""
    end = time.monotonic() + within
    while not look():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


__all__ = ["AUTHORITY", "DEVELOPER", "OPERATOR", "PARTIES", "SHARED_DATA", "Town", "TownLayout", "department", "of_programs", "town", "until"]
