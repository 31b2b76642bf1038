"""HTTP to a market: tokens, retries that cannot do a thing twice, and problems as exceptions."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from shuyan._config import Profile
from shuyan._errors import ConnectionFailed, NotSignedIn, ProblemResponse, ShuyanError, problem_response
from shuyan._login import Person
from shuyan._text import language, t

PREFIX = "/api/v1"
_RETRIED_STATUS = frozenset({429, 502, 503, 504})
_ATTEMPTS = 4
_LONGEST_WAIT = 10.0  # seconds


class Api:
    """One market's REST interface. Safe to share between threads.

    A request is sent again only when doing it twice is the same as doing it once: reads, requests with an idempotency
    key (the same key is sent each time), and those that never reached the market.
    """

    def __init__(self, profile: Profile, *, timeout: float = 30.0, transport: httpx.BaseTransport | None = None,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.profile = profile
        self._sleep = sleep
        self._lock = threading.Lock()
        self._token = ""
        self._token_until = 0.0
        self._client = httpx.Client(
            base_url=profile.url, timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)), transport=transport,
            headers={"Accept-Language": "zh-CN" if language() == "zh" else "en", "User-Agent": "shuyan-sdk/0.1.0"},
        )
        self._person = Person(profile.login, self._client, profile.url) if profile.login else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    @property
    def http(self) -> httpx.Client:
        """The client beneath, for what is no part of the REST interface."""
        return self._client

    def get(self, path: str, **params: Any) -> Any:
        """The decoded JSON at ``path``. ``None`` parameters are left out."""
        return self.request("GET", path, params={key: value for key, value in params.items() if value is not None})

    def get_text(self, path: str) -> str:
        """The text at ``path``."""
        return str(self.request("GET", path, as_text=True))

    def get_bytes(self, path: str) -> bytes:
        """The file at ``path``."""
        content: bytes = self.request("GET", path, as_file=True)
        return content

    def post(self, path: str, body: dict[str, Any] | None = None, *, key: str | None = None, once: bool = False) -> Any:
        """POST ``body``; ``once`` makes it repeatable under an idempotency key (``key``, or a new one)."""
        if once and key is None:
            key = uuid.uuid4().hex
        return self.request("POST", path, json=body or {}, headers={"Idempotency-Key": key} if key else {},
                            repeatable=key is not None)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self.request("PUT", path, json=body)

    def pages(self, path: str, *, limit: int | None = None, **params: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, following its cursor; ``limit`` items at most."""
        left = limit
        cursor: str | None = None
        while left is None or left > 0:
            page = self.get(path, cursor=cursor, limit=None if left is None else min(left, 100), **params)
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise not_understood()
            for item in page["items"]:
                yield item
                if left is not None:
                    left -= 1
                    if left == 0:
                        return
            cursor = page.get("next")
            if not cursor:
                return

    def request(self, method: str, path: str, *, repeatable: bool | None = None, headers: dict[str, str] | None = None,
                as_text: bool = False, as_file: bool = False, **options: Any) -> Any:
        """One request under the rules of this class.

        Raises:
            ProblemResponse: the market answered with a problem.
            ConnectionFailed: it did not answer.
        """
        repeatable = method in ("GET", "PUT") if repeatable is None else repeatable
        signed_in_again = False
        attempt = 0
        while True:
            attempt += 1
            sent = {**(headers or {}), **self._authorisation()}
            try:
                answer = self._client.request(method, PREFIX + path, headers=sent, **options)
            except httpx.TransportError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                if attempt < _ATTEMPTS and (repeatable or unsent):
                    self._pause(attempt, None)
                    continue
                raise self._connection_failed(error) from error
            if answer.is_success:
                return answer.content if as_file else answer.text if as_text else _decoded(answer)
            if answer.status_code == 401 and sent.get("Authorization") and not signed_in_again:
                signed_in_again = True  # the token may have been revoked or the market restarted
                self._forget_token(sent["Authorization"])
                continue
            problem = _problem(answer)
            if repeatable and attempt < _ATTEMPTS and answer.status_code in _RETRIED_STATUS \
                    and (problem.retry_after or 0) <= _LONGEST_WAIT:
                self._pause(attempt, problem.retry_after)
                continue
            raise problem

    def _pause(self, attempt: int, asked: float | None) -> None:
        # Full jitter, so that many clients do not come back together.
        self._sleep(asked if asked is not None else random.uniform(0.05, 0.2 * 2**attempt))  # noqa: S311

    def _connection_failed(self, error: Exception) -> ConnectionFailed:
        url = self.profile.url
        if isinstance(error, httpx.TimeoutException):
            return ConnectionFailed(t("{url} 没有及时应答。", "{url} did not answer in time.", url=url), url=url)
        return ConnectionFailed(t("无法连接 {url}，请确认市场已启动、地址正确。",
                                  "Cannot connect to {url}: check that the market is running and the address is right.",
                                  url=url), url=url)

    def _authorisation(self) -> dict[str, str]:
        if self._person is not None:
            return self._person.authorisation()
        if not self.profile.client_id:
            return {}
        with self._lock:
            if time.monotonic() >= self._token_until:
                self._fetch_token()
            return {"Authorization": f"Bearer {self._token}"}

    def _forget_token(self, authorization: str) -> None:
        if self._person is not None:
            self._person.forget(authorization)
            return
        with self._lock:
            if authorization == f"Bearer {self._token}":
                self._token_until = 0.0

    def _fetch_token(self) -> None:
        """Client credentials grant (RFC 6749, section 4.4)."""
        credentials = httpx.BasicAuth(self.profile.client_id, self.profile.client_secret)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._client.post(f"{PREFIX}/oauth/token", data={"grant_type": "client_credentials"},
                                           auth=credentials)
            except httpx.TransportError as error:
                if attempt == _ATTEMPTS:
                    raise self._connection_failed(error) from error
                self._pause(attempt, None)
                continue
            if answer.is_success:
                break
            problem = _problem(answer)
            if answer.status_code not in _RETRIED_STATUS or attempt == _ATTEMPTS:
                if isinstance(problem, NotSignedIn):
                    raise NotSignedIn(problem.status, problem.code,
                                      t("客户端编号或密钥不正确。", "Wrong client id or secret."))
                raise problem
            self._pause(attempt, problem.retry_after)
        granted = answer.json()
        self._token = str(granted["access_token"])
        lifetime = float(granted.get("expires_in", 300))
        self._token_until = time.monotonic() + max(lifetime - 30, lifetime / 2)


def not_understood() -> ShuyanError:
    """For an answer that no market gives."""
    return ShuyanError(t("应答无法理解，请确认地址是数堰市场、版本与本工具相符。",
                         "The answer makes no sense: check that the address is a Shuyan market and fits this version."))


def _decoded(answer: httpx.Response) -> Any:
    if answer.status_code == 204 or not answer.content:
        return None
    try:
        return answer.json()
    except ValueError as error:
        raise not_understood() from error


def _problem(answer: httpx.Response) -> ProblemResponse:
    try:
        body = answer.json()
    except ValueError:
        body = None
    retry_after = answer.headers.get("retry-after", "")
    return problem_response(
        answer.status_code, body, request_id=answer.headers.get("x-request-id"),
        retry_after=float(retry_after) if retry_after.isdigit() else None,
    )
