"""Looking products and versions up: for the other domains, and for those who may see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.products import rules
from marketplace.products.errors import NOT_ON_SALE
from marketplace.products.models import Product, ProductVersion
from shuyan.problems import ProblemError

OVERSEERS: Final = frozenset({"operator", "data_authority", "security_supervisor", "system"})
"""Parties who see every product in every state."""


def sees_drafts(actor: Actor, product: Product) -> bool:
    """Whether ``actor`` sees what buyers do not: the owner and those who oversee the market."""
    return actor.party in OVERSEERS or (actor.organisation_id is not None and actor.organisation_id == product.organisation_id)


def get_product(session: Session, actor: Actor, product_id: str) -> Product:
    """The product, if this actor may see it.

    Raises:
        ProblemError: ``not_found``.
    """
    row = session.get(Product, product_id)
    if row is None or (row.listed_at is None and not sees_drafts(actor, row)):
        raise ProblemError("not_found", what="product")
    return row


def locked_product(session: Session, actor: Actor, product_id: str) -> Product:
    """The product with its row locked until the transaction ends; ``not_found`` as :func:`get_product`."""
    row = session.exec(select(Product).where(Product.id == product_id).with_for_update()
                       .execution_options(populate_existing=True)).first()
    if row is None or (row.listed_at is None and not sees_drafts(actor, row)):
        raise ProblemError("not_found", what="product")
    return row


def owned_product(session: Session, actor: Actor, product_id: str) -> Product:
    """The product, locked, for a change by its owner: ``not_found``, ``not_allowed`` or ``wrong_state`` otherwise."""
    product = locked_product(session, actor, product_id)
    rules.PRODUCT.check("edit", product.status, actor, owner=product.organisation_id)
    return product


def versions_of(session: Session, product_id: str) -> list[ProductVersion]:
    """Newest first."""
    return list(session.exec(select(ProductVersion).where(ProductVersion.product_id == product_id)
                             .order_by(col(ProductVersion.number).desc())))


def locked_version(session: Session, product_id: str, number: int) -> ProductVersion:
    """One version with its row locked. Raises ``not_found``."""
    row = session.exec(select(ProductVersion).where(ProductVersion.product_id == product_id, ProductVersion.number == number)
                       .with_for_update().execution_options(populate_existing=True)).first()
    if row is None:
        raise ProblemError("not_found", what="version")
    return row


def on_sale(session: Session, product_id: str, *, to_buy: bool = False, lock: bool = False) -> tuple[Product, ProductVersion]:
    """The product and the version on sale. What is being retired is delivered until its notice ends, but no longer sold.
    With ``lock`` they stay so until the transaction ends.

    Raises:
        ProblemError: ``not_found``, or ``product_not_listed`` if it is suspended or retired.
    """
    row = session.get(Product, product_id, with_for_update={"read": True} if lock else None, populate_existing=lock)
    if row is None or row.listed_at is None:
        raise ProblemError("not_found", what="product")
    version = session.get(ProductVersion, row.current_version_id) if row.current_version_id else None
    delivered = row.status == "listed" or (row.status == "retiring" and row.suspended_by is None and not to_buy)
    if version is None or not delivered:
        raise ProblemError(NOT_ON_SALE)
    return row, version


def versions_by_id(session: Session, ids: Iterable[str]) -> dict[str, ProductVersion]:
    """The versions with these ids; unknown ones are left out."""
    wanted = set(ids)
    if not wanted:
        return {}
    return {row.id: row for row in session.exec(select(ProductVersion).where(col(ProductVersion.id).in_(wanted)))}


def products_by_id(session: Session, ids: Iterable[str]) -> dict[str, Product]:
    """The products with these ids; unknown ones are left out."""
    wanted = set(ids)
    if not wanted:
        return {}
    return {row.id: row for row in session.exec(select(Product).where(col(Product.id).in_(wanted)))}


def made_from(session: Session, job_ids: Iterable[str]) -> list[Product]:
    """The products of which a version was made from one of these jobs, by id."""
    wanted = set(job_ids)
    if not wanted:
        return []
    versions = select(ProductVersion.product_id).where(col(ProductVersion.job_id).in_(wanted))
    return list(session.exec(select(Product).where(col(Product.id).in_(versions)).order_by(col(Product.id))))
