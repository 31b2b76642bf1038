"""Products delivered as a report: a PDF of the result, where it comes from, and how to check both.

Set with typst, which asks no network, and written by pikepdf so that the same version gives the same bytes. Every text is
handed over as data, never as markup, so nothing in a title or a category is ever executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final, Literal

from sqlmodel import Session

from marketplace.parties import service as parties
from marketplace.products.errors import REPORT_FAILED, REPORT_FONT
from marketplace.products.models import Product, ProductVersion
from marketplace.products.reports.matter import matter
from marketplace.settings import settings
from shuyan.problems import ProblemError

Tongue = Literal["zh", "en"]

CHINESE_FONTS: Final = ("Noto Serif CJK SC", "Source Han Serif SC", "Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei",
                        "Droid Sans Fallback", "SimSun")
"""Fonts with Chinese characters, any of which will do; typst itself brings none. Debian: ``fonts-noto-cjk`` or
``fonts-droid-fallback``."""

_one_at_a_time = threading.Lock()


def render(session: Session, product: Product, version: ProductVersion, content: Mapping[str, Any], tongue: Tongue = "zh") -> bytes:
    """The report of a version as PDF; the same bytes for the same version, language and fonts.

    Raises:
        ProblemError: ``report_font_missing``, ``report_failed``.
    """
    departments = parties.organisations_by_id(session, [item["organisation_id"] for item in version.manifest["participants"]])
    seller = parties.get_organisation(session, product.organisation_id)
    told = matter(product, version, content, tongue, seller=_name(seller, tongue), address=settings().public_url,
                  departments=[_name(row, tongue) for _key, row in sorted(departments.items())])
    return _set(json.dumps(told, ensure_ascii=False, sort_keys=True))


def _name(row: Any, tongue: Tongue) -> str:
    return str((row.name_en if tongue == "en" else row.name_zh) or row.name_zh)


@lru_cache(maxsize=32)
def _set(told: str) -> bytes:
    import pikepdf
    import typst

    template = resources.files(__package__).joinpath("report.typ").read_bytes()
    fonts, found = _fonts()
    try:
        with _one_at_a_time:
            raw = typst.compile(template, format="pdf", font_paths=fonts, sys_inputs={"told": told, "fonts": json.dumps(found)})
        out = io.BytesIO()
        with pikepdf.open(io.BytesIO(bytes(raw))) as document:
            document.save(out, deterministic_id=True, compress_streams=True)
    except (typst.TypstError, pikepdf.PdfError) as error:
        raise ProblemError(REPORT_FAILED) from error
    return out.getvalue()


@lru_cache(maxsize=1)
def _fonts() -> tuple[Any, list[str]]:
    import typst

    fonts: Any = typst.Fonts(include_system_fonts=True)
    families: set[str] = set(fonts.families())
    found: list[str] = [str(name) for name in CHINESE_FONTS if name in families][:1]
    if not found:
        raise ProblemError(REPORT_FONT)
    return fonts, found


def digest_of(document: bytes) -> str:
    """``sha256:<hex>`` of a document."""
    return "sha256:" + hashlib.sha256(document).hexdigest()
