"""What a sandbox is told: approved resources and columns, their declarations and marginals, and the terms jobs run under."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shuyan.federation.schema import Column, ColumnType, Schema
from shuyan.jobs import digest_of
from shuyan.trust.grants import GrantedApp, GrantedResource, OutputForm, PrivacyTerms, SoleValues

MAX_CELLS: Final = 1_000
WHOLE: Final = 1_000
"""Weights of a marginal are in per mille."""


class DescriptionError(ValueError):
    """This is no description of a sandbox; the text says where."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _whole_as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Edge = Annotated[float, BeforeValidator(_whole_as_float), Field(allow_inf_nan=False)]


def cell_names(labels: Sequence[str] | None, edges: Sequence[float] | None, days: Sequence[str] | None) -> list[str]:
    """What the cells of a marginal are called, for people: its labels, or the limits of its bins; see :class:`Marginal`."""
    limits = list(days or ()) or [f"{edge:g}" for edge in edges or ()]
    return list(labels or ()) or [f"{lower} – {upper}" for lower, upper in itertools.pairwise(limits)]


class Marginal(_Part):
    """How the values of one column spread, as its department approved it for release.

    Attributes:
        labels: values of a dimension, one a weight.
        edges: of a numeric column, the limits of its bins: one more than weights, growing.
        days: the same of a date or timestamp, in ISO 8601; a bin ends before its upper limit.
        weights: per mille of the values present, rounded; what was suppressed is 0.
    """

    labels: tuple[str, ...] = Field(default=(), max_length=MAX_CELLS)
    edges: tuple[Edge, ...] = Field(default=(), max_length=MAX_CELLS)
    days: tuple[str, ...] = Field(default=(), max_length=MAX_CELLS)
    weights: tuple[Annotated[int, Field(ge=0, le=WHOLE)], ...] = Field(min_length=1, max_length=MAX_CELLS)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        given = [bool(self.labels), bool(self.edges), bool(self.days)]
        if sum(given) != 1 or not any(self.weights):
            raise ValueError("one of labels, edges and days, and a weight")
        if self.labels and (len(self.labels) != len(self.weights) or len(set(self.labels)) != len(self.labels)):
            raise ValueError("a weight for each label")
        for limits in (self.edges, tuple(dt.date.fromisoformat(day).toordinal() for day in self.days)):
            if limits and (len(limits) != len(self.weights) + 1 or any(a >= b for a, b in itertools.pairwise(limits))):
                raise ValueError("limits that grow, one more than weights")
        return self

    def fits(self, column: MadeColumn) -> bool:
        """Whether it can be one of a column, as that is declared."""
        if column.identifier:
            return False
        if column.domain:
            return set(self.labels) <= set(column.domain) and bool(self.labels)
        if column.type in ("integer", "number"):
            low = -math.inf if column.lower is None else column.lower
            high = math.inf if column.upper is None else column.upper
            return bool(self.edges) and low <= self.edges[0] and self.edges[-1] <= high
        if column.type == "boolean":
            return bool(self.labels) and set(self.labels) <= {"true", "false"}
        return column.type in ("date", "timestamp") and bool(self.days)


class MadeColumn(_Part):
    """A column to be made up.

    Attributes:
        kind: what identifies in it, one of :data:`shuyan.mockdata.KINDS`; empty: nothing that is known.
        missing: share of rows without a value, in whole percents.
        granted: whether jobs may read it; the column that tells units of privacy apart need not be.
    """

    name: str = Field(min_length=1)
    type: ColumnType
    title: str = ""
    identifier: bool = False
    domain: tuple[str, ...] = ()
    lower: Edge | None = None
    upper: Edge | None = None
    resolution: Edge | None = None
    unit: str = ""
    classification: str = ""
    required: bool = False
    kind: str = ""
    missing: int = Field(default=0, ge=0, le=100)
    granted: bool = True
    marginal: Marginal | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.marginal is not None and not self.marginal.fits(self):
            raise ValueError("a marginal that does not fit what is declared")
        return self

    def declared(self) -> dict[str, Any]:
        """As the catalogue describes it."""
        return {"name": self.name, "type": self.type, "title": self.title, "identifier": self.identifier,
                "domain": list(self.domain), "lower": self.lower, "upper": self.upper, "resolution": self.resolution,
                "unit": self.unit, "classification": self.classification, "required": self.required}


class Described(_Part):
    """One department's resource: the approved columns of it, and what is needed to bound contributions."""

    resource_id: str
    node_id: str
    name: str
    title: str = ""
    columns: tuple[MadeColumn, ...] = Field(min_length=1)

    @cached_property
    def schema_(self) -> Schema:
        """As a node knows it."""
        return {column.name: Column(column.name, column.type, column.identifier, column.domain, column.lower, column.upper,
                                    column.resolution, column.unit, column.classification == "free", column.required) for column in self.columns}

    @property
    def granted(self) -> GrantedResource:
        """What a grant says of it."""
        return GrantedResource(resource_id=self.resource_id, node_id=self.node_id, name=self.name,
                               columns=tuple(column.name for column in self.columns if column.granted))


class Terms(_Part):
    """What a grant says beside its resources, or will say once it is signed."""

    purpose: str
    grantee: str
    apps: tuple[GrantedApp, ...]
    minimum_cohort: int = Field(ge=1)
    minimum_participants: int = Field(ge=3)
    output_forms: tuple[OutputForm, ...] = Field(min_length=1)
    max_output_values: int = Field(ge=1)
    release: Literal["exact", "dp"]
    privacy: PrivacyTerms | None = None
    own_figures: bool = False
    sole_values: tuple[SoleValues, ...] = ()


class Quota(_Part):
    """What a sandbox may use.

    Attributes:
        rows: of mock data a resource of one department, at most.
        storage_mb: of files on the developer's machine.
    """

    runs_a_day: int = Field(ge=0)
    rows: int = Field(ge=1)
    storage_mb: int = Field(ge=1)


class Department(_Part):
    """A department by the id of its node."""

    node_id: str
    name: str


class Description(_Part):
    """All that a sandbox works on.

    Attributes:
        basis: ``grant`` or ``demand``: whose approved list it is, with its id.
        seed: of the mock data; the sandbox's own.
        until: the last day that mock dates fall on.
    """

    version: Literal[1] = 1
    sandbox: str
    scenario: str
    title: str
    basis: Literal["grant", "demand"]
    basis_id: str
    seed: str = Field(min_length=8)
    until: str
    terms: Terms
    departments: tuple[Department, ...] = Field(min_length=3)
    resources: tuple[Described, ...] = Field(min_length=1)
    quota: Quota

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        dt.date.fromisoformat(self.until)
        known = {one.node_id for one in self.departments}
        pairs = [(one.node_id, one.name) for one in self.resources]
        if len(known) != len(self.departments) or len(set(pairs)) != len(pairs) or any(node not in known for node, _ in pairs):
            raise ValueError("a department or resource twice, or one of nobody")
        return self

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of all but the quota."""
        return digest_of(self.model_dump(mode="json", exclude={"quota"}))

    def find(self, name: str) -> list[Described]:
        """Each department's resource of a name, by node id."""
        return sorted((one for one in self.resources if one.name == name), key=lambda one: one.node_id)

    @property
    def names(self) -> list[str]:
        """The names of its resources, sorted."""
        return sorted({one.name for one in self.resources})


def read_description(text: str | bytes) -> Description:
    """A description from its JSON.

    Raises:
        DescriptionError: it is none.
    """
    try:
        return Description.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "description"
        raise DescriptionError(where) from None
