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
    """A column of a resource.

    Attributes:
        domain: the values of a dimension; empty for any other column.
        required: every row has a value.
    """

    name: str
    type: str
    title: str = ""
    identifier: bool = False
    domain: list[str] = Field(default_factory=list)
    unit: str = ""
    lower: float | None = None
    upper: float | None = None
    resolution: float | None = None
    classification: str = ""
    required: bool = False


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
    profile: dict[str, Any] | None = None
    """Quality as measured at the node, in whole percents."""
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
    """A federated app that grants can name; the schemas are JSON Schema."""

    name: str
    version: str
    digest: str
    title_zh: str = ""
    title_en: str = ""
    output_form: str = ""
    noisy: bool = False
    """Whether it can answer with noise, under a grant whose release is ``dp``."""
    params_schema: dict[str, Any] = Field(default_factory=dict)
    content_schema: dict[str, Any] | None = None
    allowed_at: list[str] = Field(default_factory=list)
    """Departments whose node allows this version; empty unless signed in."""
    developer: str = ""
    """The organisation that submitted it; empty for an app that comes with the product."""
    versions: list[dict[str, Any]] = Field(default_factory=list)
    """Accepted versions of a developer's app, the highest first: ``{version, digest, allowed_at}``."""


class Budget(Record):
    """A privacy budget at one department, as its node last told; ε is that of ρ at ``delta``."""

    node_id: str
    department: str
    scope: str
    resource: str = ""
    grantee: str = ""
    grant_id: str = ""
    cap_nano: int
    spent_nano: int
    left_nano: int
    delta: float
    epsilon_cap: float
    epsilon_spent: float
    renewal: str = "never"
    renews_at: dt.datetime | None = None
    told_at: dt.datetime | None = None


class Explanation(Record):
    """What a query or job would do; nothing was asked of a department and nothing spent.

    Attributes:
        resources: by name, the columns that are read.
        departments: ``{node_id, name, approval, allowed}``.
        computes: what each node works out: ``{sql, group_by, cells}`` of a query.
        leaves: the first question's vectors, seen only as sums over all departments.
        rounds: questions put to each department at most; 0: not known beforehand.
        cells: groups the result could have.
        cohort: fewest rows that a released figure rests on.
        cost: ``{rho_nano, epsilon, delta, short}`` at each department; ``None`` for exact answers.
        errors: the noise on the sums: ``{question, vector, deviation, half_width}``.
        open_key: of a query by undeclared values, how they are found: ``{title, max_keys, key_bytes, threshold, delta}``.
        notes: ``{code, text}``.
        answered_before: the job whose result would be given again at no cost.
    """

    app: str
    release: str
    resources: dict[str, list[str]]
    departments: list[dict[str, Any]]
    computes: list[dict[str, Any]]
    leaves: list[dict[str, Any]]
    rounds: int
    cells: int | None = None
    cohort: int
    cost: dict[str, Any] | None = None
    errors: list[dict[str, Any]] = Field(default_factory=list)
    open_key: dict[str, Any] | None = None
    notes: list[dict[str, str]] = Field(default_factory=list)
    answered_before: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)


class LogLine(Record):
    """One line of a job's log, in the language asked for."""

    sequence: int
    at: dt.datetime
    level: str = "info"
    code: str = ""
    text: str = ""


class Review(Record):
    """The decision whether a job's output may leave the domain.

    Attributes:
        report: findings with figures and sentences; None for outputs older than reports are.
        override_reason: why it was approved against the report.
        opinions: of one review, who decides and what each has said: ``{party, organisation_id, decision, note, …}``.
        actions: of one review, ``approve`` and ``reject`` if the caller may decide now.
    """

    id: str
    job_id: str
    status: str
    checks: list[dict[str, Any]] = Field(default_factory=list)
    report: dict[str, Any] | None = None
    note: str = ""
    override_reason: str = ""
    opinions: list[dict[str, Any]] = Field(default_factory=list)
    actions: list[str] = Field(default_factory=list)


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


class CardPayment(Record):
    """An order's payment by card. ``url`` is Stripe's page to pay on, while it is open; ``declined``: the last attempt there."""

    id: str
    order_id: str
    status: str
    amount_fen: int
    currency: str = "CNY"
    url: str | None = None
    declined: bool = False
    created_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None


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
