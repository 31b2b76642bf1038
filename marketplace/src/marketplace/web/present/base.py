"""What every kind of result is shown with: tables, charts, names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Names = Mapping[str, str]
"""Column name → what the departments call it."""

Chart = tuple[str, dict[str, Any]]
"""A title and what ``charts.js`` draws."""

MAXIMUM_CHARTS = 6
MAXIMUM_BARS = 60
MAXIMUM_POINTS = 400


@dataclass
class Section:
    """One table of a page, and the charts that show the same numbers.

    Attributes:
        note: a sentence under the table.
        folded: the table is only shown when asked for; its charts say the same.
    """

    title: str
    header: list[str] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    suppressed: int = 0
    note: str = ""
    folded: bool = False


def term_name(term: Any, names: Names) -> str:
    """A model's term by name: a column, or ``column=level`` for one level of a category."""
    column, equals, level = str(term).partition("=")
    return names.get(column, column) + equals + level


def line(categories: list[Any], series: list[tuple[str, list[Any]]], **more: Any) -> dict[str, Any]:
    """A line chart; ``more``: ``x`` and ``y`` name the axes, ``scale`` lets the value axis begin elsewhere than at 0."""
    return {"kind": "line", "categories": categories, "series": [{"name": name, "values": values} for name, values in series],
            **more}
