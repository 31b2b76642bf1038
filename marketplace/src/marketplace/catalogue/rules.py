"""Pure decisions of the catalogue: what a registered resource looks like."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import rfc8785

from marketplace.catalogue.errors import RESOURCE_INVALID
from marketplace.catalogue.models import DataResource
from shuyan.problems import ProblemError

SECTORS: Final = frozenset({
    "manufacturing", "agriculture", "commerce", "transport", "finance", "science", "culture_tourism", "health",
    "meteorology", "urban_governance", "livelihood", "environment",
})
TYPES: Final = frozenset({"integer", "number", "string", "boolean", "date", "timestamp"})
NUMERIC: Final = frozenset({"integer", "number", "boolean"})
"""Types a computation may take as numbers; a boolean counts as 0 or 1."""

CLASSIFICATIONS: Final = frozenset({"direct_identifier", "quasi_identifier", "sensitive", "free", ""})
"""How a department classifies a column; "" where it has not."""

FIELDS: Final = ("name", "title", "title_en", "description", "sector", "grade", "row_count", "columns", "approval",
                 "profile")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_COLUMNS, _MAX_DOMAIN, _MAX_TEXT = 2000, 10_000, 4000


def clean_resource(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A node's description of a resource, checked and in the catalogue's form.

    A node is another organisation's machine, so nothing it says is taken unchecked.

    Raises:
        ProblemError: ``resource_invalid``, naming the field.
    """
    def need(ok: bool, field: str) -> None:
        if not ok:
            raise ProblemError(RESOURCE_INVALID, field=field)

    name = str(resource.get("name", ""))
    need(_NAME.fullmatch(name) is not None, "name")
    texts = {key: str(resource.get(key, "")) for key in ("title", "title_en", "description")}
    for key, text in texts.items():
        need(len(text) <= _MAX_TEXT and _storable(text), f"{name}.{key}")
    need(str(resource.get("sector")) in SECTORS, f"{name}.sector")
    grade, rows = resource.get("grade"), resource.get("row_count")
    need(type(grade) is int and 1 <= grade <= 4, f"{name}.grade")
    need(type(rows) is int and 0 <= rows < 1 << 62, f"{name}.row_count")
    need(str(resource.get("approval")) in ("automatic", "manual"), f"{name}.approval")
    columns = [_clean_column(name, column, need) for column in resource.get("columns", ())]
    need(1 <= len(columns) <= _MAX_COLUMNS, f"{name}.columns")
    need(len({column["name"] for column in columns}) == len(columns), f"{name}.columns")
    return {"name": name, **texts, "title": texts["title"] or name, "sector": resource["sector"], "grade": grade,
            "row_count": rows, "columns": columns, "approval": resource["approval"],
            "profile": _clean_profile(name, resource.get("profile"), {column["name"] for column in columns}, need)}


def _clean_profile(resource: str, profile: Mapping[str, Any] | None, columns: set[str], need: Any) -> dict[str, Any] | None:
    """What was measured at the node, in whole percents."""
    if profile is None:
        return None
    field = f"{resource}.profile"

    def percent(item: Mapping[str, Any], name: str) -> int:
        value = item.get(name)
        need(type(value) is int and 0 <= value <= 100, field)
        return int(value or 0)

    measured, month, dated = profile.get("measured_at_ms"), str(profile.get("latest_month", "")), str(profile.get("date_column", ""))
    need(type(measured) is int and 0 <= measured < 1 << 53, field)
    need(month == "" or re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is not None, field)
    need(dated == "" or dated in columns, field)
    listed = list(profile.get("columns", ()))
    need(len(listed) <= _MAX_COLUMNS and all(str(item.get("name")) in columns for item in listed), field)
    return {"measured_at_ms": measured, "date_column": dated, "latest_month": month,
            **{name: percent(profile, name) for name in ("completeness", "validity", "uniqueness")},
            "columns": [{"name": str(item["name"]), **{name: percent(item, name) for name in ("completeness", "validity")}}
                        for item in listed]}


def _clean_column(resource: str, column: Mapping[str, Any], need: Any) -> dict[str, Any]:
    name = str(column.get("name", ""))
    field = f"{resource}.{name}"
    need(1 <= len(name) <= 128 and name.isprintable(), f"{resource}.columns")
    need(str(column.get("type")) in TYPES, field)
    domain = [str(value) for value in column.get("domain", ())]
    need(len(domain) <= _MAX_DOMAIN and len(set(domain)) == len(domain), field)
    need(all(map(_storable, [*domain, str(column.get("title", "")), str(column.get("unit", ""))])), field)
    out: dict[str, Any] = {
        "name": name, "type": column["type"], "title": str(column.get("title", ""))[:_MAX_TEXT],
        "identifier": bool(column.get("identifier", False)), "domain": domain, "unit": str(column.get("unit", ""))[:64],
        "lower": column.get("lower"), "upper": column.get("upper"), "resolution": column.get("resolution"),
        "classification": str(column.get("classification") or "")}
    need(out["classification"] in CLASSIFICATIONS, field)
    need(out["resolution"] is None or (isinstance(out["resolution"], int | float) and out["resolution"] > 0), field)
    for bound in ("lower", "upper", "resolution"):
        value = out[bound]
        need(value is None or (isinstance(value, int | float) and math.isfinite(value)), field)
    need(out["lower"] is None or out["upper"] is None or out["lower"] <= out["upper"], field)
    return out


def _storable(text: str) -> bool:
    return "\x00" not in text  # PostgreSQL has no such text


def description(row: DataResource) -> dict[str, Any]:
    """What a row says about its resource, comparable with :func:`clean_resource`'s result."""
    return {key: getattr(row, key) for key in FIELDS}


def digest(item: Mapping[str, Any]) -> str:
    """``sha256:<hex>`` over the canonical JSON of a description: the log holds this, never the description."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(dict(item))).hexdigest()
