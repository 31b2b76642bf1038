"""PostgreSQL is stopped as by a crash and started again, under the web tier and under the coordinator's engine."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select
from tests.factories import postgres
from tests.factories.federation import PARAMS, RunTransport, eventually, zone
from tests.factories.market import STATISTICS, buy, make_city, make_product, make_token

from marketplace import db, tables
from marketplace.actor import SYSTEM
from marketplace.api import oauth
from marketplace.app import create_app
from marketplace.computing import service as computing
from marketplace.computing.models import Job, JobOutput
from marketplace.delivery import service as delivery
from marketplace.metering.writer import close_writers
from marketplace.parties import service as parties
from marketplace.settings import settings
from marketplace.trust.service import ensure_log_key
from marketplace.workflows.engine import Engine

pytestmark = pytest.mark.needs_postgres

PASSWORD = "a long enough password"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[postgres.Server]:
    """A running PostgreSQL with an empty market in it."""
    try:
        made = postgres.Server()
    except postgres.Absent as absent:
        pytest.skip(str(absent))
    made.start()
    postgres.administer(made.folder, "CREATE DATABASE market")
    monkeypatch.setenv("SHUYAN_DATA_DIR", str(tmp_path / "market"))
    monkeypatch.setenv("SHUYAN_DATABASE_URL", postgres.url_of(made.folder, "market"))
    settings.cache_clear()
    db._engines.cache_clear()
    ensure_log_key(settings())
    tables.metadata.create_all(db.writer_engine())
    try:
        yield made
    finally:
        db.writer_engine().dispose()
        db.reader_engine().dispose()
        db._engines.cache_clear()
        settings.cache_clear()
        made.stop()
        made.remove()


class Web:
    """The web tier, with a program that bought a product and a person who is signed in."""

    def __init__(self) -> None:
        self.app = create_app()
        with db.transaction() as session:
            city = make_city(session)
            self.product = make_product(session, city, STATISTICS)
            self.second = make_product(session, city, STATISTICS)
            buy(session, city, self.product)
            parties.add_member(session, SYSTEM, organisation_id=city["consumer"].organisation_id or "",
                               email="buyer@example.org", display_name="A buyer", password=PASSWORD)
        self.headers = {"Authorization": f"Bearer {make_token(city['consumer'], 'read orders deliver')}",
                        "Accept-Language": "en"}
        self.browser = self.app.test_client()
        page = self.browser.get("/sign-in", headers={"Accept-Language": "en"}).text
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token
        answer = self.browser.post("/sign-in", data={
            "csrf_token": token.group(1), "email": "buyer@example.org", "password": PASSWORD})
        assert answer.status_code == 303

    def forget(self) -> None:
        """Empty the caches, so that every request needs the database."""
        oauth.forget()
        delivery.forget()

    def requests(self) -> dict[str, Any]:
        self.forget()
        client = self.app.test_client()
        get = {path: client.get(f"/api/v1{path}", headers=self.headers) for path in ("/products", "/me", "/orders", "/jobs")}
        return get | {
            "order": client.post("/api/v1/orders", json={"product_id": self.second},
                                 headers=self.headers | {"Idempotency-Key": "one-order"}),
            "call": client.post(f"/api/v1/products/{self.product}/calls", json={},
                                headers=self.headers | {"Idempotency-Key": "one-call"}),
        }


def test_the_web_tier_says_that_it_cannot_and_recovers_by_itself(server: postgres.Server) -> None:
    web = Web()
    server.stop()

    for name, answer in web.requests().items():
        assert (name, answer.status_code, answer.mimetype) == (name, 503, "application/problem+json")
        assert answer.json["code"] == "unavailable"
        assert answer.headers["Retry-After"]
        assert answer.json["detail"] == "The service is unavailable for the moment; try again shortly."
    assert web.app.test_client().get("/healthz").status_code == 503
    for path in ("/", "/orders", "/sign-in"):
        page = web.browser.get(path, headers={"Accept-Language": "en"})
        assert (path, page.status_code) == (path, 503)
        assert "try again shortly" in page.text
        assert "psycopg" not in page.text
        assert "Traceback" not in page.text
    # more callers than the pool has connections: nothing may be left checked out afterwards
    with ThreadPoolExecutor(30) as many:
        busy = list(many.map(lambda _n: web.app.test_client().get("/api/v1/products").status_code, range(60)))
    assert set(busy) == {503}

    server.start()
    again = web.requests()
    assert {name: answer.status_code for name, answer in again.items()} == {
        "/products": 200, "/me": 200, "/orders": 200, "/jobs": 200, "order": 201, "call": 200}
    assert web.requests()["order"].json["id"] == again["order"].json["id"]
    assert web.browser.get("/orders").status_code == 200  # the session has outlived it
    assert web.app.test_client().get("/healthz").status_code == 200
    close_writers()


class Held(RunTransport):
    """Departments that answer when they are let."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked, self.go = threading.Event(), threading.Event()

    def _deliver(self, request: Any, handle: Any) -> Any:
        self.asked.set()
        self.go.wait(60)
        return super()._deliver(request, handle)


def test_the_engine_ends_every_job_once_the_database_is_back(server: postgres.Server) -> None:
    town = zone()
    transport = Held([one.local for one in town.departments])
    engine = Engine(settings(), transport)
    engine.start()

    def submit(key: str) -> str:
        with db.transaction() as session:
            return computing.submit_job(session, town.developer, grant_id=town.grant_id, app="statistics", params=PARAMS,
                                        idempotency_key=key).id

    def status(job_id: str) -> str:
        with db.reading() as session:
            return session.get_one(Job, job_id).status

    try:
        during = submit("during")
        assert transport.asked.wait(30)
        server.stop()
        transport.go.set()  # the run ends while there is nothing to write its end to
        server.start()
        after = submit("after")
        for job_id in (during, after):
            assert eventually(lambda job_id=job_id: status(job_id) not in ("queued", "running") and status(job_id),
                              60) == "reviewing"
        with db.reading() as session:
            found = session.exec(select(JobOutput.job_id).order_by(col(JobOutput.job_id))).all()
        assert list(found) == sorted((during, after))  # one candidate each, none twice
    finally:
        engine.stop()
