"""Whatever is sent to whichever operation or page, the answer is never an internal error."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from tests.factories.apps import shared_app
from tests.factories.market import City, make_city, make_product, make_token
from werkzeug.datastructures import ImmutableMultiDict

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.api import limits, oauth
from marketplace.delivery import service as delivery
from marketplace.metering.writer import close_writers
from marketplace.parties import service as parties

PASSWORD = "a long enough password"
SCOPES = {"consumer": "read orders deliver", "developer": "read jobs products", "operator": "read operate products",
          "data_authority": "read grants egress"}


def cursor(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


TEXTS = ["nope", "\x00", "a\x00b", "../../etc/passwd", "'; DROP TABLE job; --", "%", "\\", "9" * 30, "-1", "é" * 60, "[" * 300,
         "\U0001f600", " "]
CURSORS = [*TEXTS, cursor(1), cursor("x"), cursor("\x00"), cursor(10**40), cursor(True), cursor(None), cursor("x", "y"),
           cursor("x", 1), cursor("newest", 5), cursor("title", 1, 2), cursor("rows", "x", "y"), cursor("rows", 10**40, "y"),
           cursor("rows", True, "y"), cursor("relevance", 1), cursor("title", "\x00", "x"), cursor([]), cursor({}),
           base64.urlsafe_b64encode(b"[" * 300).decode()]
VALUES = [*TEXTS, "\ud800", None, False, 10**30, -1, 1.5, 1e300, [], {}, [[[]]]]
# Everything is tried on SQLite; on PostgreSQL what its types and its driver refuse and SQLite's take.
OF_DATABASES = {"\x00", "a\x00b", "9" * 30, "\ud800", cursor("\x00"), cursor(10**40), cursor("rows", 10**40, "y"), cursor("title", "\x00", "x")}


class Named(ImmutableMultiDict[str, str]):
    """Parameters of a request that write down which names are asked for."""

    asked: ClassVar[set[str]] = set()

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)

    def getlist(self, key: str, *conversion: Any, **more: Any) -> list[Any]:
        self.asked.add(key)
        return super().getlist(key, *conversion, **more)


class Market:
    def __init__(self, app: Any) -> None:
        self.app = app
        everywhere = db.reader_engine().dialect.name == "sqlite"
        self.texts, self.cursors, self.values = ([one for one in listed if everywhere or (isinstance(one, str) and one in OF_DATABASES)]
                                                 for listed in (TEXTS, CURSORS, VALUES))
        with db.transaction() as session:
            self.city: City = make_city(session)
            self.product = make_product(session, self.city)
            for kind in SCOPES:
                parties.add_member(session, SYSTEM, organisation_id=self.city[kind].organisation_id or "",
                                   email=f"{kind}@example.org", display_name=kind, password=PASSWORD)
        self.client = self.app.test_client()
        self.tokens = {kind: make_token(self.city[kind], scope) for kind, scope in SCOPES.items()}
        self.paths: dict[str, Any] = self.client.get("/openapi/openapi.json").json["paths"]

    def ask(self, kind: str, method: str, path: str, **options: Any) -> None:
        answer = self.client.open(path, method=method, **options, headers={
            "Authorization": f"Bearer {self.tokens[kind]}", "Idempotency-Key": "k", "Accept-Language": "zh"})
        assert answer.status_code < 500 or answer.json["code"] == "authority_key_missing", f"{method} {path} {options.get('data')} → {answer.text}"
        if answer.status_code >= 400 and not path.startswith("/oauth"):
            assert answer.mimetype == "application/problem+json", f"{method} {path}"


@pytest.fixture
def market(database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    del database
    delivery.forget()
    oauth.forget()
    app = shared_app()
    monkeypatch.setattr(app, "request_class", type("Listening", (app.request_class,), {"parameter_storage_class": Named}))
    yield Market(app)
    limits.limiter.reset()
    close_writers()


def filled(path: str, text: str, number: str = "1") -> str:
    return path.replace("{number}", number).replace("{id}", quote(text, safe=""))


def test_reading(market: Market) -> None:
    for path, operations in market.paths.items():
        if "get" not in operations:
            continue
        for text in market.texts if "{" in path else [""]:
            market.ask("operator", "GET", filled(path, text))
        names = [item["name"] for item in operations["get"].get("parameters", []) if item["in"] == "query"]
        for name in names:
            for value in market.cursors if name == "cursor" else market.texts:
                market.ask("operator", "GET", f"{filled(path, market.product)}?{name}={quote(value, safe='')}")
        if "sort" in names:
            for sort in ("title", "rows", "newest", "relevance"):
                for value in market.cursors:
                    market.ask("operator", "GET", f"{path}?q=a&sort={sort}&cursor={quote(value, safe='')}")


def test_writing(market: Market) -> None:
    description = market.client.get("/openapi/openapi.json").json
    for path, operations in market.paths.items():
        for method in ("post", "put"):
            content = operations.get(method, {}).get("requestBody", {}).get("content", {}).get("application/json")
            if content is None or "oauth" in path:
                continue
            properties = resolved(description, content["schema"]).get("properties", {})
            kind = next((kind for kind, word in (("data_authority", "grant"), ("data_authority", "review"),
                         ("data_authority", "revocation"), ("consumer", "orders"), ("consumer", "calls"),
                         ("operator", "nodes"), ("operator", "payment")) if word in path), "developer")
            usual = {name: usual_value(description, shape, market.product) for name, shape in properties.items()}
            for name in properties:
                for value in market.values:
                    body = json.dumps({**usual, name: value})
                    market.ask(kind, method.upper(), filled(path, market.product), data=body,
                               content_type="application/json")
            for number in ("0", "9" * 30):
                market.ask(kind, method.upper(), filled(path, market.product, number), data="{}",
                           content_type="application/json")


def resolved(description: Any, schema: Any) -> Any:
    if "$ref" in schema:
        return resolved(description, description["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    return schema


def usual_value(description: Any, shape: Any, identifier: str) -> Any:
    shapes = [resolved(description, item) for item in resolved(description, shape).get("anyOf", [shape])]
    kind = next((kind for item in shapes if (kind := resolved(description, item).get("type")) != "null"), None) or "string"
    return {"string": identifier, "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}[kind]


def test_pages(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(market.app.config, "WTF_CSRF_ENABLED", False)
    rules = [rule for rule in market.app.url_map.iter_rules()
             if rule.endpoint.startswith("web.") and rule.endpoint != "web.static"]
    for kind in SCOPES:
        browser = market.app.test_client()
        assert browser.post("/sign-in", data={"email": f"{kind}@example.org", "password": PASSWORD}).status_code == 303
        for rule in rules:
            if rule.endpoint == "web.sign_out":
                continue
            for text in market.texts if rule.arguments else [""]:
                path = rule.rule
                for name in rule.arguments:
                    path = path.replace(f"<{name}>", quote(text, safe="")).replace(f"<int:{name}>", "9" * 30)
                Named.asked.clear()
                if "GET" in (rule.methods or ()):
                    assert browser.get(path).status_code < 500, path
                else:
                    assert browser.post(path, data={"note": text, "amount": text, "key": text}).status_code < 500, path
            if "GET" not in (rule.methods or ()) or rule.arguments:
                continue
            # Whatever the page asks for; of one that this kind of party is not shown there is nothing to ask.
            if browser.get(rule.rule).status_code == 200:
                for name in sorted(Named.asked):
                    for value in market.cursors if name == "cursor" else market.texts:
                        path = f"{rule.rule}?{name}={quote(value, safe='')}"
                        assert browser.get(path).status_code < 500, path


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_called_so(market: Market, announced: bool) -> None:
    body = b'{"product_id": "' + b"a" * 5_000_000 + b'"}'
    answer = market.client.post(
        "/api/v1/orders", input_stream=io.BytesIO(body), content_type="application/json",
        content_length=len(body) if announced else None, environ_overrides={"wsgi.input_terminated": not announced},
        headers={"Authorization": f"Bearer {market.tokens['consumer']}", "Idempotency-Key": "k"})
    assert (answer.status_code, answer.json["code"]) == (413, "request_too_large")
