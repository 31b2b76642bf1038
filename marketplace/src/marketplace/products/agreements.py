"""Listings live under agreements and by parties in good standing: none is made or sold once either is over, and those on sale
come off by themselves."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM
from marketplace.agreements import service as agreements
from marketplace.agreements.hooks import Afterwards
from marketplace.agreements.models import Agreement
from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.events import Tag
from marketplace.products import index, rules, watching
from marketplace.products.models import Product, ProductVersion
from marketplace.registration import standing
from marketplace.trust import service as trust


def hold(session: Session, product: Product, version: ProductVersion, at: dt.datetime) -> None:
    """Keep the agreements under a version from ending until this transaction is over; before the product itself is locked.

    Raises:
        ProblemError: ``agreement_not_in_force``.
    """
    demand = authorisation.demand_of_grant(session, computing.grant_of_job(session, version.job_id))
    if agreements.require_for_demand(session, demand, at) is None and product.tier == 1:
        agreements.require_for_operator(session, product.organisation_id, at)


@agreements.when_ended("development")
def suspend_developed(session: Session, agreement: Agreement) -> Afterwards | None:
    """Take off sale what was made under a development agreement."""
    jobs = computing.jobs_under(session, authorisation.grants_of_demand(session, agreement.demand_id or ""))
    made = select(ProductVersion.id).where(col(ProductVersion.job_id).in_(jobs))
    return _suspend(session, agreement.id, col(Product.current_version_id).in_(made))


@agreements.when_ended("operation")
def suspend_operated(session: Session, agreement: Agreement) -> Afterwards | None:
    """Take the operator's own first-tier products off sale, unless another agreement of its stands."""
    if agreements.operator_stands(session, agreement.grantee_id, agreement.id):
        return None
    return _suspend(session, agreement.id, (col(Product.organisation_id) == agreement.grantee_id) & (col(Product.tier) == 1))


@standing.when_changed
def suspend_of_party(session: Session, organisation_id: str, before: str, after: str) -> Afterwards | None:
    """Take off sale what a party sells that may not take part any more; once it may again, it lists anew."""
    if before != "active" or after == "active":
        return None
    return _suspend(session, organisation_id, col(Product.organisation_id) == organisation_id)


def _suspend(session: Session, cause: str, which: object) -> Afterwards:
    rows = list(session.exec(select(Product).where(which, Product.status == "listed")  # type: ignore[arg-type]
                             .order_by(col(Product.id)).with_for_update().execution_options(populate_existing=True)))
    for row in rows:
        row.status = rules.PRODUCT.check("suspend", row.status, SYSTEM).target
        row.suspended_by, row.reason = "system", "协议已终止 The agreement has ended"
        session.add(row)
        session.flush()
        index.refresh(session, row)
        watching.tell(session, row, "suspended", reason=row.reason)

    def append() -> None:
        for row in rows:
            trust.append(session, Tag.PRODUCT_SUSPENDED, SYSTEM, row.id, related=[cause])

    return append
