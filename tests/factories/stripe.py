"""The stand-in for Stripe as a test sees it: started as its own process, and told what buyers and cards do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

import httpx
import pytest
import stripe
from stripe import _request_options
from stripe._request_options import RequestOptions
from typing_extensions import get_type_hints, is_typeddict

from marketplace.settings import settings

WEBHOOK_SECRET = "whsec_of_these_tests"
SECRET_KEY = "sk_test_of_these_tests"


class NotTaken(Exception):
    """A request that does not fit the stripe package's types; the text says where."""


def accepts(kind: Any, value: Any, at: str = "request") -> None:
    """Check a request against the stripe package's type of its parameters: every name, every kind of value, every listed word.

    Numbers and booleans may be texts, as they are in a form. Raises :class:`NotTaken`.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (NotRequired, Required):
        accepts(inner[0], value, at)
    elif is_typeddict(kind):
        _accepts_names(kind, value, at)
    elif origin in (Union, types.UnionType):
        # where words are listed, "or any other text" stands beside them for words of the future
        listed = any(get_origin(one) is Literal for one in inner)
        _one_of([one for one in inner if not (listed and one is str)], value, at)
    elif origin is Literal:
        _expect(value in inner, at, f"one of {inner}")
    elif origin is list:
        _expect(isinstance(value, list), at, "a list")
        for number, one in enumerate(value):
            accepts(inner[0], one, f"{at}[{number}]")
    elif origin is dict:
        _expect(isinstance(value, dict), at, "names and values")
        for name, one in value.items():
            accepts(inner[1], one, f"{at}.{name}")
    elif kind is bool:
        _expect(value in (True, False, "true", "false", "True", "False"), at, "yes or no")
    elif kind is int:
        _expect(type(value) is int or (isinstance(value, str) and value.isascii() and value.isdigit()), at, "a whole number")
    else:
        _expect(isinstance(kind, type) and isinstance(value, kind), at, str(kind))


def _accepts_names(kind: Any, value: Any, at: str) -> None:
    _expect(isinstance(value, dict), at, "names and values")
    hints = get_type_hints(kind, {**vars(stripe), **vars(_request_options), **vars(sys.modules[kind.__module__]), "StripeContext": object},
                           include_extras=True)
    options = {} if kind is RequestOptions else RequestOptions.__annotations__
    for name in hints.keys() - options.keys():
        _expect(name in value or get_origin(hints[name]) is NotRequired, f"{at}.{name}", "something")
    for name, one in value.items():
        _expect(name in hints and name not in options, f"{at}.{name}", "nothing")
        accepts(hints[name], one, f"{at}.{name}")


def _one_of(kinds: list[Any], value: Any, at: str) -> None:
    problems = []
    for kind in kinds:
        try:
            return accepts(kind, value, at)
        except NotTaken as problem:
            problems.append(str(problem))
    raise NotTaken("; or ".join(problems))


def _expect(good: bool, at: str, what: str) -> None:
    if not good:
        raise NotTaken(f"{at}: expected {what}")


class StandIn:
    """A running stand-in; ``base`` is its address."""

    def __init__(self) -> None:
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.factories.stripe_stand_in"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": str(root)})
        assert self._process.stdout is not None
        self.base = self._process.stdout.readline().strip()
        assert self.base.startswith("http"), "the stand-in for Stripe did not start"
        self._client = httpx.Client(base_url=self.base, timeout=20)

    def stop(self) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()

    def _post(self, path: str, **values: Any) -> None:
        self._client.post(f"/_config/{path}", json=values).raise_for_status()

    def pay(self, session_id: str, card: str = "good") -> bool:
        """What a buyer does on Stripe's page; whether the session took it."""
        return self._client.post(f"/_config/pay/{session_id}", data={"card": card}).status_code == 303

    def faults(self, **faults: Any) -> None:
        """``down``: so many requests fail; ``lose``: so many answers are lost; ``refunds``: what becomes of new ones."""
        self._post("faults", **faults)

    def forget_keys(self) -> None:
        self._post("forget-keys")

    def alter(self, kind: str, id: str, *events: str, **values: Any) -> None:
        """Change something that Stripe holds, and have it send events about it."""
        self._post("alter", object=kind, id=id, set=values, events=events)

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Every event so far, oldest first."""
        return [one for one in self._client.get("/_config/events").json() if not kind or one["type"] == kind]

    def send_events_to(self, url: str) -> None:
        """Where events are sent from now on."""
        self._post("webhooks/market", url=url, secret=WEBHOOK_SECRET)

    def refunds(self, payment_intent: str) -> list[dict[str, Any]]:
        answer = self._client.get("/v1/refunds", params={"payment_intent": payment_intent}, headers={"Authorization": f"Bearer {SECRET_KEY}"})
        found: list[dict[str, Any]] = answer.json()["data"]
        return found


def environment(running: StandIn, folder: Path) -> dict[str, str]:
    """What a market's process needs in its environment to take cards, with the secrets in files of ``folder``."""
    found = {"SHUYAN_STRIPE_API_BASE": running.base}
    for name, text in (("secret_key", SECRET_KEY), ("webhook_secret", WEBHOOK_SECRET)):
        path = folder / f"stripe_{name}"
        path.write_text(f"{text}\n")
        found[f"SHUYAN_STRIPE_{name.upper()}_FILE"] = str(path)
    return found


@contextmanager
def accept_cards(running: StandIn, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Settings by which the market of this process takes cards, at the stand-in. To be entered after the database is there."""
    for name, value in environment(running, folder).items():
        patch.setenv(name, value)
    settings.cache_clear()
    running.faults(down=0, lose=0, refunds="succeeded")
    try:
        yield running
    finally:
        settings.cache_clear()


def signed(event: dict[str, Any], *, secret: str = WEBHOOK_SECRET, at: int | None = None) -> tuple[bytes, str]:
    """An event's body and its ``Stripe-Signature``."""
    body = json.dumps(event)
    return body.encode(), stripe.WebhookSignature.generate_signature_header(body, secret, at)


