"""Resources: what the department declares about a source and offers to the market under a name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from node_agent import errors
from node_agent.journal import Journal
from node_agent.sources import (
    Sources,
    check_name,
    distinct_values,
    logical_type,
    measure,
    values_not_of,
)
from node_agent.state import State
from shuyan.federation.schema import SQL_TYPES, Column, ColumnType, Schema
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

MAX_DIMENSION_VALUES = 1_000

SECTORS = frozenset({
    "manufacturing", "agriculture", "commerce", "transport", "finance", "science", "culture_tourism", "health",
    "meteorology", "urban_governance", "livelihood", "environment"})

# Measured type -> the types a department may declare instead. A column without a single value is measured as string.
_DECLARABLE: Mapping[str, frozenset[str]] = {
    "string": frozenset(SQL_TYPES), "integer": frozenset({"number"}), "number": frozenset({"integer"}),
    "date": frozenset({"timestamp"})}

# In a declaration's domain: "measure this dimension in the data".
MEASURE = "*"


@dataclass(frozen=True)
class Registered:
    """A registered resource and where its rows are."""

    resource: link_pb2.Resource
    source: str
    kind: str
    location: str
    resource_id: str

    @cached_property
    def schema(self) -> Schema:
        """Its columns by name, as computations know them."""
        return {column.name: Column(column.name, cast(ColumnType, column.type), column.identifier,
                                    tuple(column.domain), column.lower if column.HasField("lower") else None,
                                    column.upper if column.HasField("upper") else None, None, column.unit)
                for column in self.resource.columns}

    def message(self) -> local_pb2.RegisteredResource:
        """For the administrator's service."""
        return local_pb2.RegisteredResource(resource=self.resource, source=self.source, resource_id=self.resource_id)


class Resources:
    """The resources of one node."""

    def __init__(self, state: State, journal: Journal, sources: Sources) -> None:
        self._state = state
        self._journal = journal
        self._sources = sources
        self._by_name: dict[str, Registered] | None = None

    @property
    def by_name(self) -> Mapping[str, Registered]:
        """All resources by name; read from the database once a change."""
        if self._by_name is None:
            self._by_name = {item.resource.name: item for item in map(_registered, self._state.all(
                "SELECT r.*, s.kind, s.location FROM resource r JOIN source s ON s.name = r.source ORDER BY r.name"))}
        return self._by_name

    def refresh(self) -> None:
        """Forget what was read: another connection changed it."""
        self._by_name = None

    def register(self, source_name: str, declared: link_pb2.Resource) -> link_pb2.Resource:
        """Register or replace a resource. Types and the row count are measured, not believed.

        ``declared.columns`` may name a subset (empty: every column of a supported type); a column's ``domain`` of
        ``["*"]`` asks for the dimension's values to be measured. A column's ``type`` may be declared where the data
        leave it open (no value at all, numbers among text); every value is then tried.

        Raises:
            ProblemError: ``name_invalid``, ``source_not_found``, ``source_unreadable`` or a ``resource_…``,
                ``dimension_…``, ``bounds_invalid`` code.
        """
        check_name(declared.name)
        if not 1 <= declared.grade <= 4:
            raise ProblemError(errors.RESOURCE_GRADE, field="grade")
        if declared.sector not in SECTORS:
            raise ProblemError(errors.RESOURCE_SECTOR, field="sector", sector=declared.sector)
        if declared.approval not in ("automatic", "manual"):
            raise ProblemError(errors.RESOURCE_APPROVAL, field="approval")
        source = self._sources.get(source_name)
        measured = measure(source.kind, source.location)
        types = {column.name: column.type for column in measured.columns}
        wanted = list(declared.columns) or [
            link_pb2.Column(name=name) for name, kind in types.items() if logical_type(kind)]
        resource = link_pb2.Resource()
        resource.CopyFrom(declared)
        resource.title = declared.title or declared.name
        resource.row_count = measured.row_count
        del resource.columns[:]
        for column in wanted:
            resource.columns.append(self._column(column, types, source.kind, source.location))
        with self._state.transaction():
            self._state.execute(
                "INSERT INTO resource (name, source, resource) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET source = excluded.source, resource = excluded.resource",
                (resource.name, source_name, resource.SerializeToString()))
            self._journal.append("resource:registered", name=resource.name, source=source_name, grade=resource.grade,
                                 rows=resource.row_count, columns=len(resource.columns), approval=resource.approval)
        self._by_name = None
        return resource

    @staticmethod
    def _column(declared: link_pb2.Column, types: dict[str, str], kind: str, location: str) -> link_pb2.Column:
        name = declared.name
        if name not in types:
            raise ProblemError(errors.RESOURCE_COLUMN, field="columns", column=name)
        measured = logical_type(types[name])
        if not measured:
            raise ProblemError(errors.RESOURCE_COLUMN_TYPE, field="columns", column=name, type=types[name])
        column = link_pb2.Column()
        column.CopyFrom(declared)
        column.type = declared.type or measured
        if column.type != measured:
            _check_type(column, measured, kind, location)
        column.title = declared.title or name
        if column.domain:
            if column.identifier:
                raise ProblemError(errors.DIMENSION_IDENTIFIER, field="columns", column=name)
            values = list(column.domain)
            found = distinct_values(kind, location, column, MAX_DIMENSION_VALUES) if values == [MEASURE] else values
            if found is None or len(found) > MAX_DIMENSION_VALUES:
                raise ProblemError(errors.DIMENSION_TOO_WIDE, field="columns", column=name, limit=MAX_DIMENSION_VALUES)
            del column.domain[:]
            column.domain.extend(dict.fromkeys(found))
        bounds = [getattr(column, side) for side in ("lower", "upper") if column.HasField(side)]
        if bounds and (column.type not in ("integer", "number") or not all(map(math.isfinite, bounds))
                       or (len(bounds) == 2 and bounds[0] >= bounds[1])):
            raise ProblemError(errors.BOUNDS_INVALID, field="columns", column=name)
        return column

    def list(self) -> list[Registered]:
        """All resources, by name."""
        return list(self.by_name.values())

    def find(self, name: str) -> Registered | None:
        """One resource, or None."""
        return self.by_name.get(name)

    def withdraw(self, name: str) -> None:
        """Take a resource off the market.

        Raises:
            ProblemError: ``resource_not_found``.
        """
        if self.find(name) is None:
            raise ProblemError(errors.RESOURCE_NOT_FOUND, field="name", name=name)
        with self._state.transaction():
            self._state.execute("DELETE FROM resource WHERE name = ?", (name,))
            self._journal.append("resource:withdrawn", name=name)
        self._by_name = None

    def accepted(self, ids: dict[str, str]) -> None:
        """Remember the ids the marketplace gave."""
        changed = [(given, name) for name, given in ids.items()
                   if (known := self.find(name)) is not None and known.resource_id != given]
        if changed:
            with self._state.transaction():
                for given, name in changed:
                    self._state.execute("UPDATE resource SET resource_id = ? WHERE name = ?", (given, name))
            self._by_name = None

    def frame(self) -> link_pb2.Resources:
        """The complete list for the coordinator."""
        return link_pb2.Resources(resources=[item.resource for item in self.list()])


def _check_type(column: link_pb2.Column, measured: str, kind: str, location: str) -> None:
    if column.type not in SQL_TYPES:
        raise ProblemError(errors.RESOURCE_TYPE, field="columns", column=column.name, type=column.type)
    if column.type not in _DECLARABLE.get(measured, ()):
        raise ProblemError(errors.RESOURCE_TYPE_UNFIT, field="columns", column=column.name, type=column.type,
                           measured=measured)
    wrong = values_not_of(kind, location, column.name, cast(ColumnType, column.type))
    if wrong:
        raise ProblemError(errors.RESOURCE_TYPE_DIFFERS, field="columns", column=column.name, type=column.type, count=wrong)


def _registered(row: Any) -> Registered:
    return Registered(link_pb2.Resource.FromString(row["resource"]), row["source"], row["kind"], row["location"],
                      row["resource_id"])
