"""The new-job form: what can be chosen under a grant, and the parameters assembled from what was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.db import utc_now
from marketplace.web.i18n import both
from marketplace.web.session import current_actor
from marketplace.web.views import appform, granted
from marketplace.web.views.sql import rho
from shuyan.problems import ProblemError

MAXIMUM_BINS = 200


@dataclass
class JobForm:
    """One form: a grant, one of its apps and one of its tables."""

    grant: Any
    record: Any
    card: Any
    table: granted.GrantedTable
    tables: list[granted.GrantedTable]
    fields: appform.AppForm

    @property
    def app(self) -> str:
        """The app's name."""
        return str(self.card.name)

    @property
    def app_title(self) -> str:
        """The app's title in the reader's language."""
        return both(self.card, "title")

    @property
    def departments(self) -> list[str]:
        """Names of the departments that have the table."""
        return self.table.departments

    @property
    def noisy(self) -> bool:
        """Whether an answer costs privacy budget."""
        return bool(self.grant.release == "dp")


def choices(db: Any, actor: Any) -> list[dict[str, Any]]:
    """The grants this actor may use now, each with its tables and the apps that can run under it."""
    cards = {card.name: card for card in computing.list_apps(db, actor)}
    out = []
    for record, grant in granted.usable(db, actor):
        names = [app.name for app in grant.apps if app.name in cards and (grant.release == "exact" or cards[app.name].noisy)]
        out.append({"record": record, "grant": grant, "tables": granted.tables(db, grant), "query": "query" in names,
                    "apps": [(name, both(cards[name], "title")) for name in names if name != "query"]})
    return out


def read(db: Any, record: Any, app: str, resource: str) -> JobForm:
    """The form for ``app`` on ``resource`` under a grant; the first of each where the reader named none.

    Raises:
        ProblemError: what :func:`authorisation.service.usable_grant` raises for a grant that cannot be used now;
            ``not_found`` where it covers nothing that can be run.
    """
    _record, grant = authorisation.usable_grant(db, record.id, utc_now())
    tables = granted.tables(db, grant)
    if not tables:
        raise ProblemError("not_found", what="resource")
    names = [item.name for item in grant.apps if item.name != "query"] or [item.name for item in grant.apps]
    card = computing.get_app(db, current_actor(), app if app in names else names[0])
    table = granted.find(tables, resource) or tables[0]
    return JobForm(grant, record, card, table, tables, appform.make(card.name, card.params_schema, table, grant.release))


def defaults(form: JobForm) -> dict[str, list[str]]:
    """What a fresh form shows, as a multi-value mapping like a submitted one."""
    if form.app != "statistics":
        return form.fields.defaults()
    out: dict[str, list[str]] = {"overall": ["1"]}
    for column in form.table.numbers:
        name = column.name
        out[f"lower-{name}"] = [_plain(column.lower)]
        out[f"upper-{name}"] = [_plain(column.upper)]
        out[f"bins-{name}"] = ["10"]
        if column.type == "boolean":
            out[f"lower-{name}"], out[f"upper-{name}"], out[f"bins-{name}"] = ["0"], ["1"], ["2"]
    return out


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:g}"


def params(form: JobForm, data: Any) -> dict[str, Any]:
    """The app's parameters from a submitted form.

    Raises:
        ProblemError: ``invalid_input`` naming the field at fault.
    """
    found = _statistics(form, data) if form.app == "statistics" else appform.params(form.fields, data)
    epsilon = data.get("epsilon", "").strip()
    if epsilon and form.grant.privacy is not None:
        found["rho_nano"] = rho(epsilon, form.grant.privacy.delta)
    return found


def _statistics(form: JobForm, data: Any) -> dict[str, Any]:
    columns = [column.name for column in form.table.numbers if column.name in data.getlist("columns")]
    dimensions = [column.name for column in form.table.dimensions]
    groups: list[list[str]] = [[]] if data.get("overall") else []
    groups += [[name] for name in dimensions if name in data.getlist("group")]
    cross = [data.get("cross_a", ""), data.get("cross_b", "")]
    if any(cross):
        if not all(name in dimensions for name in cross) or cross[0] == cross[1]:
            raise ProblemError("invalid_input", field=_("Cross table"), reason=_("choose two different dimensions"))
        groups.append(cross)
    histograms = []
    for column in form.table.numbers:
        name = column.name
        if name in data.getlist("histogram"):
            lower, upper = _real(data, f"lower-{name}", name), _real(data, f"upper-{name}", name)
            if not lower < upper:
                raise ProblemError("invalid_input", field=name, reason=_("the lower end must be below the upper end"))
            histograms.append({"column": name, "lower": lower, "upper": upper,
                               "bins": _whole(data, f"bins-{name}", name, MAXIMUM_BINS)})
    if not groups and not histograms:
        raise ProblemError("invalid_input", field=_("Tables"), reason=_("choose at least one table or histogram"))
    return {"resource": form.table.name, "columns": columns, "group_by": groups, "histograms": histograms}


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
