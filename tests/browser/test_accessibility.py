"""Every page that a role can reach by its links is clean for axe-core, in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlparse

import axe_playwright_python
import pytest
from tests.browser.conftest import Visitor
from tests.browser.scene import HOSPITALS, ROLES

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
RUN = """async () => {
    const found = await axe.run(document, {resultTypes: ["violations"]});
    return found.violations.map(one => [one.id, one.help, one.nodes.slice(0, 3).map(node => node.html.slice(0, 200))]);
}"""
MOST_PAGES = 60
TOKEN = re.compile(r'(?<=name="csrf_token" value=")[^"]*')
ELSEWHERE = re.compile(r"^/(openapi|api/|oauth/|static/|language/|healthz|metrics|problems/)|\.(atom|json|jsonld|md|pdf|csv|ics)$|/download|/files/")


def _pattern(url: str) -> str:
    """An address with its identifiers and query taken out: pages of one kind are looked at once."""
    return re.sub(r"(?<=/)([a-z]+_[0-9a-z]{20,}|org_\w+|node_\w+|res_\w+|\d+)(?=/|$)|(?<=/apps/)\w+", "*", urlparse(url).path)


def _links(page: Any, base: str) -> list[str]:
    found = page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")
    return [urldefrag(link).url for link in found if link.startswith(base) and not ELSEWHERE.search(urlparse(link).path)]


@pytest.fixture(scope="module")
def looked_at() -> set[tuple[str, str]]:
    """What the main part of pages held, by language. Roles often see the very same, with only the menu about it being their own."""
    return set()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", [None, *ROLES, HOSPITALS[0][0]])
def test_pages_have_no_violations(visitor: Visitor, role: str | None, looked_at: set[tuple[str, str]]) -> None:
    if role is not None:
        visitor.sign_in(role)
    else:
        visitor.open("/")
    page, base = visitor.page, visitor.site.url
    begin = ["/sign-in", "/reset", "/reset/new", "/no-such-page", "/account", "/account/second-factor", "/account/sessions", "/members"]
    waiting, seen, violations = [page.url, *(base + path for path in begin)], set[str](), []
    while waiting and len(seen) < MOST_PAGES:
        url = waiting.pop(0)
        pattern = _pattern(url)
        if pattern in seen:
            continue
        seen.add(pattern)
        if (answer := page.goto(url)) is None or "text/html" not in answer.headers.get("content-type", ""):
            continue
        waiting += _links(page, base)
        main = (visitor.locale, TOKEN.sub("", page.inner_html("main")))
        if len(seen) > 1 and main in looked_at:  # the first page is looked at for its menu
            continue
        looked_at.add(main)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        violations += [(pattern, *one) for one in page.evaluate(RUN)]
    visitor.troubles[:] = [trouble for trouble in visitor.troubles if "status of 404" not in trouble]
    assert len(seen) >= 5
    assert violations == [], "\n".join(map(str, violations))
