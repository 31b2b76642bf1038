"""The whole chain as nine people walk it in their own browsers, on a market of real processes: in Chinese, and again in English."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo import scenes
from demo.chain import Chain
from demo.layout import AUTHORITY, DEVELOPER, HEALTH, OPERATOR, PARTIES, Layout, Ports
from demo.market import DemoMarket
from demo.processes import free_ports
from demo.screen import Screen
from tests.browser.people import People, Person

DEPARTMENTS = [party for party in PARTIES if party.kind == "source_department"]
SHOTS = Path(os.environ["SHUYAN_SCREENSHOTS"]) if os.environ.get("SHUYAN_SCREENSHOTS") else None


@pytest.fixture(scope="module")
def market() -> Iterator[DemoMarket]:
    with tempfile.TemporaryDirectory(prefix="shuyan-") as folder, DemoMarket(Layout(Path(folder), Ports(*free_ports(3)))) as market:
        Chain(market, Screen()).set_up()
        yield market


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("locale", ["zh", "en"])
def test_nine_people(browser: Any, market: DemoMarket, locale: str) -> None:
    people = People(browser, market, locale, SHOTS)
    try:
        scenario = propose(people(DEVELOPER), locale)
        decide(people(OPERATOR), scenario)
        for party in (AUTHORITY, HEALTH):
            decide(people(party), scenario)
        demand = ask(people(DEVELOPER), scenario)
        decide(people(OPERATOR), demand)
        for party in (AUTHORITY, *DEPARTMENTS):
            decide(people(party), demand)
        sign(people, demand)
        market.authority_command("issue", demand.rpartition("/")[2], "--yes")
        developer = people(DEVELOPER)
        developer.open(demand)
        developer.follow(developer.say("授权凭证", "Grant"))
        developer.shot("grant")
        assert "/grants/" in developer.page.url
    finally:
        troubles = people.close()
    assert troubles == {}


def propose(developer: Person, locale: str) -> str:
    """The developer's scenario; returns the address of its page."""
    developer.open("/scenarios")
    developer.shot("scenarios")
    developer.follow(developer.say("申报应用场景", "Propose a scenario"))
    page = developer.page
    page.fill("[name=title]", developer.say("健康险智能核保", "Underwriting of health insurance"))
    page.select_option("[name=sector]", "health")
    page.fill("[name=months]", "12")
    for name in ("purpose", "necessity", "effect"):
        page.fill(f"[name={name}]", developer.say("为核保建立统计基线，不接触病历。", "A statistical baseline that sees no record."))
    developer.shot("scenario-form")
    developer.press("保存并提交", "Save and submit")
    page.wait_for_url("**/scenarios/scenario_*")
    developer.shot("scenario")
    return str(page.url).removeprefix(developer.market.layout.url)


def decide(person: Person, address: str) -> None:
    """Whoever is asked finds it among what is to be done, and agrees."""
    person.open("/home")
    person.shot(f"home-{person.name}")
    person.page.locator(f"a[href='{address}']").first.click()
    person.page.fill("[name=note]", person.say("同意。", "Agreed."))
    person.shot(f"decide-{person.name}")
    person.page.locator("button[name=decision][value=approve]").click()
    person.page.locator("main .alert-success").first.wait_for()


def ask(developer: Person, scenario: str) -> str:
    """The list of data, with what would be refused shown while it is written; returns the address of its page."""
    offer = scenes.HOSPITALS
    page = developer.page
    developer.open(scenario)
    developer.follow(developer.say("提交数据需求", "Ask for data"))
    page.fill("[name=q]", developer.say(offer.title_zh, offer.title_en))
    page.locator("button[name=search]").click()
    page.locator("button[name=add]").first.click()
    line = page.locator("#line-1")
    for box in line.locator("input[name=departments-1]").all():
        box.check()
    for column in ("mean_radius", "mean_texture", "malignant"):
        line.locator(f"input[name=columns-1][value={column}]").check()
    line.locator("[name=reason-1]").fill(developer.say("计算统计量所必需。", "Needed for the statistics."))
    page.locator("input[name=apps][value=statistics]").check()
    page.wait_for_function("document.querySelector('#findings') && !document.querySelector('#findings .check-bad')")
    developer.shot("demand-form")
    page.locator("button[name=then][value=submit]").last.click()
    page.wait_for_url("**/demands/demand_*")
    developer.shot("demand")
    return str(page.url).removeprefix(developer.market.layout.url)


def sign(people: People, demand: str) -> None:
    """Operator and developer sign the agreement that the approval opened, each from what is to be done."""
    for party in (OPERATOR, DEVELOPER):
        person = people(party)
        person.open("/home?kind=agreement.sign")
        person.page.locator("main a[href^='/agreements/']").first.click()
        person.confirm("签署", "Sign")
        person.page.locator("main .alert-success").first.wait_for()
        person.shot(f"signed-{person.name}")
