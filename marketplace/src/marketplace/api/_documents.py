"""The catalogue in other people's formats: JSON-LD and Atom, and which of them a client asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

from flask import Response, make_response, request

from marketplace.catalogue import dcat

ATOM: Final = "application/atom+xml"
_NS: Final = "http://www.w3.org/2005/Atom"
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no way to say these


def wants_linked_data() -> bool:
    """Whether the client prefers JSON-LD to plain JSON."""
    return request.accept_mimetypes.best_match(["application/json", dcat.MEDIA_TYPE]) == dcat.MEDIA_TYPE


def linked_data(document: dict[str, Any]) -> Response:
    """A JSON-LD document as an answer."""
    return _answer(json.dumps(document, ensure_ascii=False), dcat.MEDIA_TYPE)


def atom(changes: Sequence[tuple[Any, Any]], base: str) -> Response:
    """Changes, newest first, as an Atom feed (RFC 4287)."""
    ET.register_namespace("", _NS)
    feed = ET.Element(f"{{{_NS}}}feed")
    _add(feed, "id", f"{base}/api/v1/resources/changes.atom")
    _add(feed, "title", "公共数据资源目录 · Catalogue of public data resources")
    _add(feed, "updated", f"{changes[0][0].at:%Y-%m-%dT%H:%M:%SZ}" if changes else "1970-01-01T00:00:00Z")
    ET.SubElement(_add(feed, "author", ""), f"{{{_NS}}}name").text = "Shuyan"
    ET.SubElement(feed, f"{{{_NS}}}link", rel="self", href=f"{base}/api/v1/resources/changes.atom")
    for change, row in changes:
        entry = ET.SubElement(feed, f"{{{_NS}}}entry")
        _add(entry, "id", f"{base}/resources/{row.id}#change-{change.index}")
        _add(entry, "title", row.title)
        _add(entry, "updated", f"{change.at:%Y-%m-%dT%H:%M:%SZ}")
        ET.SubElement(entry, f"{{{_NS}}}category", term=change.kind)
        ET.SubElement(entry, f"{{{_NS}}}link", rel="alternate", href=f"{base}/resources/{row.id}")
        _add(entry, "summary", ", ".join(str(each.get("field") or each.get("column")) for each in change.changes) or change.kind)
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
