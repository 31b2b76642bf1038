"""How good a model is: figures in a line each, confusion matrices, calibration."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _

from marketplace.web.i18n import number
from marketplace.web.labels import label
from marketplace.web.present.base import Section, line

ORDER = ("rows", "auc", "ks", "accuracy", "log_loss", "brier", "rmse", "mae", "r2", "deviance", "d2", "squared_error", "poisson_loss")


def figure(value: Any) -> str:
    """One figure: a number, or one with its confidence interval."""
    if isinstance(value, dict):
        shown = number(value.get("value"))
        if value.get("lower") is not None and value.get("upper") is not None:
            shown += _(" (%(lower)s to %(upper)s)", lower=number(value["lower"]), upper=number(value["upper"]))
        return shown
    return number(value)


def compared(title: str, parts: list[tuple[str, dict[str, Any] | None]]) -> list[Section]:
    """A table of figures, one column for each part of the rows that the model was measured on."""
    known = [(name, metrics) for name, metrics in parts if metrics]
    if not known:
        return []
    codes = [code for code in ORDER if any(_told(metrics.get(code)) for _name, metrics in known)]
    rows = [[label("metric", code), *(figure(metrics.get(code)) if _told(metrics.get(code)) else "–" for _name, metrics in known)]
            for code in codes]
    return [Section(title, [_("Figure"), *(name for name, _metrics in known)], [False] + [True] * len(known), rows)]


def _told(value: Any) -> bool:
    """Whether there is one figure to tell; an AUC of each class is told elsewhere."""
    return value is not None and (not isinstance(value, dict) or "value" in value)


def details(name: str, metrics: dict[str, Any] | None) -> list[Section]:
    """Confusion matrix, calibration and the AUC of each class, of one part of the rows."""
    if not metrics:
        return []
    out = []
    confusion = metrics.get("confusion")
    if confusion and "counts" in confusion:
        out.append(_classes(name, confusion))
    elif confusion:
        out.append(_confusion(name, confusion))
    if metrics.get("calibration"):
        out.append(_calibration(name, metrics["calibration"]))
    areas = metrics.get("auc")
    if isinstance(areas, dict) and "value" not in areas:
        rows = [[str(code), figure(area)] for code, area in areas.items() if area is not None]
        if rows:
            out.append(Section(_("AUC of each class against the others, %(rows)s", rows=name), [_("Class"), _("AUC")], [False, True], rows))
    return out


def _confusion(name: str, found: dict[str, Any]) -> Section:
    rates = [(code, found.get(code)) for code in ("sensitivity", "specificity", "precision", "f1")]
    note = _(", ").join(f"{label('metric', code)} {number(value)}" for code, value in rates if value is not None)
    return Section(_("Decisions at a threshold of %(threshold)s, %(rows)s", threshold=number(found["threshold"]), rows=name),
                   ["", _("predicted 1"), _("predicted 0")], [False, True, True],
                   [[_("truly 1"), number(found["true_positive"]), number(found["false_negative"])],
                    [_("truly 0"), number(found["false_positive"]), number(found["true_negative"])]], note=note)


def _classes(name: str, found: dict[str, Any]) -> Section:
    classes = [str(code) for code in found["classes"]]
    return Section(_("Confusion matrix, %(rows)s", rows=name), [_("Truly, predicted as"), *classes], [False] + [True] * len(classes),
                   [[code, *map(number, counts)] for code, counts in zip(classes, found["counts"], strict=False)])


def _calibration(name: str, rows: list[dict[str, Any]]) -> Section:
    section = Section(_("Calibration, %(rows)s", rows=name), [_("Probability"), _("Records"), _("Predicted share"), _("Observed share")],
                      [False, True, True, True],
                      [[f"{number(row['lower'])} – {number(row['upper'])}", number(row["rows"]), number(row["predicted"]), number(row["observed"])]
                       for row in rows], folded=True)
    section.charts.append((section.title, line(
        [number(row["predicted"], 3) for row in rows],
        [(_("Observed share"), [row["observed"] for row in rows]), (_("Perfect"), [row["predicted"] for row in rows])],
        x=_("Predicted share"))))
    return section
