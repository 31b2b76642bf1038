"""A real market in a process of its own for each module, and a real Chromium to look at it with."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.browser.reader import Reader, new_page
from tests.browser.scene import PASSWORD, Scene, email

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.needs_browser)


@dataclass
class Site:
    """The running market: where it is, what is in it, and a way to let a job run while somebody watches."""

    url: str
    scene: Scene
    environment: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def play(self, name: str, result: str = "statistics") -> None:
        """Run a queued job in the background, round after round, to the result of that name in the scene. All are run by one process:
        what it imports takes longer than a job."""
        if not self.started:
            self.started.append(subprocess.Popen([sys.executable, "-m", "tests.browser.server", "play"], cwd=ROOT, env=self.environment,
                                                 stdin=subprocess.PIPE))
        player = self.started[0].stdin
        assert player is not None
        player.write(f"{name} {result}\n".encode())
        player.flush()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium, or the test is skipped."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("SHUYAN_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("no Chromium on this machine: the pages are not looked at in a browser")
    return found


@pytest.fixture(scope="session")
def built(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market's data folder with the scene in it, built once however many processes test beside one another."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder = shared / "scene"
    with (shared / "scene.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "scene.pickle").exists():  # which is written last
            shutil.rmtree(folder, ignore_errors=True)
            made = subprocess.run([sys.executable, "-m", "tests.browser.server", "build"], cwd=ROOT, capture_output=True, text=True,
                                  env={**os.environ, "SHUYAN_DATA_DIR": str(folder)}, check=False)
            assert made.returncode == 0, made.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A market with the scene in it, served by the real application server."""
    with serve(built, tmp_path_factory.mktemp("module")) as market:
        yield market


@contextmanager
def serve(built: Path, where: Path, **settings: str) -> Iterator[Site]:
    """Serve a copy of the built market, with further settings."""
    folder, port = where / "market", _free_port()
    shutil.copytree(built, folder)
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "SHUYAN_DATA_DIR": str(folder), "SHUYAN_WEB_PORT": str(port), "SHUYAN_PUBLIC_URL": url, **settings}
    log = (folder / "web.log").open("wb")
    server = subprocess.Popen([Path(sys.executable).with_name("shuyan-market"), "serve"], cwd=ROOT, env=environment,
                              stdout=log, stderr=log)
    market = Site(url, Scene(), environment)
    try:
        _wait(url, server, folder / "web.log")
        market.scene = pickle.loads((folder / "scene.pickle").read_bytes())
        yield market
    finally:
        for process in (*market.started, server):
            process.terminate()
        for process in (*market.started, server):
            process.wait(20)
        log.close()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the market did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Chromium, for one module only: Playwright keeps an event loop running in the thread that started it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield running
        running.close()


@dataclass
class Visitor(Reader):
    """One person's browser window on the running site."""

    site: Site = field(kw_only=True)

    def sign_in(self, role: str) -> None:
        self.open("/sign-in")
        self.enter(email(role), PASSWORD)

    def menu(self, zh: str, en: str) -> None:
        """Go to a page by the main menu, opening the group it is in."""
        main = self.page.get_by_role("navigation", name=self.say("主菜单", "Main menu"))
        link = main.get_by_role("link", name=self.say(zh, en), exact=True, include_hidden=True)
        if not link.is_visible():
            link.locator("xpath=ancestor::li[contains(@class, 'dropdown')]").get_by_role("button").click()
        link.click()


@pytest.fixture(params=["zh", "en"])
def visitor(request: pytest.FixtureRequest, browser: Any, site: Site) -> Iterator[Visitor]:
    """A new visitor whose browser asks for the language; whatever goes wrong on a page fails the test."""
    somebody = Visitor(new_page(browser, request.param, 20_000), site.url, request.param, site=site)
    yield somebody
    somebody.page.context.close()
    assert somebody.troubles == []
