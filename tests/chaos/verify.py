"""What must hold afterwards: whatever was acknowledged is there, once, and every record of it verifies."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psutil
from demo.commands import CommandFailed, run
from demo.layout import INSURER
from demo.market import MARKET
from tests.chaos.client import Careful, Ledger
from tests.factories.town import Town

import shuyan
from shuyan.trust import merkle, notes

ENDED = ("completed", "failed", "cancelled", "rejected")


@dataclass
class Findings:
    """What does not hold."""

    found: list[str] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)

    def require(self, holds: bool, what: str, sentence: str) -> None:
        self.checked[what] += 1
        if not holds:
            self.found.append(sentence)

    def once(self, what: str, wanted: Iterable[str], there: Iterable[str]) -> None:
        """Every wanted thing is there exactly once."""
        counts = Counter(there)
        for one in wanted:
            self.require(counts[one] == 1, what, f"{what} {one} is there {counts[one]} times")


class Watcher:
    """Fetches checkpoints all the while, and checks that each continues the one before."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoint-watcher", daemon=True)
        self._key: notes.Verifier | None = None
        self.seen: list[notes.Checkpoint] = []
        self.failures: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        with shuyan.connect(self._url, timeout=5.0) as market:
            while not self._stop.wait(0.5):
                try:
                    self.look(market)
                except shuyan.ConnectionFailed:
                    continue
                except shuyan.ProblemResponse as problem:
                    if problem.status < 500:
                        self.failures.append(f"checkpoint: {problem.code}")
                except Exception as error:
                    self.failures.append(f"checkpoint: {type(error).__name__}: {error}")

    def look(self, market: shuyan.Market) -> None:
        """Fetch the latest checkpoint and check it against the last one seen."""
        if self._key is None:
            self._key = notes.parse_verifier(market.audit.key())
        checkpoint = notes.open_checkpoint(market.audit.checkpoint(), self._key)
        if self.seen:
            before = self.seen[-1]
            if checkpoint.size == before.size and checkpoint.root == before.root:
                return
            if checkpoint.size < before.size:
                self.failures.append(f"the log shrank from {before.size} to {checkpoint.size}")
                return
            proof = market.audit._api.get("/audit/proof/consistency", first=before.size, second=checkpoint.size)["proof"]
            merkle.verify_consistency(before.size, checkpoint.size, [base64.b64decode(part) for part in proof],
                                      before.root, checkpoint.root)
        self.seen.append(checkpoint)


def verify(market: Town, client: Careful, watcher: Watcher) -> Findings:
    """Check everything, with the market running and the client at rest."""
    findings = Findings()
    if client.failure is not None:
        findings.found.append(f"the client broke while it wanted to {client.doing}: {client.failure!r}")
    previews = {sale.order_id: market.connect(INSURER).orders.preview(sale.order_id) for sale in client.ledger.sales}
    for sale in client.ledger.sales:
        preview = previews[sale.order_id]
        findings.require(preview["calls"] == len(sale.calls), "preview",
                         f"order {sale.order_id}: {len(sale.calls)} calls acknowledged, {preview['calls']} in the preview")
        findings.require(sum(share["amount_fen"] for share in preview["shares"]) == preview["total_fen"], "shares",
                         f"order {sale.order_id}: the shares do not add up")
    with sqlite3.connect(f"file:{market.layout.market / 'market.sqlite'}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        _tables(findings, database, client.ledger)
        _audit(findings, database, client.ledger, watcher)
        _nodes(findings, database, market)
    findings.found += watcher.failures
    held = [file.path for file in psutil.Process(market.processes.pid(MARKET)).open_files() if ".sqlite" in file.path]
    findings.require(not held, "supervisor", f"the web supervisor, which forks, holds databases open: {held}")
    try:
        run("shuyan-market", "audit", "check", environment=market.layout.market_environment())
        findings.checked["audit check"] += 1
    except CommandFailed as failed:
        findings.found.append(f"audit check: {failed}")
    return findings


def _column(database: sqlite3.Connection, sql: str, *arguments: Any) -> list[Any]:
    return [row[0] for row in database.execute(sql, arguments)]


def _tables(findings: Findings, database: sqlite3.Connection, ledger: Ledger) -> None:
    undecided = _column(database, f"SELECT id || ' ' || status FROM job WHERE status NOT IN {(*ENDED, 'reviewing')}")
    findings.require(not undecided, "undecided jobs", f"undecided jobs: {undecided}")
    open_runs = _column(database, "SELECT r.id FROM run r JOIN job j ON j.id = r.job_id WHERE r.status = 'running'"
                                  f" AND j.status IN {(*ENDED, 'reviewing')}")
    findings.require(not open_runs, "open runs", f"runs left open: {open_runs}")
    findings.once("job", ledger.jobs, _column(database, "SELECT idempotency_key FROM job"))
    findings.once("job id", ledger.jobs.values(), _column(database, "SELECT id FROM job"))
    findings.once("approved output", ledger.approved, _column(
        database, "SELECT o.job_id FROM job_output o JOIN egress_review v ON v.output_id = o.id WHERE v.status = 'approved'"))
    sales = ledger.sales
    findings.once("order", [sale.order_key for sale in sales], _column(
        database, "SELECT idempotency_key FROM purchase_order"))
    findings.once("payment", [f"{sale.order_id} {sale.bank_reference} {sale.amount_fen}" for sale in sales], _column(
        database, "SELECT order_id || ' ' || reference || ' ' || amount_fen FROM payment"))
    findings.once("entitlement", [sale.order_id for sale in sales], _column(database, "SELECT order_id FROM entitlement"))
    findings.once("booking", _column(database, "SELECT 'payment:' || id FROM payment"), _column(
        database, "SELECT idempotency_key FROM ledger_transaction"))
    balance = _column(database, "SELECT coalesce(sum(amount_fen), 0) FROM ledger_posting")[0]
    findings.require(balance == 0, "ledger", f"the ledger does not balance: {balance}")
    bank = _column(database, "SELECT coalesce(sum(amount_fen), 0) FROM ledger_posting WHERE account = 'assets:bank'")[0]
    paid = _column(database, "SELECT coalesce(sum(amount_fen), 0) FROM payment")[0]
    findings.require(bank == paid, "bank", f"{paid} fen received, {bank} booked")
    usage = _column(database, "SELECT e.order_id || ' ' || u.idempotency_key FROM usage_record u"
                              " JOIN entitlement e ON e.id = u.entitlement_id")
    findings.once("usage record", [f"{sale.order_id} {key}" for sale in sales for key in sale.calls], usage)


def _audit(findings: Findings, database: sqlite3.Connection, ledger: Ledger, watcher: Watcher) -> None:
    events = [json.loads(leaf) for leaf in _column(database, 'SELECT leaf FROM audit_event ORDER BY "index"')]
    places = _column(database, 'SELECT "index" FROM audit_event ORDER BY "index"')
    findings.require(places == list(range(len(places))), "dense log", "the log has gaps")
    size = _column(database, "SELECT size FROM log_head")[0]
    findings.require(size == len(places), "log head", f"the log says {size}, there are {len(places)}")
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_tag.setdefault(event["tag"], []).append(event)

    def about(tag: str) -> list[str]:
        return [name for event in by_tag.get(tag, []) for name in {event["subject"], *event["related"]}]

    findings.once("event of job", ledger.jobs.values(), about("computing:job:submitted"))
    findings.once("event of approval", ledger.approved, about("computing:egress:approved"))
    for what, tag in (("order", "commerce:order:placed"), ("payment", "commerce:payment:received"),
                      ("entitlement", "commerce:entitlement:granted")):
        findings.once(f"event of {what}", [sale.order_id for sale in ledger.sales], about(tag))
    findings.once("event of run", _column(database, "SELECT id FROM run"), about("computing:run:started"))
    findings.once("event of finished run", _column(database, "SELECT id FROM run WHERE status = 'finished'"),
                  about("computing:run:finished"))
    sealed = sum(event["data"]["count"] for event in by_tag.get("metering:usage:sealed", []))
    recorded = _column(database, "SELECT count(*) FROM usage_record WHERE seal_index IS NOT NULL")[0]
    findings.require(sealed == recorded, "seals", f"{sealed} calls sealed, {recorded} records carry a seal")
    leaves = _column(database, 'SELECT leaf FROM audit_event ORDER BY "index"')
    for checkpoint in watcher.seen:
        root = merkle.root_of(merkle.leaf_hash(leaf.encode()) for leaf in leaves[: checkpoint.size])
        findings.require(root == checkpoint.root, "checkpoint kept", f"checkpoint {checkpoint.size} was rewritten")


def _nodes(findings: Findings, database: sqlite3.Connection, market: Town) -> None:
    """Every journal verifies, and holds each opening that a result rests on exactly once."""
    opened: dict[str, Counter[tuple[str, int]]] = {}
    for one in market.districts:
        folder = market.layout.node(one)
        try:
            market.node_command(one, "journal", "--verify")
            findings.checked["journal"] += 1
        except CommandFailed as failed:
            findings.found.append(f"journal of {one.slug}: {failed}")
        node_id = json.loads((folder / "identity.json").read_text(encoding="utf-8"))["node_id"]
        with sqlite3.connect(f"file:{folder / 'state.sqlite'}?mode=ro", uri=True) as state:
            entries = [json.loads(data) for data in _column(state, "SELECT data FROM journal WHERE event = 'round:opened'")]
            opened[node_id] = Counter((entry["run"], entry["round"]) for entry in entries)
            kept = state.execute("SELECT run_id, round FROM opening").fetchall()
        findings.require(all(count == 1 for count in opened[node_id].values()), "openings",
                         f"{one.slug} opened a round twice")
        findings.require(set(kept) == set(opened[node_id]), "openings", f"the journal of {one.slug} misses an opening")
    # A run that was cut off is gone on with by the next one of its job, which asks nothing that was answered.
    job_of = {row["id"]: row["job_id"] for row in database.execute("SELECT id, job_id FROM run")}
    rounds: dict[str, int] = {}
    answered: dict[str, set[tuple[str, int]]] = {node_id: set() for node_id in opened}
    for node_id, places in opened.items():
        for run_id, number in places:
            job_id = job_of.get(run_id, run_id)
            rounds[job_id] = max(number, rounds.get(job_id, 0))
            answered[node_id].add((job_id, number))
    for row in database.execute("SELECT id, job_id, participants FROM run WHERE status = 'finished'"):
        findings.require(row["job_id"] in rounds, "released", f"run {row['id']} gave a result and nobody opened anything")
        for node_id in json.loads(row["participants"]):
            missing = [number for number in range(1, rounds.get(row["job_id"], 0) + 1)
                       if (row["job_id"], number) not in answered[node_id]]
            findings.require(not missing, "released", f"{node_id} has no entry of rounds {missing} of run {row['id']}")
