"""Privacy budgets, as the departments' nodes tell of them: by grant for who works under it, by resource for who keeps the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import render_template
from sqlmodel import Session

from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.db import reading
from marketplace.web.blueprint import web
from marketplace.web.i18n import title_of
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views import granted
from marketplace.web.views._common import organisation_names

HISTORY = 20


@dataclass(frozen=True)
class Line:
    """A budget as a line of a page. ``left_share`` in per cent, for the bar."""

    budget: Any
    resource: str
    grantee: str
    left_share: int
    epsilon_left: float


@web.get("/budgets")
@signed_in("developer", "operator", "source_department", "data_authority", "security_supervisor")
def budgets() -> Any:
    actor = current_actor()
    with reading() as db:
        if actor.party == "developer":
            items = [_of_grant(db, actor, record, grant) for record, grant in granted.usable(db, actor) if grant.release == "dp"]
            return render_template("web/budgets.html", grants=items, nodes=None)
        found = told(db, computing.list_budgets(db, actor))
    nodes: dict[str, list[Line]] = {}
    for line in found:
        nodes.setdefault(line.budget.department, []).append(line)
    return render_template("web/budgets.html", grants=None, nodes=nodes)


def _of_grant(db: Session, actor: Any, record: Any, grant: Any) -> dict[str, Any]:
    rows, _next = computing.list_jobs(db, actor, grant_id=record.id, limit=HISTORY)
    return {"record": record, "grant": grant, "lines": told(db, computing.grant_budgets(db, actor, record.id)),
            "history": [{"job": row, "rho": row.params.get("rho_nano") or max(1, grant.privacy.rho_nano // 100)} for row in rows
                        if row.started_at and not row.reused_from]}


def told(db: Session, budgets_: Iterable[Any]) -> list[Line]:
    """Budgets with names for people."""
    from marketplace.computing.budgets import epsilon

    rows = list(budgets_)
    names = organisation_names(db, {one.grantee for one in rows if one.grantee})
    titles = {(node_id, row.name): title_of(row) for node_id in {one.node_id for one in rows}
              for row in catalogue.resources_of_node(db, node_id)}
    return [Line(one, titles.get((one.node_id, one.resource), one.resource), names.get(one.grantee, one.grantee),
                 round(100 * one.left_nano / one.cap_nano) if one.cap_nano else 0, epsilon(one.left_nano, one.delta)) for one in rows]
