"""The REST face: who may call, what is refused and how, and the one shape of every error."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from tests.factories.apps import shared_app
from tests.factories.market import MODEL, STATISTICS, City, buy, make_city, make_product, make_token
from werkzeug.test import TestResponse

from marketplace import db
from marketplace.api import limits, oauth
from marketplace.db import utc_now
from marketplace.delivery import service as delivery
from marketplace.metering.writer import close_writers
from marketplace.parties import rules
from marketplace.parties import service as parties
from marketplace.parties.models import AccessToken
from marketplace.products import service as products


class Caller:
    """One organisation's program at the API."""

    def __init__(self, client: FlaskClient, token: str | None) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Accept-Language": "en", **self._headers, **named}
        options: dict[str, Any] = {"json": body} if body is not None else {}
        return self._client.open(f"/api/v1{path}", method=method, headers=sent, **options)


class Market:
    def __init__(self) -> None:
        self.client = shared_app().test_client()
        with db.transaction() as session:
            self.city: City = make_city(session)
            self.table = make_product(session, self.city, STATISTICS)
            self.model = make_product(session, self.city, MODEL)

    def program(self, kind: str, scope: str) -> Caller:
        return Caller(self.client, make_token(self.city[kind], scope))

    def buy(self, product_id: str) -> str:
        with db.transaction() as session:
            return buy(session, self.city, product_id)


@pytest.fixture
def market(sqlite_database: Any) -> Iterator[Market]:
    del sqlite_database
    delivery.forget()
    oauth.forget()
    yield Market()
    limits.limiter.reset()
    close_writers()


def assert_problem(response: TestResponse, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The one shape of every error."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.get_json(force=True)
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"].endswith(f"/problems/{code}")
    assert body["type"].startswith("http")
    assert body["request_id"] == response.headers["X-Request-Id"]
    for item in body.get("errors", []):
        assert set(item) == {"field", "detail"}
    if field is not None:
        assert field in [item["field"] for item in body["errors"]]
    return body


def test_a_token_is_needed_and_must_be_good(market: Market) -> None:
    nobody, liar = Caller(market.client, None), Caller(market.client, "nonsense")
    response = nobody("GET", "/me")
    assert_problem(response, 401, "token_missing")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert_problem(liar("GET", "/me"), 401, "token_invalid")
    assert_problem(liar("GET", "/products"), 401, "token_invalid")
    assert_problem(nobody("GET", "/me", Authorization="Basic eHg6eQ=="), 401, "token_invalid")
    # the token is looked at before the body
    assert_problem(nobody("POST", f"/products/{market.table}/calls", {"x": 1}), 401, "token_missing")


def test_expired_and_revoked_tokens(market: Market) -> None:
    token = make_token(market.city["consumer"], "read")
    caller = Caller(market.client, token)
    me = caller("GET", "/me")
    assert me.status_code == 200
    with db.transaction() as session:
        row = session.get_one(AccessToken, rules.hash_secret(token))
        row.expires_at = utc_now()
        session.add(row)
    oauth.forget()
    assert_problem(caller("GET", "/me"), 401, "token_invalid")
    other = make_token(market.city["consumer"], "read")
    with db.transaction() as session:
        found = parties.bearer(session, other)
        assert found is not None
        assert found.actor.client_id is not None
        parties.revoke_client(session, market.city["consumer"], found.actor.client_id)
    assert_problem(Caller(market.client, other)("GET", "/me"), 401, "token_invalid")


def test_a_missing_scope_is_named(market: Market) -> None:
    response = market.program("consumer", "read")("POST", "/orders", {"product_id": market.table}, Idempotency_Key="k")
    assert "orders" in assert_problem(response, 403, "scope_missing")["detail"]
    assert 'scope="orders"' in response.headers["WWW-Authenticate"]


def test_someone_elses_order_does_not_exist(market: Market) -> None:
    order = market.buy(market.table)
    thief = market.program("other", "read orders")
    assert_problem(thief("GET", f"/orders/{order}"), 404, "not_found")
    assert_problem(thief("GET", f"/orders/{order}/invoice-preview"), 404, "not_found")
    assert_problem(thief("POST", f"/orders/{order}/cancel", {}), 404, "not_found")
    assert thief("GET", "/orders").json == {"items": [], "next": None}


@pytest.mark.parametrize("wrong", [False, True, 1.5, "1", -1, None])
def test_a_price_must_be_an_integer(market: Market, wrong: object) -> None:
    seller = market.program("developer", "products read")
    price = {"access_fee_fen": wrong, "call_fee_fen": 1}
    response = seller("PUT", f"/products/{market.table}/price", price)
    body = response.get_json(force=True)
    assert response.status_code == 422
    assert body["errors"][0]["field"] == "access_fee_fen"
    assert body["code"] == ("price_invalid" if wrong == -1 else "invalid_fields")


def test_a_double_order_is_one(market: Market) -> None:
    buyer = market.program("consumer", "orders read")
    assert_problem(buyer("POST", "/orders", {"product_id": market.table}), 400, "idempotency_key_required")
    first, again = (buyer("POST", "/orders", {"product_id": market.table}, Idempotency_Key="k") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json["id"] == again.json["id"]
    assert_problem(buyer("POST", "/orders", {"product_id": market.model}, Idempotency_Key="k"), 409,
                   "idempotency_mismatch")
    assert len(buyer("GET", "/orders").json["items"]) == 1


def test_from_order_to_delivery_to_invoice(market: Market) -> None:
    buyer, operator = market.program("consumer", "orders read deliver"), market.program("operator", "operate read")
    order = buyer("POST", "/orders", {"product_id": market.model}, Idempotency_Key="k").json
    call = {"features": {"age": 50, "sector": "transport"}}
    assert_problem(buyer("POST", f"/products/{market.model}/calls", call), 403, "not_entitled")
    assert_problem(buyer("POST", f"/orders/{order['id']}/payment", {"bank_reference": "ICBC", "amount_fen": 1}), 403,
                   "scope_missing")
    payment = {"bank_reference": "ICBC-1", "amount_fen": order["amount_fen"]}
    assert_problem(operator("POST", f"/orders/{order['id']}/payment", {**payment, "amount_fen": False}), 422,
                   "invalid_fields", "amount_fen")
    paid = operator("POST", f"/orders/{order['id']}/payment", payment).json
    assert paid["status"] == "paid"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", paid["paid_at"])
    first = buyer("POST", f"/products/{market.model}/calls", call, Idempotency_Key="c1")
    again = buyer("POST", f"/products/{market.model}/calls", call, Idempotency_Key="c1")
    assert first.json == again.json
    assert set(first.json) == {"score", "label"}
    assert (first.headers["Idempotency-Replayed"], again.headers["Idempotency-Replayed"]) == ("false", "true")
    keyless = buyer("POST", f"/products/{market.model}/calls", call)
    assert keyless.headers["Idempotency-Key"].startswith("call_")
    assert_problem(buyer("POST", f"/products/{market.model}/calls", {"features": {**call["features"], "age": 1}},
                         Idempotency_Key="c1"), 409, "idempotency_mismatch")
    preview = buyer("GET", f"/orders/{order['id']}/invoice-preview").json
    assert preview["calls"] == 2
    assert preview["total_fen"] == sum(share["amount_fen"] for share in preview["shares"]) == 100_000
    events = buyer("GET", f"/audit/events?subject={market.model}").json["items"]
    assert events[-1]["tag"] == "metering:usage:sealed"
    assert buyer("GET", "/entitlements").json["items"][0]["order_id"] == order["id"]


def test_bad_bodies(market: Market) -> None:
    market.buy(market.model)
    buyer = market.program("consumer", "orders read deliver")
    path = f"/api/v1/products/{market.model}/calls"
    headers = {**buyer._headers, "Accept-Language": "en"}

    def post(data: bytes, kind: str = "application/json") -> TestResponse:
        return market.client.post(path, data=data, content_type=kind, headers=headers)

    for data in (b"{", b"[]", b'"x"', b"\xff", b'{"features": {"age": NaN}}', b'{"features": {"age": -Infinity}}',
                 b'{"features": {"age": 1e999}}', b'{"features": {}, "features": {}}', b"[" * 100_000):
        assert_problem(post(data), 400, "malformed_json")
    assert_problem(post(b'{"features": {}}', "text/plain"), 415, "wrong_content_type")
    assert_problem(post(b"a=b", "application/x-www-form-urlencoded"), 415, "wrong_content_type")
    assert_problem(post(b" " * (5 * 1024 * 1024)), 413, "request_too_large")
    assert_problem(post(b'{"feature": {}}'), 422, "invalid_fields", "feature")
    assert_problem(post(b'{"features": {"age": null, "sector": "transport"}}'), 422, "feature_not_a_number",
                   "features.age")
    assert_problem(post(b"{}"), 422, "bad_call_body", "features")


def test_files_of_the_allowed_size_are_taken_and_larger_ones_named(market: Market) -> None:
    def sent(size: int) -> TestResponse:
        content = base64.b64encode(b"%PDF-1.7".ljust(size, b"0")).decode()
        return market.program("developer", "read")("POST", "/files", {"name": "资质.pdf", "content": content})

    most = 10 * 1024 * 1024
    assert (sent(most).status_code, sent(most).get_json(force=True)["size"]) == (201, most)
    assert "at most 10 MB" in assert_problem(sent(most + 1), 413, "file_too_large", "file")["detail"]
    assert_problem(sent(2 * most), 413, "request_too_large")
    assert_problem(Caller(market.client, None)("POST", "/files", {"name": "a.pdf", "content": "A" * 5_000_000}), 401, "token_missing")


def test_unknown_things(market: Market) -> None:
    buyer = market.program("consumer", "orders read deliver")
    assert_problem(buyer("POST", "/products/prod_none/calls", {}), 404, "not_found")
    assert_problem(buyer("GET", "/products/prod_none"), 404, "not_found")
    assert_problem(buyer("GET", "/nothing"), 404, "not_found")
    response = buyer("DELETE", "/orders")
    assert_problem(response, 405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]
    assert_problem(buyer("GET", "/orders?limit=0"), 422, "invalid_fields", "limit")
    assert_problem(buyer("GET", "/orders?page=2"), 422, "invalid_fields", "page")
    assert_problem(buyer("GET", "/orders?cursor=xx"), 400, "bad_cursor", "cursor")


def test_errors_speak_the_callers_language(market: Market) -> None:
    caller = Caller(market.client, None)
    assert assert_problem(caller("GET", "/me", Accept_Language="zh-CN,zh;q=0.9"), 401, "token_missing")[
        "detail"].startswith("请在")
    assert assert_problem(caller("GET", "/me", Accept_Language="fr"), 401, "token_missing")["detail"].startswith("请在")
    english = caller("GET", "/me", Accept_Language="en-GB")
    assert english.headers["Content-Language"] == "en"


def test_what_goes_wrong_inside_stays_inside(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(products, "storefront", broken)
    response = Caller(market.client, None)("GET", "/products")
    assert "secret" not in str(assert_problem(response, 500, "internal_error"))


def test_the_public_may_read_what_is_public(market: Market) -> None:
    public = Caller(market.client, None)
    listed = public("GET", "/products?limit=1").json
    assert len(listed["items"]) == 1
    assert public("GET", f"/products?limit=1&cursor={listed['next']}").json["next"] is None
    page = public("GET", f"/products/{market.table}").json
    assert page["price"]["access_fee_fen"] == 100_000
    assert page["version"]["registration_code"]
    for path in ("/resources", "/apps", "/organisations", "/audit/events", "/audit/checkpoints"):
        answer = public("GET", path)
        assert (answer.status_code, set(answer.json)) == (200, {"items", "next"})
    assert public("GET", "/audit/key").mimetype == "text/plain"
    assert_problem(public("GET", "/audit/checkpoint"), 404, "log_empty")


def test_the_token_endpoint(market: Market) -> None:
    with db.transaction() as session:
        row, secret = parties.create_client(session, market.city["consumer"], name="app", scope="read deliver")
    basic = base64.b64encode(f"{row.client_id}:{secret}".encode()).decode()
    wrong = base64.b64encode(f"{row.client_id}:wrong".encode()).decode()

    def ask(secret_header: str, **form: str) -> TestResponse:
        return market.client.post("/oauth/token", data={"grant_type": "client_credentials", **form},
                                  headers={"Authorization": f"Basic {secret_header}"})

    granted = ask(basic)
    assert granted.json["token_type"] == "Bearer"
    assert (granted.json["expires_in"], granted.json["scope"]) == (3600, "deliver read")
    assert granted.headers["Cache-Control"] == "no-store"
    assert 0 < int(granted.headers["RateLimit-Remaining"]) <= int(granted.headers["RateLimit-Limit"])
    token = granted.json["access_token"]
    assert Caller(market.client, token)("GET", "/me").json["client_id"] == row.client_id
    with db.reading() as session:
        assert session.get(AccessToken, token) is None
    narrow = ask(basic, scope="read")
    assert narrow.json["scope"] == "read"
    for answer, status, error in (
        (ask(wrong), 401, "invalid_client"), (ask(basic, scope="operate"), 400, "invalid_scope"),
        (ask(basic, grant_type="password"), 400, "unsupported_grant_type"),
        (market.client.post("/oauth/token", json={"grant_type": "client_credentials"}), 400, "invalid_request"),
    ):
        assert (answer.status_code, answer.json["error"]) == (status, error)
    posted = market.client.post("/api/v1/oauth/token", data={
        "grant_type": "client_credentials", "client_id": row.client_id, "client_secret": secret})
    assert posted.status_code == 200
    for _ in range(60):
        assert ask(basic).status_code == 200  # good credentials are not held back with the bad ones
    while (answer := ask(wrong)).status_code == 401:
        pass
    assert_problem(answer, 429, "rate_limited")
    assert int(answer.headers["Retry-After"]) > 0


def test_programs_are_managed_over_rest(market: Market) -> None:
    owner = market.program("consumer", "read orders")
    made = owner("POST", "/clients", {"name": "reader", "scope": "read"}).json
    assert len(made["client_secret"]) >= 40
    assert "client_secret" not in owner("GET", "/clients").json["items"][0]
    assert_problem(owner("POST", "/clients", {"name": "x", "scope": "deliver"}), 422, "scope_not_allowed", "scope")
    assert owner("POST", f"/clients/{made['client_id']}/revoke").json["revoked_at"]
    assert_problem(market.program("other", "read")("POST", f"/clients/{made['client_id']}/revoke"), 404, "not_found")
    mine = owner("GET", "/me").json["client_id"]
    assert_problem(market.program("consumer", "read")("POST", f"/clients/{mine}/revoke"), 422, "scope_not_allowed")


def test_a_seller_brings_a_product_to_market(market: Market) -> None:
    from tests.factories.market import make_output, review

    seller, operator = market.program("developer", "products read"), market.program("operator", "operate read")
    with db.transaction() as session:
        job = make_output(session, market.city, STATISTICS)
    draft = seller("POST", "/products", {"sector": "finance", "delivery_form": "api", "title_zh": "甲", "title_en": "A",
                                         "tier": 2}).json
    path = f"/products/{draft['id']}"
    assert_problem(Caller(market.client, None)("GET", path), 404, "not_found")
    assert seller("POST", f"{path}/versions", {"job_id": job}).json["number"] == 1
    assert_problem(seller("POST", f"{path}/list"), 409, "version_not_registered")
    assert_problem(operator("POST", f"{path}/versions/1/register", {}), 409, "wrong_state")
    with db.transaction() as session:
        review(session, market.city, draft["id"])
    assert operator("POST", f"{path}/versions/1/register", {}).json["registration_code"]
    assert_problem(seller("POST", f"{path}/list"), 409, "price_missing")
    assert seller("PUT", f"{path}/price", {"access_fee_fen": 1, "call_fee_fen": 0}).json["term_days"] == 365
    assert seller("POST", f"{path}/list", {}).json["status"] == "listed"
    assert [item["id"] for item in seller("GET", "/products?own=true&limit=1").json["items"]] == [draft["id"]]
    assert operator("POST", f"{path}/suspend", {"reason": "复核中"}).json["status"] == "suspended"
    assert_problem(seller("POST", f"{path}/suspend", {"reason": "停售"}), 409, "wrong_state")


def test_a_problems_type_leads_to_its_explanation(market: Market) -> None:
    page = market.client.get("/problems/price_invalid")
    assert (page.status_code, page.mimetype) == (200, "text/plain")
    assert market.client.get("/problems/nothing").status_code == 404


def test_health_metrics_and_headers(market: Market) -> None:
    health = market.client.get("/healthz", headers={"X-Request-Id": "abcdefgh-1"})
    assert (health.status_code, health.json) == (200, {"status": "ok"})
    assert health.headers["X-Request-Id"] == "abcdefgh-1"
    assert "script-src 'self'" in health.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in health.headers["Content-Security-Policy"]
    assert health.headers["X-Content-Type-Options"] == "nosniff"
    assert "shuyan_http_requests_total" in market.client.get("/metrics").text
    assert market.client.get("/healthz", headers={"X-Request-Id": "<script>"}).headers["X-Request-Id"] != "<script>"


def test_the_description_is_openapi_and_whole(market: Market) -> None:
    description = market.client.get("/openapi/openapi.json").json
    validate(description)
    assert description["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in description["paths"].items() for method in item}
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in market.client.application.url_map.iter_rules() if rule.rule.startswith("/api/v1/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert served <= described
    manual = (Path(__file__).parents[4] / "docs" / "api.md").read_text(encoding="utf-8")
    for method, path in described:
        if path.startswith("/api/v1/"):
            assert f"`{method} {path.removeprefix('/api/v1')}`" in manual, f"docs/api.md lacks {method} {path}"
    page = market.client.get("/openapi")
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert market.client.get("/openapi/assets/css/swagger-ui.css").status_code == 200
    assert_problem(market.client.get("/openapi/assets/../x"), 404, "not_found")
