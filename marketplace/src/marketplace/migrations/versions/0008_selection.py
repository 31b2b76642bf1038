"""Operator selection; agreements with their versions of terms, signatures and renewals"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "agreement",
        _text("id"),
        _text("kind"),
        _text("grantor_id"),
        _text("grantee_id"),
        _text("operation_id", nullable=True),
        _text("scenario_id", nullable=True),
        _text("demand_id", nullable=True),
        _text("title_zh"),
        _text("title_en"),
        _text("status"),
        _text("mode"),
        sa.Column("version", sa.Integer(), nullable=False),
        _text("drafted_by"),
        _text("approved_by", nullable=True),
        _text("reason"),
        sa.Column("effective_at", _TIME, nullable=True),
        sa.Column("ends_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["grantor_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["grantee_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["operation_id"], ["agreement.id"]),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"]),
        sa.ForeignKeyConstraint(["demand_id"], ["data_demand.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("kind", "grantor_id", "grantee_id", "operation_id", "scenario_id", "demand_id", "status"):
        op.create_index(f"ix_agreement_{column}", "agreement", [column], unique=False)
    op.create_table(
        "agreement_version",
        _text("id"),
        _text("agreement_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("terms", _JSON, nullable=False),
        _text("digest"),
        _text("proposed_by"),
        _text("author"),
        _text("note"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["agreement_id"], ["agreement.id"]),
        sa.ForeignKeyConstraint(["proposed_by"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("agreement_id", "number"),
    )
    op.create_index("ix_agreement_version_agreement_id", "agreement_version", ["agreement_id"], unique=False)
    op.create_table(
        "agreement_signature",
        _text("id"),
        _text("agreement_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        _text("digest"),
        _text("organisation_id"),
        _text("signed_by"),
        sa.Column("signed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["agreement_id"], ["agreement.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("agreement_id", "number", "organisation_id"),
    )
    op.create_index("ix_agreement_signature_agreement_id", "agreement_signature", ["agreement_id"], unique=False)
    op.create_table(
        "agreement_renewal",
        _text("id"),
        _text("agreement_id"),
        _text("organisation_id"),
        _text("statement"),
        _text("status"),
        sa.Column("version", sa.Integer(), nullable=True),
        _text("reason"),
        _text("asked_by"),
        _text("decided_by", nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["agreement_id"], ["agreement.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("agreement_id", "organisation_id", "status"):
        op.create_index(f"ix_agreement_renewal_{column}", "agreement_renewal", [column], unique=False)
    _selection()


def _selection() -> None:
    op.create_table(
        "selection",
        _text("id"),
        _text("organisation_id"),
        _text("title_zh"),
        _text("title_en"),
        _text("conditions"),
        sa.Column("criteria", _JSON, nullable=False),
        _text("status"),
        sa.Column("apply_until", _TIME, nullable=False),
        _text("drafted_by"),
        sa.Column("published_at", _TIME, nullable=True),
        sa.Column("ranking", _JSON, nullable=False),
        _text("candidate_id", nullable=True),
        sa.Column("terms", _JSON, nullable=False),
        _text("concluded_by", nullable=True),
        _text("approved_by", nullable=True),
        _text("agreement_id", nullable=True),
        _text("reason"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.ForeignKeyConstraint(["agreement_id"], ["agreement.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("organisation_id", "status", "agreement_id"):
        op.create_index(f"ix_selection_{column}", "selection", [column], unique=False)
    op.create_table(
        "selection_application",
        _text("id"),
        _text("selection_id"),
        _text("organisation_id"),
        _text("statement"),
        _text("status"),
        _text("submitted_by"),
        _text("reason"),
        sa.Column("submitted_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["selection_id"], ["selection.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("selection_id", "organisation_id"),
    )
    for column in ("selection_id", "organisation_id", "status"):
        op.create_index(f"ix_selection_application_{column}", "selection_application", [column], unique=False)
    op.create_table(
        "selection_expert",
        _text("id"),
        _text("selection_id"),
        _text("member_id"),
        _text("organisation_id"),
        sa.Column("named_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["selection_id"], ["selection.id"]),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("selection_id", "member_id"),
    )
    for column in ("selection_id", "member_id"):
        op.create_index(f"ix_selection_expert_{column}", "selection_expert", [column], unique=False)
    op.create_table(
        "selection_score",
        _text("id"),
        _text("selection_id"),
        _text("application_id"),
        _text("expert_id"),
        sa.Column("points", _JSON, nullable=False),
        _text("comment"),
        sa.Column("scored_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["selection_id"], ["selection.id"]),
        sa.ForeignKeyConstraint(["application_id"], ["selection_application.id"]),
        sa.ForeignKeyConstraint(["expert_id"], ["selection_expert.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("application_id", "expert_id"),
    )
    for column in ("selection_id", "application_id", "expert_id"):
        op.create_index(f"ix_selection_score_{column}", "selection_score", [column], unique=False)


def downgrade() -> None:
    for table in ("selection_score", "selection_expert", "selection_application", "selection", "agreement_renewal", "agreement_signature", "agreement_version", "agreement"):
        op.drop_table(table)
