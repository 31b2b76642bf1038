"""Products from draft to sale: the seller's pages, and the operator's registration desk."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.computing import service as computing
from marketplace.db import reading, transaction
from marketplace.pricing import service as pricing
from marketplace.products import service as products
from marketplace.products.rules import version_life
from marketplace.web import labels
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import both
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, cursor, integer, yuan_to_fen
from shuyan.problems import ProblemError

_TEXTS = ("title_zh", "title_en", "summary_zh", "summary_en", "description_zh", "description_en")


@web.get("/my/products")
@signed_in("developer", "operator")
def my_products() -> Any:
    actor = current_actor()
    with reading() as db:
        page = products.own_products(db, actor, cursor=cursor(), limit=PAGE)
        items = [_row(db, actor, item) for item in page.items if item.product.organisation_id == actor.organisation_id]
    return render_template("web/my_products.html", items=items, next=page.next, first_page=cursor() is None,
                           heading=_("My products"), selling=True)


def _row(db: Any, actor: Any, item: Any) -> dict[str, Any]:
    versions = products.product_page(db, actor, item.product.id).versions
    return {"product": item.product, "price": item.plan, "newest": versions[0] if versions else None,
            "organisation": both(item.organisation, "name")}


@web.get("/desk/products")
@signed_in("operator")
def desk_products() -> Any:
    """Everybody's products; those with a version waiting for its registration code first."""
    actor = current_actor()
    with reading() as db:
        page = products.own_products(db, actor, cursor=cursor(), limit=PAGE)
        items = [_row(db, actor, item) for item in page.items]
    items.sort(key=lambda item: not (item["newest"] and item["newest"].status == "draft"))
    return render_template("web/my_products.html", items=items, next=page.next, first_page=cursor() is None,
                           heading=_("Registration"), selling=False)


@web.get("/my/products/new")
@signed_in("developer", "operator")
def new_product() -> Any:
    actor = current_actor()
    with reading() as db:
        ready = _finished_jobs(db, actor)
    chosen = request.args.get("job", "")
    job = next((item for item in ready if item.id == chosen), None)
    form = "model" if job and job.params.get("target") else "api"
    return render_template("web/product_new.html", jobs=ready, values={"job": chosen, "delivery_form": form},
                           sectors=labels.choices("sector"), forms=_forms(), problem=None)


def _forms() -> list[tuple[str, str]]:
    return [(code, text) for code, text in labels.choices("form") if code != "statistics"]


def _finished_jobs(db: Any, actor: Any) -> list[Any]:
    rows, _next = computing.list_jobs(db, actor, status="completed", limit=100)
    return [row for row in rows if row.organisation_id == actor.organisation_id]


@web.post("/my/products/new")
@signed_in("developer", "operator")
def create_product() -> Any:
    actor = current_actor()
    texts: dict[str, Any] = {name: request.form.get(name, "").strip() for name in _TEXTS}
    job_id = request.form.get("job", "")
    try:
        for name, text in (("title_zh", _("Title in Chinese")), ("title_en", _("Title in English"))):
            if not texts[name]:
                raise ProblemError("invalid_input", field=text, reason=_("is required"))
        with transaction() as db:
            row = products.draft_product(db, actor, sector=request.form.get("sector", ""),
                                         delivery_form=request.form.get("delivery_form", ""), **texts)
            if job_id:
                products.create_version(db, actor, row.id, job_id=job_id)
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        with reading() as db:
            ready = _finished_jobs(db, actor)
        return render_template("web/product_new.html", jobs=ready, values=request.form, problem=say(problem),
                               sectors=labels.choices("sector"), forms=_forms()), problem.problem.status
    flash(_("The draft is saved. Set its price next."), "success")
    return redirect(url_for("web.my_product", product_id=row.id), 303)


@web.get("/my/products/<product_id>")
@signed_in()
def my_product(product_id: str) -> Any:
    """One product for its seller, and for the operator who registers it."""
    actor = current_actor()
    with reading() as db:
        page = products.product_page(db, actor, product_id)
        owner = page.product.organisation_id
        versions = [{"row": row, "actions": version_life(page.product.tier).possible(row.status, actor, owner=owner)} for row in page.versions]
        if not versions and owner != actor.organisation_id and actor.party not in ("operator", "data_authority"):
            raise ProblemError("not_found", what="product")
        used = {row.job_id for row in page.versions}
        jobs = [row for row in _finished_jobs(db, actor) if row.id not in used] if owner == actor.organisation_id else []
    registered = any(row.status == "registered" for row in page.versions)
    return render_template("web/my_product.html", page=page, product=page.product, price=page.plan, versions=versions,
                           jobs=jobs, mine=owner == actor.organisation_id, seller=both(page.organisation, "name"),
                           registered=registered, steps=_steps(page))


def _steps(page: Any) -> list[tuple[str, str]]:
    """The way to sale as (text, state) with state ``done``, ``now`` or nothing."""
    listed = page.product.status == "listed"
    done = [bool(page.versions), page.plan is not None, any(row.registration_code for row in page.versions), listed]
    texts = [_("Result bound"), _("Price set"), _("Registered by the operator"), _("On sale")]
    first = done.index(False) if False in done else len(done)
    return [(text, "done" if ok else ("now" if place == first else ""))
            for place, (text, ok) in enumerate(zip(texts, done, strict=True))]


def _back(product_id: str) -> Any:
    return redirect(url_for("web.my_product", product_id=product_id), 303)


@web.post("/my/products/<product_id>/versions")
@signed_in()
def add_version(product_id: str) -> Any:
    with transaction() as db:
        row = products.create_version(db, current_actor(), product_id, job_id=request.form.get("job", ""))
    flash(_("Version %(number)d is bound to the result.", number=row.number), "success")
    return _back(product_id)


@web.post("/my/products/<product_id>/price")
@signed_in()
def set_price(product_id: str) -> Any:
    price = {"access_fee_fen": yuan_to_fen("access_fee", text=_("Access fee")),
             "call_fee_fen": yuan_to_fen("call_fee", text=_("Each call beyond")),
             "included_calls": integer("included_calls", text=_("Calls included"), default=0),
             "term_days": integer("term_days", text=_("Term in days"), least=1, default=365)}
    with transaction() as db:
        pricing.set_price(db, current_actor(), product_id, **price)
    flash(_("The price is set."), "success")
    return _back(product_id)


@web.post("/my/products/<product_id>/versions/<int:number>/register")
@signed_in()
def register_version(product_id: str, number: int) -> Any:
    with transaction() as db:
        row = products.register_version(db, current_actor(), product_id, number)
    flash(_("Registered as %(code)s.", code=row.registration_code), "success")
    return _back(product_id)


@web.post("/my/products/<product_id>/list")
@signed_in()
def list_product(product_id: str) -> Any:
    with transaction() as db:
        products.list_product(db, current_actor(), product_id)
    flash(_("The product is on sale."), "success")
    return _back(product_id)


@web.post("/my/products/<product_id>/suspend")
@signed_in()
def suspend_product(product_id: str) -> Any:
    with transaction() as db:
        products.suspend_product(db, current_actor(), product_id)
    flash(_("The product is suspended."), "success")
    return _back(product_id)
