"""A careful client: it repeats what it does not know the outcome of, under the same key, and remembers every answer."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from demo.layout import AUTHORITY, DEVELOPER, INSURER, OPERATOR, Layout, Party

import shuyan
from shuyan import ConnectionFailed, ProblemResponse, RateLimited, Unavailable

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which a market that does not come back is a finding."""


@dataclass
class Sale:
    """One product with the order placed for it, as they were acknowledged."""

    product_id: str
    order_key: str
    order_id: str
    number: str
    amount_fen: int
    bank_reference: str
    calls: set[str] = field(default_factory=set)  # idempotency keys of acknowledged calls


@dataclass
class Ledger:
    """Everything the market has acknowledged."""

    jobs: dict[str, str] = field(default_factory=dict)  # idempotency key → job id
    approved: set[str] = field(default_factory=set)  # job ids
    sales: list[Sale] = field(default_factory=list)
    requests: int = 0
    repeats: int = 0
    lost_jobs: int = 0  # ended without a result; decided all the same


class Careful:
    """Plays the chain in a loop until told to stop; :attr:`failure` is what broke it, if anything did."""

    def __init__(self, layout: Layout, grant_id: str, seed: int) -> None:
        self._layout, self._grant_id = layout, grant_id
        self._chance = random.Random(f"client {seed}")
        self._markets: dict[str, shuyan.Market] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="careful-client", daemon=True)
        self._number = 0
        self.ledger = Ledger()
        self.doing = "nothing yet"
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn that is under way, then stop."""
        self._stop.set()
        self._thread.join(3 * PATIENCE)
        if self._thread.is_alive() and self.failure is None:
            self.failure = TimeoutError(f"the client still waits: {self.doing}")
        for market in self._markets.values():
            market.close()
        self._markets.clear()

    def market(self, party: Party) -> shuyan.Market:
        """The SDK, signed in as ``party``'s program."""
        if party.slug not in self._markets:
            self._markets[party.slug] = shuyan.connect(
                self._layout.url, client_id=party.client_id, client_secret=self._layout.secret(party), timeout=10.0)
        return self._markets[party.slug]

    def _party(self, organisation_id: str | None) -> Party:
        """Who acts for an organisation; for none, the data authority."""
        found = {party.organisation_id: party for party in reversed(self._layout.parties)}
        return found[organisation_id] if organisation_id else AUTHORITY

    def again(self, what: str, work: Callable[[], T]) -> T:
        """Do ``work`` until the market answers. Only what may be done twice is put in here."""
        self.doing = what
        end = time.monotonic() + PATIENCE
        first = True
        while True:
            self.ledger.requests += 1
            self.ledger.repeats += not first
            first = False
            try:
                return work()
            except (ConnectionFailed, Unavailable, RateLimited) as error:
                if time.monotonic() > end:
                    raise TimeoutError(f"{what}: {error}") from error
                time.sleep(self._chance.uniform(0.05, 0.3))

    def turn(self) -> None:
        """One whole chain, from a job to calls."""
        self._number += 1
        if self._number % 2 == 0:  # many rounds, so that a kill finds one half done
            self.result("regression", {"resource": "breast_cancer", "family": "logistic", "target": "malignant",
                                       "features": ["mean_radius", "mean_texture"], "l2": 1.0 + self._chance.random()})
        # Another upper edge makes it another question, which nodes have not answered with others before.
        job_id = self.result("statistics", {
            "resource": "breast_cancer", "columns": ["mean_radius"], "group_by": [[]], "histograms": [
                {"column": "mean_radius", "lower": 0.0, "upper": 30.0 + self._chance.random(), "bins": 5}]})
        product_id = self.product(job_id)
        sale = self.order(product_id)
        self.ledger.sales.append(sale)
        for number in range(self._chance.randint(5, 25)):
            self.call(sale, f"call-{self._number}-{number}-{self._chance.getrandbits(32):08x}")

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.turn()
        except BaseException as error:  # told to whoever waits for us
            self.failure = error

    # --- the links of the chain ------------------------------------------------------------------------------------

    def result(self, app: str, params: dict[str, Any]) -> str:
        """A job with an approved result. One that ended without is not mourned: a new one is asked for."""
        while True:
            job = self.submit(app, params)
            end = time.monotonic() + PATIENCE
            while job.status not in ("reviewing", "completed", "failed", "cancelled", "rejected"):
                if time.monotonic() > end:
                    raise TimeoutError(f"job {job.id} is still {job.status}")
                time.sleep(0.1)
                self.again("look at a job", job.refresh)
            if job.status in ("failed", "cancelled", "rejected"):
                self.ledger.lost_jobs += 1
                continue
            self.approve(job)
            content = self.again("read a result", job.result)
            assert content
            return job.id

    def submit(self, app: str, params: dict[str, Any]) -> shuyan.Job:
        jobs = self.market(DEVELOPER).jobs
        key = f"job-{self._number}-{self._chance.getrandbits(48):012x}"
        job = self.again("submit a job", lambda: jobs.submit(self._grant_id, app, params, key=key, fresh=True))
        self.ledger.jobs[key] = job.id
        return job

    def approve(self, job: shuyan.Job) -> None:
        """Everybody who is asked agrees, each until it is settled."""
        reviews = self.market(AUTHORITY).reviews
        review = self.again("find a review", lambda: next(one for one in reviews.list() if one.job_id == job.id))
        for opinion in self.again("read a review", lambda: reviews.get(review.id)).opinions:
            reviewer = self.market(self._party(opinion["organisation_id"])).reviews
            if opinion["decision"] == "pending":
                self._settled("approve an output", lambda reviewer=reviewer: reviewer.approve(review.id, "自动检查全部通过。"))
        self.ledger.approved.add(job.id)

    def product(self, job_id: str) -> str:
        """A listed product of the job's result. Its drafting has no key, so a careful client looks before repeating."""
        products, operator = self.market(DEVELOPER).products, self.market(OPERATOR).products
        title = f"测量统计 {self._number}-{self._chance.getrandbits(32):08x}"

        def draft() -> str:
            for one in products.list(own="true", limit=100):
                if one.title_zh == title:
                    return one.id
            return products.create(title_zh=title, title_en=title, sector="health", delivery_form="api", tier=2).id

        product_id = self.again("draft a product", draft)

        def version() -> int:
            there = _versions(products.get(product_id))
            return int(there[-1]["number"] if there else products.version(product_id, job_id)["number"])

        number = self.again("make a version", version)
        self.again("set a price", lambda: products.price(product_id, access_fee_fen=1000, call_fee_fen=10,
                                                         included_calls=3))
        self._settled("test a version", lambda: products.test(product_id, number))
        self._settled("submit a version", lambda: products.submit(product_id, number))
        for stage in ("security_test", "compliance_review"):
            self._settled(f"pass {stage}", lambda stage=stage: operator.approve(product_id, number, stage))
        decides = self.again("read who decides", lambda: operator.dossier(product_id, number))["decides"]
        for organisation in (None, *decides["departments"]):
            reviewer = self.market(self._party(organisation)).products
            self._settled("pass egress_review", lambda reviewer=reviewer: reviewer.approve(product_id, number, "egress_review"))
        self._settled("register a version", lambda: operator.register(product_id, number))
        self._settled("list a product", lambda: products.publish(product_id))
        return product_id

    def _settled(self, what: str, work: Callable[[], Any]) -> None:
        """Something that can happen once: when a repetition hears that it has happened, it has."""
        def once() -> None:
            try:
                work()
            except ProblemResponse as problem:
                if problem.status != 409:
                    raise

        self.again(what, once)

    def order(self, product_id: str) -> Sale:
        buyer, operator = self.market(INSURER), self.market(OPERATOR)
        key = f"order-{self._number}-{self._chance.getrandbits(48):012x}"
        order = self.again("place an order", lambda: buyer.orders.place(product_id, key=key))
        reference = f"BANK{order.number}"
        paid = self.again("record a payment", lambda: operator.orders.pay(
            order.id, bank_reference=reference, amount_fen=order.amount_fen))
        assert paid.status == "paid"
        return Sale(product_id, key, order.id, order.number, order.amount_fen, reference)

    def call(self, sale: Sale, key: str) -> None:
        products = self.market(INSURER).products
        answer = self.again("call a product", lambda: products.call(sale.product_id, key=key))
        assert answer
        sale.calls.add(key)


def _versions(product: Any) -> list[dict[str, Any]]:
    return [*(getattr(product, "versions", None) or [])]
