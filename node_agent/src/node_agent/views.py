"""Derived views: a SELECT of the department over its own sources, kept and read like a source.

The administrator is trusted; what is caught early are mistakes: tables that are none, types that no task can read, columns of
one name, an empty result, rows that come more than once, a join that multiplies rows.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_agent import errors
from node_agent.journal import Journal
from node_agent.sources import Column, Measured, Source, Sources, check_name, logical_type
from node_agent.sources_reading import VIEW, opened
from node_agent.state import State
from node_agent.views_check import Checked, check
from shuyan.federation.schema import quote
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

PREVIEW_ROWS: Final = 20
_CELL_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Note:
    """Something to look at, by code; the command line has the words."""

    code: str
    args: tuple[tuple[str, str], ...] = ()

    def message(self) -> local_pb2.Note:
        return local_pb2.Note(code=self.code, args=dict(self.args))


def note(code: str, **args: object) -> Note:
    """A note with its arguments as text."""
    return Note(code, tuple((name, str(value)) for name, value in args.items()))


def node_salt(path: Path) -> str:
    """The secret that ``mask_hash`` is keyed with; made when first needed, 64 hexadecimal digits.

    A lost secret changes every masked value.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        text = secrets.token_hex(32)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return text


class Views:
    """The views of one node, kept among its sources."""

    def __init__(self, state: State, journal: Journal, sources: Sources) -> None:
        self._state = state
        self._journal = journal
        self._sources = sources

    def add(self, name: str, sql: str, *, replace: bool = False) -> tuple[Source, list[Note]]:
        """Check a view, measure it and keep it.

        Args:
            replace: an existing view of that name; resources on it keep working, so their columns must stay.

        Raises:
            ProblemError: a ``view_…``, ``name_invalid`` or ``source_…`` code.
        """
        existing = {source.name: source for source in self._sources.list()}
        if replace and name in existing and existing[name].kind == VIEW:
            check_name(name)
        else:
            self._sources.check_free(name)
        location = self._location(name, sql)
        source, notes = self._measured(name, location)
        if name in existing:
            self._keeps_resources(existing[name], source)
        self._sources.keep(source, "view:replaced" if name in existing else "view:added")
        return source, notes

    def preview(self, name: str, sql: str, limit: int) -> local_pb2.Preview:
        """The first rows of a source or of SQL not kept yet, as text; at most 20. Nothing of them is written down.

        Raises:
            ProblemError: a ``view_…`` or ``source_…`` code.
        """
        if sql:
            kind, location = VIEW, self._location("", sql)
        else:
            found = self._sources.get(name)
            kind, location = found.kind, found.location
        wanted = min(limit or PREVIEW_ROWS, PREVIEW_ROWS)
        with opened(kind, self._sources.resolved(Source("", kind, location, Measured(0, ())))) as (connection, table):
            described = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()  # noqa: S608
            texts = ", ".join(f"left(CAST({quote(row[0])} AS VARCHAR), {_CELL_CHARACTERS})" for row in described)
            rows = connection.execute(f"SELECT {texts} FROM {table} LIMIT {wanted}").fetchall()  # noqa: S608
        return local_pb2.Preview(
            columns=[link_pb2.Column(name=row[0], type=logical_type(row[1]) or row[1].lower()) for row in described],
            rows=[local_pb2.PreviewRow(values=[local_pb2.PreviewValue(text=value) for value in row]) for row in rows])

    def _location(self, name: str, sql: str) -> str:
        known = frozenset(source.name for source in self._sources.list()) - {name}
        checked: Checked = check(sql, known)
        for table in checked.tables:
            if name and name in self._all_reads(table):
                raise ProblemError(errors.VIEW_TABLE_UNKNOWN, field="sql", table=table)
        return json.dumps({"sql": checked.sql, "sources": list(checked.tables), "functions": list(checked.functions),
                           "unordered": checked.unordered}, ensure_ascii=False)

    def _all_reads(self, name: str) -> set[str]:
        found = {name}
        for read in self._sources.get(name).reads:
            found |= self._all_reads(read)
        return found

    def _measured(self, name: str, location: str) -> tuple[Source, list[Note]]:
        draft = Source(name, VIEW, location, Measured(0, ()))
        notes: list[Note] = []
        with opened(VIEW, self._sources.resolved(draft)) as (connection, table):
            described = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()  # noqa: S608
            columns = tuple(Column(row[0], row[1]) for row in described)
            lowered: set[str] = set()
            for column in columns:
                # DuckDB renames the second of two columns of one name: `age`, `age_1`.
                base, _, number = column.name.rpartition("_")
                if column.name.lower() in lowered or (number.isdigit() and base.lower() in lowered
                                                      and not _named(column.name, location)):
                    raise ProblemError(errors.VIEW_COLUMN_TWICE, field="sql", column=base or column.name)
                lowered.add(column.name.lower())
                if not logical_type(column.type):
                    raise ProblemError(errors.VIEW_COLUMN_TYPE, field="sql", column=column.name, type=column.type)
            counts = ", ".join(f"count({quote(column.name)}), count(DISTINCT {quote(column.name)})" for column in columns)
            found = connection.execute(f"SELECT count(*), {counts} FROM {table}").fetchone() or (0,)  # noqa: S608
            rows = int(found[0])
            if not rows:
                raise ProblemError(errors.VIEW_EMPTY, field="sql")
            for place, column in enumerate(columns):
                present, distinct = found[1 + 2 * place], found[2 + 2 * place]
                if not present:
                    notes.append(note("view_column_null", column=column.name))
                elif distinct == 1 and rows > 1:
                    notes.append(note("view_column_constant", column=column.name))
            single = connection.execute(f"SELECT count(*) FROM (SELECT DISTINCT * FROM {table})").fetchone()  # noqa: S608
            if single and rows > int(single[0]):
                notes.append(note("view_duplicates", rows=rows - int(single[0])))
        largest = max((self._sources.get(read).measured.row_count for read in draft.reads), default=rows)
        if rows > largest:
            notes.append(note("view_more_rows", rows=rows, source_rows=largest))
        return Source(name, VIEW, location, Measured(rows, columns)), notes

    def _keeps_resources(self, before: Source, after: Source) -> None:
        types = {column.name: logical_type(column.type) for column in after.measured.columns}
        was = {column.name: logical_type(column.type) for column in before.measured.columns}
        for row in self._state.all("SELECT name, resource FROM resource WHERE source = ?", (before.name,)):
            for column in link_pb2.Resource.FromString(row["resource"]).columns:
                if types.get(column.name) != was.get(column.name):
                    raise ProblemError(errors.VIEW_IN_USE, field="sql", resource=row["name"], column=column.name)


def _named(column: str, location: str) -> bool:
    """Whether a view's SQL mentions this name itself."""
    return column.lower() in str(json.loads(location)["sql"]).lower()
