"""Results released one after the other: what several tell together that none of them tells alone."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace.computing.egress.combined import Released, newly_told

DOMAINS = {"ward": ["a", "b", "c"], "sex": ["f", "m"], "wide": [str(number) for number in range(500)]}
SCHEMAS = {"cases": {"ward": {"type": "string", "domain": ["a", "b", "c"]}, "sex": {"type": "string", "domain": ["f", "m"]},
                     "age": {"type": "integer", "lower": 0.0, "upper": 19.0}, "cost": {"type": "number"}}}


def result(tables: dict[tuple[str, ...], dict[tuple[str, ...], int]], rows: int = 100, departments: int = 3, **more: Any) -> Released:
    return Released({"kind": "statistics", "resource": "cases", "rows": rows, "departments": departments, "tables": [
        {"group_by": [*dims], "suppressed": 0, "cells": [
            {"group": dict(zip(dims, key, strict=True)), "rows": count, "columns": {}} for key, count in shown.items()]}
        for dims, shown in tables.items()], **more}, {"domains": DOMAINS})


def query(sql: str, rows: list[list[Any]], suppressed: int = 0, total: int = 100, departments: int = 3) -> Released:
    return Released({"kind": "table", "sql": sql, "rows": rows, "suppressed": suppressed, "rows_used": total, "departments": departments,
                     "columns": []}, {"sql": sql, "schemas": SCHEMAS})


FIRST = result({("ward",): {("a",): 60}})  # b and c hidden: 33 and 7
SECOND = result({("ward",): {("b",): 33}})
BOTH = result({("ward", "sex"): {("a", "f"): 30, ("a", "m"): 30, ("b", "f"): 20, ("b", "m"): 13}})


def test_what_one_shows_another_hides() -> None:
    assert newly_told(SECOND, [FIRST]) == 1  # c, for a and b are shown now
    assert newly_told(SECOND, []) == 0
    assert newly_told(FIRST, [FIRST]) == 0


def test_a_margin_of_a_finer_table() -> None:
    assert newly_told(FIRST, [BOTH]) == 0  # c was told by the first alone; that is not this check's affair
    finer = result({("ward", "sex"): {("b", "f"): 20, ("b", "m"): 13}})
    assert newly_told(FIRST, [finer]) >= 1


def test_what_is_not_about_the_same_rows_is_left_out() -> None:
    assert newly_told(SECOND, [result({("ward",): {("a",): 60}}, rows=101)]) == 0
    assert newly_told(SECOND, [result({("ward",): {("a",): 60}}, departments=4)]) == 0
    assert newly_told(SECOND, [result({("ward",): {("a",): 60}}, privacy={"unit": "person"})]) == 0


def test_empty_groups_are_no_secret() -> None:
    assert newly_told(result({("ward",): {("b",): 40}}), [FIRST]) == 0


def test_too_wide_to_tell() -> None:
    assert newly_told(result({("wide", "sex"): {}}), [FIRST]) is None


BY_WARD = query('SELECT "ward", COUNT(*) AS n FROM "cases" GROUP BY "ward"', [["a", 60]], suppressed=2)  # b and c hidden: 33 and 7


def test_two_queries_tell_what_one_hides() -> None:
    rest = query("SELECT ward IN ('a', 'c') AS k, count(*) n FROM cases GROUP BY k", [[False, 33], [True, 67]])
    assert newly_told(rest, [BY_WARD]) == 1  # c: a and c less a; b is shown by the other alone
    assert newly_told(rest, []) == 0
    assert newly_told(BY_WARD, [rest]) == 1
    assert newly_told(BY_WARD, [query("SELECT count(*) n FROM cases", [[100]])]) == 0


@pytest.mark.parametrize(("sql", "shown"), [
    ("SELECT count(*) n FROM cases WHERE ward = 'b'", [[33]]),
    ("SELECT count(*) FILTER (WHERE ward = 'b') n, count(*) a FROM cases", [[33, 100]]),
    ("SELECT count_if(ward = 'b') n FROM cases", [[33]]),
])
def test_conditions_are_counted_too(sql: str, shown: list[list[Any]]) -> None:
    assert newly_told(query(sql, shown), [BY_WARD]) == 1  # c


def test_queries_and_statistics_are_taken_together() -> None:
    assert newly_told(query("SELECT sex, count(*) n FROM cases WHERE ward <> 'c' GROUP BY sex ORDER BY n LIMIT 2", [["m", 43], ["f", 50]]),
                      [FIRST]) >= 1
    assert newly_told(SECOND, [BY_WARD]) == 1


def test_numbers_with_bounds_are_told_apart() -> None:
    young = query("SELECT count(*) n FROM cases WHERE age < 10", [[40]])
    bands = query("SELECT age // 5 AS band, count(*) n FROM cases GROUP BY band", [[2, 30], [3, 30]], suppressed=2)
    fine = query("SELECT count(*) n FROM cases WHERE age < 5", [[3]])
    assert newly_told(young, [bands]) == 0  # the two hidden ones together are no secret
    assert newly_told(fine, [young, bands]) == 1  # the one of those under five is told by the query alone, the other by both


def test_groups_that_nobody_asked_to_see_are_no_secret() -> None:
    some = query("SELECT ward, count(*) n FROM cases GROUP BY ward HAVING count(*) > 50", [["a", 60]])
    assert newly_told(query("SELECT count(*) n FROM cases WHERE ward = 'b'", [[33]]), [some]) == 0


def test_what_cannot_be_told_apart_is_left_out() -> None:
    assert newly_told(query("SELECT count(*) n FROM cases WHERE cost > 5", [[33]]), [BY_WARD]) == 0
    assert newly_told(query("SELECT max(n) m FROM (SELECT ward, count(*) n FROM cases GROUP BY ward)", [[33]]), [BY_WARD]) == 0
    assert newly_told(query("SELECT count(*) n FROM cases WHERE ward = 'b'", [[33]], total=99), [BY_WARD]) == 0
