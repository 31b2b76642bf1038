"""Market, coordinator and the stand-in for Stripe as processes of their own: told by Stripe, and found out without being told."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo.commands import executable
from demo.processes import Processes, Service, free_ports, http_ready, port_ready, process_environment
from sqlmodel import select
from tests.factories.cards import FEE, CardMarket
from tests.factories.federation import eventually
from tests.factories.stripe import StandIn, accept_cards, environment

import shuyan
from marketplace import db
from marketplace.commerce.models import CardPayment
from marketplace.parties import service as parties
from marketplace.settings import settings


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    running = StandIn()
    yield running
    running.stop()


@pytest.fixture
def market(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[CardMarket, Processes, dict[str, Any]]]:
    """The running marketplace, and the coordinator's service to be started when a test wants it."""
    web, link, enrol = free_ports(3)
    mine = {"SHUYAN_DATA_DIR": str(tmp_path / "market"), "SHUYAN_WEB_PORT": str(web), "SHUYAN_LINK_PORT": str(link),
            "SHUYAN_ENROL_PORT": str(enrol), "SHUYAN_PUBLIC_URL": f"http://127.0.0.1:{web}", **environment(stand_in, tmp_path)}
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    db._engines.cache_clear()
    given = process_environment(mine)
    for command in ("shuyan-market", "shuyan-coordinator"):
        subprocess.run([executable(command), "init"], env=given, check=True, capture_output=True)
    url = mine["SHUYAN_PUBLIC_URL"]
    with accept_cards(stand_in, tmp_path, monkeypatch), Processes() as processes:
        processes.start(Service("market", (executable("shuyan-market"), "serve"), tmp_path / "market.log", http_ready(f"{url}/healthz"), given))
        yield CardMarket(stand_in), processes, {"url": url, "coordinator": Service(
            "coordinator", (executable("shuyan-coordinator"), "serve"), tmp_path / "coordinator.log", port_ready("127.0.0.1", link, enrol), given)}
    db.dispose()
    settings.cache_clear()


def _credentials(made: CardMarket) -> tuple[str, str]:
    with db.transaction() as session:
        client, secret = parties.create_client(session, made.buyer, name="buyer", scope="orders read")
    return client.client_id, secret


def _buyer(made: CardMarket, url: str) -> shuyan.Market:
    name, secret = _credentials(made)
    return shuyan.connect(url, client_id=name, client_secret=secret)


def test_stripe_tells_and_the_order_is_paid(market: tuple[CardMarket, Processes, dict[str, Any]], stand_in: StandIn) -> None:
    made, _processes, where = market
    stand_in.send_events_to(f"{where['url']}/webhooks/stripe")
    with _buyer(made, where["url"]) as buyer:
        order = buyer.orders.place(made.product)
        card = buyer.orders.pay_by_card(order.id)
        assert (card.status, card.amount_fen) == ("open", FEE)
        stand_in.pay((card.url or "").rsplit("/", 1)[-1])
        eventually(lambda: buyer.orders.get(order.id).status == "paid")
        assert buyer.orders.card(order.id).status == "paid"
        with pytest.raises(shuyan.Conflict):
            buyer.orders.cancel(order.id)
    made.check()


def test_stripe_tells_nothing_and_the_coordinator_finds_out(market: tuple[CardMarket, Processes, dict[str, Any]], stand_in: StandIn) -> None:
    made, processes, where = market
    with _buyer(made, where["url"]) as buyer:
        paid, left = (buyer.orders.place(made.product) for _order in range(2))
        for order in (paid, left):
            buyer.orders.pay_by_card(order.id)
        stand_in.pay((buyer.orders.pay_by_card(paid.id).url or "").rsplit("/", 1)[-1])
        with db.transaction() as session:  # as if the hour were over
            for row in session.exec(select(CardPayment)):
                row.look_at = row.expires_at = row.created_at - dt.timedelta(minutes=1)
                session.add(row)
        processes.start(where["coordinator"])
        eventually(lambda: buyer.orders.get(paid.id).status == "paid")
        eventually(lambda: made.state(left.id) == ("awaiting_payment", "expired", []))
    made.check()


def test_the_command_line_gives_the_page_to_pay_on(market: tuple[CardMarket, Processes, dict[str, Any]], stand_in: StandIn, tmp_path: Path) -> None:
    made, _processes, where = market
    name, secret = _credentials(made)
    (tmp_path / "secret").write_text(secret)
    given = process_environment({"SHUYAN_URL": where["url"], "SHUYAN_CLIENT_ID": name, "SHUYAN_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
                                 "SHUYAN_LANG": "en", "XDG_CONFIG_HOME": str(tmp_path)})
    order_id = made.order()
    said = subprocess.run([executable("shuyan"), "pay", order_id], env=given, capture_output=True, text=True, check=True).stdout
    assert "within the hour" in said
    assert stand_in.pay(said.strip().rsplit("/", 1)[-1])
    again = subprocess.run([executable("shuyan"), "pay", order_id], env=given, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert made.state(order_id)[0] == "paid"
