"""Reports on candidate outputs, and why an output was approved against its report"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("egress_review", sa.Column("report", json, nullable=True))
    op.add_column("egress_review", sa.Column("override_reason", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("egress_review", "override_reason")
    op.drop_column("egress_review", "report")
