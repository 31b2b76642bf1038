"""What an app sees of a department's data: one relation, ``data``, in a DuckDB that can do nothing else.

The relation holds the granted columns the task needs and no others. It is read into the worker's memory before the
database is locked: no file, network or extension is reachable afterwards, and no setting can be changed back. (A view
over the file would spare the copy, but DuckDB's ``allowed_paths`` lets the same file be read whole, and written.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np

from shuyan.federation import problems
from shuyan.federation.schema import Column, Schema, cast_sql, quote
from shuyan.problems import ProblemError


class Inputs:
    """An app's view of the data.

    Attributes:
        connection: a locked DuckDB connection holding the relation ``data``.
        schema: the columns of ``data``, with declared domains.
        cache: kept between the rounds of one run on one worker; only ever a shortcut, it may be empty at any time.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: Schema) -> None:
        self.connection = connection
        self.schema = schema
        self.cache: dict[str, Any] = {}
        self._rows: int | None = None

    @classmethod
    def from_sql(
        cls, relation: str, schema: Schema, columns: Sequence[str], *, memory_mb: int = 1024, threads: int = 1
    ) -> Inputs:
        """Read ``columns`` of a relation and lock the database.

        Args:
            relation: SQL that may stand after FROM, the node administrator's own: ``read_parquet('/data/x.parquet')``.
            schema: the resource's schema; values are cast to its types.

        Raises:
            ProblemError: ``unknown_column``, or ``wrong_type`` where values cannot be cast.
        """
        connection = _connect(memory_mb, threads)
        try:
            connection.execute(f"CREATE TABLE data AS SELECT {_projection(schema, columns)} FROM {relation}")  # noqa: S608
        except duckdb.ConversionException:
            connection.close()
            raise ProblemError(problems.WRONG_TYPE, column=", ".join(columns), expected="its declared type") from None
        except BaseException:
            connection.close()
            raise
        return cls._locked(connection, schema, columns)

    @classmethod
    def from_files(
        cls, paths: Sequence[Path], kind: Literal["csv", "parquet"], schema: Schema, columns: Sequence[str], *,
        memory_mb: int = 1024, threads: int = 1,
    ) -> Inputs:
        """Like :meth:`from_sql`, over CSV (header in the first line) or Parquet files of one layout."""
        names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        relation = f"read_parquet([{names}])" if kind == "parquet" else f"read_csv([{names}], header = true)"
        return cls.from_sql(relation, schema, columns, memory_mb=memory_mb, threads=threads)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]], schema: Schema, columns: Sequence[str], *,
        memory_mb: int = 1024, threads: int = 1,
    ) -> Inputs:
        """Like :meth:`from_sql`, over equally long columns in memory; ``None`` is a null."""
        # Under plain names, nulls apart: objects in an array are slow to scan, and masked arrays are not read at all.
        frame: dict[str, np.ndarray[Any, Any]] = {}
        renamed = []
        for place, name in enumerate(name for name in columns if name in arrays):
            frame[f"v{place}"], nulls = _without_nulls(arrays[name])
            value = f"v{place}"
            if nulls is not None:
                frame[f"n{place}"] = nulls
                value = f"CASE WHEN n{place} THEN NULL ELSE v{place} END"
            renamed.append(f"{value} AS {quote(name)}")
        if not frame:
            frame["one"] = np.ones(max((len(values) for values in arrays.values()), default=0))
        connection = _connect(memory_mb, threads)
        source = f"(SELECT {', '.join(renamed) or 'one'} FROM frame)"  # noqa: S608
        try:
            connection.execute(f"CREATE TABLE data AS SELECT {_projection(schema, columns)} FROM {source}")  # noqa: S608
        except BaseException:
            connection.close()
            raise
        return cls._locked(connection, schema, columns)

    @classmethod
    def _locked(cls, connection: duckdb.DuckDBPyConnection, schema: Schema, columns: Sequence[str]) -> Inputs:
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return cls(connection, {name: schema[name] for name in columns})

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
        """Rows of ``data``, counted once: every round asks, and the rows stay the same."""
        if self._rows is None:
            row = self.connection.execute("SELECT count(*) FROM data").fetchone()
            self._rows = int(row[0]) if row else 0
        return self._rows

    def close(self) -> None:
        """Give the memory back."""
        self.cache.clear()
        self.connection.close()


def _connect(memory_mb: int, threads: int) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={
        "threads": threads, "memory_limit": f"{memory_mb}MB", "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false", "allow_community_extensions": "false",
        "temp_directory": "",  # rows never spill to a disk; too much data is an error instead
    })


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
