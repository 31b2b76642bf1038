"""Use cases of products: draft, bind an approved result as a version, register, list, suspend, show."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, func, or_, select

from marketplace.access import require_organisation, require_scope
from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.parties.models import Organisation
from marketplace.pricing import service as pricing
from marketplace.pricing.models import PricePlan
from marketplace.products import rules
from marketplace.products.agreements import hold
from marketplace.products.errors import NO_PRICE, NOT_ON_SALE, NOT_REGISTERED, OUTPUT_USED
from marketplace.products.models import Product, ProductVersion
from marketplace.registration import service as registration
from marketplace.settings import settings
from marketplace.trust import records
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

OVERSEERS = frozenset({"operator", "data_authority", "system"})
SORTS = ("newest", "title")
_REGISTRATION_LOCK = 7239472


@dataclass(frozen=True)
class StorefrontItem:
    """One listed product as the storefront shows it."""

    product: Product
    organisation: Organisation
    version: ProductVersion | None
    plan: PricePlan | None


@dataclass(frozen=True)
class ProductPage:
    """Everything a product page shows. ``current`` is the version on sale; ``actions`` what this actor may do."""

    product: Product
    organisation: Organisation
    current: ProductVersion | None
    versions: list[ProductVersion]
    plan: PricePlan | None
    actions: list[str]


def draft_product(session: Session, actor: Actor, *, sector: str, delivery_form: str, title_zh: str, title_en: str,
                  tier: int | None = None, summary_zh: str = "", summary_en: str = "", description_zh: str = "",
                  description_en: str = "") -> Product:
    """Draft a product of the actor's organisation.

    Raises:
        ProblemError: ``not_allowed``, ``wrong_tier``, ``unknown_sector``, ``unknown_delivery_form``, ``second_tier_controlled``
            for a developer that an operator controls.
    """
    require_scope(actor, "products")
    owner = require_organisation(actor)
    own_tier = rules.check_draft(actor.party, tier, sector, delivery_form)
    if own_tier == 2:
        registration.require_second_tier(session, owner)
    row = Product(id=new_id("prod"), organisation_id=owner, tier=own_tier, sector=sector,
                  delivery_form=delivery_form, title_zh=title_zh, title_en=title_en, summary_zh=summary_zh,
                  summary_en=summary_en, description_zh=description_zh, description_en=description_en)
    session.add(row)
    session.flush()
    trust.append(session, Tag.PRODUCT_DRAFTED, actor, row.id, related=[owner],
                 data={"tier": row.tier, "sector": sector, "delivery_form": delivery_form})
    return row


def create_version(session: Session, actor: Actor, product_id: str, *, job_id: str) -> ProductVersion:
    """Bind the approved result of one of the organisation's jobs to the product as its next version.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, what :func:`computing.service.approved_output` raises for a
            result that has not passed the egress review, ``wrong_output_form``, ``output_already_used``.
    """
    product = _locked(session, actor, product_id)
    rules.PRODUCT.check("edit", product.status, actor, owner=product.organisation_id)
    job = computing.get_job(session, actor, job_id)
    if job.organisation_id != product.organisation_id:
        raise ProblemError("not_found", what="job")
    output = computing.approved_output(session, job_id)
    rules.check_output_form(product.delivery_form, output.form)
    existing = _versions(session, product_id)
    for version in existing:
        if version.output_id == output.id:
            raise ProblemError(OUTPUT_USED, number=version.number)
    number = existing[0].number + 1 if existing else 1
    record = authorisation.get_grant(session, actor, job.grant_id)
    manifest = rules.manifest(
        product_id=product_id, number=number, job_id=job_id, output_id=output.id, output_digest=output.digest,
        form=output.form, app={"name": job.app_name, "digest": job.app_digest},
        grant={"id": record.id, "digest": record.digest},
        participants=_participants(session, output.participants, computing.resources_of(job)), rows=output.rows,
        content=output.content)
    row = ProductVersion(id=new_id("ver"), product_id=product_id, number=number, job_id=job_id, output_id=output.id,
                         manifest=manifest, manifest_digest=rules.manifest_digest(manifest),
                         sample=rules.sample(output.content))
    session.add(row)
    session.flush()
    trust.append(session, Tag.VERSION_CREATED, actor, row.id, related=[product_id, job_id, record.id],
                 data={"number": number, "manifest_digest": row.manifest_digest, "output_digest": output.digest})
    return row


def _participants(session: Session, node_ids: Iterable[str], resources: Sequence[str]) -> list[dict[str, Any]]:
    nodes = computing.nodes_by_id(session, list(node_ids))
    sizes: dict[str, int] = {}
    for node_id in nodes:
        for row in catalogue.resources_of_node(session, node_id):
            if row.name in resources:
                sizes[node_id] = sizes.get(node_id, 0) + row.row_count
    return [
        {"node_id": node_id, "organisation_id": nodes[node_id].organisation_id, "rows": sizes.get(node_id)}
        for node_id in sorted(nodes)
    ]


def register_version(session: Session, actor: Actor, product_id: str, number: int) -> ProductVersion:
    """Issue the registration code of a version; the operator does, after compliance and egress review.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``.
    """
    product = _locked(session, actor, product_id)
    version = _version(session, product_id, number)
    rules.VERSION.check("register", version.status, actor, owner=product.organisation_id)
    computing.approved_output(session, version.job_id)  # still approved, or it raises
    now = utc_now()
    year, city = rules.year_of(now), settings().city_code
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({_REGISTRATION_LOCK})"))
    last = session.exec(select(func.max(col(ProductVersion.registration_code)))
                        .where(col(ProductVersion.registration_code).like(f"{city}-{year}-{product.tier}-%"))).one()
    version.registration_code = rules.registration_code(city, year, product.tier, rules.serial_of(last) + 1)
    version.status = "registered"
    version.registered_at = now
    session.add(version)
    trust.append(session, Tag.VERSION_REGISTERED, actor, version.id, related=[product_id, version.job_id],
                 data={"registration_code": version.registration_code, "manifest_digest": version.manifest_digest})
    return version


def list_product(session: Session, actor: Actor, product_id: str) -> Product:
    """Put the newest registered version on sale; an older one on sale is superseded.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``version_not_registered``, ``price_missing``, ``agreement_not_in_force``.
    """
    seen = get_product(session, actor, product_id)
    for version in _versions(session, product_id)[:1]:
        hold(session, seen, version, utc_now())  # before the product is locked, as the end of an agreement does
    product = _locked(session, actor, product_id)
    rules.PRODUCT.check("list", product.status, actor, owner=product.organisation_id)
    versions = _versions(session, product_id)
    newest = next((row for row in versions if row.status in ("registered", "listed")), None)
    if newest is None or (product.status == "listed" and newest.status == "listed"):
        raise ProblemError(NOT_REGISTERED)
    if pricing.active_plan(session, product_id) is None:
        raise ProblemError(NO_PRICE)
    for row in versions:
        if row.id != newest.id and row.status in ("registered", "listed"):
            row.status = "superseded"
            session.add(row)
    newest.status = "listed"
    product.status, product.current_version_id, product.listed_at = "listed", newest.id, utc_now()
    session.add_all([newest, product])
    trust.append(session, Tag.PRODUCT_LISTED, actor, product_id, related=[newest.id],
                 data={"registration_code": newest.registration_code})
    return product


def suspend_product(session: Session, actor: Actor, product_id: str) -> Product:
    """Take a product off sale and stop its delivery; its owner, the operator or the data authority may."""
    product = _locked(session, actor, product_id)
    rules.PRODUCT.check("suspend", product.status, actor, owner=product.organisation_id)
    product.status = "suspended"
    session.add(product)
    trust.append(session, Tag.PRODUCT_SUSPENDED, actor, product_id)
    return product


def storefront(session: Session, *, q: str | None = None, sector: str | None = None, form: str | None = None,
               sort: str = "newest", cursor: str | None = None, limit: int = 20) -> Page[StorefrontItem]:
    """Listed products. ``q`` searches titles and summaries in both languages; ``sort`` is ``newest`` or ``title``."""
    limit = clamp(limit)
    query = select(Product).where(Product.status == "listed")
    if sector:
        query = query.where(Product.sector == sector)
    if form:
        query = query.where(Product.delivery_form == form)
    for word in (q or "").split()[:8]:
        pattern = f"%{_escape(word)}%"
        query = query.where(or_(*(column.ilike(pattern, escape="\\") for column in (
            col(Product.title_zh), col(Product.title_en), col(Product.summary_zh), col(Product.summary_en)))))
    if sort == "title":
        if cursor:
            title, last = decode_cursor(cursor, 2, str)
            query = query.where(or_(col(Product.title_zh) > title,
                                    (col(Product.title_zh) == title) & (col(Product.id) > last)))
        query = query.order_by(col(Product.title_zh), col(Product.id))
    else:
        if cursor:
            (last,) = decode_cursor(cursor, 1, str)
            query = query.where(col(Product.id) < last)
        query = query.order_by(col(Product.id).desc())  # identifiers begin with their creation time
    rows = session.exec(query.limit(limit + 1)).all()
    page = make_page(rows, limit, lambda row: (row.title_zh, row.id) if sort == "title" else (row.id,))
    return Page(_items(session, page.items), page.next)


def own_products(session: Session, actor: Actor, *, cursor: str | None = None, limit: int = 20
                 ) -> Page[StorefrontItem]:
    """The actor's organisation's products in every state, newest first; overseers see everybody's."""
    limit = clamp(limit)
    query = select(Product).order_by(col(Product.id).desc())
    if actor.party not in OVERSEERS:
        query = query.where(Product.organisation_id == require_organisation(actor))
    if cursor:
        query = query.where(col(Product.id) < decode_cursor(cursor, 1, str)[0])
    page = make_page(session.exec(query.limit(limit + 1)).all(), limit, lambda row: (row.id,))
    return Page(_items(session, page.items), page.next)


def _items(session: Session, rows: list[Product]) -> list[StorefrontItem]:
    organisations = parties.organisations_by_id(session, [row.organisation_id for row in rows])
    plans = pricing.active_plans(session, [row.id for row in rows])
    versions = versions_by_id(session, [row.current_version_id for row in rows if row.current_version_id])
    return [StorefrontItem(row, organisations[row.organisation_id], versions.get(row.current_version_id or ""),
                           plans.get(row.id)) for row in rows]


def product_page(session: Session, actor: Actor, product_id: str) -> ProductPage:
    """One product. What is not listed is shown to its owner and to overseers only (``not_found`` for others)."""
    product = get_product(session, actor, product_id)
    versions = _versions(session, product_id)
    if not _sees_drafts(actor, product):
        versions = [row for row in versions if row.registration_code]
    current = next((row for row in versions if row.id == product.current_version_id), None)
    return ProductPage(product, parties.get_organisation(session, product.organisation_id), current, versions,
                       pricing.active_plan(session, product_id),
                       rules.PRODUCT.possible(product.status, actor, owner=product.organisation_id))


def product_card(session: Session, actor: Actor, product_id: str) -> dict[str, Any]:
    """The model card of the version that is on sale, or of the newest, for whoever may see the product.

    Raises:
        ProblemError: ``not_found``; ``card_of_models_only`` where it delivers no model.
    """
    page = product_page(session, actor, product_id)
    version = page.current or (page.versions[0] if page.versions else None)
    if version is None:
        raise ProblemError("not_found", what="version")
    return computing.published_card(session, version.job_id)


def get_product(session: Session, actor: Actor, product_id: str) -> Product:
    """The product, if this actor may see it.

    Raises:
        ProblemError: ``not_found``.
    """
    row = session.get(Product, product_id)
    if row is None or (row.listed_at is None and not _sees_drafts(actor, row)):
        raise ProblemError("not_found", what="product")
    return row


def on_sale(session: Session, product_id: str, *, lock: bool = False) -> tuple[Product, ProductVersion]:
    """The product and the version on sale; with ``lock`` they stay so until the transaction ends.

    Raises:
        ProblemError: ``not_found``, or ``product_not_listed`` if it is suspended.
    """
    row = session.get(Product, product_id, with_for_update={"read": True} if lock else None, populate_existing=lock)
    if row is None or row.listed_at is None:
        raise ProblemError("not_found", what="product")
    version = session.get(ProductVersion, row.current_version_id) if row.current_version_id else None
    if row.status != "listed" or version is None:
        raise ProblemError(NOT_ON_SALE)
    return row, version


def hold_on_sale(session: Session, product_id: str, at: dt.datetime) -> tuple[Product, ProductVersion]:
    """The product and the version on sale, kept so, with the agreements under them, until this transaction is over.

    Raises:
        ProblemError: ``not_found``, ``product_not_listed``, ``agreement_not_in_force``.
    """
    hold(session, *on_sale(session, product_id), at)
    return on_sale(session, product_id, lock=True)


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


def owned_product(session: Session, actor: Actor, product_id: str) -> Product:
    """The product, locked, for a change by its owner: ``not_found`` or ``not_allowed`` for anybody else."""
    product = _locked(session, actor, product_id)
    rules.PRODUCT.check("edit", product.status, actor, owner=product.organisation_id)
    return product


def _sees_drafts(actor: Actor, product: Product) -> bool:
    return actor.party in OVERSEERS or actor.organisation_id == product.organisation_id


def _locked(session: Session, actor: Actor, product_id: str) -> Product:
    row = session.exec(select(Product).where(Product.id == product_id).with_for_update()).first()
    if row is None or (row.listed_at is None and not _sees_drafts(actor, row)):
        raise ProblemError("not_found", what="product")
    return row


def _versions(session: Session, product_id: str) -> list[ProductVersion]:
    """Newest first."""
    return list(session.exec(select(ProductVersion).where(ProductVersion.product_id == product_id)
                             .order_by(col(ProductVersion.number).desc())))


def _version(session: Session, product_id: str, number: int) -> ProductVersion:
    row = session.exec(select(ProductVersion).where(ProductVersion.product_id == product_id,
                                                    ProductVersion.number == number).with_for_update()).first()
    if row is None:
        raise ProblemError("not_found", what="version")
    return row


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def altered_records(session: Session) -> list[str]:
    """Versions that are not what the audit log says: their manifest, or the result they are bound to."""
    return records.altered(session, Tag.VERSION_CREATED, ProductVersion, {
        "number": attrgetter("number"), "manifest_digest": lambda row: rules.manifest_digest(row.manifest),
        "output_digest": lambda row: computing.output_digest(session, row.job_id)})
