"""Listings live under agreements and grants and by parties in good standing: none is made or sold once one is over, and those on
sale come off by themselves."""

from __future__ import annotations

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM
from marketplace.agreements import service as agreements
from marketplace.agreements.hooks import Afterwards
from marketplace.agreements.models import Agreement
from marketplace.authorisation import service as authorisation
from marketplace.computing import service as computing
from marketplace.events import Tag
from marketplace.products import listing, rules
from marketplace.products.models import Product, ProductVersion
from marketplace.registration import standing
from marketplace.trust import service as trust


@agreements.when_ended("development")
def suspend_developed(session: Session, agreement: Agreement) -> Afterwards | None:
    """Take off sale what was made under a development agreement."""
    jobs = computing.jobs_under(session, authorisation.grants_of_demand(session, agreement.demand_id or ""))
    made = select(ProductVersion.id).where(col(ProductVersion.job_id).in_(jobs))
    return _suspend(session, agreement.id, "agreement_ended", col(Product.current_version_id).in_(made))


@agreements.when_ended("operation")
def suspend_operated(session: Session, agreement: Agreement) -> Afterwards | None:
    """Take the operator's own first-tier products off sale, unless another agreement of its stands."""
    if agreements.operator_stands(session, agreement.grantee_id, agreement.id):
        return None
    return _suspend(session, agreement.id, "agreement_ended", (col(Product.organisation_id) == agreement.grantee_id) & (col(Product.tier) == 1))


@standing.when_changed
def suspend_of_party(session: Session, organisation_id: str, before: str, after: str) -> Afterwards | None:
    """Take off sale what a party sells that may not take part any more; once it may again, it lists anew."""
    if before != "active" or after == "active":
        return None
    return _suspend(session, organisation_id, "provider_barred", col(Product.organisation_id) == organisation_id)


@authorisation.when_withdrawn
def suspend_withdrawn(session: Session, grant_ids: list[str]) -> Afterwards:
    """Take off sale what rests on a grant that was withdrawn; its owner may list it again under a grant that is active."""
    made = select(ProductVersion.id).where(col(ProductVersion.grant_id).in_(grant_ids))
    return _suspend(session, grant_ids[0], "grant_withdrawn", col(Product.current_version_id).in_(made))


def _suspend(session: Session, cause: str, code: str, which: object) -> Afterwards:
    rows = list(session.exec(select(Product).where(which, Product.status == "listed")  # type: ignore[arg-type]
                             .order_by(col(Product.id)).with_for_update().execution_options(populate_existing=True)))
    for row in rows:
        rules.PRODUCT.check("suspend", row.status, SYSTEM)
        listing.take_off(session, row, "system", code=code)

    def append() -> None:
        for row in rows:
            trust.append(session, Tag.PRODUCT_SUSPENDED, SYSTEM, row.id, related=[cause])

    return append
