"""Registration of parties, credit lists, ownership"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null)


def _organisation() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"])


def upgrade() -> None:
    op.create_table(
        "registration",
        _text("id"), _text("organisation_id"), _text("party"), _text("status"), _text("name_zh"), _text("name_en"),
        _text("credit_code"), _text("contact_name"), _text("contact_phone"), _text("contact_email"), _text("statement"),
        sa.Column("qualifications", _JSON, nullable=False),
        sa.Column("no_incidents", sa.Boolean(), nullable=False),
        sa.Column("ownership_declared", sa.Boolean(), nullable=False),
        sa.Column("checks", _JSON, nullable=False),
        sa.Column("comments", _JSON, nullable=False),
        _text("reason"),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("submitted_at", _TIME, nullable=True),
        _text("submitted_by"), _text("checked_by"), _text("decided_by"),
        sa.Column("decided_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        _organisation(), sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("organisation_id"),
    )
    op.create_table(
        "standing_measure",
        _text("id"), _text("organisation_id"), _text("action"), _text("cause"), _text("reason"), _text("status"), _text("made_by"),
        sa.Column("created_at", _TIME, nullable=False),
        _organisation(), sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "credit_list",
        _text("id"), _text("kind"), _text("source"),
        sa.Column("published_on", sa.Date(), nullable=False),
        _text("digest"),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        _text("imported_by"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("kind", "digest"),
    )
    op.create_table(
        "credit_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        _text("list_id"), _text("name"), _text("credit_code", null=True), _text("reason"),
        sa.Column("until", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["list_id"], ["credit_list.id"]), sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "credit_hit",
        _text("id"), _text("organisation_id"), _text("kind"), _text("list_id"), _text("matched_by"), _text("reason"), _text("status"),
        _text("decided_by"), _text("note"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        _organisation(), sa.ForeignKeyConstraint(["list_id"], ["credit_list.id"]), sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "shareholding",
        _text("id"), _text("organisation_id"), _text("owner_code"), _text("owner_name"), _text("owned_code"), _text("owned_name"),
        sa.Column("share_bp", sa.Integer(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        _text("declared_by"),
        sa.Column("created_at", _TIME, nullable=False),
        _organisation(), sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "partner_filing",
        _text("id"), _text("organisation_id"), _text("status"), _text("name"), _text("credit_code"), _text("cooperation"),
        _text("qualifications"), _text("duties"),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        _text("submitted_by"),
        sa.Column("submitted_at", _TIME, nullable=True),
        _text("decided_by"), _text("reason"),
        sa.Column("created_at", _TIME, nullable=False),
        _organisation(), sa.PrimaryKeyConstraint("id"),
    )
    for table, columns in _INDEXES.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column], unique=False)


_INDEXES = {
    "registration": ("status", "credit_code"),
    "standing_measure": ("organisation_id",),
    "credit_list": ("kind", "current"),
    "credit_entry": ("list_id", "name", "credit_code"),
    "credit_hit": ("organisation_id", "status"),
    "shareholding": ("organisation_id", "owner_code", "owned_code"),
    "partner_filing": ("status", "organisation_id"),
}


def downgrade() -> None:
    for table in ("partner_filing", "shareholding", "credit_hit", "credit_entry", "credit_list", "standing_measure", "registration"):
        op.drop_table(table)
