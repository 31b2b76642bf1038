"""A forgotten password, replaced by a mailed link."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.parties import resets
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import language
from shuyan.problems import ProblemError


@web.get("/reset")
def reset() -> Any:
    return render_template("web/reset.html")


@web.post("/reset")
def reset_submit() -> Any:
    resets.ask(request.form.get("email", ""), request.remote_addr or "", language())
    flash(_("If there is an account with this address, a link is on its way to it."), "info")
    return redirect(url_for("web.sign_in"), 303)


@web.get("/reset/new")
def reset_new() -> Any:
    # opening the link changes nothing: mail scanners open links, too
    return render_template("web/reset_new.html", token=request.args.get("token", ""), problem=None)


@web.post("/reset/new")
def reset_new_submit() -> Any:
    token = request.form.get("token", "")
    try:
        resets.use(token, request.form.get("password", ""), request.remote_addr or "")
    except ProblemError as problem:
        if problem.problem.status not in (410, 422):
            raise
        return render_template("web/reset_new.html", token=token, problem=say(problem)), problem.problem.status
    flash(_("The password is changed. Sign in with it."), "success")
    return redirect(url_for("web.sign_in"), 303)
