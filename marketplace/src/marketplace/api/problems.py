"""Errors as RFC 9457 problem details, and the strict reading of JSON bodies.

The one body: ``{type, title, status, detail, code, request_id, errors?: [{field, detail}]}`` as
``application/problem+json``, in the language the caller asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import structlog
from flask import Flask, Request, Response, current_app, g, has_request_context, make_response, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from marketplace import errors
from marketplace.api.texts import reason
from marketplace.db import is_unavailable, storable
from marketplace.errors import (
    BAD_REQUEST,
    INVALID_FIELDS,
    MALFORMED_JSON,
    TOO_LARGE,
    WRONG_CONTENT_TYPE,
    WRONG_METHOD,
)
from marketplace.settings import settings
from shuyan.problems import Language, ProblemError, describe

API_PREFIXES = ("/api/", "/oauth/", "/openapi", "/webhooks/")


def is_api_path(path: str) -> bool:
    """Whether errors under ``path`` are told as problem details rather than as a page."""
    return path.startswith(API_PREFIXES)


def language() -> Language:
    """The caller's language by ``Accept-Language``; the city's default where it asks for neither."""
    default: Language = "en" if settings().default_locale.startswith("en") else "zh"
    if not has_request_context():
        return default
    match = request.accept_languages.best_match(["zh-CN", "zh", "en"])
    return default if match is None else ("en" if match == "en" else "zh")


class StrictJsonRequest(Request):
    """A request whose JSON is read strictly under the API: an object, no NaN, no doubled names, right content type."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        if not is_api_path(self.path):
            return super().get_json(force=force, silent=silent, cache=cache)
        body = self.get_data(cache=True)
        if len(body) >= (limit := self.max_content_length or 0):
            raise ProblemError(TOO_LARGE, maximum=limit)  # sent in chunks: it was only read this far
        if not body:
            return {}
        if self.mimetype != "application/json":
            raise ProblemError(WRONG_CONTENT_TYPE, received=self.mimetype or "-")
        return parse_json_object(body)


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``.

    Raises:
        ProblemError: ``malformed_json`` for anything RFC 8259 does not allow or readers understand differently
            (NaN, Infinity, overflow to infinity, doubled names, bad UTF-8), or if it is no object.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite,
                           object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        text = str(error) if isinstance(error, json.JSONDecodeError | _NotJsonError) else type(error).__name__
        raise ProblemError(MALFORMED_JSON, reason=text) from None
    if not isinstance(value, dict):
        raise ProblemError(MALFORMED_JSON, reason="not an object")
    if not _storable(value):
        raise ProblemError(MALFORMED_JSON, reason="a text holds U+0000 or half a surrogate pair")
    return value



def _storable(value: Any) -> bool:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return all(storable(name) and _storable(item) for name, item in value.items())
    return all(map(_storable, value)) if isinstance(value, list) else True


class _NotJsonError(ValueError):
    pass


def _no_constant(name: str) -> NoReturn:
    raise _NotJsonError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _NotJsonError(f"{text[:20]} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _NotJsonError("a name appears twice in one object")
    return out


def problem_response(error: ProblemError, *, fields: list[dict[str, str]] | None = None,
                     headers: dict[str, str] | None = None) -> Response:
    """``error`` as an RFC 9457 response."""
    speech = language()
    problem = error.problem
    detail = error.text(speech)
    body: dict[str, Any] = {
        "type": f"{settings().public_url}/problems/{error.code}",
        "title": _title(problem.status, speech),
        "status": problem.status,
        "detail": detail,
        "code": error.code,
        "request_id": g.get("request_id", ""),
    }
    if fields is None and error.field:
        fields = [{"field": error.field, "detail": detail}]
    if fields:
        body["errors"] = fields
    response = make_response(json.dumps(body, ensure_ascii=False), problem.status)
    response.content_type = "application/problem+json"
    response.headers["Content-Language"] = "zh-CN" if speech == "zh" else "en"
    response.headers["Cache-Control"] = "no-store"
    response.headers.add("Vary", "Accept-Language")
    if problem.status == 401:
        kind = "" if error.code in (errors.TOKEN_MISSING, "not_signed_in") else ', error="invalid_token"'
        response.headers["WWW-Authenticate"] = f'Bearer realm="shuyan"{kind}'
    elif error.code == errors.SCOPE_MISSING:
        scope = error.args_.get("scope", "")
        response.headers["WWW-Authenticate"] = f'Bearer realm="shuyan", error="insufficient_scope", scope="{scope}"'
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


_TITLES: dict[int, tuple[str, str]] = {
    400: ("请求有误", "Bad request"), 401: ("未登录", "Not signed in"), 402: ("需要付款", "Payment required"),
    403: ("无权操作", "Not allowed"), 404: ("未找到", "Not found"), 405: ("方法不支持", "Method not allowed"),
    409: ("状态冲突", "Conflict"), 410: ("已失效", "Gone"), 413: ("内容过大", "Too large"),
    415: ("内容类型不支持", "Unsupported content type"), 422: ("输入有误", "Invalid input"),
    429: ("请求过于频繁", "Too many requests"), 500: ("系统内部错误", "Internal error"),
    503: ("服务暂不可用", "Unavailable"),
}


def _title(status: int, speech: Language) -> str:
    zh, en = _TITLES.get(status, ("出错了", "Error"))
    return zh if speech == "zh" else en


def validation_response(error: ValidationError) -> Response:
    """Every wrong field of a request, by its path, in the caller's language."""
    speech = language()
    fields = [
        {"field": ".".join(str(part) for part in item["loc"]) or "body", "detail": reason(item, speech)}
        for item in error.errors(include_url=False, include_input=False)
    ]
    return problem_response(ProblemError(INVALID_FIELDS, count=len(fields)), fields=fields)


def _answer(error: ProblemError, headers: dict[str, str] | None = None) -> Response:
    if is_api_path(request.path):
        return problem_response(error, headers=headers)
    page = current_app.extensions.get("shuyan_error_page")
    if page is not None:
        told: Response = make_response(page(error, g.get("request_id", "")))
        told.headers.update(headers or {})
        return told
    response = make_response(describe(error.code, error.args_, language()), error.problem.status)
    response.content_type = "text/plain; charset=utf-8"
    return response


def register_error_handlers(app: Flask) -> None:
    """Turn every error of the application into its public form; nothing internal leaves."""
    log = structlog.get_logger(component="web")

    @app.errorhandler(ProblemError)
    def _problem(error: ProblemError) -> Response:
        return _answer(error)

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        if error.response is not None:
            return make_response(error.response)
        if error.code is not None and error.code < 400:
            return make_response(error.get_response())
        known: dict[int, Callable[[], ProblemError]] = {
            404: lambda: ProblemError("not_found", what="address"),
            405: lambda: ProblemError(WRONG_METHOD, method=request.method),
            413: lambda: ProblemError(TOO_LARGE, maximum=request.max_content_length or 0),
            401: lambda: ProblemError("not_signed_in"),
            403: lambda: ProblemError("not_allowed"),
            415: lambda: ProblemError(WRONG_CONTENT_TYPE, received=request.mimetype or "-"),
            429: lambda: ProblemError(errors.RATE_LIMITED, limit=error.description or ""),
            503: lambda: ProblemError("unavailable"),
        }
        if (error.code or 500) >= 500 and error.code != 503:
            return _answer(ProblemError("internal_error", reference=g.get("request_id", "")))
        extra = {}
        if error.code == 405:
            allowed = getattr(error, "valid_methods", None)
            extra = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
        make = known.get(error.code or 400)
        return _answer(make() if make else ProblemError(BAD_REQUEST), extra)

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        if is_unavailable(error):
            # one line for each request and no traceback: a database that restarts is no riddle
            why = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
            log.error("database unavailable", reason=why, path=request.path)
            return _answer(ProblemError("unavailable"), {"Retry-After": "2"})
        log.error("unexpected error", exc_info=error, path=request.path)
        return _answer(ProblemError("internal_error", reference=g.get("request_id", "")))
