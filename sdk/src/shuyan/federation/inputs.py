"""What an app sees of a department's data: its relations, in a DuckDB that can do nothing else.

There is one relation for each resource, under the resource's name, and ``data`` where there is only one. They hold the
granted columns the task needs and no others. Usually they are read into the worker's memory before the database is
locked: no file, network or extension is reachable afterwards, and no setting can be changed back.

An app that comes with the product may read Parquet files *in place* instead: its relations are views, and the files stay
readable (and, for DuckDB, writable and readable whole) by statements that name them. Such an app writes all SQL itself,
and the worker's sandbox keeps the files from being written.

Every relation has a row number that stays the same as long as its source does: the expression
:meth:`Inputs.row_number`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import duckdb
import numpy as np

from shuyan.federation import problems
from shuyan.federation.privacy.bounding import UNIT, Bounding, bounded_statements
from shuyan.federation.schema import Column, Schema, cast_sql, quote
from shuyan.problems import ProblemError

_log = logging.getLogger(__name__)
_VIEW_SETS: Final = 16  # of one warm database

FILE_BITS: Final = 40
"""Of a row number over several files: the lower bits number the rows of a file, those above them the files."""


@dataclass(frozen=True)
class TableSource:
    """One resource as it is read.

    Attributes:
        name: the resource's.
        relation: SQL that may stand after FROM, the node administrator's own: ``read_parquet('/data/x.parquet')``.
        schema: the resource's; values are cast to its types.
        columns: those to read.
        files: the Parquet files behind the relation, where there are only such: they can be read in place.
        load: statements that must come before, such as loading the extension that reads it; they may hold secrets.
        unload: statements that must come after, such as closing its connection.
        frame: arrays that the relation reads as ``frame``.
        bounding: keep so many rows of each unit only; the relation must have the unit's column.
    """

    name: str
    relation: str
    schema: Schema
    columns: tuple[str, ...]
    files: tuple[str, ...] = ()
    load: tuple[str, ...] = field(default=(), repr=False)
    unload: tuple[str, ...] = ()
    frame: Mapping[str, np.ndarray[Any, Any]] | None = field(default=None, repr=False)
    bounding: Bounding | None = None

    @classmethod
    def of_files(cls, name: str, paths: Sequence[str], kind: Literal["csv", "parquet"], schema: Schema,
                 columns: Sequence[str]) -> TableSource:
        """CSV (header in the first line) or Parquet files of one layout."""
        names = ", ".join(map(_literal, paths))
        relation = f"read_parquet([{names}])" if kind == "parquet" else f"read_csv([{names}], header = true)"
        return cls(name, relation, schema, tuple(columns), tuple(paths) if kind == "parquet" else ())

    @classmethod
    def of_arrays(cls, name: str, arrays: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]], schema: Schema,
                  columns: Sequence[str], *, bounding: Bounding | None = None) -> TableSource:
        """Equally long columns in memory; ``None`` is a null."""
        shown = dict.fromkeys([*columns, *([bounding.column.name] if bounding else [])])
        # Under plain names, nulls apart: objects in an array are slow to scan, and masked arrays are not read at all.
        frame: dict[str, np.ndarray[Any, Any]] = {}
        renamed = []
        for place, column in enumerate(column for column in shown if column in arrays):
            frame[f"v{place}"], nulls = _without_nulls(arrays[column])
            value = f"v{place}"
            if nulls is not None:
                frame[f"n{place}"] = nulls
                value = f"CASE WHEN n{place} THEN NULL ELSE v{place} END"
            renamed.append(f"{value} AS {quote(column)}")
        if not frame:
            frame["one"] = np.ones(max((len(values) for values in arrays.values()), default=0))
        relation = f"(SELECT {', '.join(renamed) or 'one'} FROM frame)"  # noqa: S608
        return cls(name, relation, schema, tuple(columns), frame=frame, bounding=bounding)


class WarmDatabases:
    """Locked databases that may read certain Parquet files and hold nothing but views of them, kept from run to run.

    Making a database takes several times as long as a small query, and making a view over a file a third as long. Each run
    gets a connection of its own; what it defines there, temporary things only, no other connection sees and goes with it.

    Args:
        memory_mb, threads, spill, spill_mb: as in :meth:`Inputs.from_tables`.
        kept: how many, each for other files.
    """

    def __init__(self, memory_mb: int, threads: int = 1, spill: str = "", spill_mb: int = 0, *, kept: int = 2) -> None:
        self._settings = (memory_mb, threads, spill, spill_mb)
        self._kept = kept
        self._databases: dict[tuple[str, ...], _Warm] = {}

    def connection(self, files: Sequence[str], views: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
        """A new connection to the database that may read these files and no others.

        Args:
            views: by quoted name, the queries that the connection finds under it. They are made once for files that are as
                they were: same size, same time of change.
        """
        key = _key(files)
        state = repr([(file, stat.st_ino, stat.st_size, stat.st_mtime_ns) for file in key for stat in (os.stat(file),)])
        database = self._databases.pop(key, None)
        if database is not None and (database.files != state or len(database.schemas) >= _VIEW_SETS):
            database.connection.close()
            database = None
        if database is None:
            # Between runs nothing of a file is to be kept in memory.
            database = _Warm(_connect(*self._settings, enable_external_file_cache="false"), state)
            try:
                _lock(database.connection, key)
            except BaseException:
                database.connection.close()
                raise
        self._databases[key] = database  # the most recently used last
        while len(self._databases) > self._kept:
            self._databases.pop(next(iter(self._databases))).connection.close()
        connection = database.connection.cursor()
        try:
            connection.execute(f"USE {database.schema(views)}")
        except BaseException:
            connection.close()
            raise
        return connection

    def counts(self, files: Sequence[str]) -> dict[str, int]:
        """How many rows the files of :meth:`connection` have, as far as they were counted; for whoever counts them to add to."""
        return self._databases[_key(files)].counts

    def close(self) -> None:
        """Let go of all; connections handed out end by themselves. After an error nobody knows what is left behind."""
        while self._databases:
            self._databases.popitem()[1].connection.close()


@dataclass
class _Warm:
    """One database: the files as they were when it was made, by their definitions the schemas that hold its views, and rows by file."""

    connection: duckdb.DuckDBPyConnection
    files: str
    schemas: dict[tuple[tuple[str, str], ...], str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def schema(self, views: Mapping[str, str]) -> str:
        """The schema with these views, made if there is none."""
        definitions = tuple(sorted(views.items()))
        if definitions not in self.schemas:
            name = f"views_{len(self.schemas)}"
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
            for view, query in definitions:
                self.connection.execute(f"CREATE OR REPLACE VIEW {name}.{view} AS {query}")
            self.schemas[definitions] = name
        return self.schemas[definitions]


class Inputs:
    """An app's view of the data.

    Attributes:
        connection: a locked DuckDB connection holding the relations.
        schemas: by resource name, the columns of its relation, with declared domains.
        cache: kept between the rounds of one run on one worker; only ever a shortcut, it may be empty at any time.
        bounded: by resource, how many rows of each unit were kept; empty where answers are exact.
        groups: of one answer that a unit may count in, where answers are about distinct units.
        salt: the node's own, for :func:`~shuyan.federation.privacy.bounding.bounded_relation`.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, schemas: Mapping[str, Schema],
                 rows: Mapping[str, str] | None = None, bounded: Mapping[str, Bounding] | None = None,
                 files: Mapping[str, tuple[str, ...]] | None = None, counted: dict[str, int] | None = None) -> None:
        self.connection = connection
        self.schemas = dict(schemas)
        self.bounded = {name: bounding.max_rows for name, bounding in (bounded or {}).items()}
        self.groups = min((bounding.max_groups for bounding in (bounded or {}).values()), default=1)
        self.salt = next((bounding.salt for bounding in (bounded or {}).values()), "")
        self.cache: dict[str, Any] = {}
        self._row_numbers = dict(rows or {})
        self._files = dict(files or {})
        self._counts: dict[str, tuple[int, ...]] = {}
        self._counted = counted if counted is not None else {}

    @property
    def schema(self) -> Schema:
        """The columns of ``data``."""
        (schema,) = self.schemas.values()
        return schema

    def row_number(self, resource: str) -> str:
        """An SQL expression over a relation, ``data`` included: its row number, an integer from 0 on, with gaps."""
        return self._row_numbers.get(resource, "rowid")

    def unit(self, resource: str) -> str:
        """An SQL expression over a bounded relation, ``data`` included, that tells units of privacy apart."""
        if resource not in self.bounded and not (resource == "data" and len(self.bounded) == 1):
            raise KeyError(resource)
        return quote(UNIT)

    @classmethod
    def from_tables(
        cls, tables: Sequence[TableSource], *, in_place: bool = False, memory_mb: int = 1024, threads: int = 1,
        spill: str = "", spill_mb: int = 0, warm: WarmDatabases | None = None,
    ) -> Inputs:
        """Read several resources, or make views over them where that is asked for and can be, and lock the database.

        Args:
            spill: a directory that DuckDB may spill to, at most ``spill_mb``; empty: too much data is an error instead.
            warm: take the database from here where everything is read in place; there is no ``data`` then.

        Raises:
            ProblemError: ``unknown_column``, ``wrong_type`` where values cannot be cast, or ``source_unavailable``.
        """
        rows: dict[str, str] = {}
        views: dict[str, str] = {}
        in_files: dict[str, tuple[str, ...]] = {}
        connection: duckdb.DuckDBPyConnection | None = None
        shared = warm if in_place and all(
            table.files and table.bounding is None and not table.load and not table.unload for table in tables) else None
        try:
            if shared is None:
                connection = _connect(memory_mb, threads, spill, spill_mb)
            for table in tables:
                selected, target = _projection(table.schema, table.columns), quote(table.name)
                if in_place and table.files and table.bounding is None:
                    in_files[table.name] = table.files
                    number = "file_row_number" if len(table.files) == 1 else f"file_index * {1 << FILE_BITS} + file_row_number"
                    listed = ", ".join(map(_literal, table.files))
                    views[target] = f"SELECT {selected}, {number} AS __row FROM read_parquet([{listed}])"  # noqa: S608
                    rows[table.name] = "__row"
                if connection is None:
                    continue
                for statement in table.load:
                    connection.execute(statement)
                frame = table.frame  # noqa: F841  DuckDB finds it by its name
                if table.bounding is not None:
                    # Never a view: which rows are kept would be found out again for every statement.
                    for statement in bounded_statements(target, table.relation, selected, table.bounding):
                        connection.execute(statement)
                elif target in views:
                    connection.execute(f"CREATE VIEW {target} AS {views[target]}")
                else:
                    connection.execute(f"CREATE TABLE {target} AS SELECT {selected} FROM {table.relation}")  # noqa: S608
                for statement in table.unload:
                    connection.execute(statement)
            files = [file for listed_files in in_files.values() for file in listed_files]
            if connection is None:
                assert shared is not None
                connection = shared.connection(files, views)
            else:
                if len(tables) == 1 and tables[0].name != "data":
                    extra = ", rowid AS __row" if tables[0].name not in rows else ""
                    connection.execute(f"CREATE VIEW data AS SELECT *{extra} FROM {quote(tables[0].name)}")  # noqa: S608
                    rows["data"] = "__row"
                _lock(connection, files)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, (duckdb.IOException, duckdb.CatalogException, duckdb.BinderException, OSError)):
                # Its words may hold where the data are and how they are reached.
                _log.warning("a source cannot be read: %s", type(error).__name__)
                raise ProblemError(problems.SOURCE_UNAVAILABLE) from None
            if isinstance(error, duckdb.ConversionException):
                named = [name for table in tables for name in table.columns]
                raise ProblemError(problems.WRONG_TYPE, column=", ".join(named), expected="its declared type") from None
            raise
        return cls(connection, {
            table.name: {name: table.schema[name] for name in table.columns} for table in tables}, rows,
            {table.name: table.bounding for table in tables if table.bounding is not None}, in_files,
            shared.counts(files) if shared is not None else None)

    @classmethod
    def from_sql(
        cls, relation: str, schema: Schema, columns: Sequence[str], *, memory_mb: int = 1024, threads: int = 1
    ) -> Inputs:
        """Like :meth:`from_tables`, of one relation: SQL that may stand after FROM."""
        table = TableSource("data", relation, schema, tuple(columns))
        return cls.from_tables([table], memory_mb=memory_mb, threads=threads)

    @classmethod
    def from_files(
        cls, paths: Sequence[Path], kind: Literal["csv", "parquet"], schema: Schema, columns: Sequence[str], *,
        memory_mb: int = 1024, threads: int = 1,
    ) -> Inputs:
        """Like :meth:`from_tables`, over CSV (header in the first line) or Parquet files of one layout."""
        table = TableSource.of_files("data", [str(path) for path in paths], kind, schema, columns)
        return cls.from_tables([table], memory_mb=memory_mb, threads=threads)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]], schema: Schema, columns: Sequence[str], *,
        memory_mb: int = 1024, threads: int = 1,
    ) -> Inputs:
        """Like :meth:`from_tables`, over equally long columns in memory; ``None`` is a null."""
        table = TableSource.of_arrays("data", arrays, schema, columns)
        return cls.from_tables([table], memory_mb=memory_mb, threads=threads)

    def column(self, name: str) -> Column:
        """A column's declaration.

        Raises:
            ProblemError: ``unknown_column``.
        """
        found = self.schema.get(name)
        if found is None:
            raise ProblemError(problems.UNKNOWN_COLUMN, column=name)
        return found

    def row_count(self) -> int:
        """Rows of ``data``."""
        (name,) = self.schemas
        return self.count(name)

    def files(self, resource: str) -> tuple[str, ...]:
        """The files that a relation reads in place; none if its rows are in memory."""
        return self._files.get(resource, ())

    def count(self, resource: str) -> int:
        """Rows of a relation."""
        return sum(self.counts(resource))

    def counts(self, resource: str) -> tuple[int, ...]:
        """Rows by file, or of all; counted once: every round asks, and the rows stay the same."""
        if resource not in self._counts:
            for file in self.files(resource):
                if file not in self._counted:
                    self._counted[file] = self._count(f"read_parquet({_literal(file)})")  # of a Parquet file this reads no row
            counts = tuple(self._counted[file] for file in self.files(resource))
            self._counts[resource] = counts or (self._count(quote(resource)),)
        return self._counts[resource]

    def _count(self, source: str) -> int:
        row = self.connection.execute(f"SELECT count(*) FROM {source}").fetchone()  # noqa: S608
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Give the memory back."""
        self.cache.clear()
        self.connection.close()


def _key(files: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(files)))


def _literal(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"


def _connect(memory_mb: int, threads: int, spill: str = "", spill_mb: int = 0, **more: str) -> duckdb.DuckDBPyConnection:
    # DuckDB fills a whole disk unless it is told how much of it to take.
    capped = {"max_temp_directory_size": f"{spill_mb}MB"} if spill else {}
    return duckdb.connect(":memory:", config=capped | more | {
        "threads": threads, "memory_limit": f"{memory_mb}MB", "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false", "allow_community_extensions": "false",
        "temp_directory": spill,
    })


def _lock(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """Nothing but these files can be read from now on, and no setting changed back, by any of its connections."""
    if files:
        connection.execute("SET allowed_paths = [" + ", ".join("'" + path.replace("'", "''") + "'" for path in files) + "]")
    connection.execute("SET GLOBAL python_enable_replacements = false")  # by itself it would hold for this one only
    connection.execute("SET enable_external_access = false")
    # What two expressions share would be worked out once, before and outside of the TRY around either: one row could fail it.
    connection.execute("SET disabled_optimizers = 'common_subexpressions'")
    connection.execute("SET lock_configuration = true")


def _projection(schema: Schema, columns: Sequence[str]) -> str:
    if missing := [name for name in columns if name not in schema]:
        raise ProblemError(problems.UNKNOWN_COLUMN, column=missing[0])
    # A relation needs a column; a question about none (row counts only) gets a constant.
    return ", ".join(cast_sql(schema[name]) for name in columns) or "1 AS one"


def _without_nulls(
    values: Sequence[Any] | np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """A column as a typed array and, where it has any, the places of its nulls (``None``)."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values, None
    nulls = np.fromiter((value is None for value in values), dtype=bool, count=len(values))
    if not nulls.any():
        return np.array(list(values)), None
    example = next((value for value in values if value is not None), 0.0)
    filler = "" if isinstance(example, str) else type(example)(0)
    return np.array([filler if value is None else value for value in values]), nulls
