"""What the market's interface returns, as plain records.

Fields added by a newer market are kept and readable as attributes. Times are aware datetimes in UTC; every ``…_fen``
is an integer number of fen (1/100 yuan).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Base of all records; ``model_dump(mode="json")`` gives back what the market sent."""

    model_config = ConfigDict(extra="allow")


class Column(Record):
    """A column of a resource; ``domain`` lists the values of a dimension, empty for any other column."""

    name: str
    type: str
    title: str = ""
    identifier: bool = False
    domain: list[str] = Field(default_factory=list)
    unit: str = ""
    lower: float | None = None
    upper: float | None = None


class Resource(Record):
    """A table registered by a department's node. Its rows never leave that node."""

    id: str
    node_id: str
    organisation_id: str
    name: str
    title: str
    sector: str
    grade: int
    row_count: int
    columns: list[Column] = Field(default_factory=list)
    approval: str = "manual"
    status: str = "active"


class Node(Record):
    """A department's node as the market sees it."""

    id: str
    organisation_id: str
    name: str
    status: str
    connected: bool = False
    last_seen_at: dt.datetime | None = None


class App(Record):
    """A federated app that grants can name."""

    name: str
    version: str
    digest: str
    title_zh: str = ""
    title_en: str = ""


class Scenario(Record):
    """A purpose for which data may be asked."""

    id: str
    organisation_id: str
    title: str
    purpose: str
    sector: str
    status: str


class Demand(Record):
    """The list of data that one scenario asks for."""

    id: str
    scenario_id: str
    organisation_id: str
    status: str
    body: dict[str, Any] = Field(default_factory=dict)
    reason: str = ""


class Permission(Record):
    """A grant as the market keeps it; ``jws`` is the authority's signed statement itself."""

    id: str
    demand_id: str
    scenario_id: str
    organisation_id: str
    digest: str
    status: str
    not_before: dt.datetime
    expires_at: dt.datetime
    jws: str = ""


class LogLine(Record):
    """One line of a job's log, in the language asked for."""

    sequence: int
    at: dt.datetime
    level: str = "info"
    code: str = ""
    text: str = ""


class Review(Record):
    """The decision whether a job's output may leave the domain."""

    id: str
    job_id: str
    status: str
    checks: list[dict[str, Any]] = Field(default_factory=list)
    note: str = ""


class Order(Record):
    """A purchase. ``number`` is what the buyer writes on the bank transfer."""

    id: str
    number: str
    organisation_id: str
    product_id: str
    amount_fen: int
    status: str
    currency: str = "CNY"
    created_at: dt.datetime | None = None
    paid_at: dt.datetime | None = None


class Entitlement(Record):
    """The right to call a product during a term."""

    id: str
    order_id: str
    organisation_id: str
    product_id: str
    included_calls: int
    call_fee_fen: int
    starts_at: dt.datetime
    ends_at: dt.datetime
    status: str = "active"
