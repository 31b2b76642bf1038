"""People of a real market, each at a browser of their own, for tests that walk the whole chain."""

from __future__ import annotations

import re
import time
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.layout import Party
from demo.market import DemoMarket
from tests.browser.reader import Reader, new_page

PATIENCE = 60_000  # milliseconds; real processes on a busy machine


@dataclass
class Person(Reader):
    """Somebody of that ``name`` at the running market; pictures of what they see are kept in ``shots``."""

    name: str = field(kw_only=True)
    shots: Path | None = field(default=None, kw_only=True)

    def press(self, zh: str, en: str, *, within: Any = None, exact: bool = True) -> None:
        """Press a button. What the page said before does not count as its success."""
        self.page.evaluate("document.querySelectorAll('main .alert-success').forEach(told => told.dataset.earlier = '')")
        (within or self.page).get_by_role("button", name=self.say(zh, en), exact=exact).first.click()

    def confirm(self, zh: str, en: str) -> None:
        """Press a button that asks whether one is sure, and say yes."""
        self.press(zh, en, within=self.page.locator("main"))
        dialog = self.page.locator(".modal.show")
        dialog.wait_for()
        dialog.locator("button[type=submit]").click()

    def follow(self, text: str) -> None:
        self.page.locator("main").get_by_role("link", name=text).first.click()

    def from_home(self, address: str) -> None:
        """Go to something by the list of what is to be done."""
        self.open("/home")
        self.shot(f"home-{self.name}")
        self.page.locator(f"main a[href='{address}']").first.click()
        self.page.wait_for_url(f"**{address}")

    def take(self, title: str) -> None:
        """Open what is to be done that bears a title."""
        self.open("/home")
        self.shot(f"home-{self.name}")
        self.page.locator("main").get_by_role("link", name=title, exact=True).first.click()
        self.page.wait_for_url(re.compile(r"^(?!.*/home$)"))

    def succeeds(self) -> None:
        """Wait until the page says that what was done is done."""
        from playwright.sync_api import TimeoutError as Waited

        try:
            self.page.locator("main .alert-success:not([data-earlier])").first.wait_for()
        except Waited as error:
            told = self.page.locator("main .alert").all_inner_texts()
            raise AssertionError(f"{self.name} at {self.address()} was told {told or 'nothing'}") from error

    def address(self) -> str:
        """The path of the page this person is at."""
        return str(self.page.url).removeprefix(self.url)

    def until(self, path: str, state: str) -> None:
        """Look at a page again and again until what it is about is in this state: the badge, for the picture names every state."""
        end = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < end:
            self.open(path)
            if self.page.locator("main .state").first.inner_text() == state:
                return
            self.page.wait_for_timeout(300)
        raise AssertionError(f"{path} was never {state!r}")

    def shot(self, name: str) -> None:
        """Keep a picture of the page, where pictures are wanted."""
        if self.shots is not None:
            self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)


class People:
    """Opens a browser for each person who is asked for: in English for those ``english`` names, in Chinese for everybody else."""

    def __init__(self, browser: Any, market: DemoMarket, english: Container[str], shots: Path | None = None) -> None:
        self._browser, self._market, self._english, self._shots = browser, market, english, shots
        self._there: dict[str, Person] = {}

    def __call__(self, party: Party) -> Person:
        """The person of this party, signed in."""
        if party.slug not in self._there:
            person = self.visitor(party.slug)
            person.open("/sign-in")
            person.enter(party.email, self._market.layout.accounts()[party.email])
        return self._there[party.slug]

    def visitor(self, name: str) -> Person:
        """Somebody by that name in this test, who is not signed in at first."""
        if name not in self._there:
            locale = "en" if name in self._english else "zh"
            self._there[name] = Person(new_page(self._browser, locale, PATIENCE), self._market.layout.url, locale,
                                       name=name, shots=self._shots)
        return self._there[name]

    def shots(self, name: str) -> None:
        """A picture of what everybody sees now."""
        for person in self._there.values():
            person.shot(f"{name}-{person.name}")

    def close(self) -> dict[str, list[str]]:
        """Close every browser; what went wrong in them, by person."""
        for person in self._there.values():
            person.page.context.close()
        return {name: person.troubles for name, person in self._there.items() if person.troubles}
