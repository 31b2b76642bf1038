"""Use cases of sale: put on sale, suspended by whom and why, put back; and what that changes in the storefront's index."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlmodel import Session

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import service as agreements
from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.db import storable, utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.notices import service as notices
from marketplace.pricing import service as pricing
from marketplace.products import index, rules, texts, watching
from marketplace.products.drafting import texts_digest
from marketplace.products.errors import (
    GRANT_ENDED,
    NO_PRICE,
    NOT_REGISTERED,
    REASON_REQUIRED,
    SUSPENDED_BY_MARKET,
    TEXTS_CHANGED,
)
from marketplace.products.models import Product, ProductVersion
from marketplace.products.reading import get_product, locked_product, on_sale, versions_of
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

MAX_REASON: Final = 500
_GRANT_ENDS: Final = "product.grant_ends"


def hold(session: Session, product: Product, version: ProductVersion, at: dt.datetime) -> None:
    """Keep the agreements under a version from ending until this transaction is over; before the product itself is locked.

    Raises:
        ProblemError: ``agreement_not_in_force``.
    """
    demand = authorisation.demand_of_grant(session, computing.grant_of_job(session, version.job_id))
    if agreements.require_for_demand(session, demand, at) is None and product.tier == 1:
        agreements.require_for_operator(session, product.organisation_id, at)


def list_product(session: Session, actor: Actor, product_id: str) -> Product:
    """Put the newest registered version on sale; an older one on sale is superseded.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``version_not_registered``, ``price_missing``,
            ``product_texts_changed``, ``product_grant_ended``, ``suspended_by_market``, ``agreement_not_in_force``.
    """
    seen = get_product(session, actor, product_id)
    for version in versions_of(session, product_id)[:1]:
        hold(session, seen, version, utc_now())  # before the product is locked, as the end of an agreement does
    product = locked_product(session, actor, product_id)
    step = rules.PRODUCT.check("list", product.status, actor, owner=product.organisation_id)
    if product.status == "suspended" and product.suspended_by in rules.MARKET and product.suspended_by != actor.party:
        raise ProblemError(SUSPENDED_BY_MARKET)
    versions = versions_of(session, product_id)
    newest = next((row for row in versions if row.status in ("registered", "listed")), None)
    if newest is None or (product.status == "listed" and newest.status == "listed"):
        raise ProblemError(NOT_REGISTERED)
    _sellable(session, product, newest)
    new = newest.status == "registered"
    for row in versions:
        if row.id != newest.id and row.status in ("registered", "listed"):
            row.status = "superseded"
            session.add(row)
    was = product.listed_at is not None
    newest.status = "listed"
    _put(session, product, newest, step.target)
    trust.append(session, Tag.PRODUCT_LISTED, actor, product_id, related=[newest.id],
                 data={"registration_code": newest.registration_code})
    if was:
        watching.tell(session, product, "version" if new else "resumed", number=newest.number)
    return product


def resume_product(session: Session, actor: Actor, product_id: str) -> Product:
    """Put back what those who oversee the market suspended.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, and as :func:`list_product`.
    """
    seen = get_product(session, actor, product_id)
    for row in versions_of(session, product_id):
        if row.id == seen.current_version_id:
            hold(session, seen, row, utc_now())
    product = locked_product(session, actor, product_id)
    step = rules.PRODUCT.check("resume", product.status, actor, owner=product.organisation_id)
    if product.suspended_by not in rules.MARKET:
        raise ProblemError("wrong_state", state=product.status, action="resume")
    version = next((row for row in versions_of(session, product_id) if row.id == product.current_version_id), None)
    if version is None:
        raise ProblemError(NOT_REGISTERED)
    _sellable(session, product, version)
    _put(session, product, version, step.target)
    trust.append(session, Tag.PRODUCT_RESUMED, actor, product_id, related=[version.id])
    watching.tell(session, product, "resumed", number=version.number)
    return product


def _sellable(session: Session, product: Product, version: ProductVersion) -> None:
    if pricing.active_plan(session, product.id) is None:
        raise ProblemError(NO_PRICE)
    if version.texts_digest not in ("", texts_digest(product)):
        raise ProblemError(TEXTS_CHANGED)
    computing.approved_output(session, version.job_id)
    record = authorisation.get_grant(session, SYSTEM, version.grant_id)
    if authorisation.grant_state(record, utc_now()) != "active":
        raise ProblemError(GRANT_ENDED)
    deadlines.put(session, _GRANT_ENDS, product.id, record.expires_at)


def _put(session: Session, product: Product, version: ProductVersion, status: str) -> None:
    product.status, product.current_version_id, product.listed_at = status, version.id, utc_now()
    product.suspended_by, product.reason, product.reason_code = None, "", ""
    session.add_all([version, product])
    session.flush()
    index.refresh(session, product)


def suspend_product(session: Session, actor: Actor, product_id: str, reason: str = "") -> Product:
    """Take a product off sale and stop its delivery. Its owner may without saying why; the operator and the data authority
    say why, and then only they put it back.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``reason_required``.
    """
    product = locked_product(session, actor, product_id)
    rules.PRODUCT.check("suspend", product.status, actor, owner=product.organisation_id)
    own = actor.organisation_id == product.organisation_id
    take_off(session, product, "owner" if own else actor.party, checked_reason(reason, required=not own))
    _record_suspension(session, actor, product)
    return product


def checked_reason(reason: str, *, required: bool = True) -> str:
    """A reason that others will read. Raises ``reason_required``."""
    reason = reason.strip()
    if (required and not reason) or len(reason) > MAX_REASON or not storable(reason):
        raise ProblemError(REASON_REQUIRED, field="reason", maximum=MAX_REASON)
    return reason


def take_off(session: Session, product: Product, by: str, reason: str = "", *, code: str = "") -> None:
    """Suspend a locked product, which the caller has decided may be, and tell everybody concerned.

    Args:
        reason: that a person wrote.
        code: of :data:`.texts.REASONS`, for the system.
    """
    product.status, product.suspended_by, product.reason, product.reason_code = "suspended", by, reason, code
    told = texts.reason_of(code, reason)
    session.add(product)
    session.flush()
    index.refresh(session, product)
    if by != "owner":
        notices.tell(session, product.organisation_id, texts.PRODUCT_STOPPED, product.id, title_zh=product.title_zh,
                     title_en=product.title_en, **told)
    watching.tell(session, product, "suspended", **told)


def _record_suspension(session: Session, actor: Actor, product: Product) -> None:
    trust.append(session, Tag.PRODUCT_SUSPENDED, actor, product.id, data={"by": product.suspended_by})


@deadlines.on(_GRANT_ENDS)
def _grant_ends(session: Session, due: Deadline) -> None:
    """The grant behind what is on sale is over, unless another version has taken its place meanwhile."""
    product = session.get_one(Product, due.subject, with_for_update=True)
    version = session.get(ProductVersion, product.current_version_id) if product.current_version_id else None
    if product.status != "listed" or version is None:
        return
    record = authorisation.get_grant(session, SYSTEM, version.grant_id)
    if authorisation.grant_state(record, utc_now()) != "active":
        take_off(session, product, "system", code="grant_ended")
        _record_suspension(session, SYSTEM, product)
    else:
        deadlines.put(session, _GRANT_ENDS, product.id, record.expires_at)


def hold_on_sale(session: Session, product_id: str, at: dt.datetime) -> tuple[Product, ProductVersion]:
    """The product and the version to be bought, kept so, with the agreements under them, until this transaction is over.

    Raises:
        ProblemError: ``not_found``, ``product_not_listed``, ``agreement_not_in_force``.
    """
    hold(session, *on_sale(session, product_id, to_buy=True), at)
    return on_sale(session, product_id, to_buy=True, lock=True)


def price_changed(session: Session, product: Product, **price: Any) -> None:
    """For pricing: the index and those who follow the product learn the new price."""
    index.refresh(session, product)
    if product.status == "listed":
        watching.tell(session, product, "price", **price)
