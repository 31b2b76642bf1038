"""Use cases of pricing: one active plan a product; a new one replaces it for orders to come, never for old ones."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from sqlmodel import Session, col, select

from marketplace.access import require_scope
from marketplace.actor import Actor
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.pricing import rules
from marketplace.pricing.models import PricePlan
from marketplace.products import service as products
from marketplace.trust import records
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def set_price(session: Session, actor: Actor, product_id: str, *, access_fee_fen: int, call_fee_fen: int,
              included_calls: int = 0, term_days: int = 365) -> PricePlan:
    """Set what the product costs from now on. The same price again changes nothing.

    Raises:
        ProblemError: ``price_invalid`` naming the field, ``not_found``, ``not_allowed``.
    """
    require_scope(actor, "products")
    price = rules.check_price(access_fee_fen=access_fee_fen, call_fee_fen=call_fee_fen, included_calls=included_calls,
                              term_days=term_days)
    product = products.owned_product(session, actor, product_id)
    old = active_plan(session, product_id)
    if old is not None:
        if rules.Price(old.access_fee_fen, old.call_fee_fen, old.included_calls, old.term_days) == price:
            return old
        old.status = "replaced"
        session.add(old)
    row = PricePlan(id=new_id("price"), product_id=product_id, access_fee_fen=price.access_fee_fen,
                    call_fee_fen=price.call_fee_fen, included_calls=price.included_calls, term_days=price.term_days)
    session.add(row)
    session.flush()
    products.price_changed(session, product, access_fee_fen=row.access_fee_fen, call_fee_fen=row.call_fee_fen)
    trust.append(session, Tag.PRICE_SET, actor, row.id, related=[product_id], data={
        "access_fee_fen": row.access_fee_fen, "call_fee_fen": row.call_fee_fen,
        "included_calls": row.included_calls, "term_days": row.term_days, "currency": row.currency})
    return row


def active_plan(session: Session, product_id: str) -> PricePlan | None:
    """The product's price now, if it has one."""
    return active_plans(session, [product_id]).get(product_id)


def active_plans(session: Session, product_ids: Iterable[str]) -> dict[str, PricePlan]:
    """The prices now of these products, by product."""
    wanted = set(product_ids)
    if not wanted:
        return {}
    query = select(PricePlan).where(col(PricePlan.product_id).in_(wanted), PricePlan.status == "active")
    return {row.product_id: row for row in session.exec(query.order_by(col(PricePlan.id)))}


def get_plan(session: Session, plan_id: str) -> PricePlan:
    """A plan by its id, replaced or not: an old order keeps its price."""
    row = session.get(PricePlan, plan_id)
    if row is None:
        raise ProblemError("not_found", what="price")
    return row


def altered_records(session: Session) -> list[str]:
    """Prices that are not what the audit log says; see :func:`.records.altered`."""
    names = ("access_fee_fen", "call_fee_fen", "included_calls", "term_days", "currency")
    return records.altered(session, Tag.PRICE_SET, PricePlan, {name: attrgetter(name) for name in names})
