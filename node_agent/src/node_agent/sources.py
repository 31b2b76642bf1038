"""Sources: files in the department's own place, read there by DuckDB and never copied."""

from __future__ import annotations

import glob
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from node_agent import errors
from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation import schema
from shuyan.federation.schema import dimension_sql
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    import duckdb

KINDS = {"csv": "read_csv", "parquet": "read_parquet"}

_ENDINGS = {".csv": "csv", ".tsv": "csv", ".gz": "csv", ".parquet": "parquet", ".pq": "parquet"}

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


def literal(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def relation(kind: str, location: str) -> str:
    """The table function that reads a source; a CSV file has its names in the first line."""
    return f"{KINDS[kind]}({literal(location)}{', header = true' if kind == 'csv' else ''})"


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


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB connection for measuring: in memory, one thread, no extensions fetched, no spilling to disk."""
    import duckdb  # imported when first needed: an idle agent reads no data

    return duckdb.connect(":memory:", config={
        "threads": 1, "memory_limit": "512MB", "temp_directory": "", "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false"})


def measure(kind: str, location: str) -> Measured:
    """Read a source's schema and count its rows.

    Raises:
        ProblemError: ``source_unreadable``.
    """
    import duckdb

    with connect() as connection:
        try:
            table = relation(kind, location)
            description = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()  # noqa: S608
            counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise ProblemError(errors.SOURCE_UNREADABLE, reason=reason) from error
    return Measured(int(counted[0]) if counted else 0, tuple(Column(row[0], row[1]) for row in description))


@dataclass(frozen=True)
class Source:
    """A registered source."""

    name: str
    kind: str
    location: str
    measured: Measured

    def message(self) -> local_pb2.Source:
        """For the administrator's service."""
        return local_pb2.Source(
            name=self.name, kind=self.kind, location=self.location, row_count=self.measured.row_count,
            columns=[link_pb2.Column(name=c.name, type=logical_type(c.type) or c.type.lower())
                     for c in self.measured.columns])


class Sources:
    """The sources of one node."""

    def __init__(self, state: State, journal: Journal) -> None:
        self._state = state
        self._journal = journal

    def add(self, name: str, kind: str, location: str) -> Source:
        """Register files under a name after reading their schema.

        Raises:
            ProblemError: ``name_invalid``, ``source_exists``, ``source_kind``, ``source_location``,
                ``source_unreadable``.
        """
        check_name(name)
        if self._row(name):
            raise ProblemError(errors.SOURCE_EXISTS, field="name", name=name)
        kind = kind or _ENDINGS.get(Path(location).suffix.lower(), "")
        if kind not in KINDS:
            raise ProblemError(errors.SOURCE_KIND, field="kind", kind=kind or Path(location).suffix)
        files = glob.glob(location, recursive=True) if os.path.isabs(location) else []
        if not files or not all(os.path.isfile(file) and os.access(file, os.R_OK) for file in files):
            raise ProblemError(errors.SOURCE_LOCATION, field="location", location=location)
        source = Source(name, kind, location, measure(kind, location))
        with self._state.transaction():
            self._state.execute("INSERT INTO source VALUES (?, ?, ?, ?, ?)", (
                name, kind, location, source.measured.row_count,
                json.dumps([[c.name, c.type] for c in source.measured.columns])))
            self._journal.append("source:added", name=name, kind=kind, rows=source.measured.row_count)
        return source

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
        """Forget a source that no resource uses; its files are not touched.

        Raises:
            ProblemError: ``source_not_found``, ``source_in_use``.
        """
        self.get(name)
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


def distinct_values(kind: str, location: str, column: link_pb2.Column, limit: int) -> list[str] | None:
    """The distinct non-null values of a column as canonical strings, sorted; None when there are more than ``limit``.

    Canonical is what the apps group by: :func:`shuyan.federation.schema.dimension_sql`.
    """
    typed = schema.Column(column.name, cast("schema.ColumnType", column.type))
    with connect() as connection:
        rows = connection.execute(
            f"SELECT DISTINCT {dimension_sql(typed)} AS v FROM"  # noqa: S608
            f" (SELECT {schema.cast_sql(typed)} FROM {relation(kind, location)})"
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
    with connect() as connection:
        found = connection.execute(
            f"SELECT count(*) FROM {relation(kind, location)}"  # noqa: S608
            f" WHERE {column} IS NOT NULL AND ({wrong})").fetchone()
    return int(found[0]) if found else 0
