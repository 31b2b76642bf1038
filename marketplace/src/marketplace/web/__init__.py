"""The pages: thin Flask views over the domains' services, in Chinese and English."""

from __future__ import annotations

from flask import Flask

from marketplace.web import errors, i18n, session
from marketplace.web.blueprint import web


def register(app: Flask) -> None:
    """Mount every page, the language choice, CSRF protection of forms and the error pages on ``app``.

    Paths under ``/api``, ``/oauth``, ``/openapi``, ``/healthz`` and ``/metrics`` are left to the other faces.
    """
    from marketplace.web import views  # noqa: F401  (the views attach themselves to the blueprint)

    i18n.init_app(app)
    session.init_app(app)
    errors.init_app(app)
    app.register_blueprint(web)
