"""Asking in SQL, training with a live curve, budgets and the gallery, in a real browser, in both languages."""

from __future__ import annotations

import re
from typing import Any

from tests.browser.conftest import Visitor
from tests.browser.scene import QUERY


def _expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)  # a process has to start on a busy machine
    return expect(locator)


# Always a function: an expression would be evaluated again at each look, which the pages' policy (no unsafe-eval) forbids from the second on.
_READY = "() => window.shuyanEditor"


def _editor(visitor: Visitor, text: str) -> None:
    """Put a query into the editor as somebody would who pastes it."""
    visitor.page.wait_for_function(_READY)  # a page that was just sent may still be loading
    visitor.page.evaluate("text => window.shuyanEditor.setValue(text)", text)


def _text(visitor: Visitor) -> str:
    visitor.page.wait_for_function(_READY)
    return str(visitor.page.evaluate("window.shuyanEditor.getValue()"))


def _choose(visitor: Visitor, text: str) -> None:
    """Take the completion that is offered, once the editor has caught up with what was typed: it does so frame by frame."""
    visitor.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    _expect(visitor.page.locator(".CodeMirror-hint-active")).to_contain_text(text)
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_function("text => window.shuyanEditor.getValue().endsWith(text)", arg=text)


def test_the_editor_completes_tables_columns_and_declared_values(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.open(f"/sql?grant={visitor.site.scene.grant}")
    page.locator(".CodeMirror").click()
    page.keyboard.type("SELECT count(*) FROM inp")
    _choose(visitor, "inpatients")
    page.keyboard.type(" WHERE distr")
    _choose(visitor, "district")
    page.keyboard.type(" = '")
    _expect(page.locator(".CodeMirror-hints")).to_contain_text("城北")
    page.keyboard.press("Escape")
    page.keyboard.type("城北'")
    page.wait_for_function("""() => window.shuyanEditor.getValue() === "SELECT count(*) FROM inpatients WHERE district = '城北'" """)
    assert page.locator(".cm-keyword").count() >= 3  # it is coloured
    page.keyboard.press("Tab")  # the keyboard gets out again
    assert not page.evaluate("document.activeElement.closest('.CodeMirror') !== null")


def test_names_and_values_of_the_side_panel_go_where_the_cursor_is(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.open(f"/sql?grant={visitor.site.scene.grant}")
    _editor(visitor, "")
    page.locator("[data-insert=cost]").click()
    row = page.locator("ul.columns > li", has=page.locator("[data-insert=district]"))
    row.locator("summary").click()
    row.get_by_role("button", name="城南", exact=True).click()
    assert _text(visitor) == "cost'城南'"


def test_explaining_says_what_happens_and_where_a_refusal_stands(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.open(f"/sql?grant={visitor.site.scene.grant}")
    explain = page.get_by_role("button", name=visitor.say("查看执行说明", "Explain"))
    _editor(visitor, QUERY)
    explain.click()
    explained = page.locator("#explained")
    _expect(explained).to_contain_text(visitor.say("尚未向部门提问", "nothing was asked or spent"))
    _expect(explained).to_contain_text("48")  # months by districts
    _expect(explained).to_contain_text("query.")
    _editor(visitor, "SELECT district, count(*) AS n\nFROM inpatients\nWHERE cost > random()\nGROUP BY district")
    explain.click()
    _expect(explained.get_by_role("alert")).to_contain_text(visitor.say("第 3 行", "Line 3"))
    _expect(page.locator(".CodeMirror .refused").first).to_contain_text("random")
    # the mark goes with the next change, and what was typed is still there
    page.evaluate("window.shuyanEditor.replaceRange(' ', {line: 0, ch: 0})")
    _expect(page.locator(".CodeMirror .refused")).to_have_count(0)


def test_under_noise_an_explanation_tells_cost_and_error(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.open(f"/sql?grant={visitor.site.scene.noisy_grant}")
    _editor(visitor, "SELECT district, count(*) AS n FROM inpatients GROUP BY district")
    page.fill("input[name=epsilon]", "0.5")
    page.get_by_role("button", name=visitor.say("查看执行说明", "Explain")).click()
    _expect(page.locator("#explained")).to_contain_text("ε 0.5")
    _expect(page.locator("#explained")).to_contain_text(visitor.say("预期误差", "Expected error"))
    _expect(page.locator("#explained .alert-warning")).to_contain_text("west-node")  # which has nothing left


def test_under_noise_a_training_is_asked_for_as_noise_allows(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.open(f"/jobs/new?grant={visitor.site.scene.noisy_grant}&app=network")
    assert page.locator("[name=standardise], [name=update], [name=validation], [name=audit], [name=split]").count() == 0
    _expect(page.locator("#f-row_clip")).to_be_visible()
    page.select_option("#f-target", "readmitted")
    for name in ("age", "systolic"):
        page.check(f"[name=features][value={name}]")
    page.locator("#explain-button").click()
    _expect(page.locator("#explained")).to_contain_text("train.step")
    _expect(page.locator("#explained .alert-danger")).to_have_count(0)


def test_a_refused_query_loses_nothing_and_a_good_one_runs(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.open(f"/sql?grant={visitor.site.scene.grant}")
    wrong = "SELECT nothing\nFROM inpatients"
    _editor(visitor, wrong)
    page.fill("input[name=title]", f"sql {visitor.locale}")
    page.get_by_role("button", name=visitor.say("运行", "Run"), exact=True).click()
    _expect(page.get_by_role("alert")).to_contain_text("nothing")
    visitor.troubles.clear()  # the browser reports the 422 itself
    assert _text(visitor) == wrong
    assert page.input_value("input[name=title]") == f"sql {visitor.locale}"
    _expect(page.locator(".CodeMirror .refused")).to_have_text("nothing")
    _editor(visitor, QUERY + f" -- {visitor.locale}")
    page.get_by_role("button", name=visitor.say("运行", "Run"), exact=True).click()
    page.wait_for_url("**/jobs/job_*")


def test_a_table_is_sorted_charted_saved_and_opened_again(visitor: Visitor) -> None:
    page, scene = visitor.page, visitor.site.scene
    visitor.sign_in("developer")
    visitor.open(f"/jobs/{scene.jobs['query']}")
    _expect(page.locator(".chart canvas").first).to_be_visible()
    _expect(page.locator("#rows tbody tr")).to_have_count(25)
    page.locator("#rows").get_by_role("link", name=visitor.say("按 n 排序", "Sort by n")).click()
    _expect(page.locator("#rows th[aria-sort=ascending]")).to_contain_text("n")
    counts = [int(text) for text in page.locator("#rows tbody td:nth-child(3)").all_text_contents()]
    assert counts == sorted(counts)
    page.locator("#rows").get_by_role("link", name=visitor.say("下一页", "Next page")).click()
    _expect(page.locator("#rows tbody tr")).to_have_count(23)
    with page.expect_download() as saved:
        page.get_by_role("link", name=visitor.say("下载 CSV", "Download CSV")).click()
    lines = saved.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "month,district,n,mean_cost,sd_cost"
    assert len(lines) == 49
    page.get_by_role("link", name=visitor.say("在编辑器中打开", "Open in the editor")).click()
    page.wait_for_url("**/sql?job=*")
    assert "GROUP BY" in _text(visitor)


def test_training_shows_its_curve_live(visitor: Visitor) -> None:
    page, scene = visitor.page, visitor.site.scene
    visitor.sign_in("developer")
    visitor.open(f"/jobs/new?grant={scene.grant}&app=boosting&resource=inpatients")
    page.fill("input[name=title]", f"trees {visitor.locale}")
    page.select_option("select[name=target]", "readmitted")
    page.get_by_role("searchbox").fill("systolic")
    _expect(page.locator("#features .feature:visible")).to_have_count(1)
    page.check("input[name=features][value=systolic]")
    page.get_by_role("searchbox").fill("")
    page.check("input[name=features][value=age]")
    page.locator("details summary", has_text=visitor.say("更多设置", "More")).click()
    page.fill("input[name=max_depth]", "99")
    page.get_by_role("button", name=visitor.say("提交任务", "Submit job")).click()
    _expect(page.locator("input[name=max_depth].is-invalid")).to_be_visible()  # at fault, opened, and all else kept
    visitor.troubles.clear()  # the browser reports the 422 itself
    assert page.is_checked("input[name=features][value=systolic]")
    page.fill("input[name=max_depth]", "3" if visitor.locale == "zh" else "2")  # else the other's answer would be given again
    page.get_by_role("button", name=visitor.say("查看执行说明", "Explain")).click()
    _expect(page.locator("#explained")).to_contain_text("query.profile")
    page.get_by_role("button", name=visitor.say("提交任务", "Submit job")).click()
    page.wait_for_url("**/jobs/job_*")
    visitor.site.play(page.url.rsplit("/", 1)[1], "trees")
    _expect(page.locator("#curve canvas")).to_be_visible()
    page.locator("#curve-table summary").click()
    _expect(page.locator("#curve-table tbody tr").nth(2)).to_be_visible()  # still open after the next rounds
    _expect(page.locator("#progress .state")).to_have_text(visitor.say("出域审核中", "In egress review"))


def test_a_models_result_tells_errors_and_evaluation(visitor: Visitor) -> None:
    page, scene = visitor.page, visitor.site.scene
    visitor.sign_in("developer")
    visitor.open(f"/jobs/{scene.jobs['model']}")
    main = page.locator("main")
    for zh, en in (("标准误", "Standard error"), ("优势比", "Odds ratio"), ("校准情况", "Calibration"), ("留出记录", "rows held out")):
        _expect(main).to_contain_text(visitor.say(zh, en))
    visitor.open(f"/jobs/{scene.jobs['trees']}")
    _expect(main).to_contain_text(visitor.say("特征重要性", "Importance of features"))
    _expect(page.locator(".chart canvas").nth(1)).to_be_visible()


def test_budgets_are_told_in_words_by_grant_and_by_department(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.menu("隐私预算", "Privacy budgets")
    _expect(page.locator("main")).to_contain_text(visitor.say("剩余 99%", "99% left"))
    _expect(page.locator("main")).to_contain_text(visitor.say("已用完", "used up"))
    _expect(page.locator("main")).to_contain_text(visitor.say("预算使用记录", "What it was spent on"))
    page.context.clear_cookies(name="shuyan")
    visitor.sign_in("first")
    visitor.open("/budgets")
    _expect(page.locator("main section")).to_have_count(1)  # its own node only
    _expect(page.locator("main")).to_contain_text(visitor.say("清源智算科技", "Qingyuan Computing"))


def test_the_gallery_leads_to_a_job(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("developer")
    visitor.menu("计算应用", "Apps")
    page.get_by_role("link", name=visitor.say("联邦聚类", "Federated clustering")).click()
    _expect(page.locator("main")).to_contain_text("clusters")
    _expect(page.locator("main")).to_contain_text("sha256:")
    page.get_by_role("link", name=visitor.say("用于新任务", "Use in a job")).click()
    page.get_by_role("link", name=re.compile(visitor.say("联邦聚类", "Federated clustering"))).first.click()
    _expect(page.locator("select, input[name=clusters]").first).to_be_visible()


def test_the_pages_work_without_scripts(visitor: Visitor, browser: Any) -> None:
    plain = browser.new_context(java_script_enabled=False, locale={"zh": "zh-CN", "en": "en-GB"}[visitor.locale])
    plain.add_cookies(_signed_in(visitor))
    page = plain.new_page()
    page.goto(f"{visitor.site.url}/sql?grant={visitor.site.scene.grant}")
    page.fill("textarea[name=sql]", "SELECT count(*) FROM nowhere")
    page.locator("#explain-button").click()
    _expect(page.get_by_role("alert")).to_contain_text("nowhere")
    assert page.input_value("textarea[name=sql]") == "SELECT count(*) FROM nowhere"
    page.goto(f"{visitor.site.url}/jobs/{visitor.site.scene.jobs['query']}?sort=2&order=desc&page=2")
    _expect(page.locator("#rows tbody tr")).to_have_count(23)
    plain.close()


def _signed_in(visitor: Visitor) -> Any:
    visitor.sign_in("developer")
    return visitor.page.context.cookies()
