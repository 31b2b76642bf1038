"""The database's history, as packaged Alembic revisions, run by the program itself: no ini file, no second tool."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from marketplace import db


def configuration(url: str) -> Config:
    """Alembic's configuration for the database at ``url``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> str:
    """Bring the database at ``url`` to ``revision`` and return the revision it is at. Safe to repeat."""
    command.upgrade(configuration(url), revision)
    engine = db.make_engine(url, writer=False)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() or "-"
    finally:
        engine.dispose()
