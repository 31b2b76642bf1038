"""The products domain's use cases, in one place for everybody else.

Drafting (:mod:`.drafting`), tests (:mod:`.testing`), reviews and registration (:mod:`.reviewing`) and what
reviewers see (:mod:`.desks`), sale (:mod:`.listing`),
what buyers find (:mod:`.storefront`) and follow (:mod:`.watching`), reports (:mod:`.reports`), retirement (:mod:`.retirement`).
"""

from __future__ import annotations

from operator import attrgetter

from sqlmodel import Session

from marketplace.computing import service as computing
from marketplace.events import Tag
from marketplace.products import agreements as agreements  # what ends listings registers itself there
from marketplace.products import rules
from marketplace.products.checking import automatic_checks
from marketplace.products.desks import Dossier, dossier, version_actions, version_place, waiting_versions
from marketplace.products.drafting import TEXTS, create_version, draft_product, edit_product, withdraw_version
from marketplace.products.index import add_calls
from marketplace.products.listing import (
    hold_on_sale,
    list_product,
    price_changed,
    resume_product,
    suspend_product,
)
from marketplace.products.models import ProductChange, ProductVersion
from marketplace.products.reading import (
    OVERSEERS,
    get_product,
    made_from,
    on_sale,
    owned_product,
    products_by_id,
    versions_by_id,
)
from marketplace.products.reports import render as render_report
from marketplace.products.retirement import Disposal, disposal, keep_product, retire_product
from marketplace.products.reviewing import (
    pass_stage,
    register_version,
    return_version,
    reviews_of,
    submit_version,
)
from marketplace.products.storefront import (
    FACETS,
    SORTS,
    Facets,
    ProductPage,
    StorefrontItem,
    facets,
    newest_versions,
    own_products,
    product_card,
    product_page,
    storefront,
)
from marketplace.products.testing import run_tests, test_runs
from marketplace.products.texts import reason_of
from marketplace.products.watching import changes, unwatch, watch, watched, watches
from marketplace.trust import records

__all__ = [
    "FACETS", "OVERSEERS", "SORTS", "TEXTS", "Disposal", "Dossier", "Facets", "ProductChange", "ProductPage", "StorefrontItem", "add_calls",
    "altered_records", "automatic_checks", "changes", "create_version", "disposal", "dossier", "draft_product", "edit_product",
    "facets", "get_product", "hold_on_sale", "keep_product", "list_product", "made_from", "newest_versions", "on_sale", "own_products",
    "owned_product", "pass_stage", "price_changed", "product_card", "product_page", "products_by_id", "reason_of", "register_version", "render_report",
    "resume_product", "retire_product", "return_version", "reviews_of", "run_tests", "storefront", "submit_version",
    "suspend_product", "test_runs", "unwatch", "version_actions", "version_place", "versions_by_id", "waiting_versions", "watch", "watched", "watches",
    "withdraw_version",
]


def altered_records(session: Session) -> list[str]:
    """Versions that are not what the audit log says: their manifest, or the result they are bound to."""
    return records.altered(session, Tag.VERSION_CREATED, ProductVersion, {
        "number": attrgetter("number"), "manifest_digest": lambda row: rules.manifest_digest(row.manifest),
        "output_digest": lambda row: computing.output_digest(session, row.job_id)})
