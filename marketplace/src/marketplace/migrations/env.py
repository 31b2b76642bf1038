"""Alembic's entry: one transaction over all pending revisions, serialised between processes."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import JSON, DateTime, String, text
from sqlmodel.sql.sqltypes import AutoString

from marketplace import db
from marketplace.tables import metadata

_LOCK = 7239471


def render_item(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    """Write our column types with stock SQLAlchemy ones, so that a revision never changes with our code."""
    if kind != "type":
        return False
    if isinstance(item, db.UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, AutoString):
        return "sa.String()"
    if isinstance(item, JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


def compare_type(_context: Any, _inspected: Any, _metadata: Any, inspected: Any, wanted: Any) -> bool | None:
    """Whether a column's type differs from its model: our decorators are compared by what they store."""
    if isinstance(wanted, db.UtcDateTime):
        return not isinstance(inspected, DateTime)
    if isinstance(wanted, AutoString):
        return not isinstance(inspected, String)
    return None


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Leave out the full-text index, which is no table of the metadata: see :mod:`marketplace.catalogue.index`."""
    return kind != "table" or not (name or "").startswith("resource_words")


def run() -> None:
    url = context.config.attributes["url"]
    engine = db.make_engine(url, writer=True)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            context.configure(connection=connection, target_metadata=metadata, render_item=render_item,
                              compare_type=compare_type, include_name=include_name, transactional_ddl=True, render_as_batch=True)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


run()
