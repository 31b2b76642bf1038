"""The app gallery: what each federated app does, what it takes and gives, and where it is allowed."""

from __future__ import annotations

from typing import Any

from flask import render_template

from marketplace.computing import service as computing
from marketplace.db import reading
from marketplace.web.blueprint import web
from marketplace.web.labels import known
from marketplace.web.session import current_actor
from marketplace.web.views.appform import lines


@web.get("/apps")
def app_gallery() -> Any:
    with reading() as db:
        cards = computing.list_apps(db, current_actor())
    return render_template("web/apps.html", cards=cards, told=known("app_about"), may_use=_may_use())


@web.get("/apps/<name>")
def app(name: str) -> Any:
    with reading() as db:
        card = computing.get_app(db, current_actor(), name)
    return render_template("web/app.html", card=card, told=known("app_about"), params=lines(card.params_schema), may_use=_may_use())


def _may_use() -> bool:
    return current_actor().party in ("developer", "operator")
