"""A result's content as tables and chart specifications; pure functions, no I/O.

The content is what :mod:`marketplace.computing` stores (see the federation's apps): ``statistics`` with grouped
tables and histograms, or ``model`` with coefficients and metrics. Chart specifications are read by ``charts.js``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from flask_babel import gettext as _

from marketplace.web.i18n import number
from marketplace.web.labels import known, label

Names = Mapping[str, str]
"""Column name → what the departments call it."""

MAXIMUM_CHARTS = 6
MAXIMUM_BARS = 60


@dataclass
class Section:
    """One table of a page, and the charts that show the same numbers."""

    title: str
    header: list[str] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    charts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    suppressed: int = 0


def sections(content: dict[str, Any], names: Names | None = None) -> list[Section]:
    """The sections of any result, columns called by ``names``; an unknown kind gives none."""
    names = names or {}
    if content.get("kind") == "statistics":
        return _statistics(content, names)
    if content.get("kind") == "model":
        return _model(content, names)
    return []


def _statistics(content: dict[str, Any], names: Names) -> list[Section]:
    out = [_grouped(table, names) for table in content.get("tables", [])]
    return out + [_histogram(histogram, names) for histogram in content.get("histograms", [])]


def _grouped(table: dict[str, Any], names: Names) -> Section:
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
                                 *(number(measured.get(measure)) for measure in measures)])
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


def _model(content: dict[str, Any], names: Names) -> list[Section]:
    logistic = content.get("family") == "logistic"
    terms, values = list(content.get("terms", [])), list(content.get("coefficients", []))
    section = Section(_("Coefficients, per standard deviation"), [_("Model term"), _("Coefficient"), *([_("Odds ratio")] if logistic else [])],
                      [False, True, *([True] if logistic else [])])
    rows = [(_term(term, names), value) for term, value in zip(terms, values, strict=False)]
    intercept = content.get("intercept")
    named = [*([(_("Intercept"), intercept)] if intercept is not None else []), *rows]
    for term, value in named:
        ratio = [number(math.exp(value), 3) if value < 700 else "–"] if logistic else []
        section.rows.append([term, number(value), *ratio])
    if rows:
        ordered = sorted(rows, key=lambda row: -abs(row[1]))[:MAXIMUM_BARS]
        section.charts.append((section.title, {
            "kind": "bar", "horizontal": True, "categories": [term for term, _value in ordered],
            "series": [{"name": _("Coefficient"), "values": [value for _term, value in ordered]}]}))
    return [section]


def _term(term: Any, names: Names) -> str:
    """A model's term by name: a column, or ``column=level`` for one level of a category."""
    column, equals, level = str(term).partition("=")
    return names.get(column, column) + equals + level


def facts(content: dict[str, Any], names: Names | None = None) -> list[tuple[str, str]]:
    """The figures worth a line of their own: how much data, how good the model is."""
    out = [(_("Records"), number(content.get("rows"))), (_("Departments taking part"), number(content.get("departments")))]
    if content.get("kind") == "model":
        out += [(_("Model"), label("family", content.get("family"))), (_("Target"), (names or {}).get(str(content.get("target", "")), str(content.get("target", "")))),
                (_("Rounds"), number(content.get("rounds"))),
                (_("Converged"), _("Yes") if content.get("converged") else _("No"))]
        known_metrics = known("metric")
        for name, value in (content.get("metrics") or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                out.append((label("metric", name) if name in known_metrics else str(name), number(value)))
    elif content.get("minimum_cohort"):
        out.append((_("Smallest group shown"), number(content["minimum_cohort"])))
    return out


def sample_section(sample: dict[str, Any], names: Names | None = None) -> Section:
    """The sample of a statistics product as one table; an empty section for a model, whose sample is a request."""
    if not sample.get("cells"):
        return Section("")
    return _grouped({"group_by": sample.get("group_by", []), "cells": sample["cells"]}, names or {})


def check_sentence(check: dict[str, Any]) -> str:
    """What one automatic egress check looked at, in the reader's language."""
    sentences = {
        "form_allowed": _("The output form is one the grant allows"),
        "shape": _("The result has exactly the declared form"),
        "finite": _("All figures are finite numbers"),
        "size": _("The result is no larger than the grant allows"),
        "participants": _("Enough departments took part"),
        "rows": _("Enough records are behind the result"),
        "cells": _("No figure rests on too few records"),
        "stated_facts": _("Departments and records are stated truthfully"),
    }
    code = str(check.get("code", ""))
    return str(sentences.get(code, code))
