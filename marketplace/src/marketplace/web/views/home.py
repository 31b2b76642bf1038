"""What waits for the reader: each role's own page, oldest and overdue first."""

from __future__ import annotations

from typing import Any

from flask import render_template, request, url_for
from werkzeug.routing import BuildError

from marketplace import work
from marketplace.db import reading, utc_now
from marketplace.web.blueprint import web
from marketplace.web.labels import label
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import organisation_names

SHOWN = 100


@web.get("/home")
@signed_in()
def home() -> Any:
    actor, now = current_actor(), utc_now()
    with reading() as db:
        items = work.waiting(db, actor, now)
        names = organisation_names(db, {item.organisation_id for item in items[:SHOWN]})
    kinds: dict[str, int] = {}
    for item in items:
        kinds[item.kind] = kinds.get(item.kind, 0) + 1
    chosen = request.args.get("kind", "")
    shown = [item for item in items if not chosen or item.kind == chosen]
    rows = [{"item": item, "what": label("work", item.kind), "organisation": names.get(item.organisation_id, "–"),
             "href": _address(item), "overdue": item.due is not None and item.due <= now} for item in shown[:SHOWN]]
    overdue = sum(item.due is not None and item.due <= now for item in items)
    return render_template("web/home.html", rows=rows, kinds=[(kind, label("work", kind), count) for kind, count in kinds.items()],
                           chosen=chosen, total=len(items), overdue=overdue, more=max(0, len(shown) - SHOWN))


def _address(item: work.WorkItem) -> str | None:
    endpoint, _colon, argument = item.page.partition(":")
    try:
        values: dict[str, Any] = {argument: item.subject} if argument else {}
        return url_for(f"web.{endpoint}", **values)
    except BuildError:
        return None
