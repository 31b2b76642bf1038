"""What every test lives under: nothing leaves this machine, and a skip that CI may not have is a failure there.

``SHUYAN_REQUIRE=browser,postgres,mysql,data`` names what the machine is supposed to have. A test that is skipped for want of
one of them then fails.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = {"127.0.0.1", "::1", "localhost", "0.0.0.0"}

# How a skip for want of each thing is recognised: its marker, or these words in its sentence.
REQUIREMENTS = {
    "browser": re.compile(r"browser|chromium|playwright", re.IGNORECASE),
    "postgres": re.compile(r"postgres|initdb", re.IGNORECASE),
    "mysql": re.compile(r"mysql|mariadb", re.IGNORECASE),
    "data": re.compile(r"data set|shared data|shared/data|\bdata sets\b", re.IGNORECASE),
}
REQUIRED = {name.strip() for name in os.environ.get("SHUYAN_REQUIRE", "").split(",") if name.strip()}


# On a CI machine the same examples every time: a red run is about the change that made it. Elsewhere new ones are tried.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("here", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_configure(config: pytest.Config) -> None:
    unknown = REQUIRED - REQUIREMENTS.keys()
    if unknown:
        raise pytest.UsageError(f"SHUYAN_REQUIRE names {sorted(unknown)}; known are {sorted(REQUIREMENTS)}")


def missing_requirement(markers: set[str], sentence: str, required: set[str] = REQUIRED) -> str | None:
    """The required thing for want of which a test was skipped, if that was the reason."""
    for name in sorted(required):
        if f"needs_{name}" in markers or REQUIREMENTS[name].search(sentence):
            return name
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _fail_if_required(report, {marker.name for marker in item.iter_markers()})
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if report.skipped:
        _fail_if_required(report, set())
    return report


def _fail_if_required(report: Any, markers: set[str]) -> None:
    sentence = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    name = missing_requirement(markers, sentence)
    if name is not None:
        report.outcome = "failed"
        report.longrepr = f"SHUYAN_REQUIRE asks for {name}, and this was skipped: {sentence}"


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests reach this machine only."""
    if "unit" not in Path(request.node.path).relative_to(ROOT / "tests").parts:
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(address: Any) -> None:
        if isinstance(address, tuple) and str(address[0]) not in LOOPBACK:
            pytest.fail(f"a unit test wanted to connect to {address}", pytrace=True)

    def guarded(self: socket.socket, address: Any) -> None:
        check(address)
        return connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        check(address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """What a command sets up for its log ends with its test: it writes to that test's captured output."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return ROOT
