"""Working days by the State Council's holiday notices, make-up days included, in the city's own time.

From the package ``chinesecalendar``, which covers the years announced so far; in later ones Monday to Friday are worked.
"""

from __future__ import annotations

import datetime as dt

import chinese_calendar

from marketplace.clock import CITY


def is_workday(day: dt.date) -> bool:
    """Whether offices work on this day."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:  # a year not announced yet
        return day.weekday() < 5


def after_workdays(start: dt.datetime, days: int) -> dt.datetime:
    """The end, in UTC, of the ``days``-th working day after the day of ``start`` (aware); ``start`` itself for none.

    The day it begins on does not count (Civil Code, article 201), and a period ends at midnight of its last day (article 203).
    """
    if days <= 0:
        return start
    day = start.astimezone(CITY).date()
    while days:
        day += dt.timedelta(days=1)
        days -= is_workday(day)
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), CITY).astimezone(dt.UTC)
