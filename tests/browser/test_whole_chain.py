"""The whole chain as nine people walk it in their own browsers, on a market of real processes: some read Chinese, some English, and each
acts on what those of the other language wrote."""

from __future__ import annotations

import os
import random
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo import pages, scenes
from demo.chain import Chain
from demo.data import credit_code
from demo.layout import AUTHORITY, CHECKER, HEALTH, INSURER, OPERATOR, PARTIES, Layout, Ports
from demo.market import DemoMarket
from demo.processes import free_ports
from demo.screen import Screen
from tests.browser.people import People, Person
from tests.factories import forking

import shuyan

SECURITY, TREASURY = (next(party for party in PARTIES if party.kind == kind) for kind in ("security_supervisor", "finance_department"))
DEPARTMENTS = [party for party in PARTIES if party.kind == "source_department"]
ENGLISH = {"newcomer", CHECKER.slug, INSURER.slug, TREASURY.slug}  # the newcomer is the developer
SHOTS = Path(os.environ["SHUYAN_SCREENSHOTS"]) if os.environ.get("SHUYAN_SCREENSHOTS") else None


@pytest.fixture(scope="module")
def market() -> Iterator[DemoMarket]:
    with tempfile.TemporaryDirectory(prefix="shuyan-") as folder, DemoMarket(
            Layout(Path(folder), Ports(*free_ports(3))), runner=forking.finished, spawn=forking.service) as market:
        Chain(market, Screen()).set_up()
        yield market


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nine_people(browser: Any, market: DemoMarket) -> None:
    people = People(browser, market, ENGLISH, SHOTS)
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
        job = try_out(developer, scenario)
        approve_use(market)
        developer.until(job, developer.say("出域审核中", "In egress review"))
        for party in (AUTHORITY, *DEPARTMENTS):
            leave(people(party), developer.say(*JOB))
        developer.until(job, developer.say("已完成", "Completed"))
        developer.shot("result")
        version = draft(developer)
        for party in (OPERATOR, CHECKER):
            pass_version(people(party))
        for party in (AUTHORITY, *DEPARTMENTS):
            pass_version(people(party))
        code = put_on_sale(people(OPERATOR), developer, version)
        buy(people, code)
        look(people, code)
    except BaseException:
        people.shots("where-it-ended")
        raise
    finally:
        troubles = people.close()
    assert troubles == {}


def register(people: People) -> Person:
    """A company nobody knows registers; one person of the operator checks, another decides, everybody may see it; returns its person."""
    newcomer, page = people.visitor("newcomer"), people.visitor("newcomer").page
    email, password, name = "zhou@tanyue.example", secrets.token_urlsafe(12), ("探岳数据科技有限公司", "Tanyue Data Technology")
    newcomer.open("/register")
    page.select_option("[name=party]", "developer")
    newcomer.fill(name_zh=name[0], name_en=name[1], display_name="周宁", email=email,
                  credit_code=credit_code("990100", random.Random(1)), password=password)
    newcomer.shot("register")
    page.locator("main form button[type=submit]").click()
    newcomer.succeeds()
    newcomer.enter(email, password)
    address = newcomer.address()
    newcomer.fill(contact_phone="+86 28 8000 0000",
                  statement=newcomer.say("以公共数据开发健康险核保产品。", "Products for underwriting, made from public data."))
    page.locator("[name=q_kind]").first.select_option("business_licence")
    page.locator("[name=q_number]").first.fill("YC-2026-0001")
    page.set_input_files("[name=file]", {"name": "licence.pdf", "mimeType": "application/pdf", "buffer": pages.agreement()})
    page.check("[name=no_incidents]")
    page.check("[name=ownership_declared]")
    newcomer.press("保存", "Save")
    newcomer.succeeds()
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
    assert visitor.say(*name) in visitor.page.locator("main").inner_text()
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
    line.wait_for()
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


JOB = ("肿块半径的均值", "Mean radius")
PRODUCT = ("肿块半径统计", "Radius of masses")


def try_out(developer: Person, scenario: str) -> str:
    """The scenario's sandbox, a program of the developer's own that tries a job in it, and the job to the nodes as it was tried;
    returns the address of the job."""
    page = developer.page
    developer.open("/clients")
    page.fill("[name=name]", "notebook")
    for scope in ("read", "jobs"):
        page.check(f"[name=scopes][value={scope}]")
    developer.press("创建", "Create")
    client_id, secret = (page.locator(f"#client-{part}").inner_text().strip() for part in ("id", "secret"))
    developer.open(scenario)
    developer.press("开通沙箱", "Open the sandbox")
    page.wait_for_url(re.compile("/sandboxes/"))
    sandbox = developer.address()
    with (shuyan.connect(developer.url, client_id=client_id, client_secret=secret) as market,
          tempfile.TemporaryDirectory() as folder):
        trial = market.sandbox(scenario.rpartition("/")[2], directory=folder).run(
            "statistics", {"resource": scenes.HOSPITALS.name, "columns": ["mean_radius"], "group_by": [[], ["malignant"]]})
    assert trial.content["rows"] > 0
    developer.open(sandbox)
    developer.shot("sandbox")
    developer.press("提交到节点", "To the nodes", within=page.locator("main"))
    dialog = page.locator(".modal.show")
    dialog.locator("[name=title]").fill(developer.say(*JOB))
    dialog.locator("button[type=submit]").click()
    page.wait_for_url(re.compile("/jobs/job_"))
    developer.shot("job")
    return developer.address()


def approve_use(market: DemoMarket) -> None:
    """The administrators of departments that look at each new use of their data, at their own node."""
    for district in market.districts:
        if district.slug in scenes.HOSPITALS.manual:
            waiting = market.wait_for(lambda district=district: market.node_json(district, "approvals") or None, "approvals")  # type: ignore[misc]
            for one in waiting:
                market.node_command(district, "approve", one["approval_id"])


def leave(person: Person, title: str) -> None:
    """Whoever authorised the use decides whether the result may leave."""
    person.take(title)
    person.page.fill("[name=note]", person.say("自动检查全部通过，符合授权用途。", "All checks passed; what the grant is for."))
    person.shot(f"egress-{person.name}")
    person.page.locator("button[name=decision][value=approve]").click()
    person.succeeds()


def draft(developer: Person) -> str:
    """A product from the result, tested and handed in; returns the address of its version."""
    page = developer.page
    developer.open("/my/products/new")
    developer.fill(title_zh=PRODUCT[0], title_en=PRODUCT[1], summary_zh="各院合计。", summary_en="Over all hospitals.",
                   description_zh="四家医院合计的均值和方差。", description_en="Means and variances over four hospitals.",
                   terms_zh="仅限核保参考。", terms_en="For underwriting only.")
    page.select_option("[name=job]", label=developer.say(*JOB))
    page.select_option("[name=delivery_form]", "api")
    page.select_option("[name=sector]", "health")
    developer.shot("product-form")
    developer.press("保存草稿", "Save draft")
    page.locator("main a[href*='/versions/']").first.click()
    developer.press("运行测试", "Run tests")
    developer.succeeds()
    developer.shot("version-tested")
    developer.confirm("提交审核", "Submit for review")
    developer.succeeds()
    return developer.address()


def pass_version(person: Person) -> None:
    """A reviewer finds the version, ticks what was made sure of, and passes it on."""
    person.take(person.say(*PRODUCT))
    for box in person.page.locator("[name=ticked]").all():
        box.check()
    person.page.fill("[name=note]", person.say("符合要求。", "In order."))
    person.shot(f"version-{person.name}")
    person.page.locator("button[name=decision][value=pass]").click()
    person.succeeds()


def put_on_sale(operator: Person, developer: Person, version: str) -> str:
    """The operator registers the version, the developer prices and lists it; returns the registration code."""
    operator.take(operator.say(*PRODUCT))
    operator.confirm("登记", "Register")
    operator.succeeds()
    code = str(operator.page.locator("main .regcode").first.inner_text())
    operator.shot("registered-version")
    developer.open(version.partition("/versions/")[0])
    developer.fill(access_fee="1200", call_fee="0.50")
    developer.press("设定价格", "Set price")
    developer.succeeds()
    developer.confirm("上架", "Put on sale")
    developer.succeeds()
    developer.shot("listed")
    return code


def buy(people: People, code: str) -> None:
    """A consumer finds the product by its code, orders it, pays, and calls it."""
    consumer, operator = people(INSURER), people(OPERATOR)
    consumer.open(f"/?q={consumer.say(*PRODUCT)}")
    consumer.shot("store")
    consumer.follow(consumer.say(*PRODUCT))
    assert code in consumer.page.locator("main").inner_text()
    consumer.shot("product")
    consumer.press("购买", "Buy", within=consumer.page.locator("main"))
    consumer.page.locator(".modal.show button[type=submit]").click()
    consumer.succeeds()
    order, number = consumer.address(), str(consumer.page.locator("main .regcode").first.inner_text())
    consumer.shot("order")
    operator.take(number)
    operator.press("登记收款", "Record payment", within=operator.page.locator("main"))
    dialog = operator.page.locator(".modal.show")
    dialog.locator("[name=bank_reference]").fill(f"HCB-{number}")
    dialog.locator("[name=amount]").fill("1200.00")
    dialog.locator("button[type=submit]").click()
    operator.succeeds()
    consumer.open(order)
    consumer.press("调用", "Call")
    consumer.page.locator("#answer :is(table, pre)").first.wait_for()
    consumer.shot("called")


def look(people: People, code: str) -> None:
    """The supervisor, the treasury and anybody at all see what was done."""
    for person in (people(SECURITY), people(TREASURY), people.visitor("visitor")):
        person.open("/")
        person.page.fill("main [name=q], .hero [name=q]", code)
        person.page.keyboard.press("Enter")
        person.page.wait_for_url(re.compile("[?&]q="))
        person.page.locator(".product-card a").first.click()
        person.page.locator("#provenance a[href^='/audit/']").last.click()
        person.page.locator("main .trail li").first.wait_for()
        person.shot(f"trail-{person.name}")


def sign(person: Person) -> None:
    """The agreement that the approval opened, from what is to be done."""
    person.open("/home?kind=agreement.sign")
    person.page.locator("main a[href^='/agreements/']").first.click()
    person.confirm("签署", "Sign")
    person.succeeds()
    person.shot(f"signed-{person.name}")
