"""Which language a command speaks."""

from __future__ import annotations

import pytest

from shuyan import _text


@pytest.mark.parametrize(("environment", "arguments", "expected"), [
    ({}, [], "en"),
    ({"LANG": "C.UTF-8"}, [], "en"),
    ({"LANG": "zh_CN.UTF-8"}, [], "zh"),
    ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB.UTF-8"}, [], "en"),
    ({"LC_ALL": "en_GB.UTF-8", "SHUYAN_LANG": "zh"}, [], "zh"),
    ({"SHUYAN_LANG": "zh"}, ["jobs", "--lang", "en"], "en"),
    ({"SHUYAN_LANG": "en"}, ["--lang=zh-CN", "jobs"], "zh"),
    ({"LANG": "zh_CN"}, ["--lang"], "zh"),
])
def test_language_of(environment: dict[str, str], arguments: list[str], expected: str) -> None:
    assert _text.language_of(environment, arguments) == expected


def test_texts_are_chosen_and_filled_in() -> None:
    try:
        _text.set_language("zh")
        assert _text.t("共 {n} 行", "{n} rows", n=3) == "共 3 行"
        _text.set_language("en")
        assert _text.t("共 {n} 行", "{n} rows", n=3) == "3 rows"
        assert _text.t("{}", "{literal}") == "{literal}"
    finally:
        _text.set_language(None)
