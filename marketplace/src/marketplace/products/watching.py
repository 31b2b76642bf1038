"""Use cases of following a product: a public feed of changes, and messages to the organisations that asked or bought."""

from __future__ import annotations

from typing import Any, Final

from sqlmodel import Session, col, select

from marketplace.access import require_organisation
from marketplace.actor import PUBLIC, Actor
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.products import rules, texts
from marketplace.products.models import Product, ProductChange, ProductWatch
from marketplace.products.reading import get_product

KINDS: Final = tuple(texts.WATCHED)
_BUYERS_TOO: Final = frozenset({"suspended", "resumed", "retiring", "kept", "retired"})
"""What stops or starts delivery concerns everybody who paid for it, whether they follow the product or not."""


def watch(session: Session, actor: Actor, product_id: str) -> None:
    """Follow a product for the actor's organisation. Twice is once.

    Raises:
        ProblemError: ``not_found``, ``not_signed_in``, ``not_allowed``.
    """
    rules.WATCH.require(actor)
    owner = require_organisation(actor)
    get_product(session, actor, product_id)
    if session.get(ProductWatch, (product_id, owner), with_for_update=True) is None:
        session.add(ProductWatch(product_id=product_id, organisation_id=owner))


def unwatch(session: Session, actor: Actor, product_id: str) -> None:
    """Follow a product no longer."""
    rules.WATCH.require(actor)
    row = session.get(ProductWatch, (product_id, require_organisation(actor)), with_for_update=True)
    if row is not None:
        session.delete(row)


def watches(session: Session, actor: Actor, product_id: str) -> bool:
    """Whether the actor's organisation follows a product."""
    return actor.organisation_id is not None and session.get(ProductWatch, (product_id, actor.organisation_id)) is not None


def watched(session: Session, actor: Actor, *, cursor: str | None = None, limit: int = 20) -> Page[Product]:
    """The products that the actor's organisation follows, newest product first."""
    limit = clamp(limit)
    query = select(Product).join(ProductWatch, col(ProductWatch.product_id) == col(Product.id)).where(
        ProductWatch.organisation_id == require_organisation(actor)).order_by(col(Product.id).desc())
    if cursor:
        query = query.where(col(Product.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query.limit(limit + 1)).all(), limit, lambda row: (row.id,))


def tell(session: Session, product: Product, kind: str, **data: Any) -> None:
    """Write a change into the feed and tell those who follow the product; those entitled too where it concerns them."""
    from marketplace.commerce import service as commerce  # which looks products up itself

    session.add(ProductChange(id=new_id("chg"), product_id=product.id, kind=kind, data=data))
    told = set(session.exec(select(ProductWatch.organisation_id).where(ProductWatch.product_id == product.id)))
    if kind in _BUYERS_TOO:
        told.update(commerce.holders(session, product.id))
    for organisation in sorted(told):
        notices.tell(session, organisation, texts.WATCHED[kind], product.id, title_zh=product.title_zh, title_en=product.title_en, **data)


def changes(session: Session, *, product_id: str | None = None, cursor: str | None = None, limit: int = 20
            ) -> Page[tuple[ProductChange, Product]]:
    """The feed of one product or of the whole market, newest first. It is public.

    Raises:
        ProblemError: ``not_found`` for a product that never was on sale.
    """
    limit = clamp(limit)
    if product_id:
        get_product(session, PUBLIC, product_id)
    query = select(ProductChange, Product).join(Product, col(Product.id) == col(ProductChange.product_id)).order_by(col(ProductChange.id).desc())
    if product_id:
        query = query.where(ProductChange.product_id == product_id)
    if cursor:
        query = query.where(col(ProductChange.id) < decode_cursor(cursor, 1, str)[0])
    return make_page([(change, product) for change, product in session.exec(query.limit(limit + 1))], limit, lambda row: (row[0].id,))
