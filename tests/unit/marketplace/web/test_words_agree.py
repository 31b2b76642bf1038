"""The error catalogue and the pages call the same things by the same Chinese words."""

from __future__ import annotations

from marketplace.web import catalogues
from shuyan.problems import ProblemError


def test_the_sdks_words_are_those_of_the_pages() -> None:
    assert catalogues.TERMS_FILE.read_text(encoding="utf-8") == catalogues.terms(), "run python -m marketplace.web.catalogues"


def test_a_refusal_over_rest_is_all_chinese() -> None:
    assert ProblemError("not_found", what="job").text("zh").startswith("没有找到任务。")
    assert ProblemError("not_found", what="job").text("en").startswith("No such job.")
    assert ProblemError("wrong_state", state="paid", action="cancel").text("zh") == "当前状态“已付款”下不能执行“取消”。"
    assert "“job”" in ProblemError("grant_widened", what="“job”").text("zh")  # data, not a word of ours
