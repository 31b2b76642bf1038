"""What nodes answer to holds and revocations, whose suspension a hold is, and when an opinion on what leaves is due"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0019"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "stop_seen",
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"]),
        sa.PrimaryKeyConstraint("cause_id", "node_id"),
    )
    op.add_column("grant_record", sa.Column("revoked_in", sa.Integer(), nullable=True))
    with op.batch_alter_table("grant_hold") as table:
        table.add_column(sa.Column("agreement_id", sa.String(), nullable=True))
        table.create_foreign_key("fk_grant_hold_agreement_id", "agreement", ["agreement_id"], ["id"])
    op.add_column("egress_opinion", sa.Column("due_at", _TIME, nullable=True))


def downgrade() -> None:
    op.drop_column("egress_opinion", "due_at")
    with op.batch_alter_table("grant_hold") as table:
        table.drop_constraint("fk_grant_hold_agreement_id", type_="foreignkey")
        table.drop_column("agreement_id")
    op.drop_column("grant_record", "revoked_in")
    op.drop_table("stop_seen")
