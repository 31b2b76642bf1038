"""From an approved result to a paid order and its invoice, through the services, on both databases."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from tests.factories.market import (
    MODEL,
    STATISTICS,
    buy,
    make_city,
    make_output,
    make_product,
    register,
    review,
)

from marketplace.actor import PUBLIC
from marketplace.commerce import service as commerce
from marketplace.ids import new_id
from marketplace.pricing import service as pricing
from marketplace.products import rules as product_rules
from marketplace.products import service as products
from marketplace.settlement import service as settlement
from marketplace.settlement.rules import Posting
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def refused(code: str) -> Any:
    return pytest.raises(ProblemError, match=rf"^{code}:")


def test_the_life_of_a_product(database: Any) -> None:
    with database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city, listed=False)
    with refused("not_found"), database.reading() as session:
        products.product_page(session, city["consumer"], product_id)
    with refused("version_not_registered"), database.transaction() as session:
        products.list_product(session, city["developer"], product_id)
    with refused("not_allowed"), database.transaction() as session:
        products.register_version(session, city["developer"], product_id, 1)
    with refused("wrong_state"), database.transaction() as session:
        products.register_version(session, city["operator"], product_id, 1)
    with database.transaction() as session:
        review(session, city, product_id)
        version = products.register_version(session, city["operator"], product_id, 1)
        assert version.registration_code is not None
        assert product_rules.is_registration_code(version.registration_code)
        products.list_product(session, city["developer"], product_id)
    with refused("wrong_state"), database.transaction() as session:
        products.register_version(session, city["operator"], product_id, 1)
    with database.reading() as session:
        page = products.product_page(session, PUBLIC, product_id)
        assert page.current is not None
        assert page.current.manifest["participants"] == sorted(
            ({"node_id": node, "organisation_id": owner, "rows": None}
             for node, owner in zip(city.nodes, city.departments, strict=True)), key=lambda item: str(item["node_id"]))
        assert product_rules.manifest_digest(page.current.manifest) == page.current.manifest_digest
        found = products.storefront(session, q="TAX statistics")
        assert [item.product.id for item in found.items] == [product_id]
        assert not products.storefront(session, q="100%").items
        tags = [event.tag for event in trust.events_for(session, product_id, -1, 100)]
    assert tags == ["products:product:drafted", "products:version:created", "pricing:plan:set",
                    "products:version:tested", "products:version:submitted", "products:version:security_passed",
                    "products:version:compliance_passed", "products:version:egress_passed", "products:version:registered",
                    "products:product:listed"]


def test_a_new_version_supersedes_the_old(database: Any) -> None:
    with database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        first = products.product_page(session, city["developer"], product_id).current
        assert first is not None
        with refused("output_already_used"):
            products.create_version(session, city["developer"], product_id, job_id=first.job_id)
        products.create_version(session, city["developer"], product_id,
                                job_id=make_output(session, city, {**STATISTICS, "rows": 901}))
        second = register(session, city, product_id, 2)
        products.list_product(session, city["developer"], product_id)
        assert (first.status, second.status) == ("superseded", "listed")
        assert first.registration_code != second.registration_code
        with refused("version_not_registered"):
            products.list_product(session, city["developer"], product_id)


def test_only_approved_results_of_the_right_form_are_sold(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product = products.draft_product(session, city["developer"], sector="finance", delivery_form="api",
                                         title_zh="甲", title_en="a")
        waiting = make_output(session, city, STATISTICS, approved=False)
        with pytest.raises(ProblemError) as caught:
            products.create_version(session, city["developer"], product.id, job_id=waiting)
        assert caught.value.problem.status in (403, 404, 409)
        with refused("wrong_output_form"):
            products.create_version(session, city["developer"], product.id, job_id=make_output(session, city, MODEL))
        with refused("wrong_tier"):
            products.draft_product(session, city["operator"], sector="finance", delivery_form="api", title_zh="乙",
                                   title_en="b", tier=2)
        with refused("unknown_sector"):
            products.draft_product(session, city["developer"], sector="magic", delivery_form="api", title_zh="乙",
                                   title_en="b")
        with refused("not_allowed"):
            products.draft_product(session, city["consumer"], sector="finance", delivery_form="api", title_zh="乙",
                                   title_en="b")


def test_a_double_submission_is_one_order(database: Any) -> None:
    with database.transaction() as session:
        city = make_city(session)
        product_id, other = make_product(session, city), make_product(session, city)
    with database.transaction() as session:
        first = commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key="k")
    with database.transaction() as session:
        again = commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key="k")
        neighbour = commerce.place_order(session, city["other"], product_id=product_id, idempotency_key="k")
    assert first.id == again.id != neighbour.id
    with refused("idempotency_mismatch"), database.transaction() as session:
        commerce.place_order(session, city["consumer"], product_id=other, idempotency_key="k")


def test_the_same_order_from_many_threads_is_one(database: Any) -> None:
    with database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
    found: list[str] = []
    gate = threading.Barrier(6)

    def order() -> None:
        gate.wait()
        with database.transaction() as session:
            found.append(commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key="k").id)

    threads = [threading.Thread(target=order) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    with database.reading() as session:
        assert len(commerce.list_orders(session, city["consumer"]).items) == 1


def test_payment_grants_and_books_once(database: Any) -> None:
    with database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        order = commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key="k")
        second = commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key="k2")
    pay = {"bank_reference": "ICBC-0001", "amount_fen": 100_000}
    for code, who, change in (
        ("not_allowed", "consumer", {}), ("amount_differs", "operator", {"amount_fen": 99_999}),
        ("amount_differs", "operator", {"amount_fen": False}), ("bad_bank_reference", "operator", {"bank_reference": " "}),
        ("not_found", "other", {}),
    ):
        with refused(code), database.transaction() as session:
            commerce.record_payment(session, city[who], order.id, **{**pay, **change})
    for _again in range(2):
        with database.transaction() as session:
            assert commerce.record_payment(session, city["operator"], order.id, **pay).status == "paid"
    with refused("wrong_state"), database.transaction() as session:
        commerce.record_payment(session, city["operator"], order.id, bank_reference="ICBC-0002", amount_fen=100_000)
    with refused("bank_reference_used"), database.transaction() as session:
        commerce.record_payment(session, city["operator"], second.id, **pay)
    with refused("wrong_state"), database.transaction() as session:
        commerce.cancel_order(session, city["consumer"], order.id)
    with database.reading() as session:
        assert len(commerce.list_entitlements(session, city["consumer"])) == 1
        assert settlement.balance(session, "assets:bank") == 100_000
        assert settlement.balance(session, f"liabilities:unsettled:{product_id}") == -100_000
        assert settlement.unbalanced(session) == []


def test_other_peoples_orders_do_not_exist(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        order_id = buy(session, city, make_product(session, city))
        for use in (commerce.get_order, settlement.invoice_preview, commerce.cancel_order):
            with refused("not_found"):
                use(session, city["other"], order_id)
        assert commerce.list_orders(session, city["other"]).items == []
        assert [row.id for row in commerce.list_orders(session, city["operator"]).items] == [order_id]


def test_a_cancelled_order_cannot_be_paid(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        order = commerce.place_order(session, city["consumer"], product_id=make_product(session, city),
                                     idempotency_key="k")
        commerce.cancel_order(session, city["consumer"], order.id)
        commerce.cancel_order(session, city["consumer"], order.id)
        with refused("wrong_state"):
            commerce.record_payment(session, city["operator"], order.id, bank_reference="ICBC-0001",
                                    amount_fen=100_000)


def test_an_order_of_nothing_is_paid_at_once(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city, access_fee_fen=0)
        order = commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key="k")
        assert order.status == "paid"
        assert commerce.entitlement_of_order(session, order.id) is not None


def test_an_old_order_keeps_its_price(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        order_id = buy(session, city, product_id)
        pricing.set_price(session, city["developer"], product_id, access_fee_fen=5, call_fee_fen=0)
        with refused("not_allowed"):
            pricing.set_price(session, city["operator"], product_id, access_fee_fen=6, call_fee_fen=0)
        preview = settlement.invoice_preview(session, city["consumer"], order_id)
        assert preview.total_fen == 100_000
        assert sum(share.amount_fen for share in preview.shares) == 100_000
        assert [share.party for share in preview.shares] == [
            "treasury", "operator", *["source_departments"] * 3, "developer"]
        later = commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key=new_id("k"))
        assert later.amount_fen == 5


def test_a_suspended_product_is_not_sold(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        products.suspend_product(session, city["developer"], product_id)
        with refused("product_not_listed"):
            commerce.place_order(session, city["consumer"], product_id=product_id, idempotency_key="k")
        with refused("not_allowed"):
            products.list_product(session, city["consumer"], product_id)
        products.list_product(session, city["developer"], product_id)
        assert products.storefront(session).items


def test_a_booking_key_stands_for_one_booking(database: Any) -> None:
    lines = [Posting("assets:bank", 5), Posting("liabilities:x", -5)]
    with database.transaction() as session:
        first = settlement.post(session, idempotency_key="k", narration="n", postings=lines)
        again = settlement.post(session, idempotency_key="k", narration="n", postings=lines)
        assert first.id == again.id
        with refused("posting_differs"):
            settlement.post(session, idempotency_key="k", narration="n",
                            postings=[Posting("assets:bank", 6), Posting("liabilities:x", -6)])
        with pytest.raises(ValueError, match="sum to zero"):
            settlement.post(session, idempotency_key="k2", narration="n",
                            postings=[Posting("assets:bank", 6), Posting("liabilities:x", -5)])


def test_pages_of_the_storefront_do_not_overlap(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        made = {make_product(session, city) for _ in range(5)}
        for sort in products.SORTS:
            seen: list[str] = []
            cursor = None
            while True:
                page = products.storefront(session, sort=sort, cursor=cursor, limit=2)
                seen += [item.product.id for item in page.items]
                cursor = page.next
                if cursor is None:
                    break
            assert sorted(seen) == sorted(made)
        with refused("bad_cursor"):
            products.storefront(session, cursor="xx")


def test_sales_and_listings_at_the_same_time_do_not_lock_each_other(database: Any) -> None:
    with database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
    failures: list[BaseException] = []
    fees = itertools.count(1)

    def repeat(work: Any) -> None:
        try:
            for _ in range(8):
                with database.transaction() as session:
                    work(session)
        except BaseException as error:
            failures.append(error)

    def reprice(session: Any) -> None:
        pricing.set_price(session, city["developer"], product_id, access_fee_fen=next(fees), call_fee_fen=1,
                          included_calls=0)

    def relist(session: Any) -> None:
        products.suspend_product(session, city["developer"], product_id)
        products.list_product(session, city["developer"], product_id)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in (
        lambda session: buy(session, city, product_id), reprice, relist,
        lambda session: buy(session, city, product_id, "other"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.reading() as session:
        assert settlement.unbalanced(session) == []
        total = sum(order.amount_fen for order in commerce.list_orders(session, city["operator"], limit=100).items)
        assert settlement.balance(session, "assets:bank") == total
