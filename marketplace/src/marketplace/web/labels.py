"""What the codes of the database are called on a page; the words themselves stand in :mod:`.words`, a file a domain."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from marketplace.web.words import (
    accounts,
    agreements,
    apps,
    authorisation,
    catalogue,
    connections,
    market,
    notices,
    products,
    registration,
    sandboxes,
    selection,
    work,
)

_WORDS: tuple[ModuleType, ...] = (
    accounts,
    agreements,
    apps,
    authorisation,
    catalogue,
    connections,
    market,
    notices,
    selection,
    registration,
    products,
    sandboxes,
    work,
)

LABELS: dict[str, dict[str, Any]] = {}
TONES: dict[str, str] = {}
"""Which colour the dot before a state has; the text itself always keeps the page's own contrast."""

for _module in _WORDS:
    for _kind, _texts in _module.LABELS.items():
        LABELS.setdefault(_kind, {}).update(_texts)
    TONES.update(getattr(_module, "TONES", {}))


def label(kind: str, code: object) -> str:
    """What ``code`` of ``kind`` is called in the reader's language; an unknown code is shown as it is."""
    return str(LABELS.get(kind, {}).get(str(code), code))


def choices(kind: str) -> list[tuple[str, str]]:
    """(code, label) pairs of a kind, in the order of the domain."""
    return [(code, str(text)) for code, text in LABELS[kind].items()]


def known(kind: str) -> set[str]:
    """The codes of a kind that have a label."""
    return set(LABELS[kind])
