"""A query's result: a table to sort and page through, its charts, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _

from marketplace.web.i18n import number
from marketplace.web.present.base import MAXIMUM_BARS, MAXIMUM_POINTS, Chart, Section
from shuyan.problems import ProblemError

PAGE_ROWS = 25
REVIEWED_ROWS = 500
"""Rows a reviewer sees on the page; the rest in the file."""

MAXIMUM_SERIES = 12
_TIMES = ("DATE", "TIMESTAMP")
_WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT", "UBIGINT", "UINTEGER")


@dataclass
class Heading:
    """A column's head. ``sort``: what asks for it to be sorted by; ``descending`` is the present order, if it is."""

    text: str
    numeric: bool
    sort: str = ""
    descending: bool | None = None


@dataclass
class Grid:
    """One page of a table.

    Attributes:
        first, last: places of the rows shown, from 1; ``total`` rows in all.
        sort, descending: as the reader asked.
    """

    head: list[Heading]
    rows: list[list[str]]
    first: int
    last: int
    total: int
    page: int
    pages: int
    sort: str
    descending: bool


def grid(content: dict[str, Any], *, sort: str = "", descending: bool = False, page: str = "1") -> Grid:
    """The rows a reader asked for; without a valid ``sort`` (a column's place) as the query ordered them."""
    columns, rows = content["columns"], list(enumerate(content["rows"]))
    place = int(sort) if sort.isascii() and sort.isdigit() and int(sort[:6]) < len(columns) else None
    if place is not None:
        known = [row for row in rows if row[1][place] is not None]
        known.sort(key=lambda row: _order(row[1][place]), reverse=descending)
        rows = known + [row for row in rows if row[1][place] is None]  # what is not known comes last either way
    pages = max(1, -(-len(rows) // PAGE_ROWS))
    number_ = min(max(int(page), 1), pages) if page.isascii() and page.isdigit() and len(page) < 9 else 1
    start = PAGE_ROWS * (number_ - 1)
    head = [heading if isinstance(heading, Heading) else Heading(
        columns[heading]["name"], _numeric(columns[heading]["type"]), str(heading), descending if heading == place else None)
        for heading in _head(content)]
    shown = rows[start:start + PAGE_ROWS]
    return Grid(head, [_row(content, at, row) for at, row in shown], start + 1 if shown else 0, start + len(shown), len(rows),
                number_, pages, str(place) if place is not None else "", descending)


def section(content: dict[str, Any]) -> Section:
    """The whole table as one section, at most :data:`REVIEWED_ROWS` rows, with its charts."""
    found = grid(content)
    rows = [_row(content, at, row) for at, row in enumerate(content["rows"][:REVIEWED_ROWS])]
    left = len(content["rows"]) - len(rows)
    return Section(_("Result"), [one.text for one in found.head], [one.numeric for one in found.head], rows, charts(content),
                   int(content.get("suppressed", 0)), _("%(count)d more rows are not shown here.", count=left) if left else "")


def _head(content: dict[str, Any]) -> list[int | Heading]:
    """By shown column, the place of its data, or the head of a column of noise."""
    noisy = _noise(content)
    out: list[int | Heading] = []
    for place, column in enumerate(content["columns"]):
        out.append(place)
        if column["name"] in noisy:
            out.append(Heading(_("± 95 %"), True))
    return out


def _noise(content: dict[str, Any]) -> dict[str, list[Any]]:
    return {entry["column"]: entry["half_width"] for entry in content.get("noise") or ()}


def _row(content: dict[str, Any], at: int, row: Sequence[Any]) -> list[str]:
    noisy, keys = _noise(content), key_places(content)
    out = []
    for place, (column, value) in enumerate(zip(content["columns"], row, strict=True)):
        out.append(cell(value, plain=place in keys))
        if column["name"] in noisy:
            width = noisy[column["name"]][at] if at < len(noisy[column["name"]]) else None
            out.append("–" if width is None else f"± {number(width, 3)}")
    return out


def cell(value: Any, *, plain: bool = False) -> str:
    """One value as text; ``plain`` without digit grouping, as years are written."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(_("Yes") if value else _("No"))
    if isinstance(value, int | float):
        return str(int(value)) if plain and float(value).is_integer() else number(value)
    if isinstance(value, list):
        return "; ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(item)}" for name, item in value.items())
    return str(value)


def _order(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):  # booleans too
        return 0, value
    return 1, value if isinstance(value, str) else str(value)


def _numeric(type_: str) -> bool:
    return type_ in _WHOLE or (type_.startswith(("DOUBLE", "FLOAT", "DECIMAL", "REAL")) and not type_.endswith("]"))


def key_places(content: dict[str, Any]) -> set[int]:
    """Places of the columns that name a row rather than measure something."""
    columns = content["columns"]
    found = {place for place, column in enumerate(columns) if column["type"] in ("VARCHAR", "BOOLEAN") or column["type"].startswith(_TIMES)}
    whole = {place for place, column in enumerate(columns) if column["type"] in _WHOLE}
    if not whole:
        return found
    from sqlglot import exp

    from shuyan.federation.sql.gate import parse

    try:
        items = parse(str(content.get("sql", ""))).expressions
    except (ProblemError, RecursionError):
        return found
    if len(items) != len(columns):
        return found
    return found | {place for place in whole if items[place].find(exp.AggFunc) is None}


def charts(content: dict[str, Any]) -> list[Chart]:
    """Bars or lines: the first column that names rows is the axis, other names make series of the first measure, and
    else every measure is one; nothing where there is nothing to compare."""
    columns, rows = content["columns"], content["rows"]
    keys = sorted(key_places(content))
    measures = [place for place, column in enumerate(columns) if place not in keys and _numeric(column["type"])]
    if not keys or not measures or len(rows) < 2:
        return []
    axis, others = keys[0], keys[1:]
    ordered = columns[axis]["type"] not in ("VARCHAR", "BOOLEAN")
    groups = list(dict.fromkeys(row[axis] for row in rows if row[axis] is not None))
    if ordered:
        groups.sort()
    groups = groups[:MAXIMUM_POINTS if ordered else MAXIMUM_BARS]
    shown = [cell(group, plain=True) for group in groups]
    more = {"kind": "line" if ordered and len(groups) > 2 else "bar", "categories": shown, "x": columns[axis]["name"]}
    if others:
        return [_pivoted(content, axis, others, place, groups, more) for place in measures[:2]]
    index = {row[axis]: row for row in rows}
    return [(_("%(measure)s by %(dimension)s", measure=columns[place]["name"], dimension=columns[axis]["name"]),
             {**more, "scale": more["kind"] == "line",
              "series": [{"name": columns[place]["name"], "values": [index[group][place] for group in groups]}]})
            for place in measures[:4]]


def _pivoted(content: dict[str, Any], axis: int, others: list[int], measure: int, groups: list[Any],
             more: dict[str, Any]) -> Chart:
    columns = content["columns"]
    values: dict[str, dict[Any, Any]] = {}
    for row in content["rows"]:
        values.setdefault(" · ".join(cell(row[place], plain=True) for place in others), {})[row[axis]] = row[measure]
    series = [{"name": name, "values": [found.get(group) for group in groups]} for name, found in list(values.items())[:MAXIMUM_SERIES]]
    title = _("%(measure)s by %(dimension)s", measure=columns[measure]["name"],
              dimension=_(" and ").join(columns[place]["name"] for place in (axis, *others)))
    return title, {**more, "scale": more["kind"] == "line", "series": series}


def pretty(sql: str) -> str:
    """A query on several lines; as it is where it cannot be read."""
    from sqlglot import ParseError, TokenError, transpile

    try:
        return str(transpile(sql, read="duckdb", write="duckdb", pretty=True)[0])
    except (ParseError, TokenError, RecursionError, IndexError):
        return sql


def csv_text(content: dict[str, Any]) -> str:
    """The whole table as CSV (RFC 4180): numbers as they are, noise in columns of its own.

    Text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    noisy = _noise(content)
    names: list[str] = []
    for column in content["columns"]:
        names += [_safe(column["name"]), *([_safe(f"{column['name']} ± 95 %")] if column["name"] in noisy else [])]
    writer.writerow(names)
    for at, row in enumerate(content["rows"]):
        line: list[Any] = []
        for column, value in zip(content["columns"], row, strict=True):
            line.append(_safe(value) if isinstance(value, str) else "" if value is None else
                        cell(value) if isinstance(value, list | dict) else value)
            if column["name"] in noisy:
                widths = noisy[column["name"]]
                line.append(widths[at] if at < len(widths) and widths[at] is not None else "")
        writer.writerow(line)
    return out.getvalue()


def _safe(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
