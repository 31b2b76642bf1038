"""Whatever the terminal, an identifier is printed in one piece."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from shuyan._tables import print_table

RESOURCE = "res_01m7wns8vabcdefghjkmnpqrst"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def printed(width: int, headings: list[str], rows: list[list[str]], *, terminal: bool = True) -> str:
    out = io.StringIO()
    print_table(headings, rows, empty="nothing", to=Console(file=out, width=width, force_terminal=terminal, no_color=True,
                                                            highlight=False, legacy_windows=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_identifiers_and_digests_are_whole_at_every_width(width: int) -> None:
    text = printed(width, ["名称", "标题", "领域", "编号", "摘要"],
                   [["enterprise_credit", "企业纳税、用电、社保与涉诉", "finance", RESOURCE, DIGEST]])
    for word in ("enterprise_credit", RESOURCE, DIGEST):
        assert word in text
    assert "…" not in text


def test_prose_wraps_before_words_do() -> None:
    text = printed(80, ["Name", "Title", "Id"], [["credit", "Enterprise tax, power, insurance and court data", RESOURCE]])
    assert RESOURCE in text
    assert len(text.splitlines()) > 2
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())


def test_too_narrow_for_a_table_is_one_block_a_row() -> None:
    text = printed(40, ["Name", "Digest"], [["statistics", DIGEST], ["regression", DIGEST]])
    assert text.count("Name") == text.count("Digest") == text.count(DIGEST) == 2


def test_an_empty_table_is_a_sentence() -> None:
    assert printed(80, ["Name"], []) == "nothing\n"


def test_data_is_no_markup() -> None:
    assert "[bold]x[/bold]" in printed(80, ["Name"], [["[bold]x[/bold]"]])


@given(st.lists(st.lists(st.from_regex(r"\A[a-z]{2,5}_[0-9a-z]{1,40}\Z"), min_size=3, max_size=3), min_size=1, max_size=5),
       st.integers(10, 200))
def test_no_word_is_ever_cut(rows: list[list[str]], width: int) -> None:
    text = printed(width, ["a", "b", "c"], rows)
    assert all(word in text for row in rows for word in row)
