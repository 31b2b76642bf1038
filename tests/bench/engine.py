"""The engine's own measurements: many departments, many rows, wide sums, noise, boosted trees.

Each brings its own departments. ``huge`` generates and registers 600 million rows and takes some minutes; it needs about
2 GB of disk.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
from demo.layout import DEVELOPER
from tests.bench.report import Line, median, percentile
from tests.factories.town import Town, department, of_programs, town

from shuyan.federation import egress
from shuyan.federation._flower import masked_reply
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.masking import AgreementKey, MaskContext, mask_vectors
from shuyan.federation.schema import Column
from shuyan.federation.vectors import VectorSpec, layout

SECTIONS = ("wide", "noise", "boosting", "twelve", "forty", "huge")
KINDS = 32
GROUPED = "SELECT kind, count(*) AS n, sum(used) AS s, avg(used) AS a FROM readings GROUP BY kind ORDER BY kind"
OVERALL = "SELECT count(*) AS n, sum(used) AS s, avg(used) AS a, stddev_samp(used) AS d FROM readings"



class Engine:
    """What was measured. ``child`` runs a measuring module in a process of its own."""

    def __init__(self, child: Any, *, quick: bool) -> None:
        self.lines: list[Line] = []
        self._child, self._quick = child, quick

    def add(self, what: str, value: float, unit: str, beside: float | None = None, beside_what: str = "",
            goal: str = "") -> None:
        self.lines.append(Line(what, value, unit, beside, beside_what, goal))

    def wide(self) -> None:
        """A million numbers at one of four nodes, from the worker's answer to the bytes that leave."""
        size = 1_000_000
        specs, expect = {"v": VectorSpec(limbs=1, fraction_bits=20, bound=1e6)}, {"v": size}
        ids = [f"node_{number}" for number in range(4)]
        keys = [AgreementKey.generate() for _ in ids]
        peers = {node: key.public for node, key in zip(ids, keys, strict=True)}
        values, segments = np.random.default_rng(0).normal(size=size), layout(specs, expect)
        question = LocalFederationQuestion.bytes()
        spans = []
        for attempt in range(1, 12):
            context = MaskContext("run", 1, attempt, tuple(ids), "question")
            began = time.perf_counter()
            words = egress.check_output(specs, expect, {"v": values}, 100, minimum_cohort=10)
            masked = mask_vectors(words, segments, context, ids[0], keys[0], peers)
            masked_reply(question, masked.words)
            spans.append((time.perf_counter() - began) * 1000)
        self.add("secure sum of 1,000,000 numbers, one of 4 nodes: check, encode, mask, serialise", median(spans[1:]), "ms",
                 goal="≤ 50")

    def noise(self) -> None:
        """The same statistics of a million rows, exact and with noise."""
        rows = 40_000 if self._quick else 250_000
        random = np.random.default_rng(0)
        schema = {"person": Column("person", "integer", identifier=True), "used": Column("used", "number", lower=0.0, upper=100.0),
                  "kind": Column("kind", "string", domain=tuple(f"k{number}" for number in range(8)))}
        nodes = {f"node_{number}": {"readings": LocalResource.arrays({
            "person": np.arange(rows), "used": random.uniform(0, 100, rows),
            "kind": np.array([f"k{value}" for value in random.integers(0, 8, rows)])}, schema)} for number in range(4)}
        terms = {"unit": "person", "unit_columns": {"readings": "person"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
                 "delta": 1e-6, "rho_nano": 10**12, "honest_fraction": 0.5}
        spent = {}
        from shuyan.trust.grants import PrivacyTerms

        for name, grant in (("exact", {}), ("noisy", {"release": "dp", "privacy": PrivacyTerms(**terms)})):
            with LocalFederation(nodes, grant=grant) as federation:
                spans = []
                for number in range(4):  # another question each time: an answer with noise is given once only
                    params = {"resource": "readings", "columns": ["used"], "group_by": [[], ["kind"]],
                              "histograms": [{"column": "used", "lower": 0.0, "upper": 100.0, "bins": 10 + number}]}
                    began = time.perf_counter()
                    federation.run("statistics", params)
                    spans.append((time.perf_counter() - began) * 1000)
                spent[name] = median(spans[1:])
        self.add(f"statistics of {4 * rows:,} rows with bounding and noise, one process", spent["noisy"], "ms", spent["exact"],
                 "exact")

    def boosting(self) -> None:
        """A hundred trees over four processes, against XGBoost on all rows."""
        found = self._child("tests.bench.boosting", *(["20000", "20"] if self._quick else ["200000", "100"]))
        self.add(f"boosting, {found['rows']:,} rows × 14, {found['trees']} trees, without its rounds' own time",
                 found["federated"] - found["rounds_alone"], "s", found["xgboost"], "XGBoost on pooled rows", "ratio ≤ 3")
        self.add(f"  its {found['rounds']} rounds alone", found["rounds_alone"], "s")

    def twelve(self) -> None:
        """A statistic over twelve departments, the coordinator doing nothing else."""
        from tests.bench.__main__ import family

        with town([department(f"d{number:02}", f"部门{number}") for number in range(12)], of_programs) as market:
            files = _readings(market, 20_000)
            grant = _granted(market, files)
            market.processes.stop("coordinator")

            def measured(sql: str, repeats: int) -> dict[str, Any]:
                return self._child("tests.bench.statistic", grant, str(repeats), sql, *map(str, files.values()),
                                   environment=market.layout.market_environment())

            measured(OVERALL, 1)  # the workers have started again for their sources
            nodes = [family(market.processes.pid(one.slug)) for one in market.districts]
            for what, sql in (("ungrouped", OVERALL), ("grouped", GROUPED)):
                before = [[_cpu_ms(process) for process in node] for node in nodes]
                found = measured(sql, 100)
                spent = np.array([[_cpu_ms(process) - then for process, then in zip(node, was, strict=True)]
                                  for node, was in zip(nodes, before, strict=True)]).mean(axis=0) / found["asked"]
                self.add(f"statistic over 12 nodes, {what}, p50 of 100", percentile(found["runs"], 0.5), "ms",
                         median(found["local"]), "slowest plain local query", "≤ it + 50 ms")
                for whose, value in (("coordinator", found["cpu"]), ("one agent", spent[0]), ("one worker", spent[1:].sum())):
                    self.add(f"  processor time of a run, {whose}", float(value), "ms")

    def forty(self) -> None:
        """Forty departments on this machine."""
        from tests.bench.__main__ import family, occupied

        with town([department(f"d{number:02}", f"部门{number}") for number in range(40)], of_programs) as market:
            began = time.perf_counter()
            files = _readings(market, 5_000)
            grant = _granted(market, files)
            self.add("40 departments enrolled, registered and granted", time.perf_counter() - began, "s")
            processes = [process for one in market.districts for process in family(market.processes.pid(one.slug))]
            self.add("  all their agents and workers", occupied(processes) / 1000, "GB")
            market.processes.stop("coordinator")
            found = self._child("tests.bench.statistic", grant, "20", OVERALL, *map(str, files.values()),
                                environment=market.layout.market_environment())
            self.add("  a statistic over all of them, p50 of 20", percentile(found["runs"], 0.5), "ms")

    def huge(self) -> None:
        """Six hundred million rows over four departments, grouped."""
        rows = 5_000_000 if self._quick else 150_000_000
        with town(kind=of_programs) as market:
            files = _readings(market, rows)
            grant = _granted(market, files, measured=False)
            developer = market.connect(DEVELOPER)
            paths = [str(path) for path in files.values()]
            spans, plain = [], []
            for _ in range(3):
                began = time.perf_counter()
                job = developer.jobs.submit(grant, "query", {"sql": GROUPED}, fresh=True)
                job.wait(timeout=900, until=("reviewing",), poll=0.02)
                spans.append(time.perf_counter() - began)
                if job.status != "reviewing":
                    raise RuntimeError(f"{job.status}: {[line.text for line in job.log()]}")
                with duckdb.connect() as connection:
                    connection.execute(f"CREATE VIEW readings AS FROM read_parquet({paths})")
                    began = time.perf_counter()
                    connection.execute(GROUPED).fetchall()
                    plain.append(time.perf_counter() - began)
        self.add(f"{4 * rows:,} rows grouped over 4 nodes, submit to review", median(spans), "s", median(plain),
                 "plain DuckDB over the union", "ratio ≤ 1.15")


def _cpu_ms(process: psutil.Process) -> float:
    times = process.cpu_times()
    return (times.user + times.system) * 1000


class LocalFederationQuestion:
    """A question as it reaches a node, for what needs one to reply to."""

    @staticmethod
    def bytes() -> bytes:
        schema = {"x": Column("x", "number")}
        nodes = {f"node_{number}": {"t": LocalResource.arrays({"x": np.arange(20.0)}, schema)} for number in range(3)}
        with LocalFederation(nodes, record=True) as federation:
            federation.run("statistics", {"resource": "t", "columns": ["x"]})
            return next(item.flower_message for item in federation.transport.carried if hasattr(item, "params_json"))


def _readings(market: Town, rows: int) -> dict[str, Path]:
    """A market set up, with ``rows`` readings at each department: a kind out of 32, a month and a whole number."""
    market.enrol_all()
    files = {}
    for number, one in enumerate(market.districts):
        path = market.layout.department(one) / "data" / "readings.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < 4 * rows + 10**9:
            raise RuntimeError("not enough disk for the readings")
        salt = 1_000_003 * number
        with duckdb.connect() as connection:
            connection.execute(f"""COPY (
                SELECT 'k' || lpad((hash(i + {salt}) % {KINDS})::VARCHAR, 2, '0') AS kind,
                       ((hash(i * 31 + {salt}) >> 7) % 12)::TINYINT + 1 AS month,
                       ((hash(i * 7 + {salt}) >> 11) % 1000)::INTEGER AS used
                FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)""")
        files[one.slug] = path
    return files


def _granted(market: Town, files: dict[str, Path], *, measured: bool = True) -> str:
    kinds = "kind" if measured else "kind=" + ",".join(f"k{number:02}" for number in range(KINDS))
    found = market.offer("readings", files, ["used"], [kinds], required=["used"])
    return market.grant(found, ["used", "kind"], apps=["query"])
