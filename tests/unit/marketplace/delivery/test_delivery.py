"""What a call delivers, to whom, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.factories.market import MODEL, STATISTICS, buy, make_city, make_product

from marketplace.actor import PUBLIC, Actor
from marketplace.delivery import rules, service
from marketplace.delivery.cache import TtlCache
from marketplace.metering import service as metering
from marketplace.metering.writer import close_writers
from marketplace.products import service as products
from marketplace.settlement import service as settlement
from shuyan import scoring
from shuyan.problems import ProblemError


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    service.forget()
    yield
    close_writers()


def refused(code: str) -> Any:
    return pytest.raises(ProblemError, match=rf"^{code}:")


def test_statistics_are_delivered_and_invoiced(database: Any) -> None:
    with database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city, call_fee_fen=7, included_calls=2)
        order_id = buy(session, city, product_id)
    whole = service.deliver(city["consumer"], product_id, {}, "k1")
    assert whole.content == STATISTICS
    assert service.deliver(city["consumer"], product_id, {}, "k1").repeated
    part = service.deliver(city["consumer"], product_id, {"group": {"sector": "commerce"}})
    assert [cell["group"] for table in part.content["tables"] for cell in table["cells"]] == [{"sector": "commerce"}]
    service.deliver(city["consumer"], product_id, {})
    service.deliver(city["consumer"], product_id, {})
    with refused("idempotency_mismatch"):
        service.deliver(city["consumer"], product_id, {"group": {"sector": "commerce"}}, "k1")
    for _collected in range(2):
        with database.reading() as session:
            preview = settlement.invoice_preview(session, city["consumer"], order_id)
        assert (preview.calls, preview.billable_calls, preview.total_fen) == (4, 2, 100_014)
        assert sum(share.amount_fen for share in preview.shares) == 100_014
        metering.collect_now()


def test_scores_are_delivered(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city, MODEL)
        buy(session, city, product_id)
    features = {"age": 50, "sector": "transport"}
    got = service.deliver(city["consumer"], product_id, {"features": features})
    assert got.content == scoring.score(MODEL, features)


def test_who_has_not_bought_gets_nothing(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        buy(session, city, product_id)
    with refused("not_entitled"):
        service.deliver(city["other"], product_id, {})
    with refused("not_signed_in"):
        service.deliver(PUBLIC, product_id, {})
    with refused("not_found"):
        service.deliver(city["consumer"], "prod_none", {})
    program = Actor("consumer", city["consumer"].organisation_id, client_id="c", scopes=frozenset({"read"}))
    with refused("scope_missing"):
        service.deliver(program, product_id, {})


def test_suspension_stops_delivery(sqlite_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(service, "_rights", TtlCache(service.RIGHTS_SECONDS, 10, clock=lambda: now[0]))
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        buy(session, city, product_id)
    service.deliver(city["consumer"], product_id, {})
    with sqlite_database.transaction() as session:
        products.suspend_product(session, city["developer"], product_id)
    now[0] += 1.0
    with refused("product_not_listed"):
        service.deliver(city["consumer"], product_id, {})


def test_a_refused_call_is_not_counted(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        city = make_city(session)
        product_id = make_product(session, city)
        order_id = buy(session, city, product_id)
    with refused("unknown_group"):
        service.deliver(city["consumer"], product_id, {"group": {"colour": "red"}})
    with sqlite_database.reading() as session:
        assert settlement.invoice_preview(session, city["consumer"], order_id).calls == 0


@pytest.mark.parametrize(("features", "code", "field"), [
    ({"sector": "transport"}, "feature_missing", "features.age"),
    ({"age": None, "sector": "transport"}, "feature_not_a_number", "features.age"),
    ({"age": True, "sector": "transport"}, "feature_not_a_number", "features.age"),
    ({"age": "5", "sector": "transport"}, "feature_not_a_number", "features.age"),
    ({"age": float("nan"), "sector": "transport"}, "feature_not_a_number", "features.age"),
    ({"age": 10**400, "sector": "transport"}, "feature_not_a_number", "features.age"),
    ({"age": 5, "sector": "mars"}, "feature_level_unknown", "features.sector"),
    ({"age": 5, "sector": None}, "feature_level_unknown", "features.sector"),
    ({"age": 5, "sector": "transport", "x": 1}, "feature_unknown", "features.x"),
])
def test_wrong_features_are_refused_by_name(features: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        rules.answer(MODEL, {"features": features})
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_score_that_is_no_number_is_refused() -> None:
    linear = {**MODEL, "family": "linear", "coefficients": [1e300, -0.25]}
    with refused("score_out_of_range"):
        rules.answer(linear, {"features": {"age": 1e300, "sector": "transport"}})


@pytest.mark.parametrize(("content", "body"), [
    (MODEL, {}), (MODEL, {"group": {}}), (MODEL, {"features": []}), (STATISTICS, {"features": {}}),
    (STATISTICS, {"group": "x"})])
def test_wrong_bodies_are_refused(content: dict[str, Any], body: dict[str, Any]) -> None:
    with refused("bad_call_body"):
        rules.answer(content, body)
