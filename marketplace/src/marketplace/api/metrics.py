"""Prometheus metrics of the web tier: how many requests, how slow. Labels are endpoints, never paths or people."""

from __future__ import annotations

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

_requests = Counter("shuyan_http_requests_total", "Requests answered.", ["endpoint", "method", "status"])
_seconds = Histogram("shuyan_http_request_seconds", "Time to answer a request.", ["endpoint"],
                     buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5))


def observe(endpoint: str | None, method: str, status: int, seconds: float) -> None:
    """Count one answered request."""
    name = endpoint or "unknown"
    _requests.labels(name, method if method in _METHODS else "other", str(status)).inc()
    _seconds.labels(name).observe(seconds)


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"))


def register(app: Flask) -> None:
    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)
