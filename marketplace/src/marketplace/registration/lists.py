"""Reading credit lists as their keepers publish them: CSV or JSON, strictly, each error with its line."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from dataclasses import dataclass
from typing import Any, Final

from stdnum.cn import uscc
from stdnum.exceptions import ValidationError

from marketplace.db import storable
from marketplace.registration.errors import LIST_INVALID, LIST_UNREADABLE
from shuyan.problems import ProblemError

MAX_ENTRIES: Final = 500_000
COLUMNS: Final = ("name", "credit_code", "reason", "until")
_CHINESE: Final = {"名称": "name", "企业名称": "name", "统一社会信用代码": "credit_code", "原因": "reason", "事由": "reason", "截止日期": "until"}


@dataclass(frozen=True)
class Entry:
    """One line of a list; ``credit_code`` is checked, ``until`` the last day it counts."""

    name: str
    credit_code: str | None
    reason: str
    until: dt.date | None


def parse(data: bytes) -> list[Entry]:
    """The entries of a list.

    CSV has a header with ``name``, ``credit_code``, ``reason`` and ``until`` or their Chinese names (the first is needed);
    JSON is a list of objects with these names, or an object that holds it as ``entries``.

    Raises:
        ProblemError: ``credit_list_unreadable``, ``credit_list_invalid`` with the line.
    """
    text = _decoded(data)
    rows = _json(text) if text.lstrip()[:1] in ("[", "{") else _csv(text)
    if len(rows) > MAX_ENTRIES:
        raise ProblemError(LIST_INVALID, line=MAX_ENTRIES + 1, reason=f"> {MAX_ENTRIES}")
    return [_entry(line, row) for line, row in rows]


def _decoded(data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if storable(text):
            return text
    raise ProblemError(LIST_UNREADABLE, field="file")


def _csv(text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [_CHINESE.get(name.strip(), name.strip().lower()) for name in next(reader, [])]
        if "name" not in header or len(set(header)) != len(header):
            raise ProblemError(LIST_UNREADABLE, field="file")
        return [(reader.line_num, dict(zip(header, row, strict=False))) for row in reader if any(map(str.strip, row))]
    except csv.Error:
        raise ProblemError(LIST_INVALID, field="file", line=reader.line_num, reason="CSV") from None


def _json(text: str) -> list[tuple[int, dict[str, Any]]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ProblemError(LIST_UNREADABLE, field="file") from None
    rows = found.get("entries") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ProblemError(LIST_UNREADABLE, field="file")
    return list(enumerate(rows, 1))


def _entry(line: int, row: dict[str, Any]) -> Entry:
    values = {name: row.get(name) or "" for name in COLUMNS}
    if not all(isinstance(value, str) for value in values.values()):
        raise ProblemError(LIST_INVALID, field="file", line=line, reason="text")
    name, code, reason, until = (values[name].strip() for name in COLUMNS)
    if not 1 <= len(name) <= 200 or not name.isprintable() or not storable(name):
        raise ProblemError(LIST_INVALID, field="file", line=line, reason="name")
    if len(reason) > 500 or not storable(reason):
        raise ProblemError(LIST_INVALID, field="file", line=line, reason="reason")
    try:
        return Entry(name, str(uscc.validate(code)) if code else None, reason, dt.date.fromisoformat(until) if until else None)
    except ValidationError:
        raise ProblemError(LIST_INVALID, field="file", line=line, reason=f"credit_code {code[:30]}") from None
    except ValueError:
        raise ProblemError(LIST_INVALID, field="file", line=line, reason="until: YYYY-MM-DD") from None
