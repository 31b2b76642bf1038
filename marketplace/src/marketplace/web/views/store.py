"""The storefront with its sector pages, the product page, what changed, and the certificate of disposal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.catalogue import service as catalogue
from marketplace.commerce import service as commerce
from marketplace.computing import service as computing
from marketplace.db import reading, transaction
from marketplace.products import service as products
from marketplace.web import labels
from marketplace.web.blueprint import web
from marketplace.web.i18n import both, language, money
from marketplace.web.present import Section, sample_section
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import (
    PAGE,
    app_titles,
    column_titles,
    cursor,
    form_key,
    new_key,
    organisation_names,
)
from shuyan.problems import ProblemError

PER_PAGE = 12


_FILTERS = ("sector", "form", "tier", "band", "provider")
_LABELS = {"sector": "sector", "form": "form", "tier": "tier", "band": "band"}


@web.get("/")
def store() -> Any:
    return _store(None)


@web.get("/sectors/<sector>/products")
def sector_products(sector: str) -> Any:
    """The products of one sector, at an address of its own."""
    if sector not in labels.known("sector"):
        raise ProblemError("not_found", what="sector")
    return _store(sector)


def _store(sector: str | None) -> Any:
    q = request.args.get("q", "").strip()[:100]
    chosen = {name: value for name in _FILTERS if (value := request.args.get(name, "").strip()[:64])}
    chosen = {name: value for name, value in chosen.items() if name == "provider" or value in labels.known(_LABELS[name])}
    if sector:
        chosen["sector"] = sector
    filters: dict[str, Any] = {**chosen, **({"tier": int(chosen["tier"])} if "tier" in chosen else {})}
    sort = request.args.get("sort", "")
    sort = sort if sort in products.SORTS else products.SORTS[0]
    with reading() as db:
        page = products.storefront(db, q=q or None, sort=sort, cursor=cursor(), limit=PER_PAGE, **filters)
        found = products.facets(db, q=q or None, **filters)
    items = [{"product": item.product, "price": item.plan, "organisation": both(item.organisation, "name"), "calls": item.calls,
              "departments": len(departments(item.version)) if item.version else 0,
              "code": item.version.registration_code if item.version else None} for item in page.items]

    def link(**changes: str | None) -> str:
        query: dict[str, Any] = {name: value for name, value in {**chosen, "q": q, "sort": request.args.get("sort"), **changes}.items() if value}
        own = query.pop("sector", None)
        return url_for("web.sector_products", sector=own, **query) if own else url_for("web.store", **query)

    names = {"sector": _("Sector"), "form": _("Delivery form"), "tier": _("Tier"), "band": _("Access fee"), "provider": _("Offered by")}
    groups = [{"name": name, "text": text, "all": link(**{name: None}) if name in chosen else None, "values": [
        {"text": both(found.providers[value], "name") if name == "provider" and value in found.providers else
         labels.label(_LABELS.get(name, ""), value), "count": count, "chosen": chosen.get(name) == value, "href": link(**{name: value})}
        for value, count in found.counts[name]]} for name, text in names.items()]
    return render_template("web/store.html", items=items, next=page.next, first_page=cursor() is None, q=q, chosen=chosen, sort=sort,
                           sector=chosen.get("sector"), groups=groups, total=found.total, partial=found.partial,
                           sorts=[("newest", _("Newest first")), ("popular", _("Most called first")), ("price", _("Lowest price first")),
                                  ("title", _("By title"))])


def departments(version: Any) -> list[str]:
    """Ids of the departments whose data is in a version, each once."""
    return list(dict.fromkeys(item["organisation_id"] for item in version.manifest.get("participants", [])))


@web.get("/products/<product_id>")
def product(product_id: str) -> Any:
    actor = current_actor()
    with reading() as db:
        page = products.product_page(db, actor, product_id)
        version = page.current or (page.versions[0] if page.versions else None)
        names = organisation_names(db, departments(version)) if version else {}
        titles = version_titles(db, version)
        quality = _quality(db, version)
        owned = commerce.list_entitlements(db, actor, product_id=product_id) if actor.organisation_id else []
        orders = commerce.list_orders(db, actor, product_id=product_id, limit=1).items if owned else []
        changed = products.changes(db, product_id=product_id, limit=5).items if page.product.listed_at else []
        watching = products.watches(db, actor, product_id)
    return render_template(
        "web/product.html", page=page, product=page.product, version=version, price=page.plan,
        seller=both(page.organisation, "name"), departments=list(names.values()), key=new_key(),
        sample=sample_section(version.sample, titles) if version else Section(""), fields=input_fields(version, titles),
        request_example=json.dumps(version.sample.get("request", {}), ensure_ascii=False, indent=2) if version else "",
        owned=bool(owned), order=orders[0] if orders else None, apps=app_titles(), quality=quality, reason=told_reason(page.product),
        changes=[change for change, _product in changed], watching=watching,
        mine=actor.organisation_id == page.product.organisation_id,
        may_manage=actor.organisation_id == page.product.organisation_id or actor.party in products.OVERSEERS)


def told_reason(product: Any) -> str:
    """Why a product is suspended or retired, in the reader's language; "" if nobody said."""
    if not product.reason and not product.reason_code:
        return ""
    return products.reason_of(product.reason_code, product.reason)["reason_zh" if language() == "zh" else "reason_en"]


def _quality(db: Any, version: Any) -> list[tuple[str, int]]:
    """The least of each measure over the departments' data behind a version: (name, percent)."""
    job = computing.find_job(db, version.job_id) if version else None
    if job is None:
        return []
    wanted = set(computing.resources_of(job))
    ids = [row.id for item in version.manifest["participants"] for row in catalogue.resources_of_node(db, item["node_id"]) if row.name in wanted]
    return [(labels.label("measure", name), value) for name, value in catalogue.latest_quality(db, ids).items() if value is not None]


@web.post("/products/<product_id>/watch")
@signed_in()
def watch_product(product_id: str) -> Any:
    """Follow a product, or follow it no longer."""
    follow = request.form.get("follow") == "1"
    with transaction() as db:
        (products.watch if follow else products.unwatch)(db, current_actor(), product_id)
    flash(_("Your organisation is told of this product's changes from now on.") if follow else
          _("Your organisation is no longer told of this product's changes."), "success")
    return redirect(url_for("web.product", product_id=product_id), 303)


@web.get("/product-changes")
def product_changes() -> Any:
    """New versions, prices, suspensions and retirements of every product, or of one; open to everybody."""
    product_id = request.args.get("product") or None
    with reading() as db:
        page = products.changes(db, product_id=product_id, cursor=cursor(), limit=PAGE)
    rows = [{"change": change, "product": product, "detail": _detail(change)} for change, product in page.items]
    return render_template("web/product_changes.html", rows=rows, next=page.next, first_page=cursor() is None,
                           one=rows[0]["product"] if product_id and rows else None)


def _detail(change: products.ProductChange) -> str:
    data = change.data
    if change.kind == "version" and "number" in data:
        return str(_("Version %(number)d", number=data["number"]))
    if change.kind == "price" and "access_fee_fen" in data:
        return str(money(data["access_fee_fen"]))
    reason = str(data.get("reason_zh" if language() == "zh" else "reason_en") or data.get("reason") or "")
    return str(_("%(date)s: %(reason)s", date=data["date"], reason=reason)) if "date" in data else "" if reason == "–" else reason


@web.get("/my/watched")
@signed_in()
def watched_products() -> Any:
    """The products that the reader's organisation follows."""
    with reading() as db:
        page = products.watched(db, current_actor(), cursor=cursor(), limit=PAGE)
    return render_template("web/watched.html", items=page.items, next=page.next, first_page=cursor() is None)


@web.get("/products/<product_id>/disposal")
def disposal(product_id: str) -> Any:
    """The certificate of disposal of a retired product, for everybody who may see the product."""
    with reading() as db:
        found = products.disposal(db, current_actor(), product_id)
    return render_template("web/disposal.html", found=found, product=found.product)


def version_titles(db: Any, version: Any) -> dict[str, str]:
    """What the departments behind a version call its columns."""
    job = computing.find_job(db, version.job_id) if version else None
    if job is None:
        return {}
    return column_titles(db, [item["node_id"] for item in version.manifest["participants"]], computing.resources_of(job))


def input_fields(version: Any, titles: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The fields a call may carry, flat: name, title, type, allowed values."""
    if version is None:
        return []
    schema = version.manifest.get("input_schema", {}).get("properties", {})
    inner = schema.get("features") or schema.get("group") or {}
    return [{"name": name, "title": (titles or {}).get(name, ""), "type": field.get("type", "string"), "values": field.get("enum") or [],
             "required": name in inner.get("required", [])} for name, field in inner.get("properties", {}).items()]


@web.post("/products/<product_id>/order")
@signed_in()
def place_order(product_id: str) -> Any:
    with transaction() as db:
        order = commerce.place_order(db, current_actor(), product_id=product_id, idempotency_key=form_key())
    flash(_("Order %(number)s is placed.", number=order.number), "success")
    return redirect(url_for("web.order", order_id=order.id), 303)
