"""The REST face: thin files by domain, registered together under ``/api/v1``."""

from __future__ import annotations

from flask_openapi3 import OpenAPI


def register(app: OpenAPI) -> None:
    """Add metrics, OAuth, the API description and every REST resource to ``app``."""
    from marketplace.api import limits, metrics

    app.config.update(limits.HEADERS)
    limits.limiter.init_app(app)
    metrics.register(app)
