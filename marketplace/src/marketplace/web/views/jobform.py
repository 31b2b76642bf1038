"""The new-job form: what can be chosen under a grant, and the parameters assembled from what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import NUMERIC
from marketplace.db import utc_now
from marketplace.web.i18n import title_of
from marketplace.web.views._common import app_titles
from shuyan.problems import ProblemError

MAXIMUM_BINS = 200


@dataclass
class JobForm:
    """One form: a grant, one of its apps and one of its resources, and the columns that every department offers."""

    grant: Any
    record: Any
    app: str
    app_title: str
    output_form: str
    resource: str
    resource_title: str
    resources: list[tuple[str, str]] = field(default_factory=list)
    numbers: list[dict[str, Any]] = field(default_factory=list)
    dimensions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def features(self) -> list[dict[str, Any]]:
        """Columns a model may use: numbers, and text with a declared domain."""
        names = {column["name"] for column in self.numbers}
        return self.numbers + [column for column in self.dimensions if column["name"] not in names]


def output_form_of(app: str) -> str:
    """``statistics`` or ``model``: what an installed app puts out; unknown apps read as statistics."""
    # Flower is loaded by the first reader who makes a job, not with the web tier
    from shuyan.federation import apps

    found = apps.installed().get(app)
    return found.manifest.output_form if found else "statistics"


def choices(db: Any, actor: Any) -> list[dict[str, Any]]:
    """The grants this actor may use now, each with its apps and resources."""
    out = []
    for record in authorisation.list_grants(db, actor, limit=100).items:
        if record.organisation_id != actor.organisation_id:
            continue
        try:
            _record, grant = authorisation.usable_grant(db, record.id, utc_now())
        except ProblemError:
            continue
        titles = app_titles()
        out.append({"record": record, "grant": grant, "resources": _resources(db, grant),
                    "apps": [(app.name, titles.get(app.name, app.name)) for app in grant.apps]})
    return out


def _resources(db: Any, grant: Any) -> list[tuple[str, str]]:
    rows = catalogue.resources_by_id(db, [item.resource_id for item in grant.resources])
    out: dict[str, str] = {}
    for item in grant.resources:
        row = rows.get(item.resource_id)
        out.setdefault(item.name, title_of(row) if row else item.name)
    return list(out.items())


def read(db: Any, record: Any, app: str, resource: str) -> JobForm:
    """The form for ``app`` on ``resource`` under a grant; the first of each where the reader named none.

    Raises:
        ProblemError: what :func:`authorisation.service.usable_grant` raises for a grant that cannot be used now.
    """
    _record, grant = authorisation.usable_grant(db, record.id, utc_now())
    app = app if app in {item.name for item in grant.apps} else grant.apps[0].name
    resources = _resources(db, grant)
    names = dict(resources)
    resource = resource if resource in names else resources[0][0]
    form = JobForm(grant, record, app, app_titles().get(app, app), output_form_of(app), resource, names[resource], resources)
    granted = [item for item in grant.resources if item.name == resource]
    common = set.intersection(*(set(item.columns) for item in granted))
    rows = catalogue.resources_by_id(db, [item.resource_id for item in granted])
    first = next(iter(rows.values()), None)
    for column in first.columns if first else []:
        if column["name"] not in common or column.get("identifier"):
            continue
        if column["type"] in NUMERIC:
            form.numbers.append(column)
        if column.get("domain"):
            form.dimensions.append(column)
    return form


def defaults(form: JobForm) -> dict[str, list[str]]:
    """What a fresh form shows, as a multi-value mapping like a submitted one."""
    out: dict[str, list[str]] = {"family": ["logistic"], "l2": ["1"], "max_rounds": ["25"], "standardise": ["pooled"],
                                 "overall": ["1"]}
    for column in form.numbers:
        name = column["name"]
        out[f"lower-{name}"] = [_plain(column.get("lower"))]
        out[f"upper-{name}"] = [_plain(column.get("upper"))]
        out[f"bins-{name}"] = ["10"]
        if column["type"] == "boolean":
            out[f"lower-{name}"], out[f"upper-{name}"], out[f"bins-{name}"] = ["0"], ["1"], ["2"]
    return out


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:g}"


def params(form: JobForm, data: Any) -> dict[str, Any]:
    """The app's parameters from a submitted form.

    Raises:
        ProblemError: ``invalid_input`` naming the field at fault.
    """
    return _model(form, data) if form.output_form == "model" else _statistics(form, data)


def _statistics(form: JobForm, data: Any) -> dict[str, Any]:
    columns = [column["name"] for column in form.numbers if column["name"] in data.getlist("columns")]
    dimensions = [column["name"] for column in form.dimensions]
    groups: list[list[str]] = [[]] if data.get("overall") else []
    groups += [[name] for name in dimensions if name in data.getlist("group")]
    cross = [data.get("cross_a", ""), data.get("cross_b", "")]
    if any(cross):
        if not all(name in dimensions for name in cross) or cross[0] == cross[1]:
            raise ProblemError("invalid_input", field=_("Cross table"), reason=_("choose two different dimensions"))
        groups.append(cross)
    histograms = []
    for column in form.numbers:
        name = column["name"]
        if name in data.getlist("histogram"):
            lower, upper = _real(data, f"lower-{name}", name), _real(data, f"upper-{name}", name)
            if not lower < upper:
                raise ProblemError("invalid_input", field=name, reason=_("the lower end must be below the upper end"))
            histograms.append({"column": name, "lower": lower, "upper": upper,
                               "bins": _whole(data, f"bins-{name}", name, MAXIMUM_BINS)})
    if not groups and not histograms:
        raise ProblemError("invalid_input", field=_("Tables"), reason=_("choose at least one table or histogram"))
    return {"resource": form.resource, "columns": columns, "group_by": groups, "histograms": histograms}


def _model(form: JobForm, data: Any) -> dict[str, Any]:
    target = data.get("target", "")
    chosen = data.getlist("features")
    features = [column["name"] for column in form.features if column["name"] in chosen and column["name"] != target]
    if not target:
        raise ProblemError("invalid_input", field=_("Target"), reason=_("choose one column"))
    if not features:
        raise ProblemError("invalid_input", field=_("Features"), reason=_("choose at least one column"))
    return {"resource": form.resource, "family": data.get("family", "logistic"), "target": target,
            "features": features, "l2": _real(data, "l2", _("Ridge penalty")),
            "max_rounds": _whole(data, "max_rounds", _("Rounds at most"), 1000),
            "standardise": data.get("standardise", "pooled")}


def _real(data: Any, name: str, text: str) -> float:
    try:
        value = float(data.get(name, ""))
    except ValueError:
        value = float("nan")
    if value != value or abs(value) == float("inf"):
        raise ProblemError("invalid_input", field=text, reason=_("a number"))
    return value


def _whole(data: Any, name: str, text: str, most: int) -> int:
    raw = data.get(name, "").strip()
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw[:9]) <= most:
        raise ProblemError("invalid_input", field=text, reason=_("a whole number from 1 to %(most)d", most=most))
    return int(raw)
