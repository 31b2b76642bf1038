"""Engines that outlive a test, each test connecting them to a database of its own.

With an engine goes what SQLAlchemy has compiled of every statement. New ones for each test would compile them all anew, which is a
tenth of what the tests of the market cost.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from marketplace import db

_made: dict[str, tuple[Engine, Engine]] = {}
_url = ""


def engines(url: str) -> tuple[Engine, Engine]:
    """Writer and reader, as :func:`marketplace.db._engines`; those of any earlier address are connected to this one from now on."""
    global _url
    kind = make_url(url).get_backend_name()
    if kind not in _made:
        _made[kind] = db.make_engine(url, writer=True), db.make_engine(url, writer=False)
        for engine in _made[kind]:
            event.listen(engine, "do_connect", _elsewhere)
            if kind == "sqlite":
                event.listen(engine, "connect", _forgetful)
    if url != _url:
        release()
        _url = url
    return _made[kind]


def release() -> None:
    """Close every idle connection."""
    for pair in _made.values():
        for engine in pair:
            engine.dispose()


def _elsewhere(dialect: Any, _record: object, arguments: list[Any], named: dict[str, Any]) -> None:
    arguments[:], found = dialect.create_connect_args(make_url(_url))
    named.update({name: value for name, value in found.items() if name not in ("check_same_thread", "options")})


def _forgetful(connection: sqlite3.Connection, _record: object) -> None:
    """Nothing here outlives a crash of the machine, so no write waits for the disk."""
    connection.execute("PRAGMA synchronous=OFF")
