"""The SQL editor: a query over granted resources, explained before anything is spent, then run as a job."""

from __future__ import annotations

import math
from typing import Any

from flask import redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.db import reading, transaction, utc_now
from marketplace.web import present
from marketplace.web.blueprint import web
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import explaining, granted
from marketplace.web.views._common import form_key, new_key, unstored
from shuyan.problems import ProblemError

RECENT = 8
FEW_VALUES = 30
"""Columns with no more values than this have them offered while typing."""

SHOWN_VALUES = 300


@web.get("/sql")
@signed_in("developer", "operator")
def sql() -> Any:
    with reading() as db:
        values = {"sql": "", "title": "", "epsilon": ""}
        grant_id = request.args.get("grant", "")
        if reopened := request.args.get("job", ""):
            row = computing.get_job(db, current_actor(), reopened)
            grant_id = grant_id or row.grant_id
            values |= {"sql": present.pretty(str(row.params.get("sql", ""))), "title": row.title}
        return _page(db, grant_id, values)


@web.post("/sql/explain")
@signed_in("developer", "operator")
def explain_sql() -> Any:
    """What the query would do: a fragment for the editor, or the whole page for a browser without scripts."""
    values = _values()
    with reading() as db:
        told = _told(db, values)
        if not request.headers.get("HX-Request"):
            return _page(db, request.form.get("grant", ""), values, told)
    return unstored(render_template("web/_explain.html", told=told, refused_id="refusal"))


@web.post("/sql")
@signed_in("developer", "operator")
def run_sql() -> Any:
    values = _values()
    actor = current_actor()
    asked: dict[str, Any] = {"grant_id": request.form.get("grant", ""), "app": "query", "idempotency_key": form_key()}
    try:
        with reading() as db:  # checking takes a while, and no writer should wait for it
            params = _params(db, asked["grant_id"], values)
            checked = computing.check_job(db, actor, **asked, params=params)
        with transaction() as db:
            row = computing.submit_job(db, actor, **asked, params=params, title=values["title"] or _title(values["sql"]), checked=checked)
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        with reading() as db:
            return _page(db, request.form.get("grant", ""), values, explaining.refused(problem)), problem.problem.status
    return redirect(url_for("web.job", job_id=row.id), 303)


@web.get("/sql/values")
@signed_in("developer", "operator")
def sql_values() -> Any:
    """The declared values of one column, asked for when somebody opens it."""
    with reading() as db:
        _record, grant = _grant(db, request.args.get("grant", ""))
        table = granted.find(granted.tables(db, grant), request.args.get("resource", ""))
    column = next((one for one in table.columns if one.name == request.args.get("column")), None) if table else None
    if column is None:
        raise ProblemError("not_found", what="resource")
    return render_template("web/_values.html", column=column, shown=column.domain[:SHOWN_VALUES],
                           more=max(0, len(column.domain) - SHOWN_VALUES))


def _values() -> dict[str, str]:
    return {"sql": request.form.get("sql", "").replace("\r\n", "\n"), "title": request.form.get("title", "").strip(),
            "epsilon": request.form.get("epsilon", "").strip()}


def _title(text: str) -> str:
    """A query's beginning, for lists of jobs."""
    words = " ".join(text.split())
    return words if len(words) <= 60 else words[:59] + "…"


def _grant(db: Any, grant_id: str) -> Any:
    record = authorisation.get_grant(db, current_actor(), grant_id)
    return authorisation.usable_grant(db, record.id, utc_now())


def _params(db: Any, grant_id: str, values: dict[str, str]) -> dict[str, Any]:
    params: dict[str, Any] = {"sql": values["sql"]}
    if not values["sql"].strip():
        raise ProblemError("invalid_input", field=_("Query"), reason=_("write a SELECT"))
    if values["epsilon"]:
        _record, grant = _grant(db, grant_id)
        if grant.privacy is not None:
            params["rho_nano"] = rho(values["epsilon"], grant.privacy.delta)
    return params


def rho(epsilon: str, delta: float) -> int:
    """ρ in 1e-9 of an ε typed into a form.

    Raises:
        ProblemError: ``invalid_input`` if it is no number above nought.
    """
    from shuyan.federation.privacy import accounting

    try:
        value = float(epsilon)
    except ValueError:
        value = math.nan
    if not 0 < value <= 100:
        raise ProblemError("invalid_input", field="ε", reason=_("a number above 0, at most 100"))
    return max(1, accounting.rho_for(value, delta))


def _told(db: Any, values: dict[str, str]) -> explaining.Told:
    grant_id = request.form.get("grant", "")
    try:
        params = _params(db, grant_id, values)
    except ProblemError as problem:
        return explaining.refused(problem)
    return explaining.explain(db, current_actor(), grant_id=grant_id, app="query", params=params)


def _page(db: Any, grant_id: str, values: dict[str, str], told: explaining.Told | None = None) -> str:
    actor = current_actor()
    grants = [(record, grant) for record, grant in granted.usable(db, actor)
              if any(app.name == "query" for app in grant.apps)]
    chosen = next(((record, grant) for record, grant in grants if record.id == grant_id), grants[0] if grants else None)
    tables = granted.tables(db, chosen[1]) if chosen else []
    return render_template(
        "web/sql.html", grants=grants, record=chosen[0] if chosen else None, grant=chosen[1] if chosen else None, tables=tables,
        schema=_schema(tables), values=values, told=told, key=new_key(), recent=_recent(db, actor),
        example=_example(tables))


def _schema(tables: list[granted.GrantedTable]) -> dict[str, Any]:
    """What the editor completes: by table its columns as ``[name, type, title, unit, values]``."""
    return {table.name: {"title": table.title, "columns": [
        [column.name, column.type, column.title, column.unit, column.domain if len(column.domain) <= FEW_VALUES else []]
        for column in table.columns]} for table in tables}


def _example(tables: list[granted.GrantedTable]) -> str:
    """A query that could be asked of the first table."""
    for table in tables:
        dimension = next((column.name for column in table.dimensions), None)
        measure = next((column.name for column in table.numbers if not column.domain), None)
        if dimension and measure:
            return (f"SELECT {dimension}, count(*) AS n, avg({measure}) AS mean_{measure}\nFROM {table.name}\n"
                    f"GROUP BY {dimension}\nORDER BY {dimension}")
    return f"SELECT count(*) AS n\nFROM {tables[0].name}" if tables else ""


def _recent(db: Any, actor: Any) -> list[Any]:
    """The organisation's latest queries, each text once."""
    rows, _next = computing.list_jobs(db, actor, app="query", limit=60)
    found: dict[str, Any] = {}
    for row in rows:
        if row.organisation_id == actor.organisation_id:
            found.setdefault(" ".join(str(row.params.get("sql", "")).split()), row)
    return list(found.values())[:RECENT]
