"""A person's own sign-in on this machine: the device flow (RFC 8628), and the tokens that come of it.

They stand in ``logins/`` beside the saved profiles, one file a profile, readable by their owner only. Several processes may share
them: a refresh token is good once, so whoever renews does it under a lock on the file, and the others take what it wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from shuyan._config import private_folder, profiles_path, write_private
from shuyan._errors import ConfigurationError, ConnectionFailed, NotAllowed, NotSignedIn, ShuyanError
from shuyan._text import t

CLIENT_ID: Final = "shuyan-cli"
"""The command line, as every market knows it: a public client, which has no secret."""
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_EARLY: Final = 60.0
"""Seconds before its end from which an access token is not used any more."""


@dataclass(frozen=True)
class Tokens:
    """What a sign-in gave; ``until`` is in seconds since the epoch, for other processes read it too."""

    access_token: str
    refresh_token: str
    until: float
    scope: str = ""

    def __repr__(self) -> str:
        return f"Tokens(until={self.until!r}, scope={self.scope!r}, …)"

    @property
    def stale(self) -> bool:
        return time.time() >= self.until - _EARLY


def tokens_of(answer: dict[str, Any]) -> Tokens:
    """The tokens in an answer of the token endpoint."""
    return Tokens(str(answer["access_token"]), str(answer["refresh_token"]), time.time() + float(answer.get("expires_in", 300)),
                  str(answer.get("scope", "")))


def path_of(name: str) -> Path:
    """The file with the tokens of a profile."""
    return profiles_path().parent / "logins" / f"{quote(name, safe='')}.json"


def read(name: str) -> Tokens | None:
    """The saved tokens; ``None`` if there are none.

    Raises:
        ConfigurationError: the file is there and cannot be understood.
    """
    path = path_of(name)
    try:
        return Tokens(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(t("无法读取登录信息 {path}，请删除它后重新运行 shuyan login。",
                                   "Cannot read {path}; remove it and run shuyan login again.", path=path)) from error


def save(name: str, tokens: Tokens | None) -> None:
    """Save tokens, or forget them with ``None``. The file is replaced as a whole, mode 0600."""
    path = path_of(name)
    if tokens is None:
        path.unlink(missing_ok=True)
    else:
        write_private(path, json.dumps(asdict(tokens)))


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Nobody else on this machine renews or ends this sign-in meanwhile; waits for whoever does."""
    path = path_of(name).with_suffix(".lock")
    private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
                return
            except OSError:
                continue  # it waits ten seconds at a time
    fcntl.flock(descriptor, fcntl.LOCK_EX)


class Person:
    """The signed-in person as a client needs them: a header for each request, renewed when it is time. Safe to share between threads."""

    def __init__(self, name: str, client: httpx.Client, url: str) -> None:
        self._name = name
        self._client = client
        self._url = url
        self._tokens: Tokens | None = None
        self._guard = threading.Lock()

    def authorisation(self) -> dict[str, str]:
        """The ``Authorization`` header.

        Raises:
            NotSignedIn: the sign-in has ended.
            ConnectionFailed: it has to be renewed and nobody answers.
        """
        with self._guard:
            if self._tokens is None:
                self._tokens = read(self._name)
            if self._tokens is None or self._tokens.stale:
                self._tokens = self._renewed("")
            return {"Authorization": f"Bearer {self._tokens.access_token}"}

    def forget(self, authorisation: str) -> None:
        """The market did not take this header: renew, unless another process has done so already."""
        with self._guard:
            if self._tokens is not None and authorisation == f"Bearer {self._tokens.access_token}":
                self._tokens = self._renewed(self._tokens.access_token)

    def _renewed(self, refused: str) -> Tokens:
        with locked(self._name):
            found = read(self._name)
            if found is None:
                raise _ended()
            if found.access_token != refused and not found.stale:
                return found
            answer = post(self._client, self._url, "token", {
                "grant_type": "refresh_token", "refresh_token": found.refresh_token, "client_id": CLIENT_ID})
            if not answer.is_success:
                error = _error(answer)
                if error in ("invalid_grant", "invalid_client"):
                    save(self._name, None)
                    raise _ended()
                raise _unexpected(error or f"HTTP {answer.status_code}")
            fresh = tokens_of(answer.json())
            save(self._name, fresh)
            return fresh


def _ended() -> NotSignedIn:
    return NotSignedIn(401, "login_ended", t("登录已失效，请重新运行 shuyan login。", "Your sign-in has ended; run shuyan login again."))


def _unexpected(error: str) -> ShuyanError:
    return ShuyanError(t("市场暂时无法处理登录（{error}），请稍后再试。", "The market could not deal with the sign-in ({error}); try again later.",
                         error=error))


def _error(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    return str(body.get("error") or body.get("code") or "") if isinstance(body, dict) else ""


def post(client: httpx.Client, url: str, what: str, fields: dict[str, str]) -> httpx.Response:
    """Ask the authorisation server. Sent once only: a code or refresh token must not be used twice.

    Raises:
        ConnectionFailed: nobody answered.
    """
    try:
        return client.post(f"/oauth/{what}", data=fields)
    except httpx.TransportError as error:
        raise ConnectionFailed(t("无法连接 {url}，请确认市场已启动、地址正确。",
                                 "Cannot connect to {url}: check that the market is running and the address is right.", url=url),
                               url=url) from error


@dataclass(frozen=True)
class Shown:
    """What a person has to do: open ``address`` and enter ``code``, or open ``complete`` and compare it; within ``seconds``."""

    address: str
    code: str
    complete: str
    seconds: float


def sign_in(client: httpx.Client, url: str, show: Callable[[Shown], object], *, scope: str = "",
            sleep: Callable[[float], None] = time.sleep) -> Tokens:
    """Let a person sign in with their browser, and wait for it.

    Args:
        show: called once with what they have to do.
        scope: what the command line may do, space separated; everything it can without.
        sleep: waits for so many seconds between two looks; the market says how many.

    Raises:
        NotAllowed: they did not allow it, or the scope is not to be had.
        NotSignedIn: they did not decide in time.
        ConnectionFailed: nobody answered.
    """
    answer = post(client, url, "device_authorization", {"client_id": CLIENT_ID, **({"scope": scope} if scope else {})})
    if not answer.is_success:
        error = _error(answer)
        if error == "invalid_scope":
            raise NotAllowed(400, error, t("没有这样的权限范围：{scope}。", "There is no such scope: {scope}.", scope=scope))
        raise _unexpected(error or f"HTTP {answer.status_code}")
    try:
        asked = answer.json()
        device_code, wait, seconds = str(asked["device_code"]), float(asked.get("interval", 5)), float(asked["expires_in"])
        show(Shown(str(asked["verification_uri"]), str(asked["user_code"]),
                   str(asked.get("verification_uri_complete") or asked["verification_uri"]), seconds))
    except (ValueError, KeyError, TypeError) as error:
        raise _unexpected("device_authorization") from error
    waited = 0.0
    while waited < seconds:
        sleep(wait)
        waited += wait
        try:
            answer = post(client, url, "token", {"grant_type": DEVICE, "device_code": device_code, "client_id": CLIENT_ID})
        except ConnectionFailed:
            wait *= 2  # RFC 8628, section 3.5
            continue
        if answer.is_success:
            return tokens_of(answer.json())
        error_code = _error(answer)
        if error_code == "slow_down" or answer.status_code == 429:
            wait += 5
        elif error_code == "access_denied":
            raise NotAllowed(403, error_code, t("您在浏览器中没有同意，未登录。", "You did not allow it in the browser; nobody was signed in."))
        elif error_code == "expired_token":
            break
        elif answer.status_code not in (502, 503, 504) and error_code != "authorization_pending":
            raise _unexpected(error_code or f"HTTP {answer.status_code}")
    raise NotSignedIn(401, "login_expired", t("代码已过期，请重新运行 shuyan login。", "The code has expired; run shuyan login again."))


def sign_out(name: str, client: httpx.Client, url: str) -> bool:
    """End a sign-in here and at the market; whether the market confirmed it."""
    with locked(name):
        found = read(name)
        save(name, None)
    if found is None:
        return True
    try:
        return post(client, url, "revoke", {"token": found.refresh_token, "client_id": CLIENT_ID}).is_success
    except ConnectionFailed:
        return False
