"""Lives of products: tests, reviews, listings to search, changes to follow, retirement with disposal"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("terms_zh", "terms_en", "reason"):
        op.add_column("product", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("product", sa.Column("suspended_by", sa.String(), nullable=True))
    for name in ("retires_at", "retired_at"):
        op.add_column("product", sa.Column(name, _TIME, nullable=True))
    # before, nobody was named as the one who suspended: the owner could always list again, and still may
    op.execute("UPDATE product SET suspended_by = 'owner' WHERE status = 'suspended'")

    op.add_column("product_version", sa.Column("grant_id", sa.String(), nullable=False, server_default=""))
    op.add_column("product_version", sa.Column("texts_digest", sa.String(), nullable=False, server_default=""))
    op.add_column("product_version", sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("product_version", sa.Column("submitted_by", sa.String(), nullable=True))
    for name in ("submitted_at", "stage_since"):
        op.add_column("product_version", sa.Column(name, _TIME, nullable=True))
    op.execute("UPDATE product_version SET grant_id = (SELECT job.grant_id FROM job WHERE job.id = product_version.job_id)")
    op.create_index("ix_product_version_grant_id", "product_version", ["grant_id"], unique=False)
    op.create_index("ix_product_version_status", "product_version", ["status"], unique=False)

    op.add_column("job_output", sa.Column("disposed_at", _TIME, nullable=True))
    op.create_table(
        "egress_opinion",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("review_id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["review_id"], ["egress_review.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("review_id", "organisation_id"),
    )
    op.create_index("ix_egress_opinion_review_id", "egress_opinion", ["review_id"], unique=False)
    op.create_table(
        "product_test_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("manifest_digest", sa.String(), nullable=False),
        sa.Column("cases", _JSON, nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("run_by", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["product_version.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version_id", "number"),
    )
    op.create_index("ix_product_test_run_version_id", "product_test_run", ["version_id"], unique=False)
    op.create_table(
        "product_review",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=True),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("ticked", _JSON, nullable=False),
        sa.Column("checks", _JSON, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["product_version.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version_id", "round", "stage", "organisation_id"),
    )
    op.create_index("ix_product_review_version_id", "product_review", ["version_id"], unique=False)
    op.create_table(
        "product_listing",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("sector", sa.String(), nullable=False),
        sa.Column("delivery_form", sa.String(), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("band", sa.String(), nullable=False),
        sa.Column("price_fen", _BIG, nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("calls", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("product_id"),
    )
    for name in ("sector", "delivery_form", "tier", "band", "organisation_id", "title", "price_fen", "calls"):
        op.create_index(f"ix_product_listing_{name}", "product_listing", [name, "seq"], unique=False)
    op.create_table(
        "product_listing_word",
        sa.Column("word", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["product_listing.seq"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("word", "seq"),
    )
    op.create_index("ix_product_listing_word_seq", "product_listing_word", ["seq"], unique=False)
    op.create_table(
        "product_listing_count",
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("sector", sa.String(), nullable=False),
        sa.Column("delivery_form", sa.String(), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("band", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("organisation_id", "sector", "delivery_form", "tier", "band"),
    )
    op.create_table(
        "product_change",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_product_change_product_id", "product_change", ["product_id"], unique=False)
    op.create_table(
        "product_watch",
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("product_id", "organisation_id"),
    )
    op.create_index("ix_product_watch_organisation_id", "product_watch", ["organisation_id"], unique=False)


def downgrade() -> None:
    for table in ("product_watch", "product_change", "product_listing_count", "product_listing_word", "product_listing",
                  "product_review", "product_test_run", "egress_opinion"):
        op.drop_table(table)
    op.drop_column("job_output", "disposed_at")
    op.drop_index("ix_product_version_status", "product_version")
    op.drop_index("ix_product_version_grant_id", "product_version")
    for name in ("grant_id", "texts_digest", "round", "submitted_by", "submitted_at", "stage_since"):
        op.drop_column("product_version", name)
    for name in ("terms_zh", "terms_en", "reason", "suspended_by", "retires_at", "retired_at"):
        op.drop_column("product", name)
