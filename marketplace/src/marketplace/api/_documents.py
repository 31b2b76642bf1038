"""Answers in other people's formats, JSON-LD and Atom, and which of them a client asked for."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

from flask import Response, make_response, request

from marketplace.catalogue import dcat
from marketplace.clock import CITY

ATOM: Final = "application/atom+xml"
_NS: Final = "http://www.w3.org/2005/Atom"
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no way to say these


def wants_linked_data() -> bool:
    """Whether the client prefers JSON-LD to plain JSON."""
    return request.accept_mimetypes.best_match(["application/json", dcat.MEDIA_TYPE]) == dcat.MEDIA_TYPE


def linked_data(document: dict[str, Any]) -> Response:
    """A JSON-LD document as an answer."""
    return _answer(json.dumps(document, ensure_ascii=False), dcat.MEDIA_TYPE)


@dataclass(frozen=True)
class Entry:
    """An entry of a feed: ``id`` and ``page`` are paths at the market; ``summary`` is plain text."""

    id: str
    title: str
    updated: dt.datetime
    category: str
    page: str
    summary: str


def changes_feed(changes: Sequence[tuple[Any, Any]], base: str) -> Response:
    """Changes of the catalogue, newest first, as a feed."""
    return atom("/api/v1/resources/changes.atom", "公共数据资源目录 · Catalogue of public data resources", base, [
        Entry(f"/resources/{row.id}#change-{change.index}", row.title, change.at, change.kind, f"/resources/{row.id}",
              ", ".join(str(each.get("field") or each.get("column")) for each in change.changes) or change.kind) for change, row in changes])


def notices_feed(notices: Iterable[Any], base: str) -> Response:
    """Public notices, newest first, as a feed; one that closes is an entry changed."""
    return atom("/api/v1/notices.atom", "公示 · Public notices", base, [
        Entry(f"/notices/{row.id}", f"{row.title_zh} · {row.title_en}", row.closed_at or row.published_at, row.kind, f"/notices/{row.id}",
              "\n".join([f"公示至 · Open until {row.closes_at.astimezone(CITY):%Y-%m-%d %H:%M}（UTC+8）",
                         *(f"{fact['label_zh']} · {fact['label_en']}：{fact['value_zh']}" for fact in row.facts)])) for row in notices])


def atom(path: str, title: str, base: str, entries: Sequence[Entry]) -> Response:
    """An Atom feed (RFC 4287) at ``path`` of the market at ``base``."""
    ET.register_namespace("", _NS)
    feed = ET.Element(f"{{{_NS}}}feed")
    _add(feed, "id", base + path)
    _add(feed, "title", title)
    _add(feed, "updated", f"{max(entry.updated for entry in entries):%Y-%m-%dT%H:%M:%SZ}" if entries else "1970-01-01T00:00:00Z")
    ET.SubElement(_add(feed, "author", ""), f"{{{_NS}}}name").text = "Shuyan"
    ET.SubElement(feed, f"{{{_NS}}}link", rel="self", href=base + path)
    for entry in entries:
        made = ET.SubElement(feed, f"{{{_NS}}}entry")
        _add(made, "id", base + entry.id)
        _add(made, "title", entry.title)
        _add(made, "updated", f"{entry.updated:%Y-%m-%dT%H:%M:%SZ}")
        ET.SubElement(made, f"{{{_NS}}}category", term=entry.category)
        ET.SubElement(made, f"{{{_NS}}}link", rel="alternate", href=base + entry.page)
        _add(made, "summary", entry.summary)
    return _answer(ET.tostring(feed, encoding="unicode", xml_declaration=True), ATOM)


def _add(parent: ET.Element, name: str, value: str) -> ET.Element:
    made = ET.SubElement(parent, f"{{{_NS}}}{name}")
    made.text = _UNWRITABLE.sub("\ufffd", value) or None
    return made


def _answer(body: str, media_type: str) -> Response:
    response = make_response(body)
    response.content_type = f"{media_type}; charset=utf-8" if media_type == ATOM else media_type
    response.vary.add("Accept")
    return response
