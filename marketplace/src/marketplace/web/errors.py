"""Error pages and flash messages, from the error catalogue, in the reader's language."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, flash, g, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError

from marketplace.web.blueprint import web
from marketplace.web.i18n import language
from marketplace.web.labels import label
from shuyan.problems import ProblemError, describe

# arguments of problems that are codes of ours, and the kind of label a reader should see instead
_CODED = {"state": "state", "action": "action", "what": "what", "form": "form"}


def say(problem: ProblemError) -> str:
    """The public sentence of ``problem`` in the reader's language, with codes in it spelled out."""
    args = {name: label(_CODED[name], value) if name in _CODED else value for name, value in problem.args_.items()}
    return describe(problem.code, {"field": problem.field, **args}, language())


def back(default: str) -> str:
    """Where a form came from, as a path of this site; ``default`` if it does not say."""
    target = request.form.get("back") or request.referrer or ""
    parts = urlsplit(target)
    if parts.netloc and parts.netloc != request.host:
        return default
    if not parts.path.startswith("/") or parts.path.startswith("//") or "\\" in parts.path or not target.isprintable():
        return default
    return parts.path + (f"?{parts.query}" if parts.query else "")


def page(problem: ProblemError, request_id: str) -> Response:
    """A whole page for ``problem``; its headline says what kind of thing went wrong and what to do next."""
    headlines = {
        401: _("Please sign in"), 403: _("Not allowed"), 404: _("Not found"), 409: _("Not possible now"),
        422: _("Something in the input is wrong"), 429: _("Too many requests"), 503: _("Unavailable for the moment"),
    }
    status = problem.problem.status
    if status >= 500:
        g.reader = None  # who reads is in the database, which may be what failed
    headline = headlines.get(status, _("Something went wrong") if status >= 500 else _("The request cannot be served"))
    body = render_template("web/error.html", status=status, headline=headline, sentence=say(problem),
                           reference=request_id, code=problem.code)
    return make_response(body, status)


def _answer(problem: ProblemError) -> Any:
    status = problem.problem.status
    if problem.code == "not_signed_in" and g.get("reader") is not None:
        return page(ProblemError("no_membership"), _request_id())  # signing in once more would change nothing
    if problem.code == "not_signed_in":
        if request.headers.get("HX-Request"):
            return Response(status=204, headers={"HX-Redirect": url_for("web.sign_in")})
        return redirect(url_for("web.sign_in", next=request.full_path.rstrip("?") if request.method == "GET" else None))
    if request.method == "POST" and status < 500 and status != 404:
        flash(say(problem), "danger")
        return redirect(back(url_for("web.store")), 303)
    return page(problem, _request_id())


def _request_id() -> str:
    return str(g.get("request_id", ""))


def _expired(error: CSRFError) -> Any:
    flash(_("This form had expired or came from elsewhere. Please try again."), "danger")
    return redirect(back(url_for("web.store")), 303)


# here, not per application: a blueprint is set up once, before it is registered
web.register_error_handler(ProblemError, _answer)
web.register_error_handler(CSRFError, _expired)


def init_app(app: Flask) -> None:
    """Tell problems of pages as pages; the application keeps telling those of the API as problem details."""
    app.extensions["shuyan_error_page"] = page
