"""Use cases of retirement: notice to buyers, then results are deleted, rights end, and a certificate says so."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.clock import CITY
from marketplace.computing import service as computing
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.products import index, rules, watching
from marketplace.products.errors import NOT_RETIRED
from marketplace.products.listing import checked_reason
from marketplace.products.models import Product, ProductVersion
from marketplace.products.reading import get_product, locked_product, versions_of
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

_RETIRES: Final = "product.retires"


def retire_product(session: Session, actor: Actor, product_id: str, reason: str) -> Product:
    """Announce that a product will be retired: no more sale at once; delivery ends when the notice does.

    What was never on sale is disposed of as soon as the coordinator looks.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``reason_required``.
    """
    product = locked_product(session, actor, product_id)
    step = rules.PRODUCT.check("retire", product.status, actor, owner=product.organisation_id)
    reason = checked_reason(reason)
    days = settings().retirement_notice_days if product.listed_at is not None else 0
    product.retires_at = utc_now() + dt.timedelta(days=days)
    # what was suspended is not delivered during its notice either
    product.status, product.reason, product.reason_code = step.target, reason, ""
    session.add(product)
    session.flush()
    index.refresh(session, product)
    deadlines.put(session, _RETIRES, product.id, product.retires_at)
    trust.append(session, Tag.PRODUCT_RETIRING, actor, product_id, data={"retires": int(product.retires_at.timestamp())})
    if product.listed_at is not None:
        watching.tell(session, product, "retiring", reason=reason, date=product.retires_at.astimezone(CITY).date().isoformat())
    return product


def keep_product(session: Session, actor: Actor, product_id: str) -> Product:
    """Call a retirement off while its notice runs; the product is suspended then.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``.
    """
    product = locked_product(session, actor, product_id)
    step = rules.PRODUCT.check("keep", product.status, actor, owner=product.organisation_id)
    product.status, product.retires_at, product.reason = step.target, None, ""
    product.suspended_by = product.suspended_by or "owner"
    session.add(product)
    deadlines.cancel(session, product_id, _RETIRES)
    trust.append(session, Tag.PRODUCT_KEPT, actor, product_id)
    if product.listed_at is not None:
        watching.tell(session, product, "kept")
    return product


@deadlines.on(_RETIRES)
def _retires(session: Session, due: Deadline) -> None:
    product = session.get_one(Product, due.subject, with_for_update=True)
    if product.status == "retiring" and product.retires_at is not None and product.retires_at <= utc_now():
        _dispose(session, product)


def _dispose(session: Session, product: Product) -> None:
    """Delete what the product delivered, end the rights to it, and write the event that proves it."""
    from marketplace.commerce import service as commerce  # which looks products up itself

    product.status = rules.PRODUCT.check("dispose", product.status, SYSTEM).target
    product.retired_at = utc_now()
    versions = versions_of(session, product.id)
    if product.listed_at is not None:
        watching.tell(session, product, "retired")  # before the rights end, for those who hold them
    disposed = []
    for version in versions:
        if version.status not in rules.version_life(product.tier).final:
            version.status = "retired"
        version.sample = {}
        session.add(version)
        if not _used_elsewhere(session, version, product.id):
            computing.dispose_output(session, version.job_id)
            disposed.append({"number": version.number, "registration_code": version.registration_code,
                             "output_digest": version.manifest["output_digest"]})
    session.add(product)
    ended = commerce.wind_up(session, product.id)
    trust.append(session, Tag.PRODUCT_RETIRED, SYSTEM, product.id, related=[row.id for row in versions],
                 data={"disposed": disposed, "entitlements": ended})


def _used_elsewhere(session: Session, version: ProductVersion, product_id: str) -> bool:
    """Whether another product still delivers the same result."""
    return session.exec(select(ProductVersion.id).join(Product, col(Product.id) == col(ProductVersion.product_id)).where(
        ProductVersion.output_id == version.output_id, ProductVersion.product_id != product_id, Product.status != "retired",
        col(ProductVersion.status).not_in(("withdrawn", "retired"))).limit(1)).first() is not None


@dataclass(frozen=True)
class Disposal:
    """A certificate of disposal. ``leaf`` is the log's own entry at ``index``; its inclusion proves it, see ``shuyan verify``.

    Attributes:
        disposed: ``{number, registration_code, output_digest}`` of each result that was deleted.
        entitlements: how many rights to call ended with it.
    """

    product: Product
    index: int
    leaf: str
    disposed: list[dict[str, Any]]
    entitlements: int


def disposal(session: Session, actor: Actor, product_id: str) -> Disposal:
    """The certificate of disposal of a retired product.

    Raises:
        ProblemError: ``not_found``, ``product_not_retired``.
    """
    import json

    product = get_product(session, actor, product_id)
    if product.status != "retired":
        raise ProblemError(NOT_RETIRED)
    event = trust.last_event(session, product_id, Tag.PRODUCT_RETIRED)
    if event is None:
        raise ProblemError(NOT_RETIRED)
    data = json.loads(event.leaf)["data"]
    return Disposal(product, event.index, event.leaf, data["disposed"], data["entitlements"])
