"""A statistics result: grouped tables and histograms."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from flask_babel import gettext as _

from marketplace.web.i18n import number
from marketplace.web.labels import label
from marketplace.web.present.base import MAXIMUM_BARS, MAXIMUM_CHARTS, Names, Section


def sections(content: dict[str, Any], names: Names) -> list[Section]:
    """A section for each table and histogram."""
    out = [grouped(table, names) for table in content.get("tables", [])]
    return out + [_histogram(histogram, names) for histogram in content.get("histograms", [])]


def _off(measured: dict[str, Any], measure: str) -> str:
    """Half of a 95 % interval, where the figure carries noise."""
    noise = (measured.get("noise") or {}).get(measure)
    return f" ± {number(noise['half_width'], 3)}" if noise else ""


def grouped(table: dict[str, Any], names: Names) -> Section:
    """One grouped table, with a chart of each column's means."""
    dimensions = [str(name) for name in table.get("group_by", [])]
    called = [names.get(name, name) for name in dimensions]
    title = _("By %(dimensions)s", dimensions=_(" and ").join(called)) if dimensions else _("Overall")
    measures = ["count", "mean", "sd", "sum"]
    section = Section(title, [*called, _("Records"), _("Column"), *(label("measure", name) for name in measures)],
                      [False] * len(dimensions) + [True, False] + [True] * len(measures),
                      suppressed=int(table.get("suppressed", 0)))
    cells = table.get("cells", [])
    columns: list[str] = []
    for cell in cells:
        group = [str(cell.get("group", {}).get(name, "")) for name in dimensions]
        values = cell.get("columns") or {}
        columns += [name for name in values if name not in columns]
        if not values:
            section.rows.append([*group, number(cell.get("rows")), "–", *["–"] * len(measures)])
        for name, measured in values.items():
            section.rows.append([*group, number(cell.get("rows")), names.get(name, name),
                                 *(number(measured.get(measure)) + _off(measured, measure) for measure in measures)])
    if dimensions:
        section.charts = _group_charts(dimensions, cells, columns, names)
    return section


def _group_charts(dimensions: list[str], cells: list[dict[str, Any]], columns: list[str],
                  names: Names) -> list[tuple[str, dict[str, Any]]]:
    charts = []
    first = list(dict.fromkeys(str(cell["group"].get(dimensions[0], "")) for cell in cells))[:MAXIMUM_BARS]
    others = list(dict.fromkeys(_rest(cell, dimensions) for cell in cells))
    for name in columns[:MAXIMUM_CHARTS]:
        means = {(str(cell["group"].get(dimensions[0], "")), _rest(cell, dimensions)):
                 (cell.get("columns", {}).get(name) or {}).get("mean") for cell in cells}
        series = [{"name": other or names.get(name, name), "values": [means.get((group, other)) for group in first]} for other in others]
        charts.append((_("Mean of %(column)s", column=names.get(name, name)), {"kind": "bar", "categories": first, "series": series}))
    if not columns:
        rows = {(str(cell["group"].get(dimensions[0], "")), _rest(cell, dimensions)): cell.get("rows") for cell in cells}
        series = [{"name": other or _("Records"), "values": [rows.get((group, other)) for group in first]}
                  for other in others]
        charts.append((_("Records"), {"kind": "bar", "categories": first, "series": series}))
    return charts


def _rest(cell: dict[str, Any], dimensions: list[str]) -> str:
    return " · ".join(str(cell["group"].get(name, "")) for name in dimensions[1:])


def _histogram(histogram: dict[str, Any], names: Names) -> Section:
    edges, counts = histogram.get("edges", []), histogram.get("counts", [])
    bins = [f"{number(low)} – {number(high)}" for low, high in pairwise(edges)]
    column = str(histogram.get("column", ""))
    title = _("Distribution of %(column)s", column=names.get(column, column))
    section = Section(title, [_("Range"), _("Observations")], [False, True],
                      [[name, number(count) if count is not None else _("withheld")]
                       for name, count in zip(bins, counts, strict=False)],
                      suppressed=int(histogram.get("suppressed", 0)))
    section.charts.append((title, {"kind": "bar", "categories": bins, "dense": True,
                                   "series": [{"name": _("Observations"), "values": counts}]}))
    return section
