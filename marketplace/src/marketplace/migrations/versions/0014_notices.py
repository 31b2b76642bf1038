"""Messages and mail: who wants none, what became of mail; deadlines whose handlers failed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0011"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("deadline", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deadline", sa.Column("retry_at", _TIME, nullable=True))
    op.add_column("deadline", sa.Column("error", sa.String(), nullable=False, server_default=""))
    op.add_column("outgoing_mail", sa.Column("error", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "mail_wish",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("account_id"),
    )


def downgrade() -> None:
    op.drop_table("mail_wish")
    op.drop_column("outgoing_mail", "error")
    for column in ("error", "retry_at", "attempts"):
        op.drop_column("deadline", column)
