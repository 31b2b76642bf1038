"""How long agreements run: month ends and leap years, the window of renewal, the warnings (pure)."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.agreements import rules
from marketplace.clock import CITY
from shuyan.problems import ProblemError

MOMENTS = st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2090, 12, 31), timezones=st.just(dt.UTC))
MONTHS = st.integers(1, rules.MAXIMUM_MONTHS)


def city(*values: int) -> dt.datetime:
    return dt.datetime(*values, tzinfo=CITY)  # type: ignore[misc]


def code_of(act: Callable[[], object]) -> str | None:
    """The problem that ``act`` meets, if any."""
    try:
        act()
    except ProblemError as problem:
        return problem.code
    return None


@pytest.mark.parametrize(("start", "months", "end"), [
    (city(2026, 1, 31, 9), 1, city(2026, 3, 1)),  # no 31 February: its last day, whole
    (city(2028, 1, 31, 9), 1, city(2028, 3, 1)),  # a leap year: 29 February is that day
    (city(2028, 2, 29, 23, 59), 12, city(2029, 3, 1)),
    (city(2028, 2, 29), 36, city(2031, 3, 1)),
    (city(2026, 11, 28), 36, city(2029, 11, 29)),
    (city(2026, 12, 31), 2, city(2027, 3, 1)),
    (city(2026, 8, 31), 1, city(2026, 10, 1)),
])
def test_a_term_ends_with_the_corresponding_day(start: dt.datetime, months: int, end: dt.datetime) -> None:
    assert rules.end_of_term(start, months) == end


@given(MOMENTS, MONTHS)
def test_a_term_is_the_calendar_s_never_a_day_more(start: dt.datetime, months: int) -> None:
    end, first = rules.end_of_term(start, months), start.astimezone(CITY).date()
    last = rules.last_day(end)
    assert end.astimezone(CITY).time() == dt.time()
    assert (last.year * 12 + last.month) - (first.year * 12 + first.month) == months
    assert last.day == min(first.day, calendar.monthrange(last.year, last.month)[1])
    assert end > start
    assert rules.end_of_term(start + dt.timedelta(days=1), months) >= end


@given(MOMENTS, MONTHS, MONTHS)
def test_a_renewal_follows_without_a_gap(start: dt.datetime, months: int, more: int) -> None:
    end = rules.end_of_term(start, months)
    assert rules.extended(end, more) == rules.end_of_term(end - dt.timedelta(seconds=1), more)
    assert rules.extended(end, more) > end


@given(MOMENTS, MONTHS, st.integers(-400, 400))
def test_renewal_is_asked_for_in_its_window_only(start: dt.datetime, months: int, days: int) -> None:
    end = rules.end_of_term(start, months)
    opens, closes = rules.renewal_window(end)
    assert opens < closes < rules.last_day(end)
    now = end - dt.timedelta(days=120) + dt.timedelta(days=days)
    today = now.astimezone(CITY).date()
    expected = "renewal_too_early" if today < opens else "renewal_too_late" if today > closes else None
    assert code_of(lambda: rules.check_renewal_time(now, end)) == expected


@pytest.mark.parametrize(("end", "opens", "closes"), [
    (city(2029, 11, 29), dt.date(2029, 5, 28), dt.date(2029, 8, 28)),
    (city(2029, 9, 1), dt.date(2029, 2, 28), dt.date(2029, 5, 31)),  # last day 31 August
    (city(2028, 9, 1), dt.date(2028, 2, 29), dt.date(2028, 5, 31)),
])
def test_the_window_is_counted_in_months_back_from_the_last_day(end: dt.datetime, opens: dt.date, closes: dt.date) -> None:
    assert rules.renewal_window(end) == (opens, closes)


@given(MOMENTS, MONTHS)
def test_warnings_come_before_the_end_and_none_in_the_past(start: dt.datetime, months: int) -> None:
    end = rules.end_of_term(start, months)
    found = rules.warnings(start, end)
    assert all(start < moment < end for _, moment in found)
    assert [days for days, _ in found] == [days for days in (180, 90, 30, 7) if end - dt.timedelta(days=days) > start]


@given(st.dictionaries(st.sampled_from(["treasury", "operator", "source_departments", "developer"]), st.integers(-5, 105)))
def test_only_splits_that_add_up_are_taken(split: dict[str, int]) -> None:
    good = len(split) == 4 and all(0 <= share <= 100 for share in split.values()) and sum(split.values()) == 100
    found = code_of(lambda: rules.parse({"months": 12, "split": split}))
    assert found in ((None,) if good else ("agreement_split", "agreement_terms_invalid"))
