"""Model cards: of a job's model, of one that waits for its egress review, and of one that a product delivers."""

from __future__ import annotations

import json
from typing import Any

from flask import make_response, render_template, url_for
from flask_babel import gettext as _

from marketplace.computing import service as computing
from marketplace.db import reading
from marketplace.products import service as products
from marketplace.web.blueprint import web
from marketplace.web.i18n import both, language
from marketplace.web.session import current_actor, signed_in
from shuyan.problems import ProblemError

Crumbs = list[tuple[str, str]]


@web.get("/jobs/<job_id>/card")
@signed_in()
def job_card(job_id: str) -> Any:
    with reading() as db:
        card = computing.model_card(db, current_actor(), job_id)
    return _page(card, [(_("Jobs"), url_for("web.jobs")), (card["title"] or _("Job"), url_for("web.job", job_id=job_id))],
                 {form: url_for("web.job_card_file", job_id=job_id, form=form) for form in ("md", "json")})


@web.get("/jobs/<job_id>/card.<any(md, json):form>")
@signed_in()
def job_card_file(job_id: str, form: str) -> Any:
    """The card as Markdown in the reader's language, or as JSON."""
    with reading() as db:
        card = computing.model_card(db, current_actor(), job_id)
    return _file(card, job_id, form)


@web.get("/reviews/<review_id>/card")
@signed_in()
def review_card(review_id: str) -> Any:
    """The card as it would be published."""
    with reading() as db:
        card = computing.get_review(db, current_actor(), review_id).card
    if card is None:
        raise ProblemError("not_found", what="card")
    return _page(card, [(_("Egress reviews"), url_for("web.reviews")),
                        (card["title"] or _("Job"), url_for("web.review", review_id=review_id))], {})


@web.get("/products/<product_id>/card")
def product_card(product_id: str) -> Any:
    with reading() as db:
        card = products.product_card(db, current_actor(), product_id)
        product = products.get_product(db, current_actor(), product_id)
    return _page(card, [(_("Products"), url_for("web.store")), (both(product, "title"), url_for("web.product", product_id=product_id))],
                 {form: url_for("web.product_card_file", product_id=product_id, form=form) for form in ("md", "json")})


@web.get("/products/<product_id>/card.<any(md, json):form>")
def product_card_file(product_id: str, form: str) -> Any:
    """The card as Markdown in the reader's language, or as JSON."""
    with reading() as db:
        card = products.product_card(db, current_actor(), product_id)
    return _file(card, product_id, form)


def _page(card: dict[str, Any], crumbs: Crumbs, files: dict[str, str]) -> str:
    tongue = language()
    parts = [{"code": one["code"], "title": one["title"][tongue], "lines": [line[tongue] for line in one["lines"]]}
             for one in card["sections"]]
    return render_template("web/card.html", card=card, parts=parts, trail=crumbs, files=files)


def _file(card: dict[str, Any], name: str, form: str) -> Any:
    text = computing.card_markdown(card, language()) if form == "md" else json.dumps(card, ensure_ascii=False, indent=2) + "\n"
    response = make_response(text)
    response.headers["Content-Type"] = "text/markdown; charset=utf-8" if form == "md" else "application/json"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}-card.{form}"'
    return response
