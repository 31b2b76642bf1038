"""Signing in, language, forms and errors, asked as a browser would."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.factories.market import MODEL, make_output, make_product, review

from marketplace.commerce import service as commerce
from marketplace.db import reading, transaction
from marketplace.parties import service as parties
from marketplace.parties import sessions


def test_a_new_visitor_reads_their_own_language_else_the_citys(pages: Any) -> None:
    assert 'lang="en"' in pages.visitor("en-GB,en;q=0.9").get("/").text
    assert 'lang="zh-CN"' in pages.visitor("zh-TW,zh").get("/").text
    assert 'lang="zh-CN"' in pages.visitor("fr").get("/").text


def test_the_choice_of_language_is_kept(pages: Any) -> None:
    client = pages.visitor("en")
    assert client.get("/language/zh?next=/audit").headers["Location"] == "/audit"
    page = client.get("/")
    assert 'lang="zh-CN"' in page.text
    assert {"Cookie", "Accept-Language"} <= set(page.vary.as_set(preserve_casing=True)) | set(page.vary)
    assert client.get("/language/xx").status_code == 404


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)",
                                    "/\t/evil.example", "/\n/evil.example"])
def test_no_link_leads_elsewhere_after_signing_in(pages: Any, target: str) -> None:
    client = pages.visitor()
    assert client.get("/language/en", query_string={"next": target}).headers["Location"] == "/"
    answer = pages.post(client, "/sign-in", "/sign-in", email="consumer@example.org", next=target,
                        password="a long enough password")
    assert answer.headers["Location"] == "/home"


def test_signing_in_out_and_being_signed_out(pages: Any) -> None:
    client = pages.member("consumer")
    assert "Somebody of consumer" in client.get("/").text
    with transaction() as session:
        account = parties.account_by_email(session, "consumer@example.org")
        assert account is not None
        assert sessions.end_all(session, account.id) == 1
    assert "Somebody of consumer" not in client.get("/").text
    assert client.get("/orders").headers["Location"] == "/sign-in?next=/orders"


def test_guessing_passwords_is_slowed_down(pages: Any) -> None:
    client = pages.visitor()
    states = [pages.post(client, "/sign-in", "/sign-in", email="guess@example.org", password=f"wrong {count}").status_code
              for count in range(12)]
    assert states[:10] == [401] * 10
    assert states[-1] == 429


def test_a_form_without_its_token_changes_nothing(pages: Any) -> None:
    with transaction() as session:
        product = make_product(session, pages.city)
    client = pages.member("consumer")
    answer = client.post(f"/products/{product}/order", data={"key": "k"})
    assert answer.status_code == 303
    assert "expired" in client.get(answer.headers["Location"]).text
    with reading() as session:
        assert commerce.list_orders(session, pages.city["consumer"]).items == []


def test_sending_an_order_twice_is_one_order(pages: Any) -> None:
    with transaction() as session:
        product = make_product(session, pages.city)
    client = pages.member("consumer")
    places = [pages.post(client, f"/products/{product}", f"/products/{product}/order", key="k").headers["Location"]
              for _ in range(2)]
    assert places[0] == places[1]
    assert "¥1,000.00" in client.get(places[0]).text


def test_somebody_elses_order_does_not_exist(pages: Any) -> None:
    with transaction() as session:
        product = make_product(session, pages.city)
        order = commerce.place_order(session, pages.city["consumer"], product_id=product, idempotency_key="k")
    answer = pages.member("other").get(f"/orders/{order.id}")
    assert answer.status_code == 404
    assert order.number not in answer.text


def test_a_refusal_is_told_in_the_readers_language(pages: Any) -> None:
    with transaction() as session:
        product = make_product(session, pages.city)
        order = commerce.place_order(session, pages.city["consumer"], product_id=product, idempotency_key="k")
    for language, sentence in (("en", "The amount received must equal"), ("zh", "到账金额须与订单金额一致")):
        client = pages.member("operator", language)
        answer = pages.post(client, f"/orders/{order.id}", f"/orders/{order.id}/payment", bank_reference="REF-1", amount="1")
        assert sentence in client.get(answer.headers["Location"]).text


def test_buttons_are_only_those_that_are_possible(pages: Any) -> None:
    with transaction() as session:
        product = make_product(session, pages.city)
        order = commerce.place_order(session, pages.city["consumer"], product_id=product, idempotency_key="k")
    consumer, operator = pages.member("consumer"), pages.member("operator")
    assert f"/orders/{order.id}/cancel" in consumer.get(f"/orders/{order.id}").text
    assert f"/orders/{order.id}/payment" not in consumer.get(f"/orders/{order.id}").text
    assert f"/orders/{order.id}/payment" in operator.get(f"/orders/{order.id}").text
    pages.post(operator, f"/orders/{order.id}", f"/orders/{order.id}/payment", bank_reference="REF-1", amount="1000")
    assert f"/orders/{order.id}/cancel" not in consumer.get(f"/orders/{order.id}").text
    assert "/calls" in consumer.get(f"/orders/{order.id}").text


@pytest.mark.parametrize("price", ["", "-1", "false", "1.234", "1e9"])
def test_a_price_that_is_none_is_refused(pages: Any, price: str) -> None:
    with transaction() as session:
        product = make_product(session, pages.city, listed=False)
    client = pages.member("developer")
    answer = pages.post(client, f"/my/products/{product}", f"/my/products/{product}/price", access_fee=price, call_fee="0.5")
    page = client.get(answer.headers["Location"]).text
    assert "alert-danger" in page
    assert 'value="1000.00"' in page  # still the old price


def test_a_product_from_result_to_sale(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        job = make_output(session, pages.city, MODEL)
    developer, operator = pages.member("developer"), pages.member("operator")
    answer = pages.post(developer, "/my/products/new", "/my/products/new", title_zh="评分", title_en="Score", job=job,
                        sector="finance", delivery_form="model")
    place = answer.headers["Location"]
    assert answer.status_code == 303, answer.text
    pages.post(developer, place, f"{place}/price", access_fee="980", call_fee="0.10", included_calls="5", term_days="30")
    assert f"{place}/list" not in developer.get(place).text  # not registered yet
    with transaction() as session:
        review(session, pages.city, place.rsplit("/", 1)[1])
    pages.post(operator, place, f"{place}/versions/1/register")
    assert f"{place}/list" in developer.get(place).text
    pages.post(developer, place, f"{place}/list")
    assert "Score" in pages.visitor().get("/?q=Score").text
    product = place.rsplit("/", 1)[-1]
    signed = SimpleNamespace(scenario_title="t", purpose="p", grantee_name="g", release="exact", minimum_cohort=10, own_figures=False,
                             iss="the authority")
    monkeypatch.setattr("marketplace.authorisation.service.read_grant", lambda _record: signed)  # the factory's is not signed
    for visitor, where in ((developer, f"/jobs/{job}"), (pages.visitor(), f"/products/{product}")):
        assert f"{where}/card" in visitor.get(where).text
        page = visitor.get(f"{where}/card")
        assert page.status_code == 200
        assert f'href="{where}"' in page.text  # a way back
        assert visitor.get(f"{where}/card.md").text.startswith("# ")
        assert visitor.get(f"{where}/card.json").json["job_id"] == job
        assert visitor.get(f"{where}/card.exe").status_code == 404
    assert pages.visitor().get(f"/jobs/{job}/card").status_code == 302
    assert pages.member("consumer").get(f"/jobs/{job}/card").status_code == 404
    assert pages.visitor().get("/api/v1/products/" + product + "/card").json["job_id"] == job


def test_pages_of_a_role_are_closed_to_others(pages: Any) -> None:
    assert pages.member("consumer").get("/desk/orders").status_code == 403
    assert pages.visitor().get("/desk/orders").status_code == 302


def test_an_unknown_address_has_a_page_and_the_api_keeps_its_own(pages: Any) -> None:
    answer = pages.visitor().get("/nowhere")
    assert answer.status_code == 404
    assert "To the product list" in answer.text
    assert pages.visitor().get("/api/v1/nowhere").mimetype == "application/problem+json"


def test_what_breaks_inside_is_told_by_number_only(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from marketplace.products import service

    def broken(*_args: Any, **_more: Any) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(service, "storefront", broken)
    answer = pages.visitor().get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["X-Request-Id"] in answer.text
