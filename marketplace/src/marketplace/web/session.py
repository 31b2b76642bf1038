"""Who is reading: the signed-in member behind the session cookie."""

from __future__ import annotations

import contextlib
import functools
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from flask import Flask, current_app, g, request, session, url_for
from flask_wtf.csrf import CSRFProtect
from itsdangerous import BadSignature, URLSafeTimedSerializer

from marketplace.actor import PUBLIC, Actor
from marketplace.db import reading, transaction
from marketplace.errors import NO_STANDING
from marketplace.notices import inbox
from marketplace.parties import service as parties
from marketplace.parties import sessions
from marketplace.parties.rules import hash_secret, new_secret, normal_email
from marketplace.parties.sign_in import Place
from marketplace.settings import settings
from marketplace.web.blueprint import web
from marketplace.web.i18n import both
from marketplace.web.labels import TONES
from marketplace.web.menu import menu
from shuyan.problems import ProblemError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Reader:
    """The signed-in person as the pages need them; without a membership they act as the public."""

    actor: Actor
    name: str
    organisation_zh: str
    organisation_en: str
    signed_in: sessions.SignedIn
    others: tuple[tuple[str, str, str], ...] = ()
    """Further memberships: id, and the organisation's name in Chinese and English."""

    @property
    def organisation(self) -> str:
        return both(self, "organisation")

    @property
    def account_id(self) -> str:
        return self.signed_in.account.id


def reader() -> Reader | None:
    """The signed-in person, or ``None``; whoever still owes the second factor is not signed in."""
    if "reader" not in g:
        found = half_signed_in()
        g.reader = _load(found) if found is not None and found.stage == "full" else None
    known: Reader | None = g.reader
    return known


def half_signed_in() -> sessions.SignedIn | None:
    """The session behind the cookie, however far signing in has come."""
    token = session.get("sid")
    if not isinstance(token, str):
        return None
    with reading() as db:
        found = sessions.find(db, token)
    if found is None:
        session.clear()
    elif found.unseen:
        with transaction() as db:
            sessions.note(db, found.session_id, request.remote_addr or "")
    return found


def _load(found: sessions.SignedIn) -> Reader:
    name, member = found.account.display_name, found.member
    if member is None:
        return Reader(PUBLIC, name, "", "", found)
    with reading() as db:
        memberships = parties.memberships_of(db, found.account.id)
        actor = parties.actor_for_member(db, member)
    names = {row.organisation_id: organisation for row, organisation in memberships}
    own = names[member.organisation_id]
    others = tuple((row.id, organisation.name_zh, organisation.name_en) for row, organisation in memberships if row.id != member.id)
    return Reader(actor, name, own.name_zh, own.name_en, found, others)


def current_actor() -> Actor:
    """The reader as an actor; the public when nobody is signed in."""
    found = reader()
    return found.actor if found else PUBLIC


def begin(token: str) -> None:
    """Carry on with a new session of the server; everything of an earlier one is dropped, forms' tokens with it."""
    session.clear()
    session["sid"] = token
    g.pop("reader", None)


def token() -> str:
    """The session token in the cookie, "" without one."""
    found = session.get("sid")
    return found if isinstance(found, str) else ""


KNOWN = "shuyan_known"
_KNOWN_FOR = 180 * 86400


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="known browser")


def place(email: str) -> Place:
    """Where the reader signs in from; a browser that this address signed in from before is known to it."""
    known = None
    with contextlib.suppress(BadSignature, KeyError, TypeError):
        mark = _signer().loads(request.cookies.get(KNOWN, ""), max_age=_KNOWN_FOR)
        if hmac.compare_digest(mark["of"], hash_secret(normal_email(email))):
            known = str(mark["mark"])
    return Place(request.remote_addr or "", request.user_agent.string, known)


def know(response: Any, email: str) -> None:
    """Let this browser be known to the address that has just signed in."""
    mark = _signer().dumps({"of": hash_secret(normal_email(email)), "mark": place(email).known or new_secret()})
    response.set_cookie(KNOWN, mark, max_age=_KNOWN_FOR, samesite="Lax", httponly=True, secure=settings().secure_cookies,
                        path=url_for("web.sign_in"))


def own(*, enrolling: bool = False) -> sessions.SignedIn:
    """The signed-in person's session; with ``enrolling`` also that of one who must set up a second factor first.

    Raises:
        ProblemError: ``not_signed_in``.
    """
    found = reader()
    if found is not None:
        return found.signed_in
    half = half_signed_in() if enrolling else None
    if half is None or half.stage != "enrol":
        raise ProblemError("not_signed_in")
    return half


def forget() -> None:
    """Look anew who reads, after that changed within a request."""
    g.pop("reader", None)


def end() -> None:
    """End this session, here and on the server."""
    found = half_signed_in()
    if found is not None:
        with transaction() as db:
            sessions.end(db, found.account.id, found.session_id)
    session.clear()
    g.pop("reader", None)


BEFORE_ACTIVE = frozenset({"account", "clients", "home", "notices", "people", "profile", "registration"})
"""Modules of views for members whose organisation is not active: its registration, what it was told, and one's own account."""


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
            if found.actor.party == "public":
                raise ProblemError("no_membership")
            if not found.actor.standing and view.__module__.rpartition(".")[2] not in BEFORE_ACTIVE:
                raise ProblemError(NO_STANDING)
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


def unread_messages() -> int:
    """How many messages the reader has not read."""
    with reading() as db:
        return inbox.unread(db, current_actor())


def _context() -> dict[str, Any]:
    here = request.full_path.rstrip("?") if request.method == "GET" else url_for("web.store")
    return {"member": reader(), "actor": current_actor(), "menu": menu(current_actor().party), "tones": TONES, "here": here,
            "page_url": page_url, "unread_messages": unread_messages}
