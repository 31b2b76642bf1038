"""Scenarios that are argued, demands that are reviewed, withdrawal by those responsible, total volume of resources

What was granted stays granted. Demands that nobody had decided yet come back to be submitted for the review that there is
now, and scenarios without a grant start as drafts.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_TEXT = sa.String()


_ADDED: dict[str, tuple[tuple[str, Any, str | None], ...]] = {
    "scenario": (("necessity", _TEXT, ""), ("benefit", _TEXT, ""), ("effect", _TEXT, ""), ("months", sa.Integer(), "12"),
                 ("version", sa.Integer(), "1"), ("form_key", _TEXT, None), ("submitted_by", _TEXT, ""), ("reason", _TEXT, "")),
    "data_demand": (("version", sa.Integer(), "1"), ("follows_id", _TEXT, None), ("form_key", _TEXT, None),
                    ("submitted_by", _TEXT, ""), ("struck", _JSON, "[]"), ("mode", _TEXT, ""), ("operation_id", _TEXT, None),
                    ("agreement_id", _TEXT, None), ("submitted_at", _TIME, None)),
    "grant_record": (("mode", _TEXT, ""), ("operation_id", _TEXT, None), ("agreement_id", _TEXT, None)),
}


def upgrade() -> None:
    for table, columns in _ADDED.items():
        for name, kind, default in columns:
            op.add_column(table, sa.Column(name, kind, nullable=default is None, server_default=default))
    for table in ("scenario", "data_demand"):
        op.create_index(f"uq_{table}_form_key", table, ["organisation_id", "form_key"], unique=True)
        op.create_index(f"ix_{table}_status", table, ["status"])
    op.execute("UPDATE scenario SET status = 'draft' WHERE status = 'proposed'")
    op.execute("UPDATE data_demand SET status = 'returned', reason = '审核流程已更新，请重新提交。' WHERE status = 'submitted'")
    _tables()
    _lines()


def _tables() -> None:
    op.create_table(
        "scenario_version",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("scenario_id", _TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.Column("submitted_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scenario_id", "version"),
    )
    op.create_index("ix_scenario_version_scenario_id", "scenario_version", ["scenario_id"])
    op.create_table(
        "demand_version",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("demand_id", _TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("submitted_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["demand_id"], ["data_demand.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("demand_id", "version"),
    )
    op.create_index("ix_demand_version_demand_id", "demand_version", ["demand_id"])
    op.create_table(
        "review_opinion",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stage", _TEXT, nullable=False),
        sa.Column("organisation_id", _TEXT, nullable=False),
        sa.Column("party", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("struck", _JSON, nullable=False),
        sa.Column("comments", _JSON, nullable=False),
        sa.Column("note", _TEXT, nullable=False),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("decided_at", _TIME, nullable=True),
        sa.Column("decided_by", _TEXT, nullable=True),
        sa.Column("decided_for", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("subject", "version", "stage", "organisation_id"),
    )
    for column in ("subject", "organisation_id", "status"):
        op.create_index(f"ix_review_opinion_{column}", "review_opinion", [column])
    op.create_table(
        "sector_department",
        sa.Column("sector", _TEXT, nullable=False),
        sa.Column("organisation_id", _TEXT, nullable=False),
        sa.Column("set_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("sector"),
    )
    op.create_index("ix_sector_department_organisation_id", "sector_department", ["organisation_id"])
    op.create_table(
        "volume_limit",
        sa.Column("resource_id", _TEXT, nullable=False),
        sa.Column("max_grants", sa.Integer(), nullable=True),
        sa.Column("max_rows", _BIG, nullable=True),
        sa.Column("period", _TEXT, nullable=False),
        sa.Column("set_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.PrimaryKeyConstraint("resource_id"),
    )
    op.create_table(
        "volume_use",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("resource_id", _TEXT, nullable=False),
        sa.Column("rows", _BIG, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "resource_id"),
    )
    for column in ("resource_id", "at"):
        op.create_index(f"ix_volume_use_{column}", "volume_use", [column])
    op.create_table(
        "granted_line",
        sa.Column("grant_id", _TEXT, nullable=False),
        sa.Column("resource_id", _TEXT, nullable=False),
        sa.Column("node_id", _TEXT, nullable=False),
        sa.Column("organisation_id", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["grant_id"], ["grant_record.id"]),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("grant_id", "resource_id"),
    )
    for column in ("resource_id", "node_id", "organisation_id"):
        op.create_index(f"ix_granted_line_{column}", "granted_line", [column])
    op.create_table(
        "grant_hold",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("grant_id", _TEXT, nullable=False),
        sa.Column("organisation_id", _TEXT, nullable=True),
        sa.Column("party", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("cause", _TEXT, nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("placed_by", _TEXT, nullable=False),
        sa.Column("placed_at", _TIME, nullable=False),
        sa.Column("ended_by", _TEXT, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["grant_id"], ["grant_record.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("grant_id", "organisation_id", "status"):
        op.create_index(f"ix_grant_hold_{column}", "grant_hold", [column])


def _lines() -> None:
    """The resources of the grants there are, from what was signed."""
    connection = op.get_bind()
    owners = {row.id: row for row in connection.execute(sa.text("SELECT id, node_id, organisation_id FROM data_resource"))}
    lines = sa.table("granted_line", *(sa.column(name) for name in ("grant_id", "resource_id", "node_id", "organisation_id")))
    for grant in connection.execute(sa.text("SELECT id, jws FROM grant_record")).all():
        for resource_id in _resources(grant.jws):
            if (owner := owners.get(resource_id)) is not None:
                connection.execute(lines.insert().values(grant_id=grant.id, resource_id=resource_id, node_id=owner.node_id,
                                                         organisation_id=owner.organisation_id))


def _resources(jws: str) -> list[str]:
    payload = jws.split(".")[1] if jws.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return sorted({str(item["resource_id"]) for item in claims["resources"]})
    except (ValueError, KeyError, TypeError):  # altered: it is no grant, and is shown as such
        return []


def downgrade() -> None:
    for table in ("grant_hold", "granted_line", "volume_use", "volume_limit", "sector_department", "review_opinion",
                  "demand_version", "scenario_version"):
        op.drop_table(table)
    for table in ("scenario", "data_demand"):
        op.drop_index(f"uq_{table}_form_key", table)
        op.drop_index(f"ix_{table}_status", table)
    for table, columns in _ADDED.items():
        for name, _kind, _default in columns:
            op.drop_column(table, name)
