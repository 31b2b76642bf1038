"""What a grant gives: its tables and their columns as all departments together describe them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import NUMERIC
from marketplace.computing.submission import union
from marketplace.db import utc_now
from marketplace.web.i18n import title_of
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class GrantedColumn:
    """A column of a granted table.

    Attributes:
        domain: the declared values of all departments; empty where one of them declares none.
        lower, upper: the widest of the declared bounds, if every department declares them.
    """

    name: str
    title: str
    type: str
    unit: str
    domain: list[str]
    lower: float | None
    upper: float | None

    @property
    def numeric(self) -> bool:
        """Whether a computation may take it as a number."""
        return self.type in NUMERIC


@dataclass
class GrantedTable:
    """A resource under a grant: the rows of all departments that have it."""

    name: str
    title: str
    resource_id: str  # of one of its departments
    departments: list[str] = field(default_factory=list)
    columns: list[GrantedColumn] = field(default_factory=list)

    @property
    def numbers(self) -> list[GrantedColumn]:
        """Columns that can be taken as numbers."""
        return [column for column in self.columns if column.numeric]

    @property
    def dimensions(self) -> list[GrantedColumn]:
        """Columns with declared values."""
        return [column for column in self.columns if column.domain]

    @property
    def features(self) -> list[GrantedColumn]:
        """Columns a model may use: numbers, and others with declared values."""
        return [column for column in self.columns if column.numeric or column.domain]


def usable(db: Any, actor: Any) -> list[tuple[Any, Any]]:
    """The grants this actor's organisation may use now: (record, claims), newest first."""
    out = []
    for record in authorisation.list_grants(db, actor, limit=100).items:
        if record.organisation_id != actor.organisation_id:
            continue
        try:
            out.append(authorisation.usable_grant(db, record.id, utc_now()))
        except ProblemError:
            continue
    return out


def tables(db: Any, grant: Any) -> list[GrantedTable]:
    """The resources of a grant by name; of columns, those that every department offers and describes alike."""
    rows = catalogue.resources_by_id(db, [item.resource_id for item in grant.resources])
    names = {node.node_id: node.name for node in grant.nodes}
    found: dict[str, list[Any]] = {}
    for item in grant.resources:
        row = rows.get(item.resource_id)
        if row is not None and row.status == "active":
            found.setdefault(item.name, []).append((item, row))
    return [_table(name, have, names) for name, have in found.items()]


def _table(name: str, have: list[Any], names: dict[str, str]) -> GrantedTable:
    table = GrantedTable(name, title_of(have[0][1]), have[0][1].id, [names.get(item.node_id, item.node_id) for item, _row in have])
    described = [{column["name"]: column for column in row.columns
                  if column["name"] in item.columns and not column.get("identifier")} for item, row in have]
    for column_name, first in described[0].items():
        columns = [columns[column_name] for columns in described if column_name in columns]
        kinds = {column["type"] for column in columns}
        if len(columns) < len(have) or (len(kinds) > 1 and not kinds <= NUMERIC):
            continue
        domains = [list(column.get("domain") or ()) for column in columns]
        lower = [column["lower"] for column in columns if column.get("lower") is not None]
        upper = [column["upper"] for column in columns if column.get("upper") is not None]
        table.columns.append(GrantedColumn(
            column_name, str(first.get("title") or ""), "number" if len(kinds) > 1 else str(first["type"]),
            str(first.get("unit") or ""), union(domains) if all(domains) else [],
            min(lower) if len(lower) == len(columns) else None, max(upper) if len(upper) == len(columns) else None))
    return table


def find(found: list[GrantedTable], name: str) -> GrantedTable | None:
    """The table called ``name``."""
    return next((table for table in found if table.name == name), None)
