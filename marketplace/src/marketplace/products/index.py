"""The storefront's index: a row for each product on sale, its words, and how many there are of each combination.

Kept in the transaction that changes a product, so a search never shows what is not on sale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from marketplace.parties import service as parties
from marketplace.pricing import service as pricing
from marketplace.products import rules
from marketplace.products.models import Listing, ListingCount, ListingWord, Product, ProductVersion
from marketplace.text import tokens

_FACETS = ("organisation_id", "sector", "delivery_form", "tier", "band")
MAX_WORDS = 200


def refresh(session: Session, product: Product) -> None:
    """Make the index say of a product what is true now; the caller holds the product's lock."""
    row = session.exec(select(Listing).where(Listing.product_id == product.id).with_for_update()).first()
    plan = pricing.active_plan(session, product.id) if product.status == "listed" else None
    if product.status != "listed" or plan is None:
        if row is not None:
            _count(session, _facets(row), -1)
            session.execute(delete(ListingWord).where(col(ListingWord.seq) == row.seq))
            session.delete(row)
            session.flush()
        return
    fresh: dict[str, Any] = {
        "organisation_id": product.organisation_id, "sector": product.sector, "delivery_form": product.delivery_form,
        "tier": product.tier, "band": rules.price_band(plan.access_fee_fen), "price_fen": plan.access_fee_fen, "title": product.title_zh}
    if row is None:
        row = Listing(product_id=product.id, calls=calls_before(session, product.id), **fresh)
        session.add(row)
        session.flush()
        _count(session, _facets(row), 1)
    elif any(getattr(row, name) != value for name, value in fresh.items()):
        _count(session, _facets(row), -1)
        for name, value in fresh.items():
            setattr(row, name, value)
        session.add(row)
        session.flush()
        _count(session, _facets(row), 1)
    words = _words(session, product)
    session.execute(delete(ListingWord).where(col(ListingWord.seq) == row.seq))
    if words:
        session.execute(insert(ListingWord), [{"word": word, "seq": row.seq} for word in words])


def _words(session: Session, product: Product) -> list[str]:
    owner = parties.get_organisation(session, product.organisation_id)
    version = session.get(ProductVersion, product.current_version_id) if product.current_version_id else None
    texts = (product.title_zh, product.title_en, owner.name_zh, owner.name_en, (version.registration_code if version else "") or "",
             product.summary_zh, product.summary_en)
    return sorted(tokens(" ".join(texts))[:MAX_WORDS])


def calls_before(session: Session, product_id: str) -> int:
    """What was metered before the product was off sale for a while."""
    from marketplace.metering import service as metering  # which looks products up itself

    return metering.sealed_calls(session, product_id)


def add_calls(session: Session, calls: Mapping[str, int]) -> None:
    """For metering: so many calls more, by product, in the transaction that seals them."""
    for product_id, count in sorted(calls.items()):
        session.execute(update(Listing).where(col(Listing.product_id) == product_id).values(calls=col(Listing.calls) + count)
                        .execution_options(synchronize_session=False))


def _facets(row: Listing) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FACETS}


def _count(session: Session, facets: dict[str, Any], by: int) -> None:
    module: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    step = module.insert(ListingCount).values(**facets, count=by)
    session.execute(step.on_conflict_do_update(index_elements=list(_FACETS), set_={"count": col(ListingCount.count) + by}))
