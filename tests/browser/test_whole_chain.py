"""The whole chain as nine people walk it in their own browsers, on a market of real processes: in Chinese, and again in English."""

from __future__ import annotations

import os
import random
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo import pages, scenes
from demo.chain import Chain
from demo.data import credit_code
from demo.layout import AUTHORITY, CHECKER, HEALTH, OPERATOR, PARTIES, Layout, Ports
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
        developer = register(people)
        scenario = propose(developer)
        for party in (OPERATOR, AUTHORITY, HEALTH):
            decide(people(party), scenario)
        demand = ask(developer, scenario)
        for party in (OPERATOR, AUTHORITY, *DEPARTMENTS):
            decide(people(party), demand)
        for person in (people(OPERATOR), developer):
            sign(person)
        market.authority_command("issue", demand.rpartition("/")[2], "--yes")
        developer.open(demand)
        developer.follow(developer.say("授权凭证", "Grant"))
        developer.shot("grant")
        assert "/grants/" in developer.page.url
    except BaseException:
        people.shots("where-it-ended")
        raise
    finally:
        troubles = people.close()
    assert troubles == {}


def register(people: People) -> Person:
    """A company nobody knows registers; one person of the operator checks, another decides, everybody may see it; returns its person."""
    newcomer, page = people.visitor("newcomer"), people.visitor("newcomer").page
    email, password = f"{newcomer.locale}@tanyue.example", secrets.token_urlsafe(12)
    name = {"zh": "探岳数据科技有限公司", "en": "探岳海外数据科技有限公司"}[newcomer.locale]
    newcomer.open("/register")
    page.select_option("[name=party]", "developer")
    for field, value in {"name_zh": name, "name_en": f"Tanyue Data Technology {newcomer.locale}", "display_name": "周宁", "email": email,
                         "credit_code": credit_code("990100", random.Random(newcomer.locale)), "password": password}.items():
        page.fill(f"[name={field}]", value)
    newcomer.shot("register")
    page.locator("main form button[type=submit]").click()
    newcomer.succeeds()
    newcomer.sign_in(email, password)
    address = newcomer.address()
    page.fill("[name=contact_phone]", "+86 28 8000 0000")
    page.fill("[name=statement]", newcomer.say("以公共数据开发健康险核保产品。", "Products for underwriting, made from public data."))
    page.locator("[name=q_kind]").first.select_option("business_licence")
    page.locator("[name=q_number]").first.fill("YC-2026-0001")
    page.set_input_files("[name=file]", {"name": "licence.pdf", "mimeType": "application/pdf", "buffer": pages.agreement()})
    page.check("[name=no_incidents]")
    page.check("[name=ownership_declared]")
    newcomer.press("保存", "Save")
    newcomer.shot("registration")
    newcomer.press("提交审核", "Submit for review")
    newcomer.succeeds()

    handler = people(OPERATOR)
    handler.from_home(address)
    for choice in handler.page.locator("select[name^=ok-]").all():
        choice.select_option("yes")
    handler.press("保存", "Save")
    handler.succeeds()
    handler.shot("registration-checked")
    decider = people(CHECKER)
    decider.from_home(address)
    decider.confirm("通过审核", "Accept")
    decider.succeeds()

    visitor = people.visitor("visitor")
    visitor.open("/notices")
    assert name in visitor.page.locator("main").inner_text() or newcomer.locale == "en"
    visitor.shot("notices")
    newcomer.until(address, newcomer.say("已登记", "Registered"))
    newcomer.shot("registered")
    return newcomer


def propose(developer: Person) -> str:
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
    return developer.address()


def decide(person: Person, address: str) -> None:
    """Whoever is asked finds it among what is to be done, and agrees."""
    person.from_home(address)
    person.page.fill("[name=note]", person.say("同意。", "Agreed."))
    person.shot(f"decide-{address.split('/')[1]}-{person.name}")
    person.page.locator("button[name=decision][value=approve]").click()
    person.succeeds()


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
    page.locator("#findings:not(:has(.check-bad))").wait_for()
    developer.shot("demand-form")
    page.locator("button[name=then][value=submit]").last.click()
    page.wait_for_url("**/demands/demand_*")
    developer.shot("demand")
    return developer.address()


def sign(person: Person) -> None:
    """The agreement that the approval opened, from what is to be done."""
    person.open("/home?kind=agreement.sign")
    person.page.locator("main a[href^='/agreements/']").first.click()
    person.confirm("签署", "Sign")
    person.succeeds()
    person.shot(f"signed-{person.name}")
