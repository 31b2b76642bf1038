"""The automatic egress checks: what a candidate output must be before a person decides on it. Pure functions.

The coordinator runs them on the result of a run; nothing that fails one is stored. The nodes have checked their own
contributions before; these checks judge the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant

MAX_BYTES: Final = 8 * 1024 * 1024
"""Largest result, as canonical JSON; a result is read by people and pages, not a bulk transfer."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Moments(_Shape):
    """``None`` where a group has no or too few observations of the column."""

    count: int | float | None
    sum: float | int | None
    mean: float | int | None
    variance: float | int | None
    sd: float | int | None


class Cell(_Shape):
    group: dict[str, str | int | float | bool]
    rows: int = Field(ge=0)
    columns: dict[str, Moments]


class Table(_Shape):
    group_by: list[str]
    cells: list[Cell]
    suppressed: int = Field(ge=0)


class Histogram(_Shape):
    column: str
    edges: list[float | int]
    counts: list[int | None]
    suppressed: int = Field(ge=0)


class Statistics(_Shape):
    """Content of ``kind`` ``statistics``."""

    kind: str = Field(pattern="^statistics$")
    resource: str
    rows: int = Field(ge=0)
    departments: int = Field(ge=0)
    tables: list[Table]
    histograms: list[Histogram]
    minimum_cohort: int = Field(ge=1)


class Feature(_Shape):
    name: str
    type: str = Field(pattern="^(number|category)$")
    levels: list[str] = []
    mean: float | int | list[float | int] | None = None  # a category has one a level but the first
    sd: float | int | list[float | int] | None = None


class Model(_Shape):
    """Content of ``kind`` ``model``."""

    kind: str = Field(pattern="^model$")
    family: str = Field(pattern="^(logistic|linear)$")
    target: str
    features: list[Feature]
    terms: list[str]
    coefficients: list[float | int]
    intercept: float | int
    l2: float | int
    rows: int = Field(ge=0)
    departments: int = Field(ge=0)
    rounds: int = Field(ge=0)
    converged: bool
    metrics: dict[str, float | int | None]
    standardise: str = Field(pattern="^(pooled|department)$")


SHAPES: Final[dict[str, type[BaseModel]]] = {"statistics": Statistics, "model": Model}
"""What content of a kind looks like where its app does not say so itself."""

KINDS: Final[dict[str, frozenset[str]]] = {"statistics": frozenset({"statistics", "table"}), "model": frozenset({"model"})}
"""By output form, the kinds of content it may have."""


@dataclass(frozen=True)
class Check:
    """One check's outcome; ``args`` hold counts only."""

    code: str
    passed: bool
    args: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_output(form: str, content: Any, grant: Grant, *, participants: int, rows: int,
                 content_model: type[BaseModel] | None = None) -> list[Check]:
    """All automatic checks of one candidate output, in a fixed order.

    Args:
        form: the app's declared output form, ``statistics`` or ``model``.
        content: the candidate, as the app returned it.
        participants: departments whose data is in it.
        rows: the fewest rows any sum of the run was about, as the nodes counted them; the content is not believed.
        content_model: the app's own strict model of its content.
    """
    kind = content.get("kind") if isinstance(content, dict) else None
    shape = content_model or SHAPES.get(form)
    encoded = _encoded(content)
    fits = encoded is not None and shape is not None and kind in KINDS.get(form, ()) and _fits(shape, encoded)
    checks = [
        Check("form_allowed", form in grant.output_forms and form in KINDS, {"form": form}),
        Check("shape", fits),
        Check("finite", encoded is not None and all(math.isfinite(n) for n in numbers(content))),
        Check("size", encoded is not None and len(encoded) <= MAX_BYTES and _count(content) <= grant.max_output_values,
              {"values": _count(content), "maximum": grant.max_output_values}),
        Check("participants", participants >= grant.minimum_participants,
              {"participants": participants, "minimum": grant.minimum_participants}),
        Check("rows", rows >= grant.minimum_cohort, {"rows": rows, "minimum": grant.minimum_cohort}),
    ]
    if form == "statistics" and grant.release == "exact":  # with noise, a count tells nothing of any one row
        small = _small_cells(content, grant.minimum_cohort) if fits else 0
        checks.append(Check("cells", fits and small == 0, {"cells": small, "minimum": grant.minimum_cohort}))
    checks.append(Check("stated_facts", fits and _stated(content, participants, rows, exact=grant.release == "exact")))
    return checks


def failed(checks: list[Check]) -> list[str]:
    """Codes of the checks that failed."""
    return [check.code for check in checks if not check.passed]


def numbers(value: Any) -> Iterator[float]:
    """Every number in a JSON value, booleans excluded."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _count(content: Any) -> int:
    return sum(1 for _ in numbers(content))


def _encoded(content: Any) -> bytes | None:
    try:
        return rfc8785.dumps(content)
    except (rfc8785.CanonicalizationError, RecursionError):  # NaN, infinity, integers beyond 2^53, foreign types
        return None


def _fits(shape: type[BaseModel], encoded: bytes) -> bool:
    try:
        value = shape.model_validate_json(encoded)  # as JSON, because strict models take JSON arrays for tuples
    except (ValidationError, RecursionError):
        return False
    if isinstance(value, Model):
        return len(value.coefficients) == len(value.terms)
    if isinstance(value, Statistics):
        return all(set(cell.group) == set(table.group_by) for table in value.tables for cell in table.cells) and all(
            len(histogram.edges) == len(histogram.counts) + 1 for histogram in value.histograms)
    columns, rows = getattr(value, "columns", None), getattr(value, "rows", None)
    if isinstance(columns, list) and isinstance(rows, list):
        return all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    return True


def _small_cells(content: dict[str, Any], minimum: int) -> int:
    """How many published figures rest on fewer rows than the grant's cohort; a suppressed one must be gone."""
    if content["kind"] == "table":
        return _small_counts(content, minimum)
    try:
        value = Statistics.model_validate(content)
    except ValidationError:  # an app with a form of its own
        return sum(1 for count in row_counts(content) if count < minimum)
    small = 0
    for table in value.tables:
        for cell in table.cells:
            small += cell.rows < minimum
            # a column with too few observations publishes nothing at all, not even how few
            small += sum(1 for m in cell.columns.values() if m.count is not None and m.count < minimum)
            small += sum(1 for m in cell.columns.values() if m.count is None and (m.sum, m.mean, m.variance, m.sd) != (None,) * 4)
    for histogram in value.histograms:
        # an empty bin or cell tells that nobody is there, which is as telling as a small one
        small += sum(1 for count in histogram.counts if count is not None and count < minimum)
    return small


def _small_counts(content: dict[str, Any], minimum: int) -> int:
    """How many counts in a query's table are below the cohort."""
    counted = counted_places(content)
    if counted is None:
        return 1  # no query that was asked here
    shown = [row[place] for row in content["rows"] for place in counted if row[place] is not None]
    return sum(1 for count in shown if not isinstance(count, int | float) or count < minimum)


def counted_places(content: dict[str, Any]) -> list[int] | None:
    """Which columns of a query's table plainly count rows of a resource; None where there is no query."""
    from sqlglot import exp

    from shuyan.federation.sql.gate import parse

    try:
        tree = parse(str(content["sql"]))
    except ProblemError:
        return None
    if tree.args.get("with_") is not None or not isinstance(tree.args["from_"].this, exp.Table):
        return []  # it may count groups that were released
    return [place for place, item in enumerate(tree.expressions)
            if isinstance(item.unalias(), exp.Count) and not item.find(exp.Distinct)]


_COUNTED: Final = frozenset({"rows", "count", "counts", "cohort", "cohorts"})
"""What numbers of rows are called in contents."""


def row_counts(value: Any, name: str = "") -> Iterator[float]:
    """The numbers in a JSON value that say how many rows something is about."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from row_counts(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from row_counts(item, name)
    elif name in _COUNTED and isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _stated(content: dict[str, Any], participants: int, rows: int, *, exact: bool) -> bool:
    if content["kind"] == "table" and (content.get("release") == "exact") != exact:
        return False
    said = content.get("rows_used" if content["kind"] == "table" else "rows", -1)
    return content.get("departments") == participants and (not exact or (isinstance(said, int) and said <= rows))
