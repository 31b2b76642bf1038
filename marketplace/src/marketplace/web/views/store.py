"""The storefront and the product page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.commerce import service as commerce
from marketplace.computing import service as computing
from marketplace.db import reading, transaction
from marketplace.products import service as products
from marketplace.web import labels
from marketplace.web.blueprint import web
from marketplace.web.i18n import both
from marketplace.web.present import Section, sample_section
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import (
    app_titles,
    column_titles,
    cursor,
    form_key,
    new_key,
    organisation_names,
)

PER_PAGE = 12


@web.get("/")
def store() -> Any:
    q, sector, form = (request.args.get(name, "").strip() for name in ("q", "sector", "form"))
    sort = request.args.get("sort", "")
    sort = sort if sort in products.SORTS else products.SORTS[0]
    with reading() as db:
        page = products.storefront(db, q=q or None, sector=sector or None, form=form or None, sort=sort,
                                   cursor=cursor(), limit=PER_PAGE)
    items = [{"product": item.product, "price": item.plan, "organisation": both(item.organisation, "name"),
              "departments": len(departments(item.version)) if item.version else 0,
              "code": item.version.registration_code if item.version else None} for item in page.items]
    forms = [(code, text) for code, text in labels.choices("form") if code != "statistics"]
    return render_template("web/store.html", items=items, next=page.next, first_page=cursor() is None, q=q,
                           sector=sector, form=form, sort=sort, sectors=labels.choices("sector"), forms=forms,
                           sorts=[("newest", _("Newest first")), ("title", _("By title"))])


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
        owned = commerce.list_entitlements(db, actor, product_id=product_id) if actor.organisation_id else []
        orders = commerce.list_orders(db, actor, product_id=product_id, limit=1).items if owned else []
    return render_template(
        "web/product.html", page=page, product=page.product, version=version, price=page.plan,
        seller=both(page.organisation, "name"), departments=list(names.values()), key=new_key(),
        sample=sample_section(version.sample, titles) if version else Section(""), fields=input_fields(version, titles),
        request_example=json.dumps(version.sample.get("request", {}), ensure_ascii=False, indent=2) if version else "",
        owned=bool(owned), order=orders[0] if orders else None, apps=app_titles(),
        mine=actor.organisation_id == page.product.organisation_id)


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
