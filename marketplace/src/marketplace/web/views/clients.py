"""An organisation's programs, for its administrators, and the apps that act for the reader."""

from __future__ import annotations

import re
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import reading, transaction
from marketplace.parties import connections, rules
from marketplace.parties import service as parties
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import new_key, unstored

_KEY = re.compile(r"web_[0-9a-z]{26}")


@web.get("/clients")
@signed_in()
def clients() -> Any:
    actor = current_actor()
    with reading() as db:
        rows = parties.list_clients(db, actor)
    return render_template("web/clients.html", rows=rows, may_manage=rules.MANAGE_CLIENTS.held(actor, owner=actor.organisation_id),
                           scopes=sorted(rules.person_scopes(actor.party)), key=new_key())


@web.post("/clients")
@signed_in()
def client_create() -> Any:
    key = request.form.get("key", "")
    uris = request.form.get("redirect_uris", "").split() if request.form.get("use") != "organisation" else []
    with transaction() as db:
        row, secret = parties.create_client(
            db, current_actor(), name=request.form.get("name", ""), scope=request.form.getlist("scopes"), redirect_uris=uris,
            public=request.form.get("use") == "public",
            # the form's key becomes the id: sending the form twice makes one program
            client_id=f"client_{key[4:]}" if _KEY.fullmatch(key) else None)
    return _shown_once(row, secret, replaced=False)


def _shown_once(row: Any, secret: str, *, replaced: bool) -> Any:
    return unstored(render_template("web/client_created.html", row=row, secret=secret, replaced=replaced))


@web.post("/clients/<client_id>/secret")
@signed_in()
def client_secret(client_id: str) -> Any:
    with transaction() as db:
        row, secret = parties.replace_secret(db, current_actor(), client_id)
    return _shown_once(row, secret, replaced=True)


@web.post("/clients/<client_id>/revoke")
@signed_in()
def client_revoke(client_id: str) -> Any:
    with transaction() as db:
        parties.revoke_client(db, current_actor(), client_id)
    flash(_("The program is revoked, with every token it holds."), "success")
    return redirect(url_for("web.clients"), 303)


@web.get("/account/apps")
def connected_apps() -> Any:
    who = session.own()
    with reading() as db:
        rows = connections.list_connections(db, who.account.id)
        names = {member.id: organisation for member, organisation in parties.memberships_of(db, who.account.id)}
    return render_template("web/connected_apps.html", rows=rows, names=names)


@web.post("/account/apps/<connection_id>/disconnect")
def app_disconnect(connection_id: str) -> Any:
    who = session.own()
    with transaction() as db:
        connections.disconnect(db, who, connection_id)
    flash(_("The app is disconnected."), "success")
    return redirect(url_for("web.connected_apps"), 303)
