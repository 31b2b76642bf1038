"""Language, money, numbers and times as a reader expects them.

Message ids are English; the Chinese catalogue is ``translations/zh``. The language is the one chosen in the header
(kept in a cookie), else the best match of ``Accept-Language``, else ``settings.default_locale``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, has_request_context, request, url_for
from flask_babel import Babel, format_decimal, get_locale
from markupsafe import Markup, escape

from marketplace.settings import settings
from marketplace.web import labels
from marketplace.web.diagram import diagram
from shuyan.problems import Language

LOCALES = ("zh", "en")
COOKIE = "locale"
_HERE = Path(__file__).parent


def choose_locale() -> str:
    """The language of this request, one of :data:`LOCALES`."""
    default = settings().default_locale if settings().default_locale in LOCALES else "zh"
    if not has_request_context():
        return default
    chosen = request.cookies.get(COOKIE)
    if chosen in LOCALES:
        return str(chosen)
    return request.accept_languages.best_match(LOCALES) or default


def language() -> Language:
    """The language of the page being made, as :mod:`shuyan.problems` names it."""
    locale = get_locale()
    return "en" if locale is not None and locale.language == "en" else "zh"


def both(row: Any, name: str) -> str:
    """A bilingual field of a row or mapping: ``name_zh``/``name_en``, the other language where one is empty."""
    first, second = ("en", "zh") if language() == "en" else ("zh", "en")
    for suffix in (f"{name}_{first}", f"{name}_{second}", name):
        values: Any = row if isinstance(row, dict) else vars(row)
        value = values.get(suffix)
        if value:
            return str(value)
    return ""


def title_of(resource: Any) -> str:
    """The title of a data resource, or of what waits, whose Chinese title has no suffix."""
    english: str = getattr(resource, "title_en", None) or ""
    return english if english and language() == "en" else str(resource.title)


def money(fen: int | None) -> str:
    """Integer fen as yuan with two decimals: ``¥1,234.50``. Never goes through a float."""
    if fen is None:
        return ""
    yuan, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}¥{yuan:,}.{rest:02d}"


def number(value: Any, digits: int = 4) -> str:
    """A number with grouping, at most ``digits`` decimals; very small and very large ones in scientific form."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value and (abs(value) < 10 ** -digits or abs(value) >= 1e12):
        return f"{value:.{digits}g}"
    return str(format_decimal(round(value, digits), format=f"#,##0.{'#' * digits}"))


def when(value: dt.datetime | int | str | None) -> Markup:
    """A ``<time>`` element, UTC as written by the server; the page's script shows it in the reader's zone."""
    if value is None or value == "":
        return Markup("–")
    if isinstance(value, int):
        value = dt.datetime.fromtimestamp(value, dt.UTC)
    elif isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return escape(value)
    value = value.astimezone(dt.UTC)
    iso = value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{} UTC</time>').format(iso, value.strftime("%Y-%m-%d %H:%M"))


@lru_cache(maxsize=64)
def _digest(path: str) -> str:
    return hashlib.sha256((_HERE / "static" / path).read_bytes()).hexdigest()[:10]


def asset(path: str) -> str:
    """The URL of a file under ``static/`` that changes with its content, so that browsers may keep it for long."""
    return url_for("web.static", filename=path, v=_digest(path))


def init_app(app: Flask) -> None:
    """Set up flask-babel and the template helpers."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(_HERE / "translations")
    Babel(app, default_locale="en", locale_selector=choose_locale)
    app.jinja_env.filters.update(money=money, number=number, when=when)
    app.jinja_env.globals.update(diagram=diagram, asset=asset, both=both, title_of=title_of, label=labels.label,
                                 language=language)

    @app.after_request
    def _vary(response: Any) -> Any:
        if response.mimetype == "text/html":
            response.vary.update(["Cookie", "Accept-Language"])
            response.headers.setdefault("Content-Language", "zh-CN" if language() == "zh" else "en")
        return response
