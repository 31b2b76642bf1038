"""The main job, end to end on real processes: its numbers against plain computation, its evidence, its restarts."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from demo import data, scenes
from demo.chain import Chain
from demo.commands import CommandFailed, run
from demo.layout import BANK, DEVELOPER, INSURER, OPERATOR
from demo.market import COORDINATOR, MARKET, AlreadyRunning, DemoMarket
from sklearn.linear_model import LogisticRegression

import shuyan

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def rows(market: DemoMarket, file: str) -> list[dict[str, str]]:
    """All departments' raw rows, which only a test may put together."""
    found: list[dict[str, str]] = []
    for district in market.districts:
        with (market.layout.department(district) / "data" / file).open(encoding="utf-8") as handle:
            found.extend(csv.DictReader(handle))
    return found


def content(played: Chain, key: str) -> dict[str, Any]:
    job = played.market.connect(DEVELOPER).jobs.get(played.made[f"{key}.job"])
    result: dict[str, Any] = job.result()["content"]
    return result


def test_the_statistics_are_those_of_the_union(market: DemoMarket, played: Chain) -> None:
    table = content(played, "credit-table")
    union = rows(market, "enterprises.csv")
    assert (table["rows"], table["departments"]) == (len(union), 4)
    for cells in table["tables"]:
        for cell in cells["cells"]:
            members = [row for row in union if all(row[name] == value for name, value in cell["group"].items())]
            assert cell["rows"] == len(members)
            for name, figures in cell["columns"].items():
                values = np.array([float(row[name]) for row in members if row[name] != ""])
                assert figures["count"] == len(values)
                assert figures["mean"] == pytest.approx(values.mean(), rel=1e-9)
                assert figures["variance"] == pytest.approx(values.var(ddof=1), rel=1e-6)


def test_the_histogram_counts_every_row_in_range(market: DemoMarket, played: Chain) -> None:
    (histogram,) = content(played, "health-table")["histograms"]
    radii = [float(row["mean_radius"]) for row in rows(market, "breast_cancer.csv")]
    expected, edges = np.histogram(radii, bins=10, range=(5.0, 30.0))
    assert histogram["edges"] == pytest.approx(edges)
    for count, wanted in zip(histogram["counts"], expected, strict=True):
        # Some bins that are full enough are kept back, or the small ones could be told from all rows.
        assert count in (wanted, None)
        assert count is None or count >= scenes.HEALTH.minimum_cohort
    assert sum(count is not None for count in histogram["counts"]) >= 5


def test_the_model_is_the_one_trained_on_pooled_data(market: DemoMarket, played: Chain) -> None:
    model = content(played, "health-score")
    union = rows(market, "breast_cancer.csv")
    features = np.array([[float(row[name]) for name in data.MEASUREMENTS] for row in union])
    target = np.array([int(row["malignant"]) for row in union])
    scaled = (features - features.mean(axis=0)) / features.std(axis=0, ddof=0)
    plain = LogisticRegression(C=1 / model["l2"], tol=1e-10, max_iter=10_000).fit(scaled, target)
    buyer = market.connect(INSURER)
    for index in (0, 100, 300):
        answer = buyer.products.call(played.made["health-score.product"],
                                     features=dict(zip(data.MEASUREMENTS, features[index].tolist(), strict=True)))
        assert answer["score"] == pytest.approx(plain.predict_proba(scaled[index:index + 1])[0, 1], abs=2e-3)
    assert model["converged"]


def test_a_department_was_asked_before_each_new_use(market: DemoMarket, played: Chain) -> None:
    (asking,) = played.asking(scenes.HEALTH)
    decided = market.node_json(asking, "approvals", "--all")
    assert {(one["app_name"], one["state"]) for one in decided} == {("statistics", "approved"), ("regression", "approved")}
    for plan in scenes.HEALTH.products:
        lines = [line.text for line in market.connect(DEVELOPER).jobs.get(played.made[f"{plan.key}.job"]).log()]
        assert any(asking.name_zh in line and one["approval_id"] in line for line in lines for one in decided), lines


def test_calls_are_refused_without_an_entitlement(market: DemoMarket, played: Chain) -> None:
    with pytest.raises(shuyan.ProblemResponse) as raised:
        market.connect(BANK).products.call(played.made["health-score.product"], **scenes.HEALTH.products[1].call)
    assert raised.value.status in (402, 403)


def test_somebody_elses_order_is_not_found(market: DemoMarket, played: Chain) -> None:
    with pytest.raises(shuyan.NotFound):
        market.connect(BANK).orders.get(played.made["health-table.order"])


def test_the_evidence_holds_and_a_changed_bundle_does_not(market: DemoMarket, played: Chain, tmp_path: Path) -> None:
    played.verify()
    evidence = market.layout.root / "evidence" / "health-table.json"
    key = market.layout.root / "evidence" / "log.vkey"
    assert "Proven" in run("shuyan", "--lang", "en", "verify", evidence, "--key", key)
    bundle = json.loads(evidence.read_text())
    leaf = json.loads(bundle["events"][0]["leaf"])
    leaf["actor"] = "somebody else"
    bundle["events"][0]["leaf"] = json.dumps(leaf)
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(bundle))
    with pytest.raises(CommandFailed) as raised:
        run("shuyan", "verify", changed, "--key", key)
    assert raised.value.exit_code == 1


def test_a_command_reads_the_market_without_signing_in(market: DemoMarket, played: Chain) -> None:
    products = json.loads(run("shuyan", "--url", market.layout.url, "products", "list", "--json"))
    assert len(products) == 4
    shown = run("shuyan", "--lang", "zh", "--url", market.layout.url, "products", "show", products[0]["id"])
    assert "开通费" in shown


@pytest.mark.parametrize("name", [COORDINATOR, MARKET, "yanhe"])
def test_a_killed_process_comes_back_and_work_goes_on(market: DemoMarket, played: Chain, name: str) -> None:
    market.processes.kill(name)
    market.processes.restart(name)
    market.wait_connected()
    plan = scenes.HEALTH.products[0]
    job = played.submit(plan, played.made["health.grant"], fresh=True)
    job.wait(timeout=60, until=("reviewing",))
    assert job.status == "reviewing", job.log()[-1].text


def test_every_node_keeps_its_directory_to_itself(market: DemoMarket) -> None:
    homes = {district.slug: market.layout.node(district) for district in market.districts}
    for name in market.processes.names:
        process = psutil.Process(market.processes.pid(name))
        for each in (process, *process.children(recursive=True)):
            opened = [Path(file.path) for file in each.open_files()]
            for owner, home in homes.items():
                if owner != name:
                    assert not [path for path in opened if path.is_relative_to(home)], f"{name} opened a file of {owner}"


def test_two_demos_do_not_share_a_folder(market: DemoMarket) -> None:
    with pytest.raises(AlreadyRunning), DemoMarket(market.layout):
        pass


def test_a_taken_port_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([sys.executable, "-m", "demo", "--once", "--lang", "en", "--port", str(port), "--dir", tmp_path],
                              cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stdout.startswith(f"Port {port} is taken.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose nodes' sockets have room in a Unix socket's address, which a test runner's own may not leave."""
    with tempfile.TemporaryDirectory(prefix="shuyan-") as folder:
        yield Path(folder)


def _heed_interrupts() -> None:
    """Whoever starts the tests in the background of a script has them, and all they start, ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_start_leaves_no_process(short_path: Path) -> None:
    port = 0
    while not port:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1] if probe.getsockname()[1] < 65_000 else 0
    with subprocess.Popen([sys.executable, "-m", "demo", "--lang", "en", "--port", str(port), "--dir", short_path], cwd=ROOT,
                          stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
                          preexec_fn=_heed_interrupts) as demo:
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "Marketplace and coordinator started" in line:
                    break
            children = psutil.Process(demo.pid).children(recursive=True)
            assert len(children) >= 2
            demo.send_signal(signal.SIGINT)
            rest = demo.stdout.read()
        except BaseException:
            demo.terminate()  # or it would be waited for without end
            raise
    assert demo.returncode == 130, rest
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert len(gone) == len(children)


def test_the_invoice_counts_calls_once_and_shares_all_of_it(market: DemoMarket, played: Chain) -> None:
    order = played.made["credit-score.order"]
    before = market.connect(BANK).orders.preview(order)
    product = played.made["credit-score.product"]
    for _ in range(3):
        market.connect(BANK).products.call(product, **scenes.CREDIT.products[1].call, key="the-same-call")
    after = market.connect(BANK).orders.preview(order)
    assert after["calls"] == before["calls"] + 1
    assert sum(share["amount_fen"] for share in after["shares"]) == after["total_fen"]
    assert all(isinstance(share["amount_fen"], int) for share in after["shares"])
    assert math.isclose(sum({s["party"]: s["share_percent"] for s in after["shares"]}.values()), 100)


def test_a_node_that_is_revoked_is_cut_off_and_the_others_go_on(market: DemoMarket, played: Chain) -> None:
    """Last: the node does not come back."""
    last = market.districts[-1]
    status = market.node_json(last, "status")
    node_id = status.get("node_id") or status["nodeId"]
    market.connect(OPERATOR).nodes.revoke(node_id)
    market.wait_for(lambda: True if market.node_json(last, "status")["state"] == "revoked" else None, "node revoked")
    job = played.submit(scenes.HEALTH.products[0], played.made["health.grant"])
    job.wait(timeout=90, until=("reviewing",))
    assert job.ended or job.status == "reviewing"
