"""A result's content as tables and chart specifications; pure functions, no I/O.

The content is what :mod:`marketplace.computing` stores, in the form of its app's ``content_model``. Chart specifications
are read by ``charts.js``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flask_babel import gettext as _

from marketplace.computing import service as computing
from marketplace.web.i18n import language, number
from marketplace.web.labels import known, label
from marketplace.web.present import learned, regression, statistics, tables
from marketplace.web.present.base import MAXIMUM_POINTS, Names, Section, line
from marketplace.web.present.checks import audited, check_figures, check_sentence
from marketplace.web.present.tables import Grid, csv_text, grid, pretty

_MODELS: Final[Mapping[str, Callable[[dict[str, Any], Names], list[Section]]]] = {
    "boosted_trees": learned.trees, "neural_network": learned.network, "clusters": learned.clusters,
    "components": learned.components, "cox": regression.survival,
}


def sections(content: dict[str, Any], names: Names | None = None) -> list[Section]:
    """The sections of any result, columns called by ``names``; an unknown kind gives none."""
    names = names or {}
    kind = content.get("kind")
    if kind == "statistics":
        return statistics.sections(content, names)
    if kind == "table":
        return [tables.section(content)]
    if kind == "model":
        return _MODELS.get(str(content.get("family")), regression.sections)(content, names) + audited(content.get("audit"))
    return []


def facts(content: dict[str, Any], names: Names | None = None) -> list[tuple[str, str]]:
    """The figures worth a line of their own: how much data, how good the model is, what was spent."""
    names = names or {}
    kind = content.get("kind")
    rows = content.get("rows_used") if kind == "table" else content.get("rows")
    out = [(_("Records"), number(rows)), (_("Departments taking part"), number(content.get("departments")))]
    if kind == "model":
        out += _of_model(content, names)
    elif content.get("minimum_cohort"):
        if kind == "table":
            out.insert(0, (_("Rows of the result"), number(len(content.get("rows", ())))))
        out.append((_("Smallest group shown"), number(content["minimum_cohort"])))
    if privacy := content.get("privacy"):
        out.append((_("Privacy budget spent"), _("ε %(epsilon)s at δ %(delta)s", epsilon=number(privacy["epsilon"], 3), delta=f"{privacy['delta']:g}")))
    return out


def _of_model(content: dict[str, Any], names: Names) -> list[tuple[str, str]]:
    out = [(_("Model"), label("family", content.get("family")))]
    if target := str(content.get("target", "")):
        out.append((_("Target"), names.get(target, target)))
    if "events" in content:
        out.append((_("Events"), number(content["events"])))
    model = content.get("model")
    if content.get("family") == "boosted_trees" and isinstance(model, dict):
        out.append((_("Trees"), number(len(model["learner"]["gradient_booster"]["model"]["trees"]))))
    out.append((_("Rounds"), number(content.get("rounds"))))
    if content.get("family") == "boosted_trees":
        out.append((_("Stopped early"), _("Yes") if content.get("converged") else _("No")))
    else:
        out.append((_("Converged"), _("Yes") if content.get("converged") else _("No")))
    known_metrics = known("metric")
    for name, value in (content.get("metrics") or {}).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            out.append((label("metric", name) if name in known_metrics else str(name), number(value)))
    return out


def notes(content: dict[str, Any]) -> list[str]:
    """What a reader should know of a result, in sentences: an app's warnings, why there are no errors, what was left out."""
    out = [computing.note_sentence(str(code), language()) for code in content.get("notes") or ()]
    if content.get("kind") == "table" and content.get("release") == "dp":
        out.append(_("Every figure carries random noise; with a probability of 95 % the exact one lies within the ± beside it."))
    out += [str(one.get(language(), "")) for one in content.get("warnings") or ()]
    reason = (content.get("inference") or {}).get("reason")
    if reason and reason.get("code") not in {one.get("code") for one in content.get("warnings") or ()}:
        out.append(str(reason.get(language(), "")))
    return [text for text in out if text]


def curve(told: list[dict[str, Any]]) -> Section | None:
    """The losses that a running job has told of, one a round; ``None`` before the first."""
    steps: dict[int, dict[str, Any]] = {}
    for at, args in enumerate(told, 1):
        if isinstance(args.get("loss"), int | float):
            steps[int(args.get("round") or at)] = args
    if not steps:
        return None
    rounds = sorted(steps)
    thin = max(1, -(-len(rounds) // MAXIMUM_POINTS))
    rounds = [one for place, one in enumerate(rounds) if place % thin == 0 or place == len(rounds) - 1]
    series = [(_("Loss, rows trained on"), [steps[one]["loss"] for one in rounds])]
    if any("validation_loss" in step for step in steps.values()):
        series.append((_("Loss, rows held out"), [steps[one].get("validation_loss") for one in rounds]))
    return Section(_("Loss by round"), [_("Round"), *(name for name, _values in series)], [True] * (1 + len(series)),
                   [[number(one), *(number(values[place]) for _name, values in series)] for place, one in enumerate(rounds)],
                   [(_("Loss by round"), line(rounds, series, x=_("Round"), scale=True))])


def sample_section(sample: dict[str, Any], names: Names | None = None) -> Section:
    """The sample of a statistics product as one table; an empty section for a model, whose sample is a request."""
    if not sample.get("cells"):
        return Section("")
    return statistics.grouped({"group_by": sample.get("group_by", []), "cells": sample["cells"]}, names or {})


__all__ = ["Grid", "Section", "check_figures", "check_sentence", "csv_text", "curve", "facts", "grid", "notes", "pretty", "sample_section", "sections"]
