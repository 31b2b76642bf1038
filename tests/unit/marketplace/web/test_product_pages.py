"""The pages of a version's reviews, of sale and retirement, and of the storefront, as browsers send them."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from tests.factories.market import STATISTICS, make_output, make_product
from tests.unit.marketplace.web.conftest import Pages

from marketplace import clock
from marketplace.db import reading, transaction
from marketplace.deadlines import service as deadlines
from marketplace.products import service as products
from marketplace.products.models import Product
from marketplace.products.stages import CHECKLISTS
from marketplace.web.views import selling


def _draft(pages: Pages) -> str:
    with transaction() as session:
        return make_product(session, pages.city, listed=False)


def _listed(pages: Pages) -> str:
    with transaction() as session:
        return make_product(session, pages.city)


def _buttons(text: str) -> set[str]:
    """The last part of every form's address."""
    return {action.rpartition("/")[2] for action in re.findall(r'<form[^>]+method="post"[^>]+action="([^"]+)"', text)} - {
        "language", "sign-out", "organisation"}


def test_a_version_goes_through_its_reviews_by_forms(pages: Pages) -> None:
    product = _draft(pages)
    place = f"/my/products/{product}/versions/1"
    developer, operator, authority = (pages.member(kind) for kind in ("developer", "operator", "data_authority"))
    assert {"test", "withdraw"} <= _buttons(developer.get(place).text)
    assert "submit" not in _buttons(developer.get(place).text)
    wrong = pages.post(developer, place, f"{place}/test", cases="[1]")
    assert wrong.status_code == 422
    assert "line 1 is not a JSON object" in wrong.text
    assert pages.post(developer, place, f"{place}/test", cases='{"group": {"sector": "commerce"}}').status_code == 303
    assert "A case of yours" in developer.get(place).text
    assert pages.post(developer, place, f"{place}/submit").status_code == 303
    assert "decide" not in _buttons(developer.get(place).text)
    with reading() as session:
        version = products.product_page(session, pages.city["developer"], product).versions[0].id
    for reader, stage in ((operator, "security_test"), (operator, "compliance_review"), (authority, "egress_review")):
        assert version in reader.get(f"/desk/versions?stage={stage}").text
        desk = reader.get(f"/desk/versions/{version}")
        assert "decide" in _buttons(desk.text), stage
        short = pages.post(reader, place, f"{place}/decide", stage=stage, decision="pass", note="已核对")
        assert short.status_code == 422
        assert "已核对" in short.text  # what was typed is kept
        token = re.search(r'name="csrf_token" value="([^"]+)"', desk.text)
        assert token is not None
        answer = reader.post(f"{place}/decide", headers={"Referer": f"http://localhost{place}"}, data={
            "csrf_token": token.group(1), "stage": stage, "decision": "pass", "ticked": list(CHECKLISTS[stage]), "note": "已核对"})
        assert answer.status_code == 303
    assert "What leaves the domain" in authority.get(place).text
    assert "register" in _buttons(operator.get(place).text)
    assert "register" not in _buttons(authority.get(place).text)
    assert pages.post(operator, place, f"{place}/register").status_code == 303
    manage = f"/my/products/{product}"
    assert "list" in _buttons(developer.get(manage).text)
    assert pages.post(developer, manage, f"{manage}/list").status_code == 303
    with reading() as session:
        assert session.get_one(Product, product).status == "listed"


def test_ones_own_products_are_paged_apart_from_everybodys(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        own = products.draft_product(session, pages.city["operator"], sector="finance", title_zh="自营", title_en="Own", summary_zh="本单位的",
                                     delivery_form="api").id
    others = [_draft(pages), _listed(pages)]  # newer, of the developer's
    monkeypatch.setattr(selling, "PAGE", 1)
    operator = pages.member("operator")
    assert own in operator.get("/my/products").text
    desk = operator.get("/desk/products").text
    assert own not in desk
    assert others[1] in desk
    listed = operator.get("/desk/products?status=listed").text
    assert others[1] in listed
    assert 'value="listed" selected' in listed
    assert "No product is in this state" in operator.get("/my/products?status=listed").text


def test_a_returned_version_shows_why(pages: Pages) -> None:
    product = _draft(pages)
    place = f"/my/products/{product}/versions/1"
    developer, operator = pages.member("developer"), pages.member("operator")
    pages.post(developer, place, f"{place}/test")
    pages.post(developer, place, f"{place}/submit")
    assert pages.post(operator, place, f"{place}/decide", stage="security_test", decision="return", note="").status_code == 422
    pages.post(operator, place, f"{place}/decide", stage="security_test", decision="return", note="请限制输入")
    assert "请限制输入" in developer.get(place).text
    late = pages.post(operator, place, f"{place}/decide", stage="security_test", decision="return", note="再次")
    assert late.status_code == 409


def test_buyers_follow_a_product_and_read_what_changed_to_its_end(pages: Pages) -> None:
    product = _listed(pages)
    page, manage = f"/products/{product}", f"/my/products/{product}"
    consumer, developer, operator = (pages.member(kind) for kind in ("consumer", "developer", "operator"))
    assert pages.post(consumer, page, f"{page}/watch", follow="1").status_code == 303
    assert product in consumer.get("/my/watched").text
    assert pages.post(operator, manage, f"{manage}/suspend", reason="").status_code == 422
    assert pages.post(operator, manage, f"{manage}/suspend", reason="投诉核查").status_code == 303
    assert "投诉核查" in pages.visitor().get(page).text
    assert _buttons(developer.get(manage).text) & {"list", "resume"} == set()
    assert pages.post(operator, manage, f"{manage}/resume").status_code == 303
    assert f'action="{manage}/price"' in developer.get(manage).text
    assert pages.post(developer, manage, f"{manage}/retire", reason="不再更新").status_code == 303
    assert "keep" in _buttons(developer.get(manage).text)
    told = pages.visitor("zh").get("/product-changes").text
    assert all(text in told for text in ("投诉核查", "不再更新"))
    assert pages.visitor().get(f"{page}/disposal").status_code == 404
    with clock.shifted(dt.timedelta(days=400)):
        deadlines.fire_due()
        certificate = pages.visitor().get(f"{page}/disposal")
        assert certificate.status_code == 200
        assert "products:product:retired" in certificate.text
        assert "Certificate of disposal" in pages.visitor().get(page).text
        ended = developer.get(manage).text
        assert not any(f'action="{manage}/{way}"' in ended for way in ("price", "versions", "retire", "list"))


def test_texts_are_changed_while_nobody_reads_by_them(pages: Pages) -> None:
    product = _draft(pages)
    edit = f"/my/products/{product}/edit"
    developer = pages.member("developer")
    texts = {"title_zh": "新名称", "title_en": "New name", "terms_zh": "不得转售", "terms_en": "No resale"}
    assert pages.post(developer, edit, edit, **{**texts, "title_zh": ""}).status_code == 422
    assert pages.post(developer, edit, edit, **texts).status_code == 303
    assert "No resale" in developer.get(f"/my/products/{product}").text
    assert pages.member("operator").get(edit).status_code == 403
    assert pages.member("consumer").get(f"/my/products/{product}").status_code == 404


def test_the_storefront_counts_and_filters_and_each_sector_has_a_page(pages: Pages) -> None:
    first = _listed(pages)
    with transaction() as session:
        seller = pages.city["developer"]
        other = products.draft_product(session, seller, sector="health", delivery_form="api", title_zh="住院统计", title_en="Inpatients")
        products.create_version(session, seller, other.id, job_id=make_output(session, pages.city, STATISTICS))
    visitor = pages.visitor()
    shown = visitor.get("/sectors/finance/products").text
    assert first in shown
    assert "Data products for" in shown
    assert visitor.get("/sectors/nowhere/products").status_code == 404
    assert first in visitor.get("/?tier=2&band=low&sort=popular").text
    assert first not in visitor.get("/?tier=1").text
    assert "No product matches" in visitor.get("/?q=绝无此物&form=api").text
    assert visitor.get("/?tier=x&band=y&provider=nobody").status_code == 200
    assert visitor.get(f"/products/{other.id}").status_code == 404


@pytest.mark.parametrize("path", ["/desk/versions", "/my/watched", "/desk/products"])
def test_desks_are_for_members(pages: Pages, path: str) -> None:
    assert pages.visitor().get(path).status_code in (302, 303)
    if path.startswith("/desk"):
        assert pages.member("consumer").get(path).status_code == 403
