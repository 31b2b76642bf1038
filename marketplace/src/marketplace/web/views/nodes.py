"""The departments' nodes."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, url_for
from flask_babel import gettext as _

from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.computing.rules import NODE
from marketplace.db import reading, transaction
from marketplace.web.blueprint import web
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import app_titles, organisation_names


def _state(node: Any) -> str:
    if node.status != "active":
        return str(node.status)
    return "connected" if node.connected else "offline"


@web.get("/nodes")
@signed_in()
def nodes() -> Any:
    with reading() as db:
        rows = computing.list_nodes(db, current_actor())
        names = organisation_names(db, [row.organisation_id for row in rows])
        items = [{"node": row, "organisation": names.get(row.organisation_id, "–"), "state": _state(row),
                  "resources": len(catalogue.resources_of_node(db, row.id))} for row in rows]
    return render_template("web/nodes.html", items=items, apps=app_titles(),
                           connected=sum(item["state"] == "connected" for item in items),
                           resource_total=sum(item["resources"] for item in items))


@web.get("/nodes/<node_id>")
@signed_in()
def node(node_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        row = computing.get_node(db, actor, node_id)
        resources = catalogue.resources_of_node(db, node_id)
        names = organisation_names(db, [row.organisation_id])
    return render_template("web/node.html", node=row, state=_state(row), resources=resources, apps=app_titles(),
                           organisation=names.get(row.organisation_id, "–"),
                           may_revoke="revoke" in NODE.possible(row.status, actor, owner=row.organisation_id))


@web.post("/nodes/<node_id>/revoke")
@signed_in()
def revoke_node(node_id: str) -> Any:
    with transaction() as db:
        computing.revoke_node(db, current_actor(), node_id)
    flash(_("The node is revoked and cut off."), "success")
    return redirect(url_for("web.node", node_id=node_id), 303)
