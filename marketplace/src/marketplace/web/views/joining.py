"""Following an invitation: with the account one has, or with a new one."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.db import reading
from marketplace.parties import invitations
from marketplace.parties import service as parties
from marketplace.parties import sign_in as signing
from marketplace.web import session
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import both, language
from marketplace.web.views.account import go_on
from shuyan.problems import ProblemError


@web.get("/invitation")
def invitation() -> Any:
    # opening the link changes nothing: mail scanners open links, too
    return _page(request.args.get("token", ""))


def _page(token: str, problem: str | None = None, name: str = "") -> Any:
    with reading() as db:
        shown = invitations.show(db, token)
    found = session.reader()
    return render_template("web/invitation.html", token=token, shown=shown, here=url_for("web.invitation", token=token), problem=problem,
                           name=name, theirs=found is not None and found.signed_in.account.email == shown.invitation.email)


@web.post("/invitation")
def invitation_accept() -> Any:
    token, found = request.form.get("token", ""), session.reader()
    try:
        account, member = invitations.follow(
            token, found.signed_in if found else None, address=request.remote_addr or "", display_name=request.form.get("display_name", ""),
            password=request.form.get("password", ""), locale=language())
    except ProblemError as problem:
        if problem.problem.status != 422:
            raise
        return _page(token, say(problem), request.form.get("display_name", "")), 422
    session.forget()
    with reading() as db:
        name = both(parties.get_organisation(db, member.organisation_id), "name")
    flash(_("You are now a member of %(name)s.", name=name), "success")
    if found is not None:
        return redirect(url_for("web.home"), 303)
    return go_on(signing.for_new(account, session.place(account.email)), url_for("web.home"))
