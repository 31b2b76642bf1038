"""How a source is read: what DuckDB must be told before, the relation itself, and what is undone afterwards."""

from __future__ import annotations

import contextlib
import glob
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from node_agent import errors
from node_agent.sources_database import ENGINES, Database, literal, told
from shuyan.federation.schema import quote
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    import duckdb

FILES: Final[Mapping[str, str]] = {"csv": "read_csv", "parquet": "read_parquet", "json": "read_json"}
VIEW: Final = "view"
KINDS: Final = (*FILES, *ENGINES)


@dataclass(frozen=True)
class Reading:
    """One source as DuckDB reads it.

    Attributes:
        relation: what stands after FROM.
        load: statements before it; they may hold a password, so they belong in no log.
        unload: statements after it: connections end, secrets are forgotten.
        files: the Parquet files behind it, where there are only such.
    """

    relation: str
    load: tuple[str, ...] = field(default=(), repr=False)
    unload: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def reading(kind: str, location: str) -> Reading:
    """How to read a source.

    Args:
        location: a path or glob, a :class:`~node_agent.sources_database.Database` as JSON, or a view with all that it
            reads, as :meth:`node_agent.sources.Sources.resolved` gives it.
    """
    if kind in FILES:
        header = ", header = true" if kind == "csv" else ""
        files = tuple(sorted(glob.glob(location, recursive=True))) if kind == "parquet" else ()
        return Reading(f"{FILES[kind]}({literal(location)}{header})", files=files)
    if kind == VIEW:
        return _view(json.loads(location))
    database = Database.from_json(location)
    return Reading(database.relation(), database.load(), database.unload())


def relation(kind: str, location: str) -> str:
    """What stands after FROM; for databases and views, after the statements of :func:`reading`."""
    return reading(kind, location).relation


def _view(view: dict[str, Any]) -> Reading:
    from node_agent.views_functions import define_functions, drop_functions

    parts = {name: reading(kind, location) for name, (kind, location) in view["sources"].items()}
    tables = ", ".join(f"{quote(name)} AS NOT MATERIALIZED (SELECT * FROM {part.relation})" for name, part in parts.items())  # noqa: S608
    # Where the order of the rows hangs on how the query is executed it is fixed: a row keeps its number.
    order = " ORDER BY ALL" if view["unordered"] else ""
    given = f"WITH {tables} " if tables else ""
    load = dict.fromkeys(statement for part in parts.values() for statement in part.load)
    unload = dict.fromkeys(statement for part in parts.values() for statement in part.unload)
    return Reading(f"({given}SELECT * FROM (\n{view['sql']}\n) AS v{order})",  # noqa: S608
                   (*load, *define_functions(view["functions"], view["salt"])), (*drop_functions(view["functions"]), *unload))


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB connection for measuring: in memory, one thread, no extensions fetched, no spilling to disk."""
    import duckdb  # imported when first needed: an idle agent reads no data

    return duckdb.connect(":memory:", config={
        "threads": 1, "memory_limit": "1GB", "temp_directory": "", "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false", "allow_community_extensions": "false",
        "python_enable_replacements": "false"})


@contextlib.contextmanager
def opened(kind: str, location: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection that can read a source, and the relation; both are gone afterwards.

    Raises:
        ProblemError: ``source_unreadable`` for whatever DuckDB says about files and views; a ``source_…`` code for what
            a database says, without its words.
    """
    import duckdb

    part = reading(kind, location)
    with connect() as connection:
        try:
            for statement in part.load:
                connection.execute(statement)
            yield connection, part.relation
        except duckdb.Error as error:
            raise problem_of(error, kind, location) from None


def problem_of(error: Exception, kind: str, location: str) -> ProblemError:
    """What DuckDB said about a source as a problem of ours."""
    if kind in ENGINES:
        return told(error, Database.from_json(location))
    if kind == VIEW and type(error).__name__ not in _ABOUT_SQL and (databases := _databases(location)):
        return told(error, databases[0])
    return ProblemError(errors.SOURCE_UNREADABLE, reason=str(error).splitlines()[0] if str(error) else "?")


# What these say names columns and values of the SQL, and nothing of a connection.
_ABOUT_SQL: Final = frozenset({"BinderException", "ParserException", "ConversionException", "CatalogException",
                               "OutOfRangeException"})


def _databases(location: str) -> list[Database]:
    """The databases a view stands on."""
    found: list[Database] = []
    for kind, place in json.loads(location)["sources"].values():
        found += _databases(place) if kind == VIEW else [Database.from_json(place)] if kind in ENGINES else []
    return found
