"""The catalogue: finding data resources, and everything about one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from flask import render_template, request, url_for
from flask_babel import gettext as _

from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import FREQUENCIES, MEASURES, RAISE
from marketplace.catalogue.tokens import BANDS
from marketplace.computing import service as computing
from marketplace.db import reading
from marketplace.web import labels
from marketplace.web.blueprint import web
from marketplace.web.session import current_actor
from marketplace.web.views._common import PAGE, cursor, organisation_names

SORTS = ("relevance", "newest", "updated", "title", "rows", "quality")
_ASKED = ("sector", "grade", "organisation_id", "frequency", "standard", "quality", "tag")


def _filters() -> catalogue.Filters:
    """What the address asks for; what is no value of a filter is passed over."""
    given = {name: request.args.get(name, "")[:120].replace("\x00", "") for name in _ASKED}
    return catalogue.Filters(
        sector=given["sector"] if given["sector"] in labels.known("sector") else None,
        grade=int(given["grade"]) if given["grade"] in ("1", "2", "3", "4") else None,
        organisation_id=given["organisation_id"] or None,
        frequency=given["frequency"] if given["frequency"] in FREQUENCIES else None,
        standard=given["standard"] or None,
        quality=int(given["quality"]) if given["quality"] in map(str, BANDS) else None,
        tags=(given["tag"],) if given["tag"] else ())


@web.get("/resources")
def resources() -> Any:
    return render_template("web/resources.html", **_listing("web.resources"))


@web.get("/departments")
def departments() -> Any:
    with reading() as db:
        page = catalogue.list_departments(db, current_actor(), cursor=cursor(), limit=PAGE)
    return render_template("web/departments.html", page=page, first_page=cursor() is None)


@web.get("/departments/<organisation_id>")
def department(organisation_id: str) -> Any:
    with reading() as db:
        row = catalogue.get_department(db, current_actor(), organisation_id)
    return render_template("web/department.html", department=row, mark=catalogue.steward_mark,
                           **_listing("web.department", organisation_id=organisation_id))


def _listing(endpoint: str, organisation_id: str | None = None) -> dict[str, Any]:
    """What a list of resources shows that this request asks for; of one department, whose page ``endpoint`` is, if one is given."""
    of: dict[str, Any] = {} if organisation_id is None else {"organisation_id": organisation_id}
    q, wanted = request.args.get("q", "").strip()[:100].replace("\x00", ""), request.args.get("sort", "relevance")
    sort = cast(catalogue.Sort, wanted if wanted in SORTS else "relevance")
    filters = replace(_filters(), **of)
    with reading() as db:
        rows, following = catalogue.list_resources(db, current_actor(), q=q, sort=sort, filters=filters, cursor=cursor(), limit=PAGE)
        found = catalogue.facets(db, current_actor(), q=q, filters=filters)
        named = {value for value, _count in found.counts.get("organisation_id", ())[:12]}
        names = organisation_names(db, {row.organisation_id for row in rows} | named)
    chosen = {name: request.args[name] for name in _ASKED if request.args.get(name) and name not in of}
    groups = [{"name": name, "text": text, "values": [
        {"value": value, "text": _value(name, value, names), "count": count} for value, count in found.counts.get(name, ())[:12]]}
        for name, text in (("sector", _("Sector")), ("grade", _("Grade")), ("organisation_id", _("Department")),
                           ("frequency", _("Update frequency")), ("quality", _("Quality at least")), ("tag", _("Tags")),
                           ("standard", _("Standard"))) if name not in of]
    return {"items": rows, "next": following, "first_page": cursor() is None, "q": q, "sort": sort, "found": found, "chosen": chosen,
            "groups": [group for group in groups if group["values"]], "organisations": names, "sorts": labels.choices("resource_sort"),
            "link": lambda **changes: url_for(endpoint, **of, **cast(dict[str, Any], _link(q, sort, chosen, changes))), "whole": url_for(endpoint, **of),
            "of_one": organisation_id is not None}


def _link(q: str, sort: str, chosen: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """The query of this page with some filters changed, from its first page on."""
    wanted = {"q": q, "sort": sort if sort != "relevance" else "", **chosen, **{name: value or "" for name, value in changes.items()}}
    return {name: value for name, value in wanted.items() if value}


def _value(name: str, value: str, names: dict[str, str]) -> str:
    if name == "organisation_id":
        return names.get(value, value)
    if name == "quality":
        return f"{value}%"
    return labels.label(name, value) if name in ("sector", "grade", "frequency") else value


@web.get("/resources/<resource_id>")
def resource(resource_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = catalogue.get_resource(db, actor, resource_id)
        names = organisation_names(db, [row.organisation_id])
        found = computing.nodes_by_id(db, [row.node_id]).get(row.node_id)
        reports = catalogue.quality_history(db, actor, row.id)
        standings = {column: one for (_id, column), one in catalogue.standings(db, [row]).items()}
        sources = catalogue.resources_by_id(db, [one.source[0] for one in standings.values() if one.source])
        hits = catalogue.negative_hits(db, {row.id: [column["name"] for column in row.columns]})
        changes = catalogue.history(db, actor, row.id, limit=20)
        objections = catalogue.open_objections(db, row.id)
    quality = {column["name"]: column for column in (row.profile or {}).get("columns", ())}
    return render_template(
        "web/resource.html", resource=row, organisation=names.get(row.organisation_id, "–"), node_name=found.name if found else "–",
        quality=quality, latest=reports[-1] if reports else None, trend=_trend(reports), standings=standings, sources=sources,
        whole=[hit for hit in hits if hit.column is None], barred={hit.column: hit for hit in hits if hit.column}, changes=changes,
        objections=objections, measures=MEASURES, steward_at=catalogue.steward_mark(row.steward),
        may_object=row.status == "active" and RAISE.held(actor) and actor.organisation_id != row.organisation_id)


def _trend(reports: list[Any]) -> dict[str, Any] | None:
    """The chart of what was measured over time, once there is more than one point."""
    if len(reports) < 2:
        return None
    return {"kind": "lines", "categories": [f"{report.measured_at:%Y-%m-%d}" for report in reports], "scale": True, "series": [
        {"name": labels.label("measure", name), "values": [getattr(report, name) for report in reports]} for name in MEASURES
        if any(getattr(report, name) is not None for report in reports)]}
