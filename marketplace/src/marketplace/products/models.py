"""Tables of products: their versions, what was tested and decided, and what buyers find and follow."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel, UniqueConstraint

from marketplace.db import BigInt, JSONType, UtcDateTime, utc_now


class Product(SQLModel, table=True):
    __tablename__ = "product"
    id: str = Field(primary_key=True)
    organisation_id: str = Field(foreign_key="organisation.id", index=True)
    tier: int  # 1 | 2
    sector: str = Field(index=True)
    delivery_form: str  # api | model | report
    title_zh: str
    title_en: str
    summary_zh: str = ""
    summary_en: str = ""
    description_zh: str = ""
    description_en: str = ""
    terms_zh: str = ""  # what a buyer may do with the answers, beside the market's general terms
    terms_en: str = ""
    status: str = Field(default="draft", index=True)  # see products.rules.PRODUCT
    current_version_id: str | None = None
    suspended_by: str | None = None  # party; "system" when a grant ended
    reason: str = ""  # of the suspension or retirement, as buyers are told
    reason_code: str = ""  # of a suspension by the system, see products.texts.REASONS
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    listed_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    retires_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    retired_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ProductVersion(SQLModel, table=True):
    __tablename__ = "product_version"
    __table_args__ = (UniqueConstraint("product_id", "number"),)
    id: str = Field(primary_key=True)
    product_id: str = Field(foreign_key="product.id", index=True)
    number: int
    job_id: str = Field(foreign_key="job.id")
    grant_id: str = Field(default="", index=True)  # the job's
    output_id: str = Field(foreign_key="job_output.id")
    # what the version is made of: output digest, app digest, grant digest, participants, input schema
    manifest: dict[str, Any] = Field(sa_type=JSONType)
    manifest_digest: str
    texts_digest: str = ""  # of the product's texts that were reviewed with it; "": from before they were
    sample: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)
    status: str = Field(default="draft", index=True)  # see products.rules.SECOND_TIER
    round: int = 0  # how often it was submitted
    submitted_by: str | None = None
    submitted_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    stage_since: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    registration_code: str | None = Field(default=None, unique=True)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    registered_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class TestRun(SQLModel, table=True):
    """One run of a version's test cases against its delivery."""

    __tablename__ = "product_test_run"
    __table_args__ = (UniqueConstraint("version_id", "number"),)
    id: str = Field(primary_key=True)
    version_id: str = Field(foreign_key="product_version.id", index=True)
    number: int
    manifest_digest: str  # of what was tested
    cases: list[dict[str, Any]] = Field(sa_type=JSONType)  # products.testing.run_case
    passed: bool
    run_by: str
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class VersionReview(SQLModel, table=True):
    """One organisation's decision at one stage of one submission, or that a stage was skipped and why."""

    __tablename__ = "product_review"
    __table_args__ = (UniqueConstraint("version_id", "round", "stage", "organisation_id"),)
    id: str = Field(primary_key=True)
    version_id: str = Field(foreign_key="product_version.id", index=True)
    round: int
    stage: str  # security_test | compliance_review | egress_review
    organisation_id: str | None = Field(default=None, foreign_key="organisation.id")  # None: the rule table skipped it
    decision: str  # passed | returned | skipped
    decided_by: str
    ticked: list[str] = Field(default_factory=list, sa_type=JSONType)  # codes of the checklist
    checks: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONType)  # [{code, passed, args}]
    note: str = ""
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Listing(SQLModel, table=True):
    """What the storefront searches and sorts by; one row for each product on sale, gone when it is not."""

    __tablename__ = "product_listing"
    __table_args__ = (
        Index("ix_product_listing_sector", "sector", "seq"), Index("ix_product_listing_delivery_form", "delivery_form", "seq"),
        Index("ix_product_listing_tier", "tier", "seq"), Index("ix_product_listing_band", "band", "seq"),
        Index("ix_product_listing_organisation_id", "organisation_id", "seq"), Index("ix_product_listing_title", "title", "seq"),
        Index("ix_product_listing_price_fen", "price_fen", "seq"), Index("ix_product_listing_calls", "calls", "seq"))
    seq: int | None = Field(default=None, primary_key=True)  # grows with every listing: newest first is descending
    product_id: str = Field(foreign_key="product.id", unique=True)
    organisation_id: str = Field(foreign_key="organisation.id")
    sector: str
    delivery_form: str
    tier: int
    band: str  # products.rules.price_band
    price_fen: int = Field(sa_type=BigInt)
    title: str
    calls: int = Field(default=0, sa_type=BigInt)  # metered so far, over all its versions


class ListingWord(SQLModel, table=True):
    """The inverted index over listings: the words of :func:`marketplace.text.tokens`."""

    __tablename__ = "product_listing_word"
    __table_args__ = (Index("ix_product_listing_word_seq", "seq"),)
    word: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, foreign_key="product_listing.seq", ondelete="CASCADE", sa_column_kwargs={"autoincrement": False})


class ListingCount(SQLModel, table=True):
    """How many listings there are of each combination, so that facets need not count a hundred thousand rows."""

    __tablename__ = "product_listing_count"
    organisation_id: str = Field(primary_key=True, foreign_key="organisation.id")
    sector: str = Field(primary_key=True)
    delivery_form: str = Field(primary_key=True)
    tier: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    band: str = Field(primary_key=True)
    count: int


class ProductChange(SQLModel, table=True):
    """One line of the public feed of changes."""

    __tablename__ = "product_change"
    id: str = Field(primary_key=True)
    product_id: str = Field(foreign_key="product.id", index=True)
    kind: str  # products.watching.KINDS
    data: dict[str, Any] = Field(default_factory=dict, sa_type=JSONType)
    at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ProductWatch(SQLModel, table=True):
    """An organisation that wants to be told of a product's changes."""

    __tablename__ = "product_watch"
    product_id: str = Field(primary_key=True, foreign_key="product.id")
    organisation_id: str = Field(primary_key=True, foreign_key="organisation.id", index=True)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
