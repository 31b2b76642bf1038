"""Reviews of what leaves, by mode; products on sale before the storefront had an index"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from marketplace.products.rules import price_band
from marketplace.text import tokens

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_MAX_WORDS = 200
_WRITTEN = {"协议已终止 The agreement has ended": "agreement_ended", "授权已到期 The grant has ended": "grant_ended"}


def upgrade() -> None:
    op.drop_table("egress_opinion")  # nothing wrote to it before
    op.create_table(
        "egress_opinion",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("review_id", sa.String(), nullable=False),
        sa.Column("party", sa.String(), nullable=False),
        sa.Column("organisation_id", sa.String(), nullable=True),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", _TIME, nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("override_reason", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["review_id"], ["egress_review.id"]),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("review_id", "organisation_id"),
    )
    for name in ("review_id", "organisation_id"):
        op.create_index(f"ix_egress_opinion_{name}", "egress_opinion", [name], unique=False)
    op.add_column("product", sa.Column("reason_code", sa.String(), nullable=False, server_default=""))
    found = sa.MetaData()
    connection = op.get_bind()
    found.reflect(connection, only=[
        "egress_opinion", "egress_review", "job", "job_output", "node", "grant_record", "data_demand", "review_opinion", "product",
        "product_version", "price_plan", "organisation", "product_listing", "product_listing_word", "product_listing_count",
        "audit_event"])
    product = found.tables["product"]
    for words, code in _WRITTEN.items():
        connection.execute(product.update().where(product.c.reason == words).values(reason="", reason_code=code))
    _ask(connection, found.tables)
    _list(connection, found.tables)


def _ask(connection: sa.Connection, tables: Any) -> None:
    """Who has to agree to the results that wait now: whoever authorised the use, see computing.routing."""
    review, job, output, node, grant, demand, opinion = (tables[name] for name in (
        "egress_review", "job", "job_output", "node", "grant_record", "data_demand", "review_opinion"))
    now = dt.datetime.now(dt.UTC)
    waiting = connection.execute(sa.select(review.c.id, output.c.participants, grant.c.mode, demand.c.id, demand.c.version).select_from(
        review.join(job, job.c.id == review.c.job_id).join(output, output.c.id == review.c.output_id)
        .join(grant, grant.c.id == job.c.grant_id).join(demand, demand.c.id == grant.c.demand_id)
    ).where(review.c.status == "pending")).all()
    for review_id, participants, mode, demand_id, version in waiting:
        nodes = json.loads(participants) if isinstance(participants, str) else participants
        inside = set(connection.execute(sa.select(node.c.organisation_id).where(node.c.id.in_(nodes))).scalars())
        given = connection.execute(sa.select(opinion.c.party, opinion.c.organisation_id).where(
            opinion.c.kind == "demand", opinion.c.subject == demand_id, opinion.c.version == version, opinion.c.stage == "review",
            opinion.c.status == "approved", opinion.c.decided_for.is_(False))).all()
        lead = next((id_ for party, id_ in given if party == "industry_department" and mode == "field"), None)
        asked = [("industry_department" if lead else "data_authority", lead),
                 *(("source_department", id_) for party, id_ in given if party == "source_department" and id_ in inside)]
        connection.execute(tables["egress_opinion"].insert(), [
            {"id": f"egop_{secrets.token_hex(12)}", "review_id": review_id, "party": party, "organisation_id": id_, "decision": "pending",
             "note": "", "override_reason": "", "created_at": now} for party, id_ in asked])


def _list(connection: sa.Connection, tables: Any) -> None:
    """Products that were on sale before there was an index are found again; what was metered of them is counted anew."""
    product, version, plan, owner, listing = (tables[name] for name in (
        "product", "product_version", "price_plan", "organisation", "product_listing"))
    known = sa.select(listing.c.product_id)
    rows = connection.execute(sa.select(
        product, version.c.registration_code, plan.c.access_fee_fen, owner.c.name_zh, owner.c.name_en).select_from(
        product.join(owner, owner.c.id == product.c.organisation_id)
        .join(plan, (plan.c.product_id == product.c.id) & (plan.c.status == "active"))
        .outerjoin(version, version.c.id == product.c.current_version_id)
    ).where(product.c.status == "listed", product.c.id.not_in(known)).order_by(product.c.listed_at, product.c.id, plan.c.id)).mappings().all()
    latest = {row["id"]: row for row in rows}  # the last plan, as pricing reads it
    counts: dict[tuple[str, str, str, int, str], int] = {}
    for row in latest.values():
        band = price_band(row["access_fee_fen"])
        key = (row["organisation_id"], row["sector"], row["delivery_form"], row["tier"], band)
        key_of_row = connection.execute(listing.insert().values(
            product_id=row["id"], organisation_id=key[0], sector=key[1], delivery_form=key[2], tier=key[3], band=band,
            price_fen=row["access_fee_fen"], title=row["title_zh"], calls=_calls(connection, tables, row["id"]))).inserted_primary_key
        assert key_of_row is not None
        seq = key_of_row[0]
        counts[key] = counts.get(key, 0) + 1
        texts = (row["title_zh"], row["title_en"], row["name_zh"], row["name_en"], row["registration_code"] or "", row["summary_zh"],
                 row["summary_en"])
        words = sorted(tokens(" ".join(texts))[:_MAX_WORDS])
        connection.execute(tables["product_listing_word"].insert(), [{"word": word, "seq": seq} for word in words])
    names = ("organisation_id", "sector", "delivery_form", "tier", "band")
    table = tables["product_listing_count"]
    for key, count in counts.items():
        same = sa.and_(*(table.c[name] == value for name, value in zip(names, key, strict=True)))
        if connection.execute(table.update().where(same).values(count=table.c.count + count)).rowcount == 0:
            connection.execute(table.insert().values(**dict(zip(names, key, strict=True)), count=count))


def _calls(connection: sa.Connection, tables: Any, product_id: str) -> int:
    """The calls that the log says were metered of a product, as :func:`metering.service.sealed_calls` reads it."""
    event = tables["audit_event"]
    leaves = connection.execute(sa.select(event.c.leaf).where(event.c.subject == product_id, event.c.tag == "metering:usage:sealed"))
    return sum(int(json.loads(leaf)["data"]["count"]) for leaf in leaves.scalars())


def downgrade() -> None:
    op.drop_column("product", "reason_code")
    with op.batch_alter_table("egress_opinion") as batch:
        batch.drop_index("ix_egress_opinion_organisation_id")
    op.drop_table("egress_opinion")
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
