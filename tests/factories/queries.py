"""What a piece of code asks the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from marketplace import db


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements read inside, as they are sent; the list may be cleared meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    event.listen(db.reader_engine(), "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.reader_engine(), "before_cursor_execute", note)
