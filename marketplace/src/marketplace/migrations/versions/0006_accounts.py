"""Accounts, memberships, sessions and OAuth

Every member of the first version was one person in one organisation: they become an account and its one membership,
which keeps its id, for everything decided so far names it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("locale", sa.String(), nullable=True),
        sa.Column("time_zone", sa.String(), nullable=True),
        sa.Column("totp_sealed", sa.String(), nullable=True),
        sa.Column("totp_pending", sa.String(), nullable=True),
        sa.Column("totp_step", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
    )
    op.execute(
        "INSERT INTO account (id, email, display_name, password_hash, locale, totp_step, created_at) "
        "SELECT 'acct_' || substr(id, 5), email, display_name, password_hash, locale, 0, created_at FROM member")
    op.add_column("member", sa.Column("account_id", sa.String(), nullable=True))
    op.add_column("member", sa.Column("status", sa.String(), nullable=False, server_default="active"))
    op.add_column("member", sa.Column("ended_at", _TIME, nullable=True))
    op.execute("UPDATE member SET account_id = 'acct_' || substr(id, 5)")
    # The unnamed unique constraint on the address goes with its column: SQLite copies the table without it.
    with op.batch_alter_table("member", table_args=(), copy_from=_member() if _sqlite() else None) as batch:
        for column in ("email", "display_name", "password_hash", "locale", "session_epoch"):
            batch.drop_column(column)
        batch.alter_column("account_id", existing_type=sa.String(), nullable=False)
        batch.alter_column("status", existing_type=sa.String(), nullable=False, server_default=None)
        batch.create_foreign_key("member_account_id_fkey", "account", ["account_id"], ["id"])
        batch.create_unique_constraint("member_account_id_organisation_id_key", ["account_id", "organisation_id"])
    op.create_index("ix_member_account_id", "member", ["account_id"], unique=False)
    op.create_table(
        "account_session",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("member_id", sa.String(), nullable=True),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_seen_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    for column in ("account_id", "expires_at"):
        op.create_index(f"ix_account_session_{column}", "account_session", [column], unique=False)


def downgrade() -> None:
    op.drop_table("account_session")
    op.drop_index("ix_member_account_id", "member")
    op.add_column("member", sa.Column("email", sa.String(), nullable=True))
    op.add_column("member", sa.Column("display_name", sa.String(), nullable=False, server_default=""))
    op.add_column("member", sa.Column("password_hash", sa.String(), nullable=False, server_default=""))
    op.add_column("member", sa.Column("locale", sa.String(), nullable=True))
    op.add_column("member", sa.Column("session_epoch", sa.Integer(), nullable=False, server_default="0"))
    # One address can be one member only there: further memberships of a person get one that nobody has.
    op.execute(
        "UPDATE member SET display_name = (SELECT display_name FROM account WHERE account.id = member.account_id), "
        "password_hash = (SELECT coalesce(password_hash, '') FROM account WHERE account.id = member.account_id), "
        "locale = (SELECT locale FROM account WHERE account.id = member.account_id), "
        "email = CASE WHEN id = (SELECT min(other.id) FROM member AS other WHERE other.account_id = member.account_id) "
        "THEN (SELECT email FROM account WHERE account.id = member.account_id) ELSE id END")
    with op.batch_alter_table("member") as batch:
        batch.drop_constraint("member_account_id_organisation_id_key", type_="unique")
        batch.drop_constraint("member_account_id_fkey", type_="foreignkey")
        batch.alter_column("email", existing_type=sa.String(), nullable=False)
        for column in ("account_id", "status", "ended_at"):
            batch.drop_column(column)
        batch.create_unique_constraint("member_email_key", ["email"])
    op.drop_table("account")


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _member() -> sa.Table:
    """The table as it stands half-way, less the unique constraint that SQLite gave no name."""
    return sa.Table(
        "member", sa.MetaData(),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("organisation_id", sa.String(), sa.ForeignKey("organisation.id"), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("locale", sa.String(), nullable=True),
        sa.Column("session_epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("account_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False, server_default="active"),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Index("ix_member_organisation_id", "organisation_id"),
    )
