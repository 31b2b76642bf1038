"""REST: products, their versions and prices."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.computing import CardOut
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, PathIn, QueryIn, Time, listing
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
    terms_zh: str = Field("", max_length=10_000, description="What a buyer may do with the answers.")
    terms_en: str = Field("", max_length=20_000)


class TextsIn(In):
    title_zh: str | None = Field(None, max_length=100)
    title_en: str | None = Field(None, max_length=200)
    summary_zh: str | None = Field(None, max_length=300)
    summary_en: str | None = Field(None, max_length=600)
    description_zh: str | None = Field(None, max_length=10_000)
    description_en: str | None = Field(None, max_length=20_000)
    terms_zh: str | None = Field(None, max_length=10_000)
    terms_en: str | None = Field(None, max_length=20_000)


class ReasonIn(In):
    reason: str = Field("", max_length=500, description="As buyers are told; the owner may suspend without one.")


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


class FacetQuery(QueryIn):
    q: str | None = Field(None, max_length=100, description="Words that titles, summaries, providers or codes contain, in Chinese or English.")
    sector: str | None = Field(None, max_length=40)
    form: str | None = Field(None, max_length=20)
    tier: int | None = Field(None, ge=1, le=2)
    band: str | None = Field(None, max_length=20, description="Of the access fee: free, low (≤ ¥1,000), middle (≤ ¥10,000), high (≤ ¥100,000), top.")
    provider: str | None = Field(None, max_length=64, description="Organisation id.")


class ProductQuery(PageQuery, FacetQuery):
    sort: Literal["newest", "title", "price", "popular"] = "newest"
    own: bool = Field(False, description="The organisation's own products in every state instead of the storefront.")
    status: str | None = Field(None, max_length=20, description="Of one's own products only.")


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
    terms_zh: str
    terms_en: str
    status: str
    suspended_by: str | None
    reason: str
    created_at: Time
    listed_at: Time | None
    retires_at: Time | None
    retired_at: Time | None


class FacetOut(Out):
    value: str
    count: int


class StorefrontFacetsOut(Out):
    total: int
    partial: bool = Field(description="Whether only the newest 2,000 matches were counted.")
    facets: dict[str, list[FacetOut]]


class ChangeOut(Out):
    id: str
    product_id: str
    kind: str
    data: dict[str, Any]
    at: Time
    title_zh: str
    title_en: str


class DisposalOut(Out):
    product_id: str
    retired_at: Time
    index: int = Field(description="Of the event in the public log that proves it.")
    leaf: str = Field(description="The log's own entry; its inclusion is checked with `shuyan verify --product`.")
    disposed: list[dict[str, Any]] = Field(description="{number, registration_code, output_digest} of each result that was deleted.")
    entitlements: int


def _item(item: products.StorefrontItem) -> dict[str, Any]:
    return {
        **ProductOut.of(item.product),
        "organisation_name_zh": item.organisation.name_zh,
        "organisation_name_en": item.organisation.name_en,
        "registration_code": item.version.registration_code if item.version else None,
        "price": PriceOut.of(item.plan) if item.plan else None, "calls": item.calls,
    }


@api.get("/products", summary="The storefront, or the organisation's own products", responses={200: Listing[ProductOut]})
@public
def list_products(query: ProductQuery) -> dict[str, Any]:
    with db.reading() as session:
        if query.own:
            page = products.own_products(session, actor(), status=query.status, cursor=query.cursor, limit=query.limit)
        else:
            page = products.storefront(session, **query.model_dump(exclude={"own", "status"}))
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


@api.put("/products/<id>", summary="Change texts of a product that is neither on sale nor in review", responses={200: ProductOut})
@scope("products")
def edit_product(path: IdPath, body: TextsIn) -> dict[str, Any]:
    with db.transaction() as session:
        products.edit_product(session, actor(), path.id, **body.model_dump(exclude_none=True))
    return _page(path.id)


@api.get("/product-facets", summary="Counts of the storefront under each filter", responses={200: StorefrontFacetsOut})
@public
def product_facets(query: FacetQuery) -> dict[str, Any]:
    with db.reading() as session:
        found = products.facets(session, **query.model_dump())
    return {"total": found.total, "partial": found.partial, "facets": {
        name: [{"value": value, "count": count, **({"name_zh": found.providers[value].name_zh, "name_en": found.providers[value].name_en}
                                                   if value in found.providers else {})} for value, count in counts]
        for name, counts in found.counts.items()}}


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


@api.post("/products/<id>/list", summary="Put the newest registered version on sale", responses={200: ProductOut})
@scope("products")
def list_product(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        products.list_product(session, actor(), path.id)
    return _page(path.id)


@api.post("/products/<id>/suspend", summary="Stop selling and delivering a product", responses={200: ProductOut})
def suspend_product(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    """The owner needs the scope ``products``; the operator and the data authority ``operate``, and a reason."""
    with db.transaction() as session:
        products.suspend_product(session, actor(), path.id, body.reason)
    return _page(path.id)


@api.post("/products/<id>/resume", summary="Put back what those who oversee the market suspended", responses={200: ProductOut})
@scope("operate")
def resume_product(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        products.resume_product(session, actor(), path.id)
    return _page(path.id)


@api.post("/products/<id>/retire", summary="Announce a product's retirement; it cannot be undone once the notice is over",
          responses={200: ProductOut})
def retire_product(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    """The owner needs the scope ``products``. Sale ends at once, delivery and every right to it after the notice."""
    with db.transaction() as session:
        products.retire_product(session, actor(), path.id, body.reason)
    return _page(path.id)


@api.post("/products/<id>/keep", summary="Call a retirement off while its notice runs", responses={200: ProductOut})
@scope("products")
def keep_product(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        products.keep_product(session, actor(), path.id)
    return _page(path.id)


@api.get("/products/<id>/disposal", summary="The certificate of disposal of a retired product", responses={200: DisposalOut})
@public
def disposal(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        found = products.disposal(session, actor(), path.id)
        return DisposalOut.of(found, product_id=found.product.id, retired_at=found.product.retired_at)


@api.post("/products/<id>/watch", summary="Be told of a product's changes", responses={200: ProductOut})
@scope("read")
def watch(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        products.watch(session, actor(), path.id)
    return _page(path.id)


@api.delete("/products/<id>/watch", summary="Be told no longer", responses={200: ProductOut})
@scope("read")
def unwatch(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        products.unwatch(session, actor(), path.id)
    return _page(path.id)


@api.get("/watched-products", summary="The products that the organisation follows", responses={200: Listing[ProductOut]})
@scope("read")
def watched(query: PageQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = products.watched(session, actor(), cursor=query.cursor, limit=query.limit)
        return listing([ProductOut.of(row) for row in page.items], page.next)


@api.get("/product-changes", summary="New versions, prices, suspensions and retirements of all products", responses={200: Listing[ChangeOut]})
@public
def all_changes(query: PageQuery) -> dict[str, Any]:
    return _changes(None, query)


@api.get("/products/<id>/changes", summary="The same of one product", responses={200: Listing[ChangeOut]})
@public
def product_changes(path: IdPath, query: PageQuery) -> dict[str, Any]:
    return _changes(path.id, query)


def _changes(product_id: str | None, query: PageQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = products.changes(session, product_id=product_id, cursor=query.cursor, limit=query.limit)
        return listing([ChangeOut.of(change, title_zh=product.title_zh, title_en=product.title_en) for change, product in page.items],
                       page.next)
