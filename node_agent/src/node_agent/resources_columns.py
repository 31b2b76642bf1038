"""What a department declares about one column, held against the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, cast

from node_agent import errors
from node_agent.classify import CLASSES, DIRECT, Suggestion, resolution
from node_agent.profile import on_step_sql, valid_sql
from node_agent.sources import distinct_values, logical_type, values_not_of
from node_agent.sources_reading import opened
from shuyan.federation import units
from shuyan.federation.schema import SQL_TYPES, ColumnType, quote
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2

MAX_DIMENSION_VALUES: Final = 1_000

MEASURE: Final = "*"
"""In a declaration's domain: "measure this dimension in the data"."""

# Measured type -> the types a department may declare instead. A column without a single value is measured as string.
_DECLARABLE: Mapping[str, frozenset[str]] = {
    "string": frozenset(SQL_TYPES), "integer": frozenset({"number"}), "number": frozenset({"integer"}),
    "date": frozenset({"timestamp"})}


def checked(declared: link_pb2.Column, types: Mapping[str, str], kind: str, location: str, *,
            suggestion: Suggestion | None, accept: bool, measure_step: bool) -> link_pb2.Column:
    """A column as it is registered.

    Args:
        types: measured DuckDB types by column name.
        suggestion: what its values look like; None where there was nothing to see.
        accept: take the suggested classification where none is declared.
        measure_step: take the resolution from the data.

    Raises:
        ProblemError: a ``resource_…``, ``dimension_…``, ``classification_…``, ``resolution_…`` code,
            ``identifier_undeclared``, ``bounds_invalid`` or ``unit_invalid``.
    """
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
    _classify(column, suggestion, accept)
    if column.domain:
        _fill_domain(column, kind, location)
    bounds = [getattr(column, side) for side in ("lower", "upper") if column.HasField(side)]
    if bounds and (column.type not in ("integer", "number") or not all(map(math.isfinite, bounds))
                   or (len(bounds) == 2 and bounds[0] >= bounds[1])):
        raise ProblemError(errors.BOUNDS_INVALID, field="columns", column=name)
    try:
        column.unit = units.normalise(column.unit)
    except units.UnitError:
        raise ProblemError(errors.UNIT_INVALID, field="columns", column=name) from None
    if measure_step or column.HasField("resolution"):
        _check_step(column, kind, location, measure_step)
    return column


def settle_required(columns: Iterable[link_pb2.Column], kind: str, location: str, *, complete: bool) -> None:
    """Hold against the data that every row has a value of the columns declared required; NaN and infinities are none.

    Args:
        complete: declare required, too, whatever column has a value in every row.

    Raises:
        ProblemError: ``required_unfit``.
    """
    looked = [column for column in columns if column.required or (complete and not column.identifier)]
    if not looked:
        return
    # Of the type only, whatever domain or bounds are declared: a value beyond those is one.
    counts = [f"count(*) FILTER (WHERE NOT coalesce({valid_sql(link_pb2.Column(name=column.name, type=column.type))}, false))"
              for column in looked]
    with opened(kind, location) as (connection, table):
        found = connection.execute(f"SELECT {', '.join(counts)} FROM {table}").fetchone()  # noqa: S608
    for column, missing in zip(looked, found or (), strict=True):
        if column.required and missing:
            raise ProblemError(errors.REQUIRED_UNFIT, field="columns", column=column.name, count=missing)
        column.required = not missing


def _classify(column: link_pb2.Column, suggestion: Suggestion | None, accept: bool) -> None:
    if column.classification and column.classification not in CLASSES:
        raise ProblemError(errors.CLASSIFICATION_INVALID, field="columns", column=column.name,
                           classification=column.classification)
    if column.identifier and column.classification not in ("", DIRECT):
        raise ProblemError(errors.CLASSIFICATION_CONFLICT, field="columns", column=column.name,
                           classification=column.classification)
    if not column.classification and not column.identifier and suggestion is not None:
        if accept:
            column.classification = suggestion.classification
        elif suggestion.certain:
            kind, share = suggestion.evidence[0]
            raise ProblemError(errors.IDENTIFIER_UNDECLARED, field="columns", column=column.name, kind=kind,
                               share=round(100 * share))
    if column.identifier:
        column.classification = DIRECT
    column.identifier = column.classification == DIRECT


def _fill_domain(column: link_pb2.Column, kind: str, location: str) -> None:
    if column.identifier:
        raise ProblemError(errors.DIMENSION_IDENTIFIER, field="columns", column=column.name)
    values = list(column.domain)
    found = distinct_values(kind, location, column, MAX_DIMENSION_VALUES) if values == [MEASURE] else values
    if found is None or len(found) > MAX_DIMENSION_VALUES:
        raise ProblemError(errors.DIMENSION_TOO_WIDE, field="columns", column=column.name, limit=MAX_DIMENSION_VALUES)
    del column.domain[:]
    column.domain.extend(dict.fromkeys(found))


def _check_type(column: link_pb2.Column, measured: str, kind: str, location: str) -> None:
    if column.type not in SQL_TYPES:
        raise ProblemError(errors.RESOURCE_TYPE, field="columns", column=column.name, type=column.type)
    if column.type not in _DECLARABLE.get(measured, ()):
        raise ProblemError(errors.RESOURCE_TYPE_UNFIT, field="columns", column=column.name, type=column.type,
                           measured=measured)
    wrong = values_not_of(kind, location, column.name, cast(ColumnType, column.type))
    if wrong:
        raise ProblemError(errors.RESOURCE_TYPE_DIFFERS, field="columns", column=column.name, type=column.type, count=wrong)


def _check_step(column: link_pb2.Column, kind: str, location: str, measure_step: bool) -> None:
    if column.type not in ("integer", "number"):
        raise ProblemError(errors.RESOLUTION_INVALID, field="columns", column=column.name)
    with opened(kind, location) as (connection, table):
        if measure_step:
            step = resolution(connection, table, column.name)
            if step is None:
                raise ProblemError(errors.RESOLUTION_INVALID, field="columns", column=column.name)
            column.resolution = step
            return
        if not (math.isfinite(column.resolution) and column.resolution > 0):
            raise ProblemError(errors.RESOLUTION_INVALID, field="columns", column=column.name)
        value = f"TRY_CAST({quote(column.name)} AS DOUBLE)"
        found = connection.execute(
            f"SELECT count(*) FROM {table} WHERE isfinite({value})"  # noqa: S608
            f" AND NOT ({on_step_sql(column.name, column.resolution)})").fetchone()
    if found and found[0]:
        raise ProblemError(errors.RESOLUTION_UNFIT, field="columns", column=column.name, count=found[0],
                           step=f"{column.resolution:g}")
