"""Following an invitation: with the account one has, or with a new one."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import reading, transaction
from marketplace.parties import guessing, invitations, sessions
from marketplace.parties import service as parties
from marketplace.parties import sign_in as signing
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.i18n import both, language
from marketplace.web.views.account import go_on


@web.get("/invitation")
def invitation() -> Any:
    token = request.args.get("token", "")
    with reading() as db:
        shown = invitations.show(db, token)
    return render_template("web/invitation.html", token=token, shown=shown, here=url_for("web.invitation", token=token))


@web.post("/invitation")
def invitation_accept() -> Any:
    token = request.form.get("token", "")
    guessing.reserve([("link", request.remote_addr or "")])
    found = session.reader()
    with transaction() as db:
        if found is not None:
            member = invitations.accept(db, token, found.signed_in)
            sessions.switch(db, found.signed_in, member.id)
        else:
            account, member = invitations.accept_new(db, token, display_name=request.form.get("display_name", ""),
                                                     password=request.form.get("password", ""), locale=language())
        name = both(parties.get_organisation(db, member.organisation_id), "name")
        guessing.forgive(db, [("link", request.remote_addr or "")])
    session.forget()
    flash(_("You are now a member of %(name)s.", name=name), "success")
    if found is not None:
        return redirect(url_for("web.home"), 303)
    return go_on(signing.for_new(account, session.place(account.email)), url_for("web.home"))
