"""REST: products, their versions and prices."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.computing import CardOut
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, PathIn, Time, listing
from marketplace.pricing import service as pricing
from marketplace.products import service as products

api = blueprint("products")


class ProductIn(In):
    tier: int | None = Field(None, description="1 for the operator, 2 for a developer; follows from who asks.")
    sector: str = Field(max_length=40)
    delivery_form: str = Field(max_length=20, description="api, model or report")
    title_zh: str = Field(min_length=1, max_length=100)
    title_en: str = Field(min_length=1, max_length=200)
    summary_zh: str = Field("", max_length=300)
    summary_en: str = Field("", max_length=600)
    description_zh: str = Field("", max_length=10_000)
    description_en: str = Field("", max_length=20_000)


class VersionIn(In):
    job_id: str = Field(max_length=64)


class PriceIn(In):
    access_fee_fen: int
    call_fee_fen: int
    included_calls: int = 0
    term_days: int = 365


class VersionPath(PathIn):
    id: str = Field(max_length=64)
    number: int = Field(ge=1, le=2**31 - 1)


class ProductQuery(PageQuery):
    q: str | None = Field(None, max_length=100)
    sector: str | None = Field(None, max_length=40)
    form: str | None = Field(None, max_length=20)
    sort: Literal["newest", "title"] = "newest"
    own: bool = Field(False, description="The organisation's own products in every state instead of the storefront.")


class PriceOut(Out):
    access_fee_fen: int
    call_fee_fen: int
    included_calls: int
    term_days: int
    currency: str
    created_at: Time


class VersionOut(Out):
    id: str
    product_id: str
    number: int
    job_id: str
    status: str
    registration_code: str | None
    manifest: dict[str, Any]
    manifest_digest: str
    sample: dict[str, Any]
    created_at: Time
    registered_at: Time | None


class ProductOut(Out):
    id: str
    organisation_id: str
    tier: int
    sector: str
    delivery_form: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    description_zh: str
    description_en: str
    status: str
    created_at: Time
    listed_at: Time | None


def _item(item: products.StorefrontItem) -> dict[str, Any]:
    return {
        **ProductOut.of(item.product),
        "organisation_name_zh": item.organisation.name_zh,
        "organisation_name_en": item.organisation.name_en,
        "registration_code": item.version.registration_code if item.version else None,
        "price": PriceOut.of(item.plan) if item.plan else None,
    }


@api.get("/products", summary="The storefront, or the organisation's own products", responses={200: Listing[ProductOut]})
@public
def list_products(query: ProductQuery) -> dict[str, Any]:
    with db.reading() as session:
        if query.own:
            page = products.own_products(session, actor(), cursor=query.cursor, limit=query.limit)
        else:
            page = products.storefront(session, q=query.q, sector=query.sector, form=query.form, sort=query.sort,
                                       cursor=query.cursor, limit=query.limit)
        return listing([_item(item) for item in page.items], page.next)


@api.get("/products/<id>", summary="One product with its versions, price and sample", responses={200: ProductOut})
@public
def get_product(path: IdPath) -> dict[str, Any]:
    return _page(path.id)


@api.get("/products/<id>/card", summary="The model card of a product that delivers a model", responses={200: CardOut})
@public
def product_card(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return products.product_card(session, actor(), path.id)


def _page(product_id: str) -> dict[str, Any]:
    with db.reading() as session:
        page = products.product_page(session, actor(), product_id)
        current = page.current
        return {
            **_item(products.StorefrontItem(page.product, page.organisation, current, page.plan)),
            "version": VersionOut.of(current) if current else None,
            "versions": [VersionOut.of(row) for row in page.versions],
            "actions": page.actions,
        }


@api.post("/products", summary="Draft a product", responses={201: ProductOut})
@scope("products")
def create_product(body: ProductIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        row = products.draft_product(session, actor(), **body.model_dump())
    return _page(row.id), 201


@api.put("/products/<id>/price", summary="Set the price of orders to come", responses={200: PriceOut})
@scope("products")
def set_price(path: IdPath, body: PriceIn) -> dict[str, Any]:
    with db.transaction() as session:
        return PriceOut.of(pricing.set_price(session, actor(), path.id, **body.model_dump()))


@api.post("/products/<id>/versions", summary="Bind a job's approved result as a new version",
          responses={201: VersionOut})
@scope("products")
def create_version(path: IdPath, body: VersionIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return VersionOut.of(products.create_version(session, actor(), path.id, job_id=body.job_id)), 201


@api.post("/products/<id>/versions/<int:number>/register", summary="Issue a version's registration code",
          responses={200: VersionOut})
@scope("operate")
def register_version(path: VersionPath) -> dict[str, Any]:
    with db.transaction() as session:
        return VersionOut.of(products.register_version(session, actor(), path.id, path.number))


@api.post("/products/<id>/list", summary="Put the newest registered version on sale", responses={200: ProductOut})
@scope("products")
def list_product(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        products.list_product(session, actor(), path.id)
    return _page(path.id)


@api.post("/products/<id>/suspend", summary="Stop selling and delivering a product", responses={200: ProductOut})
def suspend_product(path: IdPath) -> dict[str, Any]:
    """The owner needs the scope ``products``; the operator and the data authority ``operate``."""
    with db.transaction() as session:
        products.suspend_product(session, actor(), path.id)
    return _page(path.id)
