"""Tokens, retries and problems, against a real HTTP server that fails in the ways servers do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import shuyan
from shuyan._config import Profile
from shuyan._http import Api

Answer = tuple[int, dict[str, str], Any]


class Server:
    """Answers each request with the next of ``answers``; ``"hang up"`` closes the connection without one."""

    def __init__(self) -> None:
        self.answers: list[Answer | str] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.tokens = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.endswith("/oauth/token"):
                    outer.tokens += 1
                    self.send(200, {}, {"access_token": f"t{outer.tokens}", "token_type": "Bearer", "expires_in": 3600})
                    return
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                answer = outer.answers.pop(0)
                if isinstance(answer, str):
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send(*answer)

            do_GET = do_POST = do_PUT = handle_any

            def send(self, status: int, headers: dict[str, str], body: Any) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


Connect = Callable[..., Api]


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    opened: list[Api] = []

    def make(client: str = "") -> Api:
        api = Api(Profile(server.url, client, "secret" if client else ""), sleep=lambda _: None)
        opened.append(api)
        return api

    yield make
    for api in opened:
        api.close()


def test_reading_is_repeated_after_a_broken_connection(server: Server, connect: Connect) -> None:
    server.answers = ["hang up", (503, {}, {}), (200, {}, {"fine": True})]
    assert connect().get("/x") == {"fine": True}
    assert len(server.requests) == 3


def test_a_post_without_a_key_is_never_sent_twice(server: Server, connect: Connect) -> None:
    server.answers = ["hang up"]
    with pytest.raises(shuyan.ConnectionFailed):
        connect().post("/x", {"a": 1})
    assert len(server.requests) == 1


def test_a_post_with_a_key_is_repeated_under_the_same_key(server: Server, connect: Connect) -> None:
    server.answers = ["hang up", (502, {}, {}), (201, {}, {"id": "order_1"})]
    assert connect().post("/orders", {"product_id": "p"}, once=True) == {"id": "order_1"}
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in server.requests}
    assert len(server.requests) == 3
    assert len(keys) == 1


def test_nobody_there_is_a_connection_failure_with_the_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with Api(Profile(url), sleep=lambda _: None) as api, pytest.raises(shuyan.ConnectionFailed) as raised:
            api.get("/x")
    assert raised.value.url == url


def test_a_token_is_fetched_once_and_again_when_it_no_longer_holds(server: Server, connect: Connect) -> None:
    server.answers = [(200, {}, 1), (200, {}, 2), (401, {}, {"code": "not_signed_in"}), (200, {}, 3)]
    api = connect("client")
    assert [api.get("/x"), api.get("/x"), api.get("/x")] == [1, 2, 3]
    assert server.tokens == 2
    assert [headers["Authorization"] for _, _, headers, _ in server.requests] == [
        "Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"]


def test_a_token_that_never_holds_ends(server: Server, connect: Connect) -> None:
    server.answers = [(401, {}, {"code": "not_signed_in"})] * 2
    with pytest.raises(shuyan.NotSignedIn):
        connect("client").get("/x")


@pytest.mark.parametrize(("status", "kind"), [
    (401, shuyan.NotSignedIn), (403, shuyan.NotAllowed), (404, shuyan.NotFound), (409, shuyan.Conflict),
    (422, shuyan.InvalidInput), (400, shuyan.InvalidInput), (500, shuyan.ProblemResponse), (418, shuyan.ProblemResponse),
])
def test_problems_become_exceptions(server: Server, connect: Connect, status: int, kind: type[shuyan.ProblemResponse]) -> None:
    body = {"type": "about:blank", "title": "T", "status": status, "detail": "What to show.", "code": "some_code",
            "errors": [{"field": "columns.0", "detail": "unknown"}]}
    server.answers = [(status, {"Content-Type": "application/problem+json", "X-Request-Id": "abc"}, body)]
    with pytest.raises(kind) as raised:
        connect().get("/x")
    error = raised.value
    assert (error.status, error.code, str(error), error.request_id) == (status, "some_code", "What to show.", "abc")
    assert error.errors == (shuyan.FieldError("columns.0", "unknown"),)


def test_a_rate_limit_is_waited_for_as_long_as_asked(server: Server) -> None:
    server.answers = [(429, {"Retry-After": "3"}, {}), (200, {}, "ok"), (429, {"Retry-After": "3600"}, {})]
    waited: list[float] = []
    with Api(Profile(server.url), sleep=waited.append) as api:
        assert api.get("/x") == "ok"
        with pytest.raises(shuyan.RateLimited) as raised:
            api.get("/x")
    assert waited == [3]
    assert raised.value.retry_after == 3600


def test_pages_follow_the_cursor_and_stop_at_the_limit(server: Server, connect: Connect) -> None:
    server.answers = [(200, {}, {"items": [{"n": 1}, {"n": 2}], "next": "c2"}), (200, {}, {"items": [{"n": 3}], "next": None}),
                      (200, {}, {"items": [{"n": 1}, {"n": 2}], "next": "c2"})]
    api = connect()
    assert [item["n"] for item in api.pages("/things", q="health")] == [1, 2, 3]
    assert [item["n"] for item in api.pages("/things", limit=2)] == [1, 2]
    assert [path for _, path, _, _ in server.requests] == [
        "/api/v1/things?q=health", "/api/v1/things?cursor=c2&q=health", "/api/v1/things?limit=2"]


def test_something_that_is_no_market_gives_a_sentence(server: Server, connect: Connect) -> None:
    server.answers = [(200, {"Content-Type": "text/html"}, "<html>"), (404, {"Content-Type": "text/html"}, "<html>")]
    with pytest.raises(shuyan.ShuyanError):
        list(connect().pages("/resources"))
    with pytest.raises(shuyan.NotFound):
        connect().get("/resources")
