"""A regression's or Cox model's result: coefficients with what is known of their error, and how good the model is."""

from __future__ import annotations

import math
from typing import Any

from flask_babel import gettext as _

from marketplace.web.i18n import number
from marketplace.web.present import evaluation
from marketplace.web.present.base import MAXIMUM_BARS, Names, Section, line, term_name

_RATIOS = ("logistic", "multinomial", "poisson")
_INTERCEPT = "(intercept)"


def sections(content: dict[str, Any], names: Names) -> list[Section]:
    """Coefficients, then the evaluation where the result has one."""
    inference = content.get("inference") or {}
    rows = inference.get("original") or inference.get("standardised")
    out = [_inferred(content, inference, rows, names)] if rows else [_plain(content, names)]
    out[0].charts = _bars(content, names)
    return out + _evaluated(content.get("evaluation") or {})


def _ratio_title(family: str) -> str:
    return str({"poisson": _("Rate ratio"), "cox": _("Hazard ratio")}.get(family, _("Odds ratio")))


def _inferred(content: dict[str, Any], inference: dict[str, Any], rows: list[dict[str, Any]], names: Names) -> Section:
    family = str(content.get("family"))
    classes, ratios = family == "multinomial", family in _RATIOS
    percent = f"{100 * inference.get('confidence', 0.95):g} %"
    original = bool(inference.get("original"))
    section = Section(_("Coefficients") if original else _("Coefficients, per standard deviation"))
    section.header = [_("Model term"), *([_("Class")] if classes else []), _("Coefficient"), *([_ratio_title(family)] if ratios else []),
                      _("Standard error"), "t" if inference.get("distribution") == "t" else "z", "p",
                      _("%(percent)s interval", percent=percent)]
    section.numeric = [False, *([False] if classes else []), True, *([True] if ratios else []), True, True, True, True]
    for row in rows:
        section.rows.append([
            _named(row["term"], names), *([str(row.get("class"))] if classes else []), number(row["estimate"]),
            *([_exp(row["estimate"])] if ratios else []), number(row["standard_error"]), number(row["statistic"], 2), p_value(row["p_value"]),
            interval(row["lower"], row["upper"])])
    return section


def _named(term: str, names: Names) -> str:
    return str(_("Intercept")) if term == _INTERCEPT else term_name(term, names)


def _exp(value: float | None) -> str:
    return "–" if value is None or value >= 700 else number(math.exp(value), 3)


def p_value(value: float | None) -> str:
    """A p-value as it is usually written."""
    return "–" if value is None else "< 0.001" if value < 0.001 else number(value, 3)


def interval(lower: float | None, upper: float | None) -> str:
    """An interval, or a dash."""
    return "–" if lower is None or upper is None else _("%(lower)s to %(upper)s", lower=number(lower), upper=number(upper))


def _plain(content: dict[str, Any], names: Names) -> Section:
    """Coefficients alone: of a penalised model, whose errors are not known."""
    ratios = content.get("family") in _RATIOS
    section = Section(_("Coefficients, per standard deviation"),
                      [_("Model term"), _("Coefficient"), *([_ratio_title(str(content.get("family")))] if ratios else [])],
                      [False, True, *([True] if ratios else [])])
    rows = _weights(content)
    for term, value, _unit in rows:
        section.rows.append([_term(term, names), number(value), *([_exp(value)] if ratios else [])])
    if rows and rows[0][2] is not None:
        section.header.append(_("Per unit of the input"))
        section.numeric.append(True)
        for row, (_name, _value, unit) in zip(section.rows, rows, strict=True):
            row.append(number(unit))
    noise = {entry["term"]: entry["half_width"] for entry in content.get("noise") or ()}
    if noise:
        section.title = _("Coefficients, for inputs scaled by their bounds")
        section.header.insert(2, _("Noise, ± at 95 %"))
        section.numeric.insert(2, True)
        for row, (term, _value, _unit) in zip(section.rows, rows, strict=True):
            row.insert(2, number(noise[term]) if term in noise else "–")
    return section


def _weights(content: dict[str, Any]) -> list[tuple[str, float, float | None]]:
    """By term its weight, and the one per unit of the input where there is such; a class's intercept comes before its terms."""
    plain = content.get("original") or {}
    terms, values = content.get("terms", []), content.get("coefficients", [])
    units = plain.get("coefficients") or [None] * len(values)
    rows = list(zip(terms, values, units, strict=False))
    if content.get("intercept") is not None:
        return [(_INTERCEPT, content["intercept"], plain.get("intercept")), *rows]
    classes, intercepts = content.get("classes") or [], content.get("intercepts") or []
    width = len(rows) // len(classes) if classes else 0
    by_class = list(zip(classes, intercepts, plain.get("intercepts") or [None] * len(intercepts), strict=False))
    return [row for at, (name, value, unit) in enumerate(by_class)
            for row in [(f"{name}:{_INTERCEPT}", value, unit), *rows[at * width:(at + 1) * width]]] or rows


def _term(term: str, names: Names) -> str:
    """A term, which in a model of several classes has the class before it."""
    head, colon, rest = str(term).partition(":")
    if _INTERCEPT in (head, rest):
        return f"{head}: {_named(rest, names)}" if colon else _named(head, names)
    return f"{head}: {term_name(rest, names)}" if colon and rest != "missing" else term_name(term, names)


def _bars(content: dict[str, Any], names: Names) -> list[tuple[str, dict[str, Any]]]:
    rows = [(_term(term, names), value)
            for term, value in zip(content.get("terms", []), content.get("coefficients", []), strict=False)]
    if not rows:
        return []
    ordered = sorted(rows, key=lambda row: -abs(row[1]))[:MAXIMUM_BARS]
    return [(_("Coefficients, per standard deviation"), {
        "kind": "bar", "horizontal": True, "categories": [term for term, _value in ordered],
        "series": [{"name": _("Coefficient"), "values": [value for _term_name, value in ordered]}]})]


def _evaluated(found: dict[str, Any]) -> list[Section]:
    if not found:
        return []
    inside, outside = _("rows trained on"), _("rows held out")
    parts = [(inside, found.get("in_sample")), (outside, found.get("held_out"))]
    out = evaluation.compared(_("Evaluation"), parts)
    folds = [(_("fold %(number)d", number=at), metrics) for at, metrics in enumerate(found.get("folds") or (), 1)]
    out += evaluation.compared(_("Evaluation by fold, each on rows its model has not seen"), folds)
    name, metrics = (outside, found["held_out"]) if found.get("held_out") else (inside, found.get("in_sample"))
    out += evaluation.details(name, metrics)
    own = [(str(one["node"]), one["metrics"]) for one in found.get("departments") or ()]
    return out + evaluation.compared(_("Evaluation by department"), own)


def survival(content: dict[str, Any], names: Names) -> list[Section]:
    """A Cox model's hazard ratios and its baseline."""
    effects = Section(_("Hazard ratios, per unit of the input"),
                      [_("Model term"), _("Coefficient"), _("Hazard ratio"), _("Interval of the ratio"), _("Standard error"), "z", "p"],
                      [False] + [True] * 6)
    for row in content.get("effects", ()):
        bounds = [None if row[end] is None or row[end] >= 700 else math.exp(row[end]) for end in ("lower", "upper")]
        effects.rows.append([term_name(row["term"], names), number(row["estimate"]), number(row["hazard_ratio"], 3), interval(*bounds),
                             number(row["standard_error"]), number(row["statistic"], 2), p_value(row["p_value"])])
    effects.charts = _bars(content, names)
    out = [effects]
    if baseline := content.get("baseline"):
        title = _("Cumulative baseline hazard, for average inputs")
        out.append(Section(title, [_("Time"), _("Cumulative hazard")], [True, True],
                           [[number(point["time"]), number(point["hazard"])] for point in baseline],
                           [(title, line([number(point["time"]) for point in baseline],
                                         [(_("Cumulative hazard"), [point["hazard"] for point in baseline])], x=_("Time")))], folded=True))
    return out
