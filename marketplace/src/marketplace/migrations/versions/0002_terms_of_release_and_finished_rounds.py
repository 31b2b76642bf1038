"""Terms of release in grants, profiles of resources, results used again, finished rounds, privacy budgets"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_round",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "participants", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("job_id", "number"),
    )
    op.create_table(
        "node_budget",
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("grantee", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("cap_nano", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("spent_nano", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("renewal", sa.String(), nullable=False),
        sa.Column("renews_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delta", sa.Float(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"]),
        sa.PrimaryKeyConstraint("node_id", "scope", "resource", "grantee", "grant_id"),
    )
    # Columns are added in place: SQLite would have to build a table anew for a constraint, which rows that refer to it
    # do not let it do.
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("data_resource", sa.Column("profile", json, nullable=True))
    # What was signed before says nothing of how answers are released, so that no node verifies it any more.
    op.add_column("grant_record", sa.Column("claims_version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("grant_record", sa.Column("release", sa.String(), nullable=False, server_default="exact"))
    op.add_column("grant_record", sa.Column("own_figures", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("job", sa.Column("resources", json, nullable=False, server_default="[]"))
    op.add_column("job", sa.Column("question_digest", sa.String(), nullable=False, server_default=""))
    op.add_column("job", sa.Column("reused_from", sa.String(), nullable=True))
    op.create_index("ix_job_question_digest", "job", ["question_digest"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_job_question_digest", table_name="job")
    op.drop_column("job", "reused_from")
    op.drop_column("job", "question_digest")
    op.drop_column("job", "resources")
    op.drop_column("grant_record", "own_figures")
    op.drop_column("grant_record", "release")
    op.drop_column("grant_record", "claims_version")
    op.drop_column("data_resource", "profile")
    op.drop_table("node_budget")
    op.drop_table("run_round")
