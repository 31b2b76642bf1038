"""Resources: what the department declares about a source and offers to the market under a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from node_agent import errors
from node_agent.classify import QUASI, SENSITIVE, Suggestion, classify
from node_agent.journal import Journal
from node_agent.profile import PERIOD_DAYS, measure_profile
from node_agent.resources_columns import MAX_DIMENSION_VALUES, MEASURE, checked, settle_required
from node_agent.risk import measure_risk
from node_agent.sources import Measured, Source, Sources, check_name, logical_type, measure
from node_agent.state import State
from node_agent.views import Note, note
from shuyan.federation import problems
from shuyan.federation.schema import Column, ColumnType, Schema
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

__all__ = ["MAX_DIMENSION_VALUES", "MEASURE", "SECTORS", "Declaration", "Registered", "Resources"]

SECTORS = frozenset({
    "manufacturing", "agriculture", "commerce", "transport", "finance", "science", "culture_tourism", "health",
    "meteorology", "urban_governance", "livelihood", "environment"})

_REASON = range(4, 501)
_TELEPHONE = re.compile(r"\d[\d\s()+-]{5,}\d")


@dataclass(frozen=True)
class Declaration:
    """What goes with a registration beside the resource itself.

    Attributes:
        accept_classification: take the suggested classification of every column that declares none.
        accept_risk: why a risk of re-identification above the node's limit is accepted.
        date_column: the column that timeliness is measured by.
        resolution: columns whose resolution is taken from the data.
        require_complete: declare every column required that has a value in every row now.
    """

    accept_classification: bool = False
    accept_risk: str = ""
    date_column: str = ""
    resolution: tuple[str, ...] = ()
    require_complete: bool = False


@dataclass(frozen=True)
class Registered:
    """A registered resource and where its rows are."""

    resource: link_pb2.Resource
    source: str
    kind: str
    resource_id: str
    resolve: Callable[[], str] = field(repr=False, compare=False)
    risk: local_pb2.Risk | None = None

    @property
    def location(self) -> str:
        """All that reading it needs, the database's password as it is now included: into no log with it.

        Raises:
            ProblemError: ``source_unavailable``.
        """
        try:
            return self.resolve()
        except ProblemError:
            raise ProblemError(problems.SOURCE_UNAVAILABLE) from None

    @cached_property
    def schema(self) -> Schema:
        """Its columns by name, as computations know them."""
        return {column.name: Column(
            column.name, cast(ColumnType, column.type), column.identifier, tuple(column.domain),
            _given(column, "lower"), _given(column, "upper"), _given(column, "resolution"), column.unit,
            column.classification == "free", column.required)
            for column in self.resource.columns}

    def message(self) -> local_pb2.RegisteredResource:
        """For the administrator's service."""
        return local_pb2.RegisteredResource(resource=self.resource, source=self.source, resource_id=self.resource_id,
                                            risk=self.risk)


class Resources:
    """The resources of one node.

    Args:
        highest_risk: the share of rows in small classes that registers without a reason, asked when needed.
    """

    def __init__(self, state: State, journal: Journal, sources: Sources,
                 highest_risk: Callable[[], float] = lambda: 1.0) -> None:
        self._state = state
        self._journal = journal
        self._sources = sources
        self._highest_risk = highest_risk
        self._by_name: dict[str, Registered] | None = None

    @property
    def by_name(self) -> Mapping[str, Registered]:
        """All resources by name; read from the database once a change."""
        if self._by_name is None:
            self._by_name = {row["name"]: self._registered(row) for row in self._state.all(
                "SELECT r.*, s.kind, m.risk FROM resource r JOIN source s ON s.name = r.source"
                " LEFT JOIN measured m ON m.name = r.name ORDER BY r.name")}
        return self._by_name

    def _registered(self, row: Any) -> Registered:
        source = row["source"]
        return Registered(link_pb2.Resource.FromString(row["resource"]), source, row["kind"], row["resource_id"],
                          lambda: self._sources.resolved(self._sources.get(source)),
                          local_pb2.Risk.FromString(row["risk"]) if row["risk"] else None)

    def refresh(self) -> None:
        """Forget what was read: another connection changed it."""
        self._by_name = None

    def register(self, source_name: str, declared: link_pb2.Resource,
                 also: Declaration | None = None) -> link_pb2.Resource:
        """Register or replace a resource. Types, the row count, quality and risk are measured, not believed.

        ``declared.columns`` may name a subset (empty: every column of a supported type); a column's ``domain`` of
        ``["*"]`` asks for the dimension's values to be measured. A column's ``type`` may be declared where the data
        leave it open (no value at all, numbers among text); every value is then tried.

        Raises:
            ProblemError: ``name_invalid``, a ``source_…``, ``resource_…``, ``dimension_…``, ``classification_…`` or
                ``risk_…`` code, ``identifier_undeclared``, ``bounds_invalid``, ``unit_invalid``, ``date_column``.
        """
        also = also or Declaration()
        check_name(declared.name)
        if not 1 <= declared.grade <= 4:
            raise ProblemError(errors.RESOURCE_GRADE, field="grade")
        if declared.sector not in SECTORS:
            raise ProblemError(errors.RESOURCE_SECTOR, field="sector", sector=declared.sector)
        if declared.approval not in ("automatic", "manual"):
            raise ProblemError(errors.RESOURCE_APPROVAL, field="approval")
        _check_entry(declared)
        if also.accept_risk and len(also.accept_risk.strip()) not in _REASON:
            raise ProblemError(errors.RISK_REASON, field="accept_risk")
        source = self._sources.get(source_name)
        location = self._sources.resolved(source)
        measured = measure(source.kind, location)
        types = {column.name: column.type for column in measured.columns}
        wanted = list(declared.columns) or [
            link_pb2.Column(name=name) for name, kind in types.items() if logical_type(kind)]
        seen = self._suggestions(source, location, measured, [column.name for column in wanted])
        resource = link_pb2.Resource()
        resource.CopyFrom(declared)
        resource.title = declared.title or declared.name
        resource.row_count = measured.row_count
        del resource.columns[:]
        for column in wanted:
            resource.columns.append(checked(
                column, types, source.kind, location, suggestion=seen.get(column.name),
                accept=also.accept_classification, measure_step=column.name in also.resolution))
        settle_required(resource.columns, source.kind, location, complete=also.require_complete)
        _check_date(resource, also.date_column)
        risk = self._risk(resource, source.kind, location, also.accept_risk.strip())
        profile, distributions = measure_profile(source.kind, location, resource.columns, also.date_column,
                                                 resource.update_frequency)
        resource.profile.CopyFrom(profile)
        with self._state.transaction():
            self._state.execute(
                "INSERT INTO resource (name, source, resource) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET source = excluded.source, resource = excluded.resource",
                (resource.name, source_name, resource.SerializeToString()))
            self._keep_measured(resource.name, risk, distributions, also.date_column)
            extra: dict[str, Any] = {"risk_accepted": risk.accepted} if risk is not None and risk.accepted else {}
            if risk is not None:
                extra |= {"k": risk.smallest_class, "quasi_identifiers": len(risk.quasi)}
            self._journal.append("resource:registered", name=resource.name, source=source_name, grade=resource.grade,
                                 rows=resource.row_count, columns=len(resource.columns), approval=resource.approval,
                                 **extra)
        self._by_name = None
        return resource

    @staticmethod
    def _suggestions(source: Source, location: str, measured: Measured, names: Sequence[str]) -> dict[str, Suggestion]:
        found = classify(source.kind, location, rows=measured.row_count, steps=False, only=names)
        return {column.name: column for column in found.columns}

    def _risk(self, resource: link_pb2.Resource, kind: str, location: str, reason: str) -> local_pb2.Risk | None:
        """Measured over the declared quasi-identifiers; refused above the limit unless there is a reason."""
        risk = _measured_risk(resource, kind, location)
        limit = self._highest_risk()
        if risk is not None and risk.share_below_5 > limit:
            if not reason:
                raise ProblemError(errors.RISK_TOO_HIGH, quasi=", ".join(risk.quasi), share=f"{100 * risk.share_below_5:.1f}",
                                   limit=f"{100 * limit:g}", smallest=risk.smallest_class)
            risk.accepted = reason
        return risk

    def _keep_measured(self, name: str, risk: local_pb2.Risk | None, distributions: Sequence[local_pb2.Distribution],
                       date_column: str) -> None:
        details = local_pb2.ResourceDetails(distributions=distributions)
        self._state.execute(
            "INSERT INTO measured VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET risk = excluded.risk,"
            " details = excluded.details, date_column = excluded.date_column",
            (name, risk.SerializeToString() if risk is not None else b"", details.SerializeToString(), date_column))

    def measure_again(self, name: str = "") -> list[tuple[str, int, int, list[Note]]]:
        """Measure row counts and quality anew: (name, rows before, rows, notes) for one resource or all.

        What is declared (types, domains, bounds) stays; where the data no longer fit it, a note says so. A resource
        that cannot be read keeps its figures.

        Raises:
            ProblemError: ``resource_not_found``.
        """
        if name and self.find(name) is None:
            raise ProblemError(errors.RESOURCE_NOT_FOUND, field="name", name=name)
        return [self._again(item) for item in self.list() if name in ("", item.resource.name)]

    def _again(self, item: Registered) -> tuple[str, int, int, list[Note]]:
        resource = link_pb2.Resource()
        resource.CopyFrom(item.resource)
        before, notes = resource.row_count, list[Note]()
        row = self._state.one("SELECT r.resource, m.date_column FROM resource r LEFT JOIN measured m ON m.name = r.name"
                              " WHERE r.name = ?", (resource.name,))
        stored, date_column = (row["resource"], row["date_column"] or "") if row else (b"", "")
        source = self._sources.get(item.source)
        try:
            location = self._sources.resolved(source)
            measured = measure(source.kind, location)
            types = {column.name: column.type for column in measured.columns}
            gone = [column.name for column in resource.columns if column.name not in types]
            if gone:
                return resource.name, before, before, [note("refresh_column_gone", column=each) for each in gone]
            profile, distributions = measure_profile(source.kind, location, resource.columns, date_column,
                                                     resource.update_frequency)
            risk = _measured_risk(resource, source.kind, location)
        except ProblemError as problem:
            return resource.name, before, before, [note("refresh_failed", reason=problem.code)]
        notes += [note("refresh_invalid", column=now.name, validity=now.validity) for now, was in zip(
            profile.columns, resource.profile.columns, strict=False) if now.validity < was.validity]
        notes += [note("refresh_incomplete", column=column.name) for column, now in zip(
            resource.columns, profile.columns, strict=True) if column.required and now.completeness < 100]
        if 2 * measured.row_count < before:
            notes.append(note("refresh_fewer_rows", before=before, rows=measured.row_count))
        if risk is not None and item.risk is not None:
            risk.accepted = item.risk.accepted
            if risk.share_below_5 > self._highest_risk() and not risk.accepted:
                notes.append(note("refresh_risk", share=f"{100 * risk.share_below_5:.1f}"))
        changed = measured.row_count != before
        resource.row_count = measured.row_count
        resource.profile.CopyFrom(profile)
        with self._state.transaction():
            # Measuring takes a while: what was registered anew or withdrawn meanwhile stays as it is.
            done = self._state.execute("UPDATE resource SET resource = ? WHERE name = ? AND resource = ?",
                                       (resource.SerializeToString(), resource.name, stored)).rowcount
            if not done:
                return resource.name, before, before, []
            self._state.execute("UPDATE source SET row_count = ? WHERE name = ?", (measured.row_count, source.name))
            self._keep_measured(resource.name, risk, distributions, date_column)
            if changed:
                self._journal.append("resource:measured", name=resource.name, before=before, rows=resource.row_count)
        self._by_name = None
        return resource.name, before, resource.row_count, notes

    def details(self, name: str) -> local_pb2.ResourceDetails:
        """A resource with all that is measured about it.

        Raises:
            ProblemError: ``resource_not_found``.
        """
        found = self.find(name)
        if found is None:
            raise ProblemError(errors.RESOURCE_NOT_FOUND, field="name", name=name)
        row = self._state.one("SELECT details FROM measured WHERE name = ?", (name,))
        details = local_pb2.ResourceDetails.FromString(row["details"]) if row else local_pb2.ResourceDetails()
        details.resource.CopyFrom(found.message())
        return details

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
        approved = {row["name"]: row["approved"] for row in self._state.all("SELECT name, approved FROM marginals WHERE approved IS NOT NULL")}
        frame = link_pb2.Resources(resources=[item.resource for item in self.list()])
        for resource in frame.resources:
            resource.ClearField("marginals")  # only what the administrator approved goes out
            if resource.name in approved:
                resource.marginals.ParseFromString(approved[resource.name])
        return frame


def _measured_risk(resource: link_pb2.Resource, kind: str, location: str) -> local_pb2.Risk | None:
    quasi = [column.name for column in resource.columns if column.classification == QUASI]
    sensitive = [column.name for column in resource.columns if column.classification == SENSITIVE]
    return measure_risk(kind, location, quasi, sensitive) if quasi else None


def _given(column: link_pb2.Column, name: str) -> float | None:
    return float(getattr(column, name)) if column.HasField(name) else None  # type: ignore[arg-type]


def _check_entry(declared: link_pb2.Resource) -> None:
    """What the market's entry says beside title and description; the market checks the same."""
    if declared.update_frequency not in ("", *PERIOD_DAYS):
        raise ProblemError(errors.RESOURCE_FREQUENCY, field="update_frequency", frequency=declared.update_frequency)
    elements = [column.element for column in declared.columns]
    for name, texts, limit in (("standard", [declared.standard], 120), ("steward", [declared.steward], 120), ("tags", declared.tags, 40),
                               ("elements", elements, 120)):
        if not all(len(text) <= limit and text.isprintable() for text in texts) or (name == "tags" and len(texts) > 20):
            raise ProblemError(errors.RESOURCE_ENTRY, field=name, name=name)
    if _TELEPHONE.search(declared.steward):
        raise ProblemError(errors.RESOURCE_STEWARD, field="steward")
    if any(column.authoritative and not column.element for column in declared.columns):
        raise ProblemError(errors.RESOURCE_ELEMENT, field="columns")


def _check_date(resource: link_pb2.Resource, name: str) -> None:
    if name and not any(column.name == name and column.type in ("date", "timestamp") for column in resource.columns):
        raise ProblemError(errors.DATE_COLUMN, field="date_column", column=name)
