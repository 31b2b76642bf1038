"""The main ways through the pages, in a real browser, in both languages."""

from __future__ import annotations

import re
from typing import Any

from tests.browser import checks
from tests.browser.conftest import Visitor
from tests.browser.scene import HOSPITALS, PASSWORD, email


def _expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)  # a process has to start on a busy machine
    return expect(locator)


def test_a_visitor_reads_the_language_their_browser_asks_for_and_can_switch(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/?q=xyz")
    assert page.get_attribute("html", "lang") == visitor.say("zh-CN", "en")
    page.get_by_role("link", name=visitor.say("English", "中文"), exact=True).click()
    assert page.get_attribute("html", "lang") == visitor.say("en", "zh-CN")
    assert "q=xyz" in page.url  # still where they were
    visitor.open("/audit")
    assert page.get_attribute("html", "lang") == visitor.say("en", "zh-CN")


def test_signing_in_with_a_wrong_password_says_so_and_a_right_one_leads_back(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/orders")
    assert "/sign-in" in page.url
    page.fill("input[name=email]", email("consumer"))
    page.fill("input[name=password]", "not this one")
    page.click("main form button[type=submit]")
    _expect(page.get_by_role("alert")).to_contain_text(visitor.say("邮箱或密码不正确", "is wrong"))
    visitor.troubles.clear()  # the browser reports the 401 itself
    page.fill("input[name=password]", PASSWORD)
    page.click("main form button[type=submit]")
    page.wait_for_url("**/orders")
    page.get_by_role("button", name="赵磊").click()
    page.get_by_role("button", name=visitor.say("退出登录", "Sign out")).click()
    _expect(page.get_by_role("status")).to_contain_text(visitor.say("已退出登录", "signed out"))
    visitor.open("/orders")
    assert "/sign-in" in page.url


def test_from_the_storefront_to_a_paid_order(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("consumer")
    visitor.open("/")
    page.fill("input[name=q]", visitor.say("住院", "inpatient"))
    page.get_by_role("button", name=visitor.say("搜索", "Search")).click()
    page.wait_for_url(re.compile("[?&]q="))
    page.get_by_role("link", name=visitor.say("区域住院费用统计", "Inpatient cost by district")).click()
    _expect(page.locator("#provenance")).to_contain_text(visitor.say("第一人民医院", "First People's Hospital"))
    page.get_by_role("button", name=re.compile(visitor.say("购买", "Buy"))).click()
    page.get_by_role("dialog").get_by_role("button", name=visitor.say("提交订单", "Place order")).click()
    page.wait_for_url("**/orders/ord_*")
    order, number = page.url, (page.locator("h1").text_content() or "").split()[-1]
    _expect(page.locator("main")).to_contain_text(visitor.say("转账附言", "Remark on the transfer"))

    page.context.clear_cookies(name="shuyan")
    visitor.sign_in("operator")
    visitor.menu("收款确认", "Payments")
    page.locator("tr", has_text=number).get_by_role("button").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[name=bank_reference]").fill(f"REF-{number}")
    dialog.locator("[name=amount]").fill("12800")
    dialog.get_by_role("button", name=visitor.say("登记收款", "Record payment")).click()
    _expect(page.get_by_role("status")).to_contain_text(number)

    page.context.clear_cookies(name="shuyan")
    visitor.sign_in("consumer")
    page.goto(order)
    _expect(page.locator("#curl")).to_contain_text("/calls")
    page.get_by_role("button", name=visitor.say("调用", "Call"), exact=True).click()
    _expect(page.locator("#answer table").first).to_be_visible()
    _expect(page.locator(".chart canvas").first).to_be_visible()


def test_a_model_is_tried_from_the_order(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("consumer")
    visitor.open(f"/orders/{visitor.site.scene.orders['model']}")
    page.get_by_role("button", name=visitor.say("调用", "Call"), exact=True).click()
    _expect(page.locator("#answer")).to_contain_text(visitor.say("评分", "Score"))
    page.locator("[name=x-age]").fill("old")
    page.get_by_role("button", name=visitor.say("调用", "Call"), exact=True).click()
    _expect(page.locator("#answer").get_by_role("alert")).to_be_visible()


def test_a_job_shows_its_progress_live_and_then_its_chart(visitor: Visitor) -> None:
    page, scene = visitor.page, visitor.site.scene
    visitor.sign_in("developer")
    visitor.open(f"/jobs/new?grant={scene.grant}&app=statistics&resource=inpatients")
    page.fill("input[name=title]", f"cost {visitor.locale}")
    page.check("input[name=columns][value=cost]")
    page.check("input[name=group][value=district]")
    page.check("input[name=histogram][value=systolic]")
    page.fill("input[name=bins-systolic]", visitor.say("14", "12"))  # else one's answer would be the other's as well
    page.get_by_role("button", name=visitor.say("提交任务", "Submit job")).click()
    page.wait_for_url("**/jobs/job_*")
    _expect(page.locator("#progress")).to_contain_text(visitor.say("排队", "queued"))
    mine = page.url.rsplit("/", 1)[1]
    visitor.site.play(mine)
    _expect(page.locator("#progress progress[value]")).to_be_visible()
    _expect(page.locator("#progress")).to_contain_text(re.compile(visitor.say("第 [1-6] 轮，共 6 轮", "Round [1-6] of 6")))
    # the page moves on by itself when the computation is done
    _expect(page.locator("#progress .state")).to_have_text(visitor.say("出域审核中", "In egress review"))

    for reviewer in ("authority", *(slug for slug, _zh, _en in HOSPITALS)):  # whoever authorised the use lets it out
        page.context.clear_cookies(name="shuyan")
        visitor.sign_in(reviewer)
        page.get_by_role("link", name=f"cost {visitor.locale}").click()
        _expect(page.locator(".chart canvas").first).to_be_visible()
        page.get_by_role("button", name=visitor.say("同意出域", "Approve egress")).click()
        _expect(page.get_by_role("status").first).to_be_visible()

    page.context.clear_cookies(name="shuyan")
    visitor.sign_in("developer")
    visitor.open(f"/jobs/{mine}")
    _expect(page.locator(".chart canvas").first).to_be_visible()
    _expect(page.locator("table").first).to_contain_text(visitor.say("住院费用", "cost"))


def test_a_queued_job_can_be_cancelled_after_being_asked(visitor: Visitor) -> None:
    page, scene = visitor.page, visitor.site.scene
    visitor.sign_in("developer")
    visitor.open(f"/jobs/new?grant={scene.grant}&app=regression&resource=inpatients")
    page.fill("input[name=title]", "risk")
    page.select_option("select[name=target]", "readmitted")
    page.check("input[name=features][value=age]")
    page.get_by_role("button", name=visitor.say("提交任务", "Submit job")).click()
    page.wait_for_url("**/jobs/job_*")
    page.get_by_role("button", name=visitor.say("取消任务", "Cancel job")).click()
    page.get_by_role("dialog").get_by_role("button", name=visitor.say("取消任务", "Cancel job")).click()
    _expect(page.locator("#progress .state")).to_have_text(visitor.say("已取消", "Cancelled"))


def test_the_page_of_something_unknown_says_what_to_do(visitor: Visitor) -> None:
    visitor.open("/products/prod_unknown")
    _expect(visitor.page.locator("h1")).to_have_text(visitor.say("没有找到", "Not found"))
    _expect(visitor.page.get_by_role("link", name=visitor.say("返回产品列表", "To the product list"))).to_be_visible()
    visitor.troubles.clear()  # the browser reports the 404 itself


def test_a_chart_that_is_not_drawn_anew_yet_does_not_widen_the_page(visitor: Visitor) -> None:
    """As between the turning of a telephone and the chart's next frame."""
    page = visitor.page
    page.add_init_script("window.ResizeObserver = class { observe() {} unobserve() {} disconnect() {} }")
    page.set_viewport_size({"width": checks.WIDTHS[0], "height": checks.HEIGHT})
    visitor.sign_in("authority")
    visitor.open(f"/reviews/{visitor.site.scene.reviews['waiting']}")
    _expect(page.locator(".chart canvas").last).to_be_visible()
    assert checks.too_wide(page) == []
