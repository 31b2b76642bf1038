"""Sandboxes of scenarios, the runs told of, and marginals that departments approve"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sandbox",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("scenario_id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("seed", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("opened_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scenario_id"),
    )
    op.create_index("ix_sandbox_organisation_id", "sandbox", ["organisation_id"], unique=False)
    op.create_table(
        "sandbox_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("submitted_by", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("app_digest", sa.String(), nullable=False),
        sa.Column("params", _JSON, nullable=False),
        sa.Column("resources", _JSON, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("description_digest", sa.String(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("result_digest", sa.String(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["sandbox_id"], ["sandbox.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("digest", "organisation_id", "sandbox_id"):
        op.create_index(f"ix_sandbox_run_{column}", "sandbox_run", [column], unique=False)
    op.create_table(
        "resource_marginals",
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("epsilon", sa.Float(), nullable=True),
        sa.Column("columns", _JSON, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("measured_at", _TIME, nullable=False),
        sa.Column("offered_at", _TIME, nullable=False),
        sa.Column("decided_at", _TIME, nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["resource_id"], ["data_resource.id"]),
        sa.PrimaryKeyConstraint("resource_id"),
    )
    op.create_index("ix_resource_marginals_organisation_id", "resource_marginals", ["organisation_id"], unique=False)
    op.create_index("ix_resource_marginals_status", "resource_marginals", ["status"], unique=False)
    op.add_column("job", sa.Column("sandbox_run_id", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "sandbox_run_id")
    for table in ("resource_marginals", "sandbox_run", "sandbox"):
        op.drop_table(table)
