"""Products from draft to retirement: the seller's pages, and everybody's products for those who oversee the market."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from marketplace.computing import service as computing
from marketplace.db import reading, transaction
from marketplace.pricing import service as pricing
from marketplace.products import service as products
from marketplace.products.rules import PRODUCT
from marketplace.web import labels
from marketplace.web.blueprint import web
from marketplace.web.errors import say
from marketplace.web.i18n import both
from marketplace.web.session import current_actor, signed_in
from marketplace.web.views._common import PAGE, acted, cursor, integer, yuan_to_fen
from marketplace.web.views.store import told_reason
from shuyan.problems import ProblemError

_TEXTS = tuple(products.TEXTS)


@web.get("/my/products")
@signed_in("developer", "operator")
def my_products() -> Any:
    return _products(selling=True)


def _rows(db: Any, items: Any) -> list[dict[str, Any]]:
    newest = products.newest_versions(db, [item.product.id for item in items])
    return [{"product": item.product, "price": item.plan, "newest": newest.get(item.product.id),
             "organisation": both(item.organisation, "name")} for item in items]


@web.get("/desk/products")
@signed_in(*sorted(products.OVERSEERS))
def desk_products() -> Any:
    """Everybody's products, newest first; what waits for a decision is on the desk of versions."""
    return _products(selling=False)


def _products(*, selling: bool) -> str:
    status = request.args.get("status", "")
    status = status if status in PRODUCT.states else ""
    with reading() as db:
        page = products.own_products(db, current_actor(), status=status or None, everybodys=not selling, cursor=cursor(), limit=PAGE)
        items = _rows(db, page.items)
    return render_template("web/my_products.html", items=items, next=page.next, first_page=cursor() is None, status=status, states=PRODUCT.states,
                           heading=_("My products") if selling else _("Everybody's products"), selling=selling)


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
    """One product for its seller, and for those who oversee the market."""
    return _product_page(product_id)


def _product_page(product_id: str, problem: ProblemError | None = None) -> str:
    actor = current_actor()
    with reading() as db:
        page = products.product_page(db, actor, product_id)
        owner = page.product.organisation_id
        mine = owner == actor.organisation_id
        if not mine and actor.party not in products.OVERSEERS:
            raise ProblemError("not_found", what="product")
        used = {row.job_id for row in page.versions if row.status != "withdrawn"}
        jobs = [row for row in _finished_jobs(db, actor) if row.id not in used] if mine else []
        changed = products.changes(db, product_id=product_id, limit=8).items if page.product.listed_at else []
    registered = any(row.status == "registered" for row in page.versions)
    return render_template("web/my_product.html", page=page, product=page.product, price=page.plan, versions=page.versions,
                           jobs=jobs, mine=mine, seller=both(page.organisation, "name"), registered=registered, steps=_steps(page),
                           changes=[change for change, _product in changed], reason=told_reason(page.product),
                           problem=say(problem) if problem else None, typed=request.form)


def _steps(page: Any) -> list[tuple[str, str]]:
    """The way to sale as (text, state) with state ``done``, ``now`` or nothing."""
    listed = page.product.status == "listed"
    done = [bool(page.versions), page.plan is not None, any(row.registration_code for row in page.versions), listed]
    texts = [_("Result bound"), _("Price set"), _("Reviewed and registered"), _("On sale")]
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
    flash(_("Version %(number)d is bound to the result. Test it next.", number=row.number), "success")
    return redirect(url_for("web.version", product_id=product_id, number=row.number), 303)


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


@web.post("/my/products/<product_id>/list")
@signed_in()
def list_product(product_id: str) -> Any:
    return _act(product_id, lambda db: products.list_product(db, current_actor(), product_id), _("The product is on sale."))


@web.post("/my/products/<product_id>/suspend")
@signed_in()
def suspend_product(product_id: str) -> Any:
    return _act(product_id, lambda db: products.suspend_product(db, current_actor(), product_id, request.form.get("reason", "")),
                _("The product is suspended."))


@web.post("/my/products/<product_id>/resume")
@signed_in()
def resume_product(product_id: str) -> Any:
    return _act(product_id, lambda db: products.resume_product(db, current_actor(), product_id), _("The product is on sale again."))


@web.post("/my/products/<product_id>/retire")
@signed_in()
def retire_product(product_id: str) -> Any:
    return _act(product_id, lambda db: products.retire_product(db, current_actor(), product_id, request.form.get("reason", "")),
                _("The retirement is announced; everybody who bought or follows the product is told."))


@web.post("/my/products/<product_id>/keep")
@signed_in()
def keep_product(product_id: str) -> Any:
    return _act(product_id, lambda db: products.keep_product(db, current_actor(), product_id),
                _("The retirement is called off; put the product on sale again when it is ready."))


def _act(product_id: str, act: Callable[[Any], Any], done: str) -> Any:
    return acted(act, page=lambda problem: _product_page(product_id, problem), done=lambda _made: done,
                 back=url_for("web.my_product", product_id=product_id))


@web.get("/my/products/<product_id>/edit")
@signed_in()
def edit_product(product_id: str) -> Any:
    with reading() as db:
        page = products.product_page(db, current_actor(), product_id)
    if "edit" not in page.actions:
        raise ProblemError("not_allowed")
    return render_template("web/product_edit.html", product=page.product, problem=None,
                           values={name: getattr(page.product, name) for name in _TEXTS})


@web.post("/my/products/<product_id>/edit")
@signed_in()
def save_product(product_id: str) -> Any:
    texts = {name: request.form[name] for name in _TEXTS if name in request.form}
    try:
        with transaction() as db:
            products.edit_product(db, current_actor(), product_id, **texts)
    except ProblemError as problem:
        if problem.problem.status not in (409, 422):
            raise
        with reading() as db:
            page = products.product_page(db, current_actor(), product_id)
        return render_template("web/product_edit.html", product=page.product, values=request.form, problem=say(problem)), problem.problem.status
    flash(_("The texts are saved."), "success")
    return _back(product_id)
