"""Who calls, and with which scope: decided before a request's body is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, g, request
from flask_openapi3.blueprint import APIBlueprint

from marketplace.actor import PUBLIC, Actor
from marketplace.api.oauth import authenticate
from marketplace.errors import KEY_REQUIRED, NO_STANDING
from shuyan.problems import ProblemError

F = TypeVar("F", bound=Callable[..., Any])

_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def scope(name: str) -> Callable[[F], F]:
    """The view needs a bearer token with this scope."""

    def mark(view: F) -> F:
        view.needs_scope = name  # type: ignore[attr-defined]
        return view

    return mark


def public(view: F) -> F:
    """The view answers everybody; a token that is sent must be good all the same, and have ``read``."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


BEFORE_ACTIVE = frozenset({"files", "members", "notices", "parties", "registration"})
"""Domains whose views are for programs and apps of an organisation that does not take part, as on the pages
(:data:`marketplace.web.session.BEFORE_ACTIVE`): its registration with the evidence for it, what it is told, its own people and programs."""


def guard(blueprint: APIBlueprint, domain: str) -> None:
    """Authenticate every request of ``blueprint``, which is of that domain; a view that says nothing about itself needs a token of an organisation that
    takes part. What may be done with it is decided by the services."""

    @blueprint.before_request
    def _authenticate() -> None:
        view = current_app.view_functions[request.endpoint or ""]
        if getattr(view, "is_public", False) and "Authorization" not in request.headers:
            g.actor = PUBLIC
            return
        open_to_all = getattr(view, "is_public", False)
        g.actor = authenticate(request, "read" if open_to_all else getattr(view, "needs_scope", None))
        if not g.actor.standing and not open_to_all and domain not in BEFORE_ACTIVE:
            raise ProblemError(NO_STANDING)


def actor() -> Actor:
    """Who makes the current request."""
    found: Actor = g.actor
    return found


def idempotency_key(*, required: bool) -> str | None:
    """The request's ``Idempotency-Key``.

    Raises:
        ProblemError: ``idempotency_key_required`` if it is missing where required, or malformed.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None and not required:
        return None
    if key is None or not _KEY.fullmatch(key):
        raise ProblemError(KEY_REQUIRED)
    return key


def required_key() -> str:
    """The request's ``Idempotency-Key``, which must be there."""
    return idempotency_key(required=True) or ""
