"""Trees, networks, clusters and components: their result in tables and charts."""

from __future__ import annotations

import math
from typing import Any

from flask_babel import gettext as _

from marketplace.web.i18n import number
from marketplace.web.present import evaluation
from marketplace.web.present.base import MAXIMUM_BARS, MAXIMUM_POINTS, Names, Section, line

_NORMAL_95 = 1.959963984540054


def history(steps: list[dict[str, Any]]) -> list[Section]:
    """The losses by round."""
    if not steps:
        return []
    thin = max(1, -(-len(steps) // MAXIMUM_POINTS))
    kept = [(at, step) for at, step in enumerate(steps, 1) if at % thin == 0 or at in (1, len(steps))]
    series = [(_("Loss, rows trained on"), [step["train"] for _at, step in kept])]
    if any(step.get("validation") is not None for step in steps):
        series.append((_("Loss, rows held out"), [step.get("validation") for _at, step in kept]))
    title = _("Loss by round")
    return [Section(title, [_("Round"), *(name for name, _values in series)], [True] * (1 + len(series)),
                    [[number(at), *(number(values[place]) for _name, values in series)] for place, (at, _step) in enumerate(kept)],
                    [(title, line([at for at, _step in kept], series, x=_("Round"), scale=True))], folded=True)]


def _measured(content: dict[str, Any]) -> list[Section]:
    metrics = content.get("metrics") or {}
    inside, outside = _("rows trained on"), _("rows held out")
    name, last = (outside, metrics["validation"]) if metrics.get("validation") else (inside, metrics.get("train"))
    return evaluation.compared(_("Evaluation"), [(inside, metrics.get("train")), (outside, metrics.get("validation"))]) \
        + evaluation.details(name, last)


def trees(content: dict[str, Any], names: Names) -> list[Section]:
    """Boosted trees: what they look at, how the loss fell, how good they are."""
    found = sorted(content.get("importance", ()), key=lambda one: -one["gain"])
    called = [names.get(one["feature"], one["feature"]) for one in found]
    importance = Section(_("Importance of features"), [_("Feature"), _("Mean gain"), _("Splits"), _("Mean cover")],
                         [False, True, True, True],
                         [[name, number(one["gain"]), number(one["weight"]), number(one["cover"])]
                          for name, one in zip(called, found, strict=True)])
    if found:
        importance.charts.append((_("Mean gain of a split"), {
            "kind": "bar", "horizontal": True, "categories": called[:MAXIMUM_BARS],
            "series": [{"name": _("Mean gain"), "values": [one["gain"] for one in found[:MAXIMUM_BARS]]}]}))
    if content.get("unused"):
        importance.note = _("Without two values to tell apart, so not used: %(names)s.",
                            names=_(", ").join(names.get(name, name) for name in content["unused"]))
    return [importance, *history(content.get("history", [])), *_measured(content)]


def network(content: dict[str, Any], names: Names) -> list[Section]:
    """A network: its layers, how the loss fell, how good it is."""
    layers = content.get("layers", ())
    rows = [[number(at), number(len(layer["weights"])), number(len(layer["biases"])), number(len(layer["weights"]) * len(layer["biases"]) + len(layer["biases"]))]
            for at, layer in enumerate(layers, 1)]
    return [*history(content.get("history", [])), *_measured(content),
            Section(_("Layers"), [_("Layer"), _("Inputs"), _("Units"), _("Weights")], [True] * 4, rows)]


def clusters(content: dict[str, Any], names: Names) -> list[Section]:
    """Clusters by size, each with its centre in the features' own units."""
    features, found = content["features"], content["clusters"]
    called = [names.get(feature["name"], feature["name"]) for feature in features]
    noise = content.get("noise")
    off = noise["centres"] if noise else [[None] * len(called)] * len(found)
    section = Section(_("Clusters and their centres"), [_("Cluster"), _("Records"), *called], [True] * (2 + len(called)),
                      [[str(at), _within(one["rows"], noise and noise["rows"]), *map(_within, one["centre"], sds)]
                       for at, (one, sds) in enumerate(zip(found, off, strict=True), 1)])
    if noise and content.get("suppressed"):
        section.note = _("%(count)d clusters are left out: too few records to be told from noise.", count=content["suppressed"])
    elif content.get("suppressed"):
        section.note = _("%(count)d clusters are kept back: too few records, or those of one department.", count=content["suppressed"])
    section.charts.append((_("Records by cluster"), {
        "kind": "bar", "categories": [str(at) for at in range(1, len(found) + 1)],
        "series": [{"name": _("Records"), "values": [one["rows"] for one in found]}]}))
    section.charts.append((_("Centres, in standard deviations from the mean"), {
        "kind": "bar", "categories": called[:MAXIMUM_BARS],
        "series": [{"name": _("Cluster %(number)d", number=at),
                    "values": [(value - feature["mean"]) / feature["sd"] for value, feature in zip(one["centre"], features, strict=True)]}
                   for at, one in enumerate(found[:8], 1)]}))
    return [section]


def components(content: dict[str, Any], names: Names) -> list[Section]:
    """Components by variance, and their loadings."""
    found = content["components"]
    called = [names.get(feature["name"], feature["name"]) for feature in content["features"]]
    titles = [_("Component %(number)d", number=at) for at in range(1, len(found) + 1)]
    total, rows = 0.0, []
    noise = (content.get("noise") or {}).get("components") or [None] * len(found)
    for title, one, off in zip(titles, found, noise, strict=True):
        total += one["share"]
        rows.append([title, _within(one["variance"], off and off["sd"]), f"{100 * one['share']:.1f} %", f"{100 * total:.1f} %"])
    shares = Section(_("Variance explained"), [_("Component"), _("Variance"), _("Share"), _("Together")], [False, True, True, True], rows,
                     [(_("Share of the variance (%)"), {"kind": "bar", "categories": titles[:MAXIMUM_BARS], "series": [
                         {"name": _("Share"), "values": [round(100 * one["share"], 2) for one in found[:MAXIMUM_BARS]]}]})])
    if any(noise):
        shares.header.append(_("Turned by noise"))
        shares.numeric.append(True)
        for row, off in zip(shares.rows, noise, strict=True):
            row.append(f"{off['angle']:.2g}°" if off["apart"] else _("not apart"))
        if not all(off["apart"] for off in noise):
            shares.note = _("Components “not apart” have variances too close to others' for the noise: each of their directions by itself means "
                            "nothing, only the space they span together.")
    loadings = Section(_("Loadings"), [_("Column"), *titles[:10]], [False] + [True] * min(10, len(titles)),
                       [[name, *(_within(one["loadings"][at], off and off["loadings"] and off["loadings"][at])
                                 for one, off in zip(found[:10], noise[:10], strict=True))]
                        for at, name in enumerate(called)])
    return [shares, loadings]


def _within(value: float, sd: float | None) -> str:
    """A figure, with half of a 95 % interval where it carries noise of a standard deviation; to three digits of that."""
    if not sd:
        return number(value)
    digits = min(max(2 - math.floor(math.log10(_NORMAL_95 * sd)), 0), 12)
    return f"{number(value, digits)} ± {number(_NORMAL_95 * sd, digits)}"
