"""The error catalogue and the pages call the same things by the same Chinese words."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from marketplace import web
from marketplace.web import labels
from shuyan.problems import ZH_TERMS, ProblemError


@pytest.mark.parametrize("kind", sorted(ZH_TERMS))
def test_words_of_the_error_catalogue(kind: str) -> None:
    with (Path(web.__file__).parent / "translations/zh/LC_MESSAGES/messages.po").open("rb") as file:
        catalogue = read_po(file)
    for code, text in labels._LABELS[kind].items():
        message = catalogue.get(text._args[0])
        assert message is not None
        assert ZH_TERMS[kind].get(code) == message.string, code


def test_a_refusal_over_rest_is_all_chinese() -> None:
    assert ProblemError("not_found", what="job").text("zh").startswith("没有找到任务。")
    assert ProblemError("not_found", what="job").text("en").startswith("No such job.")
    assert ProblemError("wrong_state", state="paid", action="cancel").text("zh") == "当前状态“已付款”下不能执行“取消”。"
    assert "“job”" in ProblemError("grant_widened", what="“job”").text("zh")  # data, not a word of ours
