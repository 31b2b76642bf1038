"""The web tier's wiring: one Flask application from settings, the REST face, the pages, and what every answer shares.

Faces add themselves: ``marketplace.api.register(app)`` and ``marketplace.web.register(app)``. A face for pages may
put a callable ``(problem: ProblemError, request_id: str) -> Response`` into ``app.extensions["shuyan_error_page"]``;
without one, errors outside the API are plain text.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import secrets
import signal
import threading
import time

import structlog
from flask import Flask, Response, g, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from sqlalchemy import text
from werkzeug.middleware.proxy_fix import ProxyFix

from marketplace import bodies, db
from marketplace import logging as market_logging
from marketplace.api.problems import StrictJsonRequest, register_error_handlers, validation_response
from marketplace.api.schemas import ProblemOut
from marketplace.db import storable
from marketplace.errors import BAD_REQUEST
from marketplace.settings import SUPERVISOR, Settings
from marketplace.settings import settings as process_settings
from shuyan.problems import ProblemError

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def create_app(settings: Settings | None = None) -> OpenAPI:
    """The WSGI application.

    ``settings`` defaults to the process's own. The database is reached through :mod:`marketplace.db`, which always
    follows the process's settings.
    """
    settings = settings or process_settings()
    market_logging.configure(json=settings.log_json)
    app = OpenAPI(
        "marketplace",
        info=Info(title="Shuyan 数堰", version="1.0.0",
                  description="Authorised operation of public data: grants, federated jobs, products, orders, delivery."),
        validation_error_model=ProblemOut,
        validation_error_callback=validation_response,
        security_schemes={"oauth2": {"type": "oauth2", "flows": {
            "clientCredentials": {"tokenUrl": "/oauth/token", "scopes": _scope_descriptions()},
            "authorizationCode": {"authorizationUrl": "/oauth/authorize", "tokenUrl": "/oauth/token", "refreshUrl": "/oauth/token",
                                  "scopes": _scope_descriptions()}}}},
        doc_ui=False,
        static_folder=None,
    )
    app.request_class = StrictJsonRequest
    app.config.update(
        SECRET_KEY=_secret_key(settings),
        SESSION_COOKIE_NAME="shuyan",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure_cookies,
        SHUYAN=settings,
    )
    bodies.limit(app)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    _number_requests(app)
    _add_security_headers(app)
    register_error_handlers(app)
    _add_health(app)

    from marketplace import api, web

    api.register(app)
    web.register(app)
    return app


def _scope_descriptions() -> dict[str, str]:
    from marketplace.parties.rules import SCOPES

    return dict(SCOPES)


def serve_app() -> OpenAPI:
    """The application of a serving process: with the collector of usage records running beside it."""
    from marketplace.metering.service import Collector

    gc.disable()  # what is loaded stays for good: looking for garbage in it takes a quarter of the start
    app = create_app()
    gc.collect()
    gc.freeze()  # nor is it gone through again while requests are served
    gc.enable()
    Collector().start()
    # Asked for by its number: a supervisor that was killed while we loaded is our parent no more.
    supervisor = int(os.environ.get(SUPERVISOR) or os.getppid())
    threading.Thread(target=_end_with_parent, args=(supervisor,), name="parent-watch", daemon=True).start()
    return app


def _end_with_parent(parent: int) -> None:
    """End this worker when its supervisor is gone, however it went, so that no old worker keeps the port.

    Linux does it at once (``PR_SET_PDEATHSIG``), so that a restarted supervisor never meets an old worker; looking
    now and then is for other systems, and for a supervisor that went before this was asked.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _secret_key(settings: Settings) -> bytes:
    path = settings.secret_key_file or settings.keys_dir / "web.key"
    if path.exists():
        return path.read_bytes()
    # sessions of an application without a key file (tests) end with the process
    return secrets.token_bytes(32)


def _number_requests(app: Flask) -> None:
    log = market_logging.get_logger("web")

    @app.before_request
    def _begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        g.began = time.perf_counter()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)
        values = [request.args]
        if request.mimetype in _FORMS:
            request.get_data()  # kept, so that whoever wants the body as it came still finds it
            values.append(request.form)
        texts = (text for value in values for pair in value.items(multi=True) for text in pair)
        if not storable(request.path) or not all(map(storable, texts)):
            raise ProblemError(BAD_REQUEST)

    @app.after_request
    def _end(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "")
        took = time.perf_counter() - g.get("began", time.perf_counter())
        from marketplace.api.metrics import observe

        observe(request.endpoint, request.method, response.status_code, took)
        if response.status_code >= 500:
            log.error("request failed", method=request.method, path=request.path, status=response.status_code,
                      milliseconds=round(took * 1000, 1))
        structlog.contextvars.unbind_contextvars("request_id")
        return response


def _add_security_headers(app: Flask) -> None:
    @app.after_request
    def _headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        if request.is_secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        return response


def _add_health(app: Flask) -> None:
    @app.get("/healthz")
    def healthz() -> tuple[dict[str, str], int]:
        """Whether the web tier can reach its database."""
        try:
            with db.reading() as session:
                session.execute(text("SELECT 1"))
        except Exception:
            market_logging.get_logger("web").exception("database unreachable")
            return {"status": "unavailable", "database": "unreachable"}, 503
        return {"status": "ok"}, 200
