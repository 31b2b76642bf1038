"""Somebody at a page, in one language: what every test in a browser builds on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


def new_page(browser: Any, locale: str, patience: int) -> Any:
    """A page in a browser context of its own, that asks for a language and waits so many milliseconds for things."""
    context = browser.new_context(locale={"zh": "zh-CN", "en": "en-GB"}[locale], timezone_id="Asia/Shanghai",
                                  viewport={"width": 1280, "height": 900})
    context.set_default_timeout(patience)
    return context.new_page()


@dataclass
class Reader:
    """``url`` is the market's; ``troubles`` collects script errors, console errors and refused content, with where."""

    page: Any
    url: str
    locale: str
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.troubles.append(f"{message.text} {message.location.get('url')}")
                     if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

    def say(self, zh: str, en: str) -> str:
        """Of two texts the one this reader reads."""
        return zh if self.locale == "zh" else en

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def fill(self, **values: str) -> None:
        """Type into fields, by name."""
        for name, value in values.items():
            self.page.fill(f"[name={name}]", value)

    def enter(self, email: str, password: str) -> None:
        """Sign in, at the page for it, wherever it leads then."""
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", password)
        self.page.click("main form button[type=submit]")
        self.page.wait_for_url(re.compile(r"^(?!.*/sign-in)"))
