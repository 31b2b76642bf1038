"""One performance: a market, a careful client, a monkey, and the reckoning."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.layout import DEVELOPER
from demo.processes import http_ready
from tests.chaos.client import PATIENCE, Careful
from tests.chaos.monkey import Monkey
from tests.chaos.verify import ENDED, Findings, Watcher, verify
from tests.factories.town import Town, town, until

Say = Callable[[str], object]


@dataclass
class Outcome:
    """What happened, and what does not hold."""

    findings: Findings
    kills: Counter[str]
    client: Careful
    checkpoints: int
    seconds: float

    def summary(self) -> str:
        ledger = self.client.ledger
        calls = sum(len(sale.calls) for sale in ledger.sales)
        killed = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        return (f"{self.kills.total()} kills ({killed}) in {self.seconds:.0f} s; acknowledged: {len(ledger.jobs)} jobs "
                f"({ledger.lost_jobs} ended without a result), {len(ledger.approved)} approvals, {len(ledger.sales)} paid "
                f"orders, {calls} calls; {ledger.repeats} of {ledger.requests} requests repeated; {self.checkpoints} "
                f"checkpoints kept; {self.findings.checked.total()} checks, {len(self.findings.found)} findings")


def play(kills: int, seed: int, *, keep: bool = False, say: Say = lambda _text: None) -> Outcome:
    """Kill ``kills`` times while the chain is played, then verify.

    Raises:
        ProcessFailed: something that was killed did not come back.
    """
    began = time.monotonic()
    with town() as market:
        try:
            say("setting up a market")
            grant = set_up(market)
            client, watcher, monkey = Careful(market.layout, grant, seed), Watcher(market.layout.url), Monkey(market, seed)
            client.turn()  # the chain holds before anything is killed
            say("killing")
            client.start()
            watcher.start()

            def alive() -> None:
                if client.failure is not None:
                    raise client.failure

            try:
                monkey.rampage(kills, alive)
            finally:
                client.stop()
            say("everything was killed; waiting for it to come back and settle")
            settle(market, client, monkey)
            watcher.stop()
            findings = verify(market, client, watcher)
            keep = keep or bool(findings.found)  # for whoever looks for the cause
            return Outcome(findings, monkey.kills, client, len(watcher.seen), time.monotonic() - began)
        finally:
            if keep:
                kept = Path(f"{market.layout.root}-kept")
                market.processes.stop_all()
                shutil.copytree(market.layout.root, kept, ignore=shutil.ignore_patterns("*.sock"))
                say(f"kept in {kept}")


def set_up(market: Town) -> str:
    """The demo's hospitals, linked, with a grant over their measurements."""
    market.write_raw_data()
    market.enrol_all()
    files = {one.slug: market.layout.department(one) / "data" / "breast_cancer.csv" for one in market.districts}
    columns = ["mean_radius", "mean_texture", "malignant"]
    resources = market.offer("breast_cancer", files, columns, sector="health", grade=3)
    return market.grant(resources, columns, apps=["statistics", "regression"])


def settle(market: Town, client: Careful, monkey: Monkey) -> None:
    """Wait until every node is linked again and every job has an end, and play the chain once more, undisturbed."""
    serves = http_ready(f"{market.layout.url}/healthz")
    until(lambda: monkey.revive() or serves(), PATIENCE)  # the web worker may have been the last one killed
    market.wait_connected()
    developer = market.connect(DEVELOPER)
    if not until(lambda: all(job.status in (*ENDED, "reviewing") for job in developer.jobs.list()), PATIENCE):
        return  # verify() names the jobs
    if client.failure is None:
        client.turn()
