"""What a node says of its resources, checked and in the catalogue's own form: a node is another organisation's machine."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import rfc8785

from marketplace.catalogue.errors import RESOURCE_INVALID
from marketplace.catalogue.models import DataResource
from marketplace.catalogue.rules import CLASSIFICATIONS, FREQUENCIES, SECTORS, TYPES
from marketplace.db import storable
from shuyan.problems import ProblemError

FIELDS: Final = ("name", "title", "title_en", "description", "sector", "grade", "row_count", "columns", "approval", "standard",
                 "frequency", "steward", "tags")
"""What a resource's entry says; what is measured about it, its profile, comes and goes beside it."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_COLUMNS, _MAX_DOMAIN, _MAX_TEXT = 2000, 10_000, 4000
_MAX_STEWARD, _MAX_STANDARD, _MAX_TAGS, _MAX_TAG, _MAX_ELEMENT = 120, 120, 20, 40, 120

Need = Callable[[bool, str], None]
_NUMBERED = re.compile(r"\d[\d\s()+-]{5,}\d")  # a telephone number: a steward is an office, and is shown to everybody


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
        need(len(text) <= _MAX_TEXT and storable(text), f"{name}.{key}")
    need(str(resource.get("sector")) in SECTORS, f"{name}.sector")
    grade, rows = resource.get("grade"), resource.get("row_count")
    need(type(grade) is int and 1 <= grade <= 4, f"{name}.grade")
    need(type(rows) is int and 0 <= rows < 1 << 62, f"{name}.row_count")
    need(str(resource.get("approval")) in ("automatic", "manual"), f"{name}.approval")
    steward, standard, frequency = (str(resource.get(key) or "").strip() for key in ("steward", "standard", "frequency"))
    need(len(steward) <= _MAX_STEWARD and _one_line(steward) and not _NUMBERED.search(steward), f"{name}.steward")
    need(len(standard) <= _MAX_STANDARD and _one_line(standard), f"{name}.standard")
    need(frequency in ("", *FREQUENCIES), f"{name}.frequency")
    given = resource.get("tags") or ()
    need(isinstance(given, list | tuple), f"{name}.tags")
    tags = list(dict.fromkeys(str(tag).strip() for tag in given))
    need(len(tags) <= _MAX_TAGS and all(1 <= len(tag) <= _MAX_TAG and _one_line(tag) for tag in tags), f"{name}.tags")
    columns = [_clean_column(name, column, need) for column in resource.get("columns", ())]
    need(1 <= len(columns) <= _MAX_COLUMNS, f"{name}.columns")
    need(len({column["name"] for column in columns}) == len(columns), f"{name}.columns")
    return {"name": name, **texts, "title": texts["title"] or name, "sector": resource["sector"], "grade": grade,
            "row_count": rows, "columns": columns, "approval": resource["approval"],
            "standard": standard, "frequency": frequency, "steward": steward, "tags": tags,
            "profile": _clean_profile(name, resource.get("profile"), {column["name"] for column in columns}, need)}


def _clean_profile(resource: str, profile: Mapping[str, Any] | None, columns: set[str], need: Need) -> dict[str, Any] | None:
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
    timely = profile.get("timeliness")
    need(timely is None or (type(timely) is int and 0 <= timely <= 100), field)
    return {"measured_at_ms": measured, "timeliness": timely, "date_column": dated, "latest_month": month,
            **{name: percent(profile, name) for name in ("completeness", "validity", "uniqueness")},
            "columns": [{"name": str(item["name"]), **{name: percent(item, name) for name in ("completeness", "validity")}}
                        for item in listed]}


def _clean_column(resource: str, column: Mapping[str, Any], need: Need) -> dict[str, Any]:
    name = str(column.get("name", ""))
    field = f"{resource}.{name}"
    need(1 <= len(name) <= 128 and name.isprintable() and storable(name), f"{resource}.columns")
    need(str(column.get("type")) in TYPES, field)
    domain = [str(value) for value in column.get("domain", ())]
    need(len(domain) <= _MAX_DOMAIN and len(set(domain)) == len(domain), field)
    need(all(map(storable, [*domain, str(column.get("title", "")), str(column.get("unit", ""))])), field)
    out: dict[str, Any] = {
        "name": name, "type": column["type"], "title": str(column.get("title", ""))[:_MAX_TEXT],
        "identifier": bool(column.get("identifier", False)), "domain": domain, "unit": str(column.get("unit", ""))[:64],
        "lower": column.get("lower"), "upper": column.get("upper"), "resolution": column.get("resolution"),
        "classification": str(column.get("classification") or "")}
    if column.get("required"):  # columns of nodes that do not say it are described as ever
        out["required"] = True
    need(out["classification"] in CLASSIFICATIONS, field)
    need(out["resolution"] is None or (isinstance(out["resolution"], int | float) and out["resolution"] > 0), field)
    element = str(column.get("element") or "").strip()
    need(len(element) <= _MAX_ELEMENT and _one_line(element), field)
    if element:  # columns of nodes that know of no elements are described as ever
        out |= {"element": element, "source": bool(column.get("source", False))}
    for bound in ("lower", "upper", "resolution"):
        value = out[bound]
        need(value is None or (isinstance(value, int | float) and math.isfinite(value)), field)
    need(out["lower"] is None or out["upper"] is None or out["lower"] <= out["upper"], field)
    return out


def _one_line(text: str) -> bool:
    return text.isprintable() and storable(text)


def description(row: DataResource) -> dict[str, Any]:
    """What a row says about its resource, comparable with what :func:`clean_resource` gives for these fields."""
    return {key: getattr(row, key) for key in FIELDS}


def digest(item: Mapping[str, Any]) -> str:
    """``sha256:<hex>`` over the canonical JSON of a description: the log holds this, never the description."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(dict(item))).hexdigest()
