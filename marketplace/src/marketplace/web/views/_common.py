"""What several views need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from flask import Response, flash, make_response, redirect, request
from flask_babel import gettext as _
from sqlmodel import Session

from marketplace.catalogue import service as catalogue
from marketplace.computing.submission import FILLED
from marketplace.db import transaction
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.web.i18n import both, language, number, title_of
from marketplace.web.labels import known, label
from shuyan.problems import ProblemError

T = TypeVar("T")

PAGE = 20

COLUMNS = ("target", "time", "event", "offset", "exposure")
"""Parameters that name one column."""


def cursor() -> str | None:
    """The place in a list this request asks for."""
    return request.args.get("cursor") or None


def new_key() -> str:
    """An idempotency key to put into a form: sending the form twice is then one request."""
    return new_id("web")


def form_key() -> str:
    """The idempotency key of a submitted form."""
    return request.form.get("key") or new_key()


def unstored(answer: Any) -> Response:
    """An answer that no cache keeps: there is a secret on it, or it is true for a moment only."""
    response = make_response(answer)
    response.headers["Cache-Control"] = "no-store"
    return response


def acted(act: Callable[[Session], T], *, page: Callable[[ProblemError], str], done: Callable[[T], str], back: str) -> Any:
    """Do what a form asks for and go ``back``, saying what is ``done``; or show the ``page`` again with what stands against it,
    and with what was typed. What is nobody's to mend here (403, 404, 500 …) is raised."""
    try:
        with transaction() as db:
            made = act(db)
    except ProblemError as problem:
        if problem.problem.status not in (409, 422):
            raise
        return page(problem), problem.problem.status
    flash(done(made), "success")
    return redirect(back, 303)


def organisation_names(db: Session, ids: Iterable[str]) -> dict[str, str]:
    """Organisation id → name in the reader's language."""
    return {key: both(row, "name") for key, row in parties.organisations_by_id(db, ids).items()}


def integer(name: str, *, text: str, least: int = 0, default: int | None = None) -> int:
    """A whole number from the form.

    Raises:
        ProblemError: ``invalid_input`` naming ``text``, the field's label.
    """
    raw = request.form.get(name, "").strip()
    if not raw and default is not None:
        return default
    if not raw.isascii() or not raw.isdigit() or len(raw) > 15 or int(raw) < least:
        raise ProblemError("invalid_input", field=text, reason=_("a whole number of at least %(least)d", least=least))
    return int(raw)


def decimal(name: str, *, text: str) -> float:
    """A finite number from the form.

    Raises:
        ProblemError: ``invalid_input`` naming ``text``, the field's label.
    """
    try:
        value = float(request.form.get(name, "").strip())
    except ValueError:
        value = float("nan")
    if value != value or value in (float("inf"), float("-inf")):
        raise ProblemError("invalid_input", field=text, reason=_("a number"))
    return value


def yuan_to_fen(name: str, *, text: str) -> int:
    """An amount typed in yuan, with at most two decimals, as integer fen; never through a float.

    Raises:
        ProblemError: ``invalid_input`` naming ``text``, the field's label.
    """
    raw = request.form.get(name, "").strip().replace(",", "").removeprefix("¥")
    yuan, _dot, rest = raw.partition(".")
    if not (yuan.isascii() and yuan.isdigit() and len(yuan) <= 12 and len(rest) <= 2
            and (rest == "" or (rest.isascii() and rest.isdigit()))):
        raise ProblemError("invalid_input", field=text, reason=_("an amount in yuan, such as 1200.50"))
    return int(yuan) * 100 + int(rest.ljust(2, "0"))


def app_titles() -> dict[str, str]:
    """App name → title, for the apps that come with the product."""
    return {name: label("app", name) for name in known("app")}


def param_lines(params: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A job's parameters as lines for people; what departments declare is left out, it is long and follows from the data."""
    out: list[tuple[str, str]] = []
    for name, value in params.items():
        path = f"{prefix}{name}"
        if path in (*FILLED, "sql") or value in (None, [], {}, ""):
            continue
        if isinstance(value, dict) and path in ("impute", "split", "times", "audit"):
            kept = {key: item for key, item in value.items() if key != "test" or value.get("column")}
            out += param_lines(kept, f"{path}.")
        else:
            out.append((label("param", path), _shown(path, value)))
    return out


def _shown(name: str, value: Any) -> str:
    comma: str = _(", ")
    if name == "group_by":
        return comma.join(" × ".join(group) if group else _("Overall") for group in value)
    if name == "histograms":
        return comma.join(str(item.get("column")) for item in value)
    if name == "family":
        return label("family", value)
    if name == "rho_nano":
        return f"{value / 1e9:g}"
    if isinstance(value, bool):
        return str(_("Yes") if value else _("No"))
    if isinstance(value, list):
        return comma.join(str(item) for item in value)
    if isinstance(value, dict):
        return comma.join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return number(value)
    return label("option", value) if value in known("option") and name not in COLUMNS and name != "resource" else str(value)


def column_titles(db: Session, node_ids: Iterable[str], resources: Iterable[str]) -> dict[str, str]:
    """What the departments call the columns of resources; they do so in Chinese, so in English names stay as they are."""
    if language() != "zh":
        return {}
    wanted, found = set(resources), dict[str, str]()
    for node_id in node_ids:
        for row in catalogue.resources_of_node(db, node_id):
            if row.name in wanted:
                wanted.discard(row.name)
                found |= {column["name"]: column["title"] for column in row.columns if column.get("title")}
        if not wanted:
            break
    return found


def resource_rows(db: Session, items: Iterable[Any], node_names: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Demanded or granted resources with title and department, for a table."""
    plain = [item if isinstance(item, dict) else item.model_dump() for item in items]
    found = catalogue.resources_by_id(db, [item["resource_id"] for item in plain])
    names = organisation_names(db, [row.organisation_id for row in found.values()])
    out = []
    for item in plain:
        row = found.get(item["resource_id"])
        out.append({
            "id": item["resource_id"], "columns": list(item.get("columns", ())), "reason": str(item.get("reason") or ""),
            "title": title_of(row) if row else str(item.get("name") or item["resource_id"]),
            "organisation": names.get(row.organisation_id, "–") if row else "–",
            "node": (node_names or {}).get(str(item.get("node_id")), "–"),
        })
    return out



def opinion_lines(opinions: Iterable[Any], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Who decides on an egress and what each has said, for :file:`_seats.html`."""
    return [{"who": names.get(one.organisation_id, one.organisation_id) if one.organisation_id else label("party", one.party),
             "one": one} for one in opinions]
