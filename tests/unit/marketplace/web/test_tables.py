"""A query's result as a page shows it: sorted, paged, charted, saved."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.web import present
from marketplace.web.present import tables


def _content(columns: list[tuple[str, str]], rows: list[list[Any]], sql: str = "", **more: Any) -> dict[str, Any]:
    return {"kind": "table", "sql": sql, "columns": [{"name": name, "type": type_} for name, type_ in columns], "rows": rows,
            "suppressed": 0, "cells": len(rows), "rows_used": 100, "departments": 3, "minimum_cohort": 10, "release": "exact",
            "notes": [], **more}


YEARS = _content([("year", "BIGINT"), ("n", "BIGINT"), ("m", "DOUBLE")], [[2014, 20, 1.5], [2013, 30, None], [2015, 25, 0.5]],
                 "SELECT year, count(*) AS n, avg(pm) AS m FROM air GROUP BY year")


@pytest.fixture(autouse=True)
def reader(pages: Any) -> Any:
    with pages.app.test_request_context(headers={"Accept-Language": "en"}):
        yield


def test_sorting_puts_what_is_not_known_last_either_way() -> None:
    assert [row[0] for row in present.grid(YEARS, sort="2").rows] == ["2015", "2014", "2013"]
    assert [row[0] for row in present.grid(YEARS, sort="2", descending=True).rows] == ["2014", "2015", "2013"]
    assert [row[0] for row in present.grid(YEARS).rows] == ["2014", "2013", "2015"]  # as the query ordered them


@pytest.mark.parametrize("sort", ["9", "-1", "x", "²", "1e3"])
@pytest.mark.parametrize("page", ["0", "-3", "99", "x", "٣", "9" * 20])
def test_no_address_breaks_a_table(sort: str, page: str) -> None:
    assert present.grid(YEARS, sort=sort, page=page).total == 3


def test_a_page_has_its_share_of_the_rows() -> None:
    content = _content([("k", "VARCHAR")], [[f"v{at:03}"] for at in range(60)])
    found = [present.grid(content, page=str(page)) for page in (1, 2, 3)]
    assert [(one.first, one.last, one.pages) for one in found] == [(1, 25, 3), (26, 50, 3), (51, 60, 3)]
    assert [row[0] for one in found for row in one.rows] == [f"v{at:03}" for at in range(60)]


def test_years_are_an_axis_in_order_and_written_as_years() -> None:
    ((_title, chart), _second) = tables.charts(YEARS)
    assert chart["kind"] == "line"
    assert chart["categories"] == ["2013", "2014", "2015"]
    assert chart["series"] == [{"name": "n", "values": [30, 20, 25]}]


def test_a_second_key_makes_series_and_words_make_bars() -> None:
    content = _content([("d", "VARCHAR"), ("s", "VARCHAR"), ("n", "BIGINT")], [["a", "x", 10], ["a", "y", 11], ["b", "x", 12]],
                       "SELECT d, s, count(*) AS n FROM t GROUP BY d, s")
    ((_title, chart),) = tables.charts(content)
    assert chart["kind"] == "bar"
    assert chart["series"] == [{"name": "x", "values": [10, 12]}, {"name": "y", "values": [11, None]}]


def test_nothing_is_drawn_of_a_single_row_or_without_names() -> None:
    assert tables.charts(_content([("n", "BIGINT")], [[5]], "SELECT count(*) AS n FROM t")) == []
    assert tables.charts(_content([("d", "VARCHAR")], [["a"], ["b"]])) == []


def test_noise_stands_beside_the_figure() -> None:
    content = _content([("d", "VARCHAR"), ("n", "BIGINT")], [["a", 10], ["b", 20]], release="dp",
                       noise=[{"column": "n", "sd": [1.0, None], "half_width": [2.0, None]}])
    found = present.grid(content)
    assert [one.text for one in found.head] == ["d", "n", "± 95 %"]
    assert found.rows == [["a", "10", "± 2"], ["b", "20", "–"]]
    assert list(csv.reader(io.StringIO(present.csv_text(content)))) == [["d", "n", "n ± 95 %"], ["a", "10", "2.0"], ["b", "20", ""]]


@given(st.lists(st.lists(st.one_of(st.none(), st.text(max_size=9).filter(lambda text: "\r" not in text and "\x00" not in text)),
                         min_size=2, max_size=2), max_size=6))
def test_csv_gives_the_text_back_and_no_formula(rows: list[list[str | None]]) -> None:
    text = tables.csv_text(_content([("a", "VARCHAR"), ("b", "VARCHAR")], rows))
    back = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [[one.removeprefix("'") if one[:2] in ("'=", "'+", "'-", "'@", "'\t") else one for one in row] for row in back] == [
        [one or "" for one in row] for row in rows]
    assert not any(one[:1] in ("=", "+", "-", "@", "\t") for row in back for one in row)


def test_a_curve_has_the_last_word_of_each_round() -> None:
    told = [{"round": 2, "loss": 0.7}, {"round": 3, "loss": 0.6, "validation_loss": 0.65}, {"round": 3, "loss": 0.5}]
    found = present.curve(told)
    assert found is not None
    chart = found.charts[0][1]
    assert chart["categories"] == [2, 3]
    assert chart["series"][0]["values"] == [0.7, 0.5]
    assert present.curve([]) is None
    long = present.curve([{"round": at, "loss": 1 / at} for at in range(1, 2001)])
    assert long is not None
    assert len(long.rows) <= 402
    assert long.rows[-1][0] == "2,000"
