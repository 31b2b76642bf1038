"""Paying by card, in a real browser that keeps to the market's policy of what pages may do, on the stand-in's page, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Site, Visitor, serve
from tests.factories.stripe import StandIn, environment


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    running = StandIn()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def site(built: Path, stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The market of the other tests, but it takes cards, and Stripe tells it what happens."""
    folder = tmp_path_factory.mktemp("cards")
    with serve(built, folder, **environment(stand_in, folder)) as market:
        stand_in.send_events_to(f"{market.url}/webhooks/stripe")
        yield market


def test_a_card_is_declined_then_another_pays_and_the_operator_refunds_it(visitor: Visitor) -> None:
    page, say = visitor.page, visitor.say
    visitor.sign_in("consumer")
    visitor.open("/")
    page.get_by_role("link", name=say("区域住院费用统计", "Inpatient cost by district")).click()
    page.get_by_role("button", name=re.compile(say("购买", "Buy"))).click()
    page.get_by_role("dialog").get_by_role("button", name=say("提交订单", "Place order")).click()
    page.wait_for_url("**/orders/ord_*")
    order = page.url

    page.get_by_role("button", name=re.compile(say("用银行卡支付", "by card"))).click()
    page.wait_for_url("**/_config/pay/cs_*")
    page.get_by_role("button", name="declined").click()
    page.get_by_role("link", name="Back").click()
    page.wait_for_url(order)
    expect(page.get_by_role("main")).to_contain_text(say("上一次支付被拒", "The last attempt was declined"))

    page.get_by_role("button", name=re.compile(say("用银行卡支付", "by card"))).click()
    page.wait_for_url("**/_config/pay/cs_*")
    page.get_by_role("button", name="good").click()
    page.wait_for_url(order)
    expect(page.get_by_role("status")).to_contain_text(say("付款已到账", "The payment has arrived"))
    expect(page.get_by_role("main")).to_contain_text(say("如何调用", "How to call it"))

    page.context.clear_cookies(name="shuyan")
    visitor.sign_in("operator")
    page.goto(order)
    page.get_by_role("button", name=say("退款", "Refund"), exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=say("退款", "Refund"), exact=True).click()
    expect(page.get_by_role("main")).to_contain_text(say("已退款", "Refunded"))
    expect(page.get_by_role("main")).to_contain_text(say("已退回", "Paid back"))
