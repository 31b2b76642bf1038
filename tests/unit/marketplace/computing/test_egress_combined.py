"""Results released one after the other: what several tell together that none of them tells alone."""

from __future__ import annotations

from typing import Any

from marketplace.computing.egress.combined import newly_told

DOMAINS = {"ward": ["a", "b", "c"], "sex": ["f", "m"], "wide": [str(number) for number in range(500)]}


def result(tables: dict[tuple[str, ...], dict[tuple[str, ...], int]], rows: int = 100, departments: int = 3) -> dict[str, Any]:
    return {"kind": "statistics", "resource": "cases", "rows": rows, "departments": departments, "tables": [
        {"group_by": [*dims], "suppressed": 0, "cells": [
            {"group": dict(zip(dims, key, strict=True)), "rows": count, "columns": {}} for key, count in shown.items()]}
        for dims, shown in tables.items()]}


FIRST = result({("ward",): {("a",): 60}})  # b and c hidden: 33 and 7
SECOND = result({("ward",): {("b",): 33}})
BOTH = result({("ward", "sex"): {("a", "f"): 30, ("a", "m"): 30, ("b", "f"): 20, ("b", "m"): 13}})


def test_what_one_shows_another_hides() -> None:
    assert newly_told(SECOND, [FIRST], DOMAINS) == 1  # c, for a and b are shown now
    assert newly_told(SECOND, [], DOMAINS) == 0
    assert newly_told(FIRST, [FIRST], DOMAINS) == 0


def test_a_margin_of_a_finer_table() -> None:
    assert newly_told(FIRST, [BOTH], DOMAINS) == 0  # c was told by the first alone; that is not this check's affair
    finer = result({("ward", "sex"): {("b", "f"): 20, ("b", "m"): 13}})
    assert newly_told(FIRST, [finer], DOMAINS) >= 1


def test_what_is_not_about_the_same_rows_is_left_out() -> None:
    assert newly_told(SECOND, [{**FIRST, "rows": 101}], DOMAINS) == 0
    assert newly_told(SECOND, [{**FIRST, "departments": 4}], DOMAINS) == 0
    assert newly_told(SECOND, [{**FIRST, "privacy": {"unit": "person"}}], DOMAINS) == 0


def test_empty_groups_are_no_secret() -> None:
    assert newly_told(result({("ward",): {("b",): 40}}), [FIRST], DOMAINS) == 0


def test_too_wide_to_tell() -> None:
    assert newly_told(result({("wide", "sex"): {}}), [FIRST], DOMAINS) is None
