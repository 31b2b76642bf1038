"""The API's description: OpenAPI 3.1 as JSON, and a page that shows it with the vendored Swagger UI."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from flask import Response, make_response, send_from_directory
from flask_openapi3.openapi import OpenAPI
from werkzeug.exceptions import NotFound

from shuyan.problems import get

_ASSETS = Path(str(files("flask_openapi3_swagger"))) / "templates" / "swagger"
_SERVED = frozenset({"css/swagger-ui.css", "js/swagger-ui-bundle.js"})

_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shuyan 数堰 API</title><link rel="stylesheet" href="/openapi/assets/css/swagger-ui.css"></head>
<body><div id="swagger-ui"></div><script src="/openapi/assets/js/swagger-ui-bundle.js"></script>
<script src="/openapi/start.js"></script></body></html>
"""
_START = 'SwaggerUIBundle({url: "/openapi/openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'


def description(document: dict[str, Any]) -> dict[str, Any]:
    """The framework's document, put right: errors are problem documents in one place, and what has no model says so."""
    problem = {"description": "Problem details (RFC 9457).",
               "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}}
    paths: dict[str, Any] = {}
    for path, item in document.get("paths", {}).items():
        paths[path] = {}
        for method, operation in item.items():
            answers = {code: answer for code, answer in operation.get("responses", {}).items() if code not in ("422", "4XX")}
            if not any(code.startswith("2") for code in answers):
                answers["200"] = {"description": "OK"}
            told = _OAUTH if path.endswith("/oauth/token") or path.startswith("/oauth/") else problem
            paths[path][method] = {**operation, "responses": {**answers, "4XX": told, "503": problem}}
    return {**document, "paths": paths}


_OAUTH = {"description": "An error of RFC 6749, section 5.2.", "content": {"application/json": {"schema": {"type": "object"}},
          "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}}


def register(app: OpenAPI) -> None:
    """Add ``/openapi``, ``/openapi/openapi.json`` and the page's assets."""

    @app.route("/openapi/openapi.json", endpoint="openapi_json")
    def document() -> dict[str, Any]:
        return description(app.api_doc)

    @app.route("/openapi", endpoint="openapi_page")
    def page() -> Response:
        response = make_response(_PAGE)
        # Swagger UI sets style attributes from its script; scripts stay limited to files of ours
        response.headers["Content-Security-Policy"] = (
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
            "base-uri 'none'; frame-ancestors 'none'")
        return response

    @app.route("/openapi/start.js", endpoint="openapi_start")
    def start() -> Response:
        response = make_response(_START)
        response.content_type = "text/javascript; charset=utf-8"
        return response

    @app.route("/problems/<code>", endpoint="problem_type")
    def problem_type(code: str) -> Response:
        """What a problem's ``type`` leads to: its sentence in both languages."""
        found = get(code)
        if found.code != code:
            raise NotFound
        response = make_response(f"{code} (HTTP {found.status})\n\n{found.zh}\n{found.en}\n")
        response.content_type = "text/plain; charset=utf-8"
        return response

    @app.route("/openapi/assets/<path:name>", endpoint="openapi_asset")
    def asset(name: str) -> Response:
        if name not in _SERVED:
            raise NotFound
        return send_from_directory(_ASSETS, name, max_age=86400)
