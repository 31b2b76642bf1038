"""What messages to members say, in both languages; ``params`` fill the braces, and link to the page about the subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """A kind of message: its title in both languages, and the page that shows its subject.

    Attributes:
        page: endpoint of the web face that takes the subject's id, as ``endpoint:argument``; "" for none.
    """

    name: str
    zh: str
    en: str
    page: str = ""


KINDS: Final[dict[str, Kind]] = {}


def kind(name: str, *, zh: str, en: str, page: str = "") -> str:
    """Declare a kind of message; every domain declares its own beside its errors."""
    if name in KINDS:
        raise ValueError(f"{name} is declared twice")
    KINDS[name] = Kind(name, zh, en, page)
    return name
