"""Second factors, invitations, guessing, connected apps

Programs registered so far keep getting tokens as they did: by client credentials. Mail written so far holds no secret.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _people()
    _apps()


def _people() -> None:
    op.add_column("account", sa.Column("email_verified_at", _TIME, nullable=True))
    op.execute("UPDATE account SET email_verified_at = created_at")  # whoever set the market up vouched for them
    op.create_table(
        "guess_counter",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_at", _TIME, nullable=False),
        sa.Column("blocked_until", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_guess_counter_last_at", "guess_counter", ["last_at"], unique=False)
    op.create_table(
        "recovery_code",
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("code_hash"),
    )
    op.create_table(
        "reset_link",
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_table(
        "member_invitation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("roles", _JSON, nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("link_hash", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("invited_by", sa.String(), nullable=False),
        sa.Column("member_id", sa.String(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("closed_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
        sa.UniqueConstraint("link_hash"),
    )
    op.create_table(
        "external_identity",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("issuer", "subject"),
    )
    for table in ("recovery_code", "reset_link", "external_identity"):
        op.create_index(f"ix_{table}_account_id", table, ["account_id"], unique=False)
    op.create_index("ix_member_invitation_organisation_id", "member_invitation", ["organisation_id"], unique=False)
    with op.batch_alter_table("outgoing_mail") as batch:
        batch.add_column(sa.Column("sealed", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("outgoing_mail") as batch:
        batch.alter_column("sealed", existing_type=sa.Boolean(), nullable=False, server_default=None)


def _apps() -> None:
    op.add_column("api_client", sa.Column("grants", _JSON, nullable=False, server_default='["client_credentials"]'))
    op.add_column("api_client", sa.Column("redirect_uris", _JSON, nullable=False, server_default="[]"))
    with op.batch_alter_table("api_client") as batch:
        batch.alter_column("organisation_id", existing_type=sa.String(), nullable=True)
        batch.alter_column("secret_hash", existing_type=sa.String(), nullable=True)
        batch.alter_column("grants", existing_type=_JSON, nullable=False, server_default=None)
        batch.alter_column("redirect_uris", existing_type=_JSON, nullable=False, server_default=None)
    op.create_table(
        "app_connection",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("issued_at", _TIME, nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"]),
        sa.ForeignKeyConstraint(["client_id"], ["api_client.client_id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("account_id", "member_id", "client_id"):
        op.create_index(f"ix_app_connection_{column}", "app_connection", [column], unique=False)
    op.create_table(
        "refresh_token",
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["app_connection.id"]),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_table(
        "authorisation_code",
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("redirect_uri", sa.String(), nullable=False),
        sa.Column("code_challenge", sa.String(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["app_connection.id"]),
        sa.PrimaryKeyConstraint("code_hash"),
    )
    for table in ("refresh_token", "authorisation_code"):
        op.create_index(f"ix_{table}_connection_id", table, ["connection_id"], unique=False)
    op.create_table(
        "device_code",
        sa.Column("device_hash", sa.String(), nullable=False),
        sa.Column("user_code", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=True),
        sa.Column("interval", sa.Integer(), nullable=False),
        sa.Column("polled_at", _TIME, nullable=True),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["api_client.client_id"]),
        sa.ForeignKeyConstraint(["connection_id"], ["app_connection.id"]),
        sa.PrimaryKeyConstraint("device_hash"),
        sa.UniqueConstraint("user_code"),
    )
    with op.batch_alter_table("access_token") as batch:
        batch.add_column(sa.Column("connection_id", sa.String(), nullable=True))
        batch.create_foreign_key("access_token_connection_id_fkey", "app_connection", ["connection_id"], ["id"])
        batch.create_index("ix_access_token_connection_id", ["connection_id"], unique=False)


def downgrade() -> None:
    # What people allowed apps has no place in the version before.
    op.execute("DELETE FROM access_token WHERE connection_id IS NOT NULL")
    with op.batch_alter_table("access_token") as batch:
        batch.drop_index("ix_access_token_connection_id")
        batch.drop_constraint("access_token_connection_id_fkey", type_="foreignkey")
        batch.drop_column("connection_id")
    for table in ("device_code", "authorisation_code", "refresh_token", "app_connection"):
        op.drop_table(table)
    op.execute("DELETE FROM access_token WHERE client_id IN "
               "(SELECT client_id FROM api_client WHERE organisation_id IS NULL OR secret_hash IS NULL)")
    op.execute("DELETE FROM api_client WHERE organisation_id IS NULL OR secret_hash IS NULL")
    with op.batch_alter_table("api_client") as batch:
        batch.drop_column("redirect_uris")
        batch.drop_column("grants")
        batch.alter_column("organisation_id", existing_type=sa.String(), nullable=False)
        batch.alter_column("secret_hash", existing_type=sa.String(), nullable=False)
    # A sealed body says nothing to a version that cannot open it.
    op.execute("DELETE FROM outgoing_mail WHERE sealed")
    with op.batch_alter_table("outgoing_mail") as batch:
        batch.drop_column("sealed")
    for table in ("external_identity", "member_invitation", "reset_link", "recovery_code", "guess_counter"):
        op.drop_table(table)
    op.drop_column("account", "email_verified_at")
