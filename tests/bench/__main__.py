"""``make bench``: one market of real processes, every measurement in one run, one table at the end.

It prints what it saw; nothing here passes or fails. ``ARGS="--quick"`` takes smaller data and fewer rounds;
``ARGS="huge"`` measures one thing only. See :mod:`tests.bench.engine` for what has departments of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
from demo.commands import BIN
from demo.data import DISTRICTS
from demo.layout import DEVELOPER, INSURER, OPERATOR
from demo.processes import Service, http_ready, process_environment
from tests.bench import engine, finding, inputs
from tests.bench.report import Line, median, percentile, show
from tests.factories.town import Town, of_programs, town

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("memory", "queries", "training", "calls", "rounds", "used")


@dataclass(frozen=True)
class Size:
    rounds: int
    rows: int  # of all departments together
    cases: int
    repeats: int
    seconds: float


FULL = Size(rounds=300, rows=20_000_000, cases=200_000, repeats=5, seconds=6.0)
QUICK = Size(rounds=300, rows=1_000_000, cases=20_000, repeats=2, seconds=2.0)


class Bench:
    """One market and what was measured on it."""

    def __init__(self, market: Town, size: Size) -> None:
        self.market, self.size = market, size
        self.lines: list[Line] = []
        self._grants: dict[str, str] = {}
        self.product = ""

    def add(self, what: str, value: float, unit: str, beside: float | None = None, beside_what: str = "",
            goal: str = "") -> None:
        self.lines.append(Line(what, value, unit, beside, beside_what, goal))

    # --- the market's data -----------------------------------------------------------------------------------------

    def files(self, name: str) -> dict[str, Path]:
        return {one.slug: self.market.layout.department(one) / "data" / f"{name}.parquet" for one in DISTRICTS}

    def set_up(self) -> None:
        with told("a market of real processes"):
            self.market.enrol_all()
        with told(f"{self.size.rows:,} readings and {self.size.cases:,} cases over four departments"):
            share = len(DISTRICTS)
            for number, one in enumerate(DISTRICTS):
                inputs.readings(self.files("readings")[one.slug], self.size.rows // share, number)
                inputs.cases(self.files("cases")[one.slug], self.size.cases // share, number)
            found = self.market.offer("readings", self.files("readings"), ["used", "paid"], ["kind", "month"])
            self._grants["readings"] = self.market.grant(found, ["used", "paid", "kind", "month"])
            names = [*inputs.FEATURES, "y"]
            found = self.market.offer("cases", self.files("cases"), names)
            self._grants["cases"] = self.market.grant(found, names, apps=["statistics", "regression"])

    def job_seconds(self, resource: str, app: str, params: dict[str, Any]) -> tuple[float, str]:
        """From the submission to an output in review, as the SDK sees it; and the job."""
        developer = self.market.connect(DEVELOPER)
        began = time.perf_counter()
        job = developer.jobs.submit(self._grants[resource], app, {"resource": resource, **params}, fresh=True)
        job.wait(timeout=600, until=("reviewing",), poll=0.01)
        took = time.perf_counter() - began
        if job.status != "reviewing":
            raise RuntimeError(f"{job.status}: {[line.text for line in job.log()]}")
        return took, job.id

    # --- measurements ----------------------------------------------------------------------------------------------

    def memory(self) -> None:
        """Resident memory of processes that have just started and wait."""
        for one in DISTRICTS:
            self.market.processes.restart(one.slug)
        self.market.wait_connected()
        self._resident("idle")

    def used(self) -> None:
        """The same after everything above."""
        self._resident("idle again after all this")

    def _resident(self, when: str) -> None:
        processes = self.market.processes
        time.sleep(3)  # idle: nothing is waited for here
        largest = max((family(processes.pid(one.slug)) for one in DISTRICTS), key=occupied)
        self.add(f"node agent with its worker, {when}", occupied(largest), "MB", goal="≤ 250")
        self.add("  sum of their RSS, shared pages twice", rss(largest), "MB")
        centre = [*family(processes.pid("marketplace")), *family(processes.pid("coordinator"))]
        self.add(f"marketplace and coordinator, {when}", occupied(centre), "MB", goal="≤ 600")
        self.add("  sum of their RSS, shared pages twice", rss(centre), "MB")

    def queries(self) -> None:
        """Counts, means and variances of two columns, overall, by kind and by month."""
        params = {"columns": ["used", "paid"], "group_by": [[], ["kind"], ["month"]]}
        jobs = [self.job_seconds("readings", "statistics", params) for _ in range(self.size.repeats)]
        paths = [str(path) for path in self.files("readings").values()]
        sql = (f"SELECT kind, month, count(*), count(used), sum(used), avg(used), var_samp(used), count(paid), sum(paid), "
               f"avg(paid), var_samp(paid) FROM read_parquet({paths}) GROUP BY GROUPING SETS ((), (kind), (month))")
        with duckdb.connect() as connection:
            plain = [seconds(lambda: connection.execute(sql).fetchall()) for _ in range(self.size.repeats)]
        self.add(f"statistics over {self.size.rows:,} rows, submit to review", median([took for took, _ in jobs]), "s",
                 median(plain), "plain DuckDB on the union")
        small = [self.job_seconds("cases", "statistics", {"columns": ["x0"]})[0] for _ in range(self.size.repeats)]
        self.add(f"  the same of one column over {self.size.cases:,} rows", median(small), "s")
        self.sell(jobs[-1][1])

    def training(self) -> None:
        """A logistic regression of ten features to convergence."""
        params = {"family": "logistic", "target": "y", "features": inputs.FEATURES, "l2": 1.0, "tolerance": 1e-8}
        paths = [*self.files("cases").values()]
        jobs = [self.job_seconds("cases", "regression", params) for _ in range(self.size.repeats)]
        weights, steps = inputs.pooled_logistic(paths, 1.0, 1e-8)
        plain = [seconds(lambda: inputs.pooled_logistic(paths, 1.0, 1e-8)) for _ in range(self.size.repeats)]
        self.market.approve(jobs[-1][1])
        answer = self.market.connect(DEVELOPER).jobs.get(jobs[-1][1]).result()
        content = answer.get("content", answer)
        apart = float(np.abs(np.array([*content["coefficients"], content["intercept"]]) - weights).max())
        self.add(f"logistic regression, {self.size.cases:,} rows × {len(inputs.FEATURES)}, submit to review",
                 median([took for took, _ in jobs]), "s", median(plain), "plain numpy on pooled data")
        self.add("  Newton rounds", content["rounds"], "", steps, "numpy")
        print(f"  largest difference of a coefficient from numpy's: {apart:.1e}", file=sys.stderr)

    def sell(self, job: str) -> None:
        """A statistics product that somebody has bought, to be called."""
        developer, operator, buyer = (self.market.connect(party) for party in (DEVELOPER, OPERATOR, INSURER))
        self.market.approve(job)
        product = developer.products.create(title_zh="用量统计", title_en="Usage", sector="urban_governance",
                                            delivery_form="api", tier=2)
        version = developer.products.version(product.id, job)
        developer.products.price(product.id, access_fee_fen=1000, call_fee_fen=1, included_calls=0)
        self.market.review_version(product.id, version["number"])
        operator.products.register(product.id, version["number"])
        developer.products.publish(product.id)
        order = buyer.orders.place(product.id)
        operator.orders.pay(order.id, bank_reference=f"BENCH{order.number}", amount_fen=order.amount_fen)
        self.product = product.id

    def calls(self) -> None:
        """The same call, counted and not."""
        layout, body = self.market.layout, json.dumps({"group": {"kind": "kind-1"}})
        if not self.product:
            self.sell(self.job_seconds("readings", "statistics", {"columns": ["used"], "group_by": [[], ["kind"]]})[1])
        environment = layout.market_environment()
        below = child("tests.bench.deliver", INSURER.client_id, self.product, body, "16", str(self.size.seconds),
                      environment=environment)
        self.add("calls below HTTP, 16 threads", below["metered"], "/s", below["unmetered"], "unmetered")
        self.add("  one thread", below["metered_alone"], "/s")
        metered = self._load(body)
        self.market.processes.stop("marketplace")
        self.market.processes.start(Service(
            "unmetered", (sys.executable, "-m", "tests.bench.unmetered"), layout.logs / "unmetered.log",
            http_ready(f"{layout.url}/healthz"), process_environment(environment)))
        unmetered = self._load(body)
        self.market.processes.stop("unmetered")
        self.market.processes.start(self.market.market_service())
        self.add("calls over HTTP, 8 connections", metered["rate"], "/s", unmetered["rate"], "unmetered")
        self.add("  p50", metered["p50"], "ms", unmetered["p50"], "unmetered")
        self.add("  p99", metered["p99"], "ms", unmetered["p99"], "unmetered")

    def _load(self, body: str) -> dict[str, Any]:
        token = self.market.connect(INSURER)._api
        token.get("/me")
        return child("tests.bench.load", "127.0.0.1", str(self.market.layout.ports.web),
                     f"/api/v1/products/{self.product}/calls", token._token, body, "8", str(self.size.seconds))

    def rounds(self) -> None:
        """Empty rounds by a coordinator that does nothing else, over the nodes that are running."""
        self.market.processes.stop("coordinator")
        folders = [str(self.market.layout.node(one) / "keys") for one in DISTRICTS]
        found = child("tests.bench.rounds", self._grants["cases"], str(self.size.rounds), "cases", *folders,
                      environment=self.market.layout.market_environment())
        self.market.processes.start(self.market.coordinator_service())
        for share, goal in ((0.5, "≤ 15"), (0.95, "")):
            self.add(f"empty round over 4 nodes, p{share * 100:.0f} of {len(found['rounds'])}",
                     percentile(found["rounds"], share), "ms", percentile(found["echoes"], share),
                     "bare gRPC echo to 4", goal)
        self.add("  question to last masked answer, p50", percentile(found["tasks"], 0.5), "ms")
        self.add("  opening and unmasking, p50", percentile(found["openings"], 0.5), "ms")


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def rss(processes: list[psutil.Process]) -> float:
    """Resident megabytes, added up; a page that two of them share counts twice."""
    return sum(process.memory_info().rss for process in processes) / 1e6


def occupied(processes: list[psutil.Process]) -> float:
    """Megabytes the processes take up where nothing else runs: their own pages, and each file's pages once.

    Of a file that several have mapped, the largest resident part counts: the others' are among the same pages.
    """
    own, shared = 0, defaultdict[str, int](int)
    for process in processes:
        mapped: dict[str, int] = defaultdict(int)
        for part in process.memory_maps(grouped=False):
            own += part.anonymous
            mapped[part.path] += part.rss - part.anonymous
        for path, size in mapped.items():
            shared[path] = max(shared[path], size)
    return (own + sum(shared.values())) / 1e6


def seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def child(module: str, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a measuring module in a process of its own and read what it prints."""
    done = subprocess.run([str(BIN / "python"), "-m", module, *arguments], cwd=ROOT, text=True, capture_output=True,
                          env=process_environment(environment or {}), timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what takes so long."""
    began = time.perf_counter()
    print(f"{what} …", file=sys.stderr, end=" ", flush=True)
    yield
    print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, *engine.SECTIONS, *finding.SECTIONS, []], help="what to measure (default: everything)")
    parser.add_argument("--quick", action="store_true", help="smaller data, fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    options = parser.parse_args()
    wanted = options.sections or [*SECTIONS, *engine.SECTIONS, *finding.SECTIONS]
    lines: list[Line] = []
    if of_market := [section for section in wanted if section in SECTIONS]:
        with town(kind=of_programs) as market:
            bench = Bench(market, QUICK if options.quick else FULL)
            bench.set_up()
            for section in of_market:
                with told(section):
                    getattr(bench, section)()
            lines += bench.lines
    own = engine.Engine(child, quick=options.quick)
    for section in wanted:
        if section in engine.SECTIONS:
            with told(section):
                getattr(own, section)()
    pages = finding.Finding(quick=options.quick)
    for section in wanted:
        if section in finding.SECTIONS:
            with told(section):
                getattr(pages, section)()
    show([*lines, *own.lines, *pages.lines], options.json)


if __name__ == "__main__":
    main()
