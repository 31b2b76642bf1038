"""The REST face: thin files by domain, registered together under ``/api/v1``."""

from __future__ import annotations

from flask_openapi3.openapi import OpenAPI


def register(app: OpenAPI) -> None:
    """Add metrics, OAuth, the API description and every REST resource to ``app``."""
    from marketplace.api import (
        agreements,
        audit,
        authorisation,
        catalogue,
        clients,
        commerce,
        computing,
        credit,
        delivery,
        demands,
        docs,
        files,
        limits,
        members,
        metrics,
        nodes,
        notices,
        oauth,
        outbox,
        parties,
        partners,
        product_reviews,
        products,
        programs,
        registration,
        sandboxes,
        scenarios,
        selection,
        sources,
        webhooks,
    )

    app.config.update(limits.HEADERS)
    limits.limiter.init_app(app)
    metrics.register(app)
    oauth.register(app)
    docs.register(app)
    app.register_blueprint(webhooks.webhooks)
    for module in (
        parties, members, clients, registration, credit, partners, notices, outbox, nodes, catalogue, sources, scenarios, demands, authorisation, agreements,
        selection, files, computing, programs, products, delivery, commerce, product_reviews, audit,
        sandboxes,
    ):
        app.register_api(module.api)
