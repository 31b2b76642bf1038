"""Language, money, numbers and times as the reader sees them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.web import i18n, present
from marketplace.web.views._common import yuan_to_fen
from shuyan.problems import ProblemError


@given(st.integers(min_value=0, max_value=10**13))
def test_money_is_exact(fen: int) -> None:
    shown = i18n.money(fen)
    assert shown.startswith("¥")
    assert int(shown[1:].replace(",", "").replace(".", "")) == fen


def test_money_below_zero_and_none() -> None:
    assert i18n.money(-1205) == "-¥12.05"
    assert i18n.money(None) == ""


def test_a_time_is_written_in_utc_for_the_script_to_localise() -> None:
    shown = str(i18n.when(dt.datetime(2026, 11, 20, 21, 5, tzinfo=dt.timezone(dt.timedelta(hours=8)))))
    assert shown == '<time datetime="2026-11-20T13:05:00Z">2026-11-20 13:05 UTC</time>'
    assert str(i18n.when(None)) == "–"
    assert "<script>" not in str(i18n.when("<script>"))


def test_both_falls_back_to_the_other_language(pages: Any) -> None:
    with pages.app.test_request_context(headers={"Accept-Language": "en"}):
        assert i18n.both({"title_zh": "水", "title_en": "Water"}, "title") == "Water"
        assert i18n.both({"title_zh": "水", "title_en": ""}, "title") == "水"
    with pages.app.test_request_context(headers={"Accept-Language": "zh-CN"}):
        assert i18n.both({"title_zh": "水", "title_en": "Water"}, "title") == "水"


@pytest.mark.parametrize(("typed", "fen"), [("12", 1200), ("12.5", 1250), ("¥1,280.05", 128005), ("0", 0)])
def test_yuan_become_fen_without_a_float(pages: Any, typed: str, fen: int) -> None:
    with pages.app.test_request_context(method="POST", data={"amount": typed}):
        assert yuan_to_fen("amount", text="Amount") == fen


@pytest.mark.parametrize("typed", ["", "-1", "1.005", "1e3", "NaN", "false", "１２", "9" * 13])
def test_what_is_no_amount_is_refused(pages: Any, typed: str) -> None:
    with pages.app.test_request_context(method="POST", data={"amount": typed}), pytest.raises(ProblemError) as refused:
        yuan_to_fen("amount", text="Amount")
    assert refused.value.code == "invalid_input"


def test_a_statistics_result_has_a_table_and_a_chart_of_the_same_numbers(pages: Any) -> None:
    cells = [{"group": {"wd": name}, "rows": 20, "columns": {"pm": {"count": 20, "sum": 20 * mean, "mean": mean,
                                                                    "variance": 1.0, "sd": 1.0}}}
             for name, mean in (("N", 12.5), ("S", 40.0))]
    content = {"kind": "statistics", "rows": 40, "departments": 3, "minimum_cohort": 10,
               "tables": [{"group_by": ["wd"], "cells": cells, "suppressed": 2}],
               "histograms": [{"column": "pm", "edges": [0, 10, 20], "counts": [15, None], "suppressed": 1}]}
    with pages.app.test_request_context(headers={"Accept-Language": "en"}):
        table, histogram = present.sections(content)
    assert table.charts[0][1]["categories"] == ["N", "S"]
    assert table.charts[0][1]["series"][0]["values"] == [12.5, 40.0]
    assert table.suppressed == 2
    assert [row[0] for row in table.rows] == ["N", "S"]
    assert all(len(row) == len(table.header) == len(table.numeric) for row in table.rows)
    assert histogram.rows == [["0 – 10", "15"], ["10 – 20", "withheld"]]


def test_a_suppressed_column_shows_as_missing(pages: Any) -> None:
    empty = dict.fromkeys(("count", "sum", "mean", "variance", "sd"))
    content = {"kind": "statistics", "tables": [{"group_by": ["a", "b"], "suppressed": 0, "cells": [
        {"group": {"a": "x", "b": "1"}, "rows": 12, "columns": {"c": empty}}]}]}
    with pages.app.test_request_context(headers={"Accept-Language": "en"}):
        (section,) = present.sections(content)
    assert section.rows == [["x", "1", "12", "c", "–", "–", "–", "–"]]
    assert section.charts[0][1]["series"] == [{"name": "1", "values": [None]}]


def test_a_model_shows_its_coefficients_largest_first(pages: Any) -> None:
    content = {"kind": "model", "family": "logistic", "target": "y", "terms": ["a", "b"], "coefficients": [0.1, -2.0],
               "intercept": 0.0, "rows": 9, "departments": 3, "rounds": 4, "converged": True, "metrics": {"accuracy": 0.9}}
    with pages.app.test_request_context(headers={"Accept-Language": "en"}):
        (section,) = present.sections(content)
        facts = dict(present.facts(content))
    assert section.charts[0][1]["categories"] == ["b", "a"]
    assert section.rows[0] == ["Intercept", "0", "1"]
    assert facts["Accuracy"] == "0.9"


def test_an_unknown_kind_of_result_shows_nothing(pages: Any) -> None:
    with pages.app.test_request_context():
        assert present.sections({"kind": "report"}) == []
