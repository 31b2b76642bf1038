"""Who is reading: the signed-in member behind the session cookie."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from flask import Flask, g, request, session, url_for
from flask_wtf.csrf import CSRFProtect

from marketplace.actor import PUBLIC, Actor
from marketplace.db import reading
from marketplace.parties import service as parties
from marketplace.web.blueprint import web
from marketplace.web.i18n import both
from marketplace.web.labels import TONES
from marketplace.web.menu import menu
from shuyan.problems import ProblemError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Reader:
    """The signed-in person as the pages need it."""

    actor: Actor
    name: str
    organisation_zh: str
    organisation_en: str

    @property
    def organisation(self) -> str:
        return both(self, "organisation")


def reader() -> Reader | None:
    """The signed-in member, or ``None``. A session of an earlier ``session_epoch`` is not signed in any more."""
    if "reader" not in g:
        g.reader = _load()
    found: Reader | None = g.reader
    return found


def _load() -> Reader | None:
    member_id = session.get("member")
    if not member_id:
        return None
    with reading() as db:
        member = parties.get_member(db, member_id)
        if member is None or member.session_epoch != session.get("epoch"):
            session.clear()
            return None
        actor = parties.actor_for_member(db, member)
        organisation = parties.get_organisation(db, member.organisation_id)
        return Reader(actor, member.display_name, organisation.name_zh, organisation.name_en)


def current_actor() -> Actor:
    """The reader as an actor; the public when nobody is signed in."""
    found = reader()
    return found.actor if found else PUBLIC


def begin(member_id: str, epoch: int) -> None:
    """Start a session for a member; everything of an earlier one is dropped."""
    session.clear()
    session["member"] = member_id
    session["epoch"] = epoch
    g.pop("reader", None)


def end() -> None:
    """End this session."""
    session.clear()
    g.pop("reader", None)


def signed_in(*parties_allowed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Ask for a signed-in member, of one of ``parties_allowed`` if any are named.

    The services decide what may be done; this only spares a reader a page that could show nothing.
    """
    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            found = reader()
            if found is None:
                raise ProblemError("not_signed_in")
            if parties_allowed and found.actor.party not in parties_allowed:
                raise ProblemError("not_allowed")
            return view(*args, **kwargs)
        return wrapped
    return decorate


def page_url(cursor: str | None) -> str:
    """This page again, at another cursor, with the rest of its query kept."""
    query = {name: value for name, value in request.args.items() if name != "cursor" and value}
    if cursor:
        query["cursor"] = cursor
    return url_for(request.endpoint or "web.store", **{**(request.view_args or {}), **query})


_csrf = CSRFProtect()
web.before_request(_csrf.protect)  # here, not per application: a blueprint is set up once, before it is registered


def init_app(app: Flask) -> None:
    """CSRF protection for the pages' forms only (the API has tokens, not cookies), and what every page shows."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # as long as the session
    _csrf.init_app(app)

    # on the application, not the blueprint: error pages of unknown addresses belong to no blueprint
    app.context_processor(_context)


def _context() -> dict[str, Any]:
    here = request.full_path.rstrip("?") if request.method == "GET" else url_for("web.store")
    return {"member": reader(), "actor": current_actor(), "menu": menu(current_actor().party), "tones": TONES, "here": here,
            "page_url": page_url}
