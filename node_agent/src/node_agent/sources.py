"""Sources: files, databases and views in the department's own place, read there by DuckDB and never copied to disk."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from node_agent import errors
from node_agent.journal import Journal
from node_agent.sources_database import ENGINES, Database
from node_agent.sources_reading import KINDS, VIEW, opened, reading, relation
from node_agent.state import State
from shuyan.federation import schema
from shuyan.federation.schema import dimension_sql
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

__all__ = ["Column", "Measured", "Source", "Sources", "check_name", "distinct_values", "logical_type", "measure",
           "reading", "relation", "values_not_of"]

_ENDINGS = {".csv": "csv", ".tsv": "csv", ".gz": "csv", ".parquet": "parquet", ".pq": "parquet", ".json": "json",
            ".jsonl": "json", ".ndjson": "json", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite"}

_TYPES = {
    "BOOLEAN": "boolean", "DATE": "date", "VARCHAR": "string", "UUID": "string", "ENUM": "string",
    "TINYINT": "integer", "SMALLINT": "integer", "INTEGER": "integer", "BIGINT": "integer", "HUGEINT": "integer",
    "UTINYINT": "integer", "USMALLINT": "integer", "UINTEGER": "integer", "UBIGINT": "integer",
    "FLOAT": "number", "DOUBLE": "number", "DECIMAL": "number",
    "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamp", "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp", "TIMESTAMP_NS": "timestamp",
}


def logical_type(duckdb_type: str) -> str:
    """The catalogue's name of a DuckDB type; "" for one that no task may read."""
    return _TYPES.get(duckdb_type.split("(")[0].strip().upper(), "")


@dataclass(frozen=True)
class Column:
    """A column as found in the data: its name and DuckDB type."""

    name: str
    type: str


@dataclass(frozen=True)
class Measured:
    """What was found in a source."""

    row_count: int
    columns: tuple[Column, ...]


def measure(kind: str, location: str) -> Measured:
    """Read a source's schema and count its rows.

    Raises:
        ProblemError: a ``source_…`` code.
    """
    with opened(kind, location) as (connection, table):
        description = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()  # noqa: S608
        counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return Measured(int(counted[0]) if counted else 0, tuple(Column(row[0], row[1]) for row in description))


@dataclass(frozen=True)
class Source:
    """A registered source."""

    name: str
    kind: str
    location: str
    measured: Measured

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        if self.kind in ENGINES:
            return Database.from_json(self.location).shown()
        return ", ".join(self.reads) if self.kind == VIEW else self.location

    @property
    def sql(self) -> str:
        """Of a view."""
        return str(json.loads(self.location)["sql"]) if self.kind == VIEW else ""

    @property
    def reads(self) -> tuple[str, ...]:
        """The sources that a view reads."""
        return tuple(json.loads(self.location)["sources"]) if self.kind == VIEW else ()

    def message(self) -> local_pb2.Source:
        """For the administrator's service."""
        return local_pb2.Source(
            name=self.name, kind=self.kind, location=self.shown, row_count=self.measured.row_count, sql=self.sql,
            reads=self.reads, columns=[link_pb2.Column(name=c.name, type=logical_type(c.type) or c.type.lower())
                                       for c in self.measured.columns])


class Sources:
    """The sources of one node.

    Args:
        salt: a secret of the node that views' masking functions use.
    """

    def __init__(self, state: State, journal: Journal, salt: Callable[[], str] = str) -> None:
        self._state = state
        self._journal = journal
        self._salt = salt

    def add(self, name: str, kind: str, location: str, table: str = "", *, password_file: str = "",
            password_variable: str = "", key: Sequence[str] = ()) -> Source:
        """Register files or a database's table under a name after reading their schema.

        Raises:
            ProblemError: ``name_invalid``, ``source_exists``, or another ``source_…`` code.
        """
        self.check_free(name)
        scheme = location.partition(":")[0]
        kind = kind or {"postgresql": "postgres", "postgres": "postgres", "mysql": "mysql", "mariadb": "mysql"}.get(
            scheme, "") or _ENDINGS.get(Path(location).suffix.lower(), "")
        if kind not in KINDS:
            raise ProblemError(errors.SOURCE_KIND, field="kind", kind=kind or Path(location).suffix)
        if kind in ENGINES:
            location = _examined(Database.parse(kind, location, table, password_file=password_file,
                                                password_variable=password_variable, key=tuple(key)))
        else:
            files = glob.glob(location, recursive=True) if os.path.isabs(location) else []
            if not files or not all(os.path.isfile(file) and os.access(file, os.R_OK) for file in files):
                raise ProblemError(errors.SOURCE_LOCATION, field="location", location=location)
        source = Source(name, kind, location, measure(kind, self._resolved(kind, location)))
        self.keep(source, "source:added")
        return source

    def check_free(self, name: str) -> None:
        """Raises ``name_invalid`` or ``source_exists`` unless a source may be called so."""
        check_name(name)
        if self._row(name):
            raise ProblemError(errors.SOURCE_EXISTS, field="name", name=name)

    def keep(self, source: Source, event: str) -> None:
        """Write a new or changed source down."""
        with self._state.transaction():
            self._state.execute(
                "INSERT INTO source (name, kind, location, row_count, columns) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, location = excluded.location,"
                " row_count = excluded.row_count, columns = excluded.columns",
                (source.name, source.kind, source.location, source.measured.row_count,
                 json.dumps([[c.name, c.type] for c in source.measured.columns])))
            self._journal.append(event, name=source.name, kind=source.kind, rows=source.measured.row_count)

    def resolved(self, source: Source) -> str:
        """A source's location with all that reading it needs: passwords as they are now, and what views stand on.

        Raises:
            ProblemError: ``source_password_missing``.
        """
        return self._resolved(source.kind, source.location)

    def _resolved(self, kind: str, location: str) -> str:
        if kind in ("postgres", "mysql"):
            return Database.from_json(location).with_password().to_json()
        if kind != VIEW:
            return location
        view = json.loads(location)
        parts = {name: self.get(name) for name in view["sources"]}
        return json.dumps({**view, "salt": self._salt(),
                           "sources": {name: [part.kind, self.resolved(part)] for name, part in parts.items()}})

    def list(self) -> list[Source]:
        """All sources, by name."""
        return [_source(row) for row in self._state.all("SELECT * FROM source ORDER BY name")]

    def get(self, name: str) -> Source:
        """One source.

        Raises:
            ProblemError: ``source_not_found``.
        """
        row = self._row(name)
        if row is None:
            raise ProblemError(errors.SOURCE_NOT_FOUND, field="source", name=name)
        return _source(row)

    def remove(self, name: str) -> None:
        """Forget a source that no resource or view uses; its data are not touched.

        Raises:
            ProblemError: ``source_not_found``, ``source_in_use``, ``source_in_view``.
        """
        self.get(name)
        for view in self.list():
            if name in view.reads:
                raise ProblemError(errors.SOURCE_IN_VIEW, view=view.name)
        used = self._state.one("SELECT name FROM resource WHERE source = ?", (name,))
        if used:
            raise ProblemError(errors.SOURCE_IN_USE, resource=used["name"])
        with self._state.transaction():
            self._state.execute("DELETE FROM source WHERE name = ?", (name,))
            self._journal.append("source:removed", name=name)

    def _row(self, name: str) -> Any:
        return self._state.one("SELECT * FROM source WHERE name = ?", (name,))


def _source(row: Any) -> Source:
    columns = tuple(Column(name, kind) for name, kind in json.loads(row["columns"]))
    return Source(row["name"], row["kind"], row["location"], Measured(row["row_count"], columns))


def check_name(name: str) -> None:
    """Raises ``name_invalid`` unless ``name`` is ``[a-z][a-z0-9_]{0,62}``."""
    head, allowed = "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz0123456789_"
    if not (0 < len(name) < 64 and name[0] in head and set(name) <= set(allowed)):
        raise ProblemError(errors.NAME_INVALID, field="name", name=name)


def _examined(database: Database) -> str:
    """What is kept about a database's table, after a look at it."""
    asked = database.with_password().to_json()
    with opened(database.engine, asked) as (connection, _relation):
        return database.examined(connection).to_json()


def distinct_values(kind: str, location: str, column: link_pb2.Column, limit: int) -> list[str] | None:
    """The distinct non-null values of a column as canonical strings, sorted; None when there are more than ``limit``.

    Canonical is what the apps group by: :func:`shuyan.federation.schema.dimension_sql`.
    """
    typed = schema.Column(column.name, cast("schema.ColumnType", column.type))
    with opened(kind, location) as (connection, table):
        rows = connection.execute(
            f"SELECT DISTINCT {dimension_sql(typed)} AS v FROM"  # noqa: S608
            f" (SELECT {schema.cast_sql(typed)} FROM {table})"
            f" WHERE {schema.quote(column.name)} IS NOT NULL LIMIT {limit + 1}").fetchall()
    return None if len(rows) > limit else sorted(row[0] for row in rows)


def values_not_of(kind: str, location: str, name: str, declared: schema.ColumnType) -> int:
    """How many values of a column are not of a declared type; nulls are of any.

    A number is of type ``integer`` if it is whole: a cast alone would round it.
    """
    column = schema.quote(name)
    wrong = f"TRY_CAST({column} AS {schema.SQL_TYPES[declared]}) IS NULL"
    if declared == "integer":
        wrong += f" OR TRY_CAST({column} AS BIGINT) <> TRY_CAST({column} AS DOUBLE)"
    with opened(kind, location) as (connection, table):
        found = connection.execute(
            f"SELECT count(*) FROM {table}"  # noqa: S608
            f" WHERE {column} IS NOT NULL AND ({wrong})").fetchone()
    return int(found[0]) if found else 0
