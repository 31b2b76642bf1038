"""Catalogue: what resources are declared to be, claims, the negative list, quality, objections, search"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from marketplace.catalogue import rules, tokens
from marketplace.settings import settings

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def upgrade() -> None:
    with op.batch_alter_table("data_resource") as batch:
        for name in ("standard", "frequency", "steward"):
            batch.add_column(sa.Column(name, sa.String(), nullable=False, server_default=""))
        batch.add_column(sa.Column("tags", _JSON, nullable=False, server_default="[]"))
        batch.add_column(_text("code", nullable=True))
        batch.create_unique_constraint("uq_data_resource_code", ["code"])
    with op.batch_alter_table("data_resource") as batch:
        for name in ("standard", "frequency", "steward", "tags"):
            batch.alter_column(name, server_default=None)
    _search()
    _elements()
    _negative()
    _quality()
    _fill(op.get_bind())


def _search() -> None:
    op.create_table(
        "resource_index",
        sa.Column("number", _BIG, nullable=False, autoincrement=True),
        _text("resource_id"), _text("title"), sa.Column("row_count", _BIG, nullable=False),
        sa.Column("quality", sa.Integer(), nullable=False), sa.Column("updated", _BIG, nullable=False), _text("sector"),
        sa.Column("grade", sa.Integer(), nullable=False), _text("organisation_id"), _text("frequency"), _text("standard"),
        _text("tags"), sa.Column("poor", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]), sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("resource_id"), sqlite_autoincrement=True)
    for name in ("title", "row_count", "quality", "updated"):
        op.create_index(f"ix_resource_index_{name}", "resource_index", [name, "number"])
    op.create_index("ix_resource_index_organisation_id", "resource_index", ["organisation_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE resource_words (number BIGINT PRIMARY KEY REFERENCES resource_index(number) ON DELETE CASCADE,"
                   " words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX ix_resource_words ON resource_words USING gin (words)")
    else:
        op.execute("CREATE VIRTUAL TABLE resource_words USING fts5(words, detail=none, columnsize=0)")
    op.create_table("resource_count", _text("facet"), _text("value"), sa.Column("count", sa.Integer(), nullable=False),
                    sa.PrimaryKeyConstraint("facet", "value"))
    op.create_table(
        "resource_change", sa.Column("index", _BIG, nullable=False, autoincrement=False), _text("resource_id"), _text("kind"),
        sa.Column("changes", _JSON, nullable=False), sa.Column("at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]), sa.PrimaryKeyConstraint("index"))
    op.create_index("ix_resource_change_resource_id", "resource_change", ["resource_id"])


def _elements() -> None:
    op.create_table(
        "element", _text("name"), _text("status"), _text("resource_id", nullable=True), _text("column", nullable=True),
        sa.Column("conflict_since", _TIME, nullable=True), sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.PrimaryKeyConstraint("name"))
    op.create_index("ix_element_status", "element", ["status"])
    op.create_table(
        "element_claim", _text("id"), _text("element"), _text("resource_id"), _text("column"), _text("organisation_id"),
        sa.Column("source", sa.Boolean(), nullable=False), sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False), sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]), sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("resource_id", "column"))
    for name in ("element", "organisation_id"):
        op.create_index(f"ix_element_claim_{name}", "element_claim", [name])
    op.create_table(
        "element_decision", _text("id"), _text("element"), _text("resource_id"), _text("column"), _text("organisation_id"),
        sa.Column("claimants", _JSON, nullable=False), _text("reason"), _text("decided_by"),
        sa.Column("created_at", _TIME, nullable=False), sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]), sa.PrimaryKeyConstraint("id"))
    op.create_index("ix_element_decision_element", "element_decision", ["element"])


def _negative() -> None:
    op.create_table(
        "negative_entry", _text("id"), sa.Column("version", sa.Integer(), nullable=False), _text("kind"),
        _text("resource_id", nullable=True), _text("column"), _text("field"), _text("pattern"), _text("reason"),
        sa.Column("effective_from", _TIME, nullable=False), _text("status"), sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]), sa.PrimaryKeyConstraint("id"))
    for name in ("resource_id", "status"):
        op.create_index(f"ix_negative_entry_{name}", "negative_entry", [name])
    op.create_table(
        "negative_version", _text("entry_id"), sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("body", _JSON, nullable=False), _text("decided_by"), sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["negative_entry.id"]), sa.PrimaryKeyConstraint("entry_id", "version"))


def _quality() -> None:
    op.create_table(
        "quality_report", _text("id"), _text("resource_id"), sa.Column("measured_at", _TIME, nullable=False),
        sa.Column("row_count", _BIG, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("completeness", "validity", "uniqueness")),
        sa.Column("timeliness", sa.Integer(), nullable=True), sa.Column("columns", _JSON, nullable=False),
        sa.Column("below", _JSON, nullable=False), sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]), sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("resource_id", "measured_at"))
    op.create_index("ix_quality_report_resource_id", "quality_report", ["resource_id"])
    op.create_table(
        "quality_objection", _text("id"), _text("resource_id"), _text("organisation_id"), _text("department_id"), _text("column"),
        _text("measure"), _text("text"), _text("status"), sa.Column("due_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False), sa.Column("updated_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["department_id"], ["organisation.id"]), sa.PrimaryKeyConstraint("id"))
    for name in ("resource_id", "organisation_id", "department_id", "status"):
        op.create_index(f"ix_quality_objection_{name}", "quality_objection", [name])
    op.create_table(
        "quality_objection_step", _text("objection_id"), sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        _text("action"), _text("status"), _text("organisation_id", nullable=True), _text("text"),
        sa.Column("created_at", _TIME, nullable=False), sa.ForeignKeyConstraint(["objection_id"], ["quality_objection.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]), sa.PrimaryKeyConstraint("objection_id", "number"))


def _fill(connection: sa.Connection) -> None:
    """Give what is registered already its code, its place in the index and its history."""
    found = sa.MetaData()
    found.reflect(connection, only=["data_resource", "organisation", "resource_index", "resource_change", "resource_count", "audit_event"])
    resource, organisation, index, change, event = (found.tables[name] for name in (
        "data_resource", "organisation", "resource_index", "resource_change", "audit_event"))
    names = {row.id: (row.name_zh, row.name_en) for row in connection.execute(sa.select(organisation))}
    counts: dict[tuple[str, str], int] = {}
    serials: dict[int, int] = {}
    for row in connection.execute(sa.select(resource).order_by(resource.c.id)).mappings().all():
        year = rules.year_of(row["created_at"].replace(tzinfo=row["created_at"].tzinfo or dt.UTC))
        serials[year] = serials.get(year, 0) + 1
        connection.execute(resource.update().where(resource.c.id == row["id"]).values(
            code=rules.registration_code(settings().city_code, year, serials[year])))
        if row["status"] != "active":
            continue
        item: dict[str, Any] = {**row, "columns": _list(row["columns"]), "tags": [], "standard": "", "frequency": "",
                                "quality": rules.overall(_list(row["profile"]))}
        key = connection.execute(index.insert().values(
            resource_id=row["id"], title=row["title"], row_count=row["row_count"], quality=item["quality"], updated=0,
            sector=row["sector"], grade=row["grade"], organisation_id=row["organisation_id"], frequency="", standard="", tags="",
            poor=False)).inserted_primary_key
        assert key is not None
        number = key[0]
        words = tokens.of_resource(item, names.get(row["organisation_id"], ()))
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("INSERT INTO resource_words VALUES (:number, array_to_tsvector(:words))"),
                               {"number": number, "words": words})
        else:
            connection.execute(sa.text("INSERT INTO resource_words (rowid, words) VALUES (:number, :words)"),
                               {"number": number, "words": " ".join(words)})
        values = [("sector", row["sector"]), ("grade", str(row["grade"])), ("organisation_id", row["organisation_id"]),
                  *(("quality", str(band)) for band in tokens.BANDS if item["quality"] >= band)]
        for pair in values:
            counts[pair] = counts.get(pair, 0) + 1
    if counts:
        connection.execute(found.tables["resource_count"].insert(), [
            {"facet": facet, "value": value, "count": count} for (facet, value), count in counts.items()])
    known = sa.select(resource.c.id)
    prefix = "catalogue:resource:"
    for made in connection.execute(sa.select(event.c.index, event.c.tag, event.c.subject, event.c.at).where(
            event.c.tag.like(prefix + "%"), event.c.subject.in_(known)).order_by(event.c.index)).all():
        connection.execute(change.insert().values(index=made.index, resource_id=made.subject, kind=made.tag.removeprefix(prefix),
                                                  changes=[] if connection.dialect.name == "postgresql" else "[]", at=made.at))


def _list(value: Any) -> Any:
    """A JSON value, which a reflected SQLite table gives as text."""
    return json.loads(value) if isinstance(value, str) else value


def downgrade() -> None:
    for name in ("quality_objection_step", "quality_objection", "quality_report", "negative_version", "negative_entry",
                 "element_decision", "element_claim", "element", "resource_change", "resource_count", "resource_words", "resource_index"):
        op.drop_table(name)
    with op.batch_alter_table("data_resource") as batch:
        batch.drop_constraint("uq_data_resource_code", type_="unique")
        for name in ("code", "tags", "steward", "frequency", "standard"):
            batch.drop_column(name)
