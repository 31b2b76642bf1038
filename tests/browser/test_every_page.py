"""Every page that a role can reach by its links, and those below with something particular on them, in both languages: it is clean for
axe-core, fits a desk's and a telephone's width, and has no script error. One visit of a page serves every check.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urldefrag, urljoin, urlparse

import pytest
from tests.browser import checks
from tests.browser.conftest import Visitor
from tests.browser.scene import HOSPITALS, ROLES, Scene

MOST_PAGES = 150  # kinds of; a role reaches about seventy
BEGIN = ["/sign-in", "/reset", "/reset/new", "/no-such-page", "/account", "/account/second-factor", "/account/sessions", "/members"]
PAGES: dict[str | None, list[str]] = {
    None: ["/", "/?q=nothing", "/sectors/health/products", "/product-changes", "/sign-in", "/products/{table}", "/products/{model}", "/products/{model}/card", "/resources", "/resources/{resource}",
           "/audit", "/audit/{model}"],
    "consumer": ["/orders", "/orders/{order_open}", "/orders/{order_paid}"],
    "developer": ["/jobs", "/jobs/{job_table}", "/jobs/{job_model}", "/jobs/{job_model}/card", "/jobs/{job_running}", "/jobs/{job_failed}", "/jobs/new",
                  "/jobs/new?grant={grant}&app=statistics", "/jobs/new?grant={grant}&app=regression",
                  "/jobs/new?grant={grant}&app=boosting", "/jobs/new?grant={noisy}&app=network", "/jobs/new?grant={grant}&app=survival",
                  "/sql?grant={grant}", "/sql?grant={noisy}", "/sql?job={job_query}", "/jobs/{job_query}", "/jobs/{job_noisy}",
                  "/jobs/{job_trees}", "/jobs/{job_network}", "/jobs/{job_clusters}", "/jobs/{job_components}", "/jobs/{job_survival}",
                  "/jobs/{job_noisy_clusters}", "/jobs/{job_noisy_components}", "/jobs/{job_noisy_components}/card", "/jobs/new?grant={noisy}&app=clustering",
                  "/budgets", "/apps", "/apps/boosting", "/apps/query", "/grants/{noisy}", "/my/products",
                  "/my/products/new", "/my/products/{draft}", "/my/products/{draft}/versions/1", "/my/products/{draft}/edit",
                  "/my/products/{table}/versions/1", "/my/watched", "/demands/{demand}", "/grants/{grant}"],
    "authority": ["/desk/versions", "/my/products/{table}/versions/1", "/my/products/{table}", "/desk/products", "/partners", "/reviews", "/reviews/{review}", "/reviews/{review_query}", "/reviews/{review_trees}", "/reviews/{review_trees}/card", "/budgets", "/demands", "/demands/{demand}", "/grants", "/grants/{grant}", "/nodes"],
    "operator": ["/desk/orders?status=", "/desk/products", "/my/products/{draft}", "/nodes", "/nodes/{node}"],
    "first": ["/reviews", "/reviews/{review}", "/desk/versions", "/my/products/{table}/versions/1", "/nodes", "/resources", "/budgets", "/apps"],
}
MAIN = re.compile(r"<main\b.*</main>", re.DOTALL)
LINK = re.compile(r'<a\b[^>]*?\bhref="([^"]*)"')
LANGUAGE = re.compile(r'<html lang="([^"]*)"')
TOKEN = re.compile(r'(?<=name="csrf_token" value=")[^"]*')
ELSEWHERE = re.compile(r"^/(openapi|api/|oauth/|static/|language/|healthz|metrics|problems/)|\.(atom|json|jsonld|md|pdf|csv|ics)$|/download|/files/")


@dataclass
class LookedAt:
    """What has been looked at: by language what the main part of pages held, for roles often see the very same, with only the menu
    about it being their own; and how texts looked (see :func:`checks.violations`)."""

    mains: set[tuple[str, str]] = field(default_factory=set)
    looks: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def looked_at() -> LookedAt:
    return LookedAt()


def _pattern(url: str) -> str:
    """An address with its identifiers and query taken out: pages of one kind are looked at once."""
    return re.sub(r"(?<=/)([a-z]+_[0-9a-z]{20,}|org_\w+|node_\w+|res_\w+|\d+)(?=/|$)|(?<=/apps/)\w+", "*", urlparse(url).path)


def _links(text: str, address: str, base: str) -> list[str]:
    """Where a page leads to, in the market. ``text`` is as the market sent it: nothing that a script adds."""
    found = (urldefrag(urljoin(address, html.unescape(link))).url for link in LINK.findall(text))
    return [link for link in found if link.startswith(f"{base}/") and not ELSEWHERE.search(urlparse(link).path)]


def _named(role: str | None, scene: Scene) -> list[str]:
    ids = {**scene.products, "resource": scene.resources[0], "order_open": scene.orders["table"],
           "order_paid": scene.orders["model"], "grant": scene.grant, "noisy": scene.noisy_grant, "demand": scene.open_demand,
           "review": scene.reviews["waiting"], "node": scene.nodes[0],
           **{f"review_{name}": review for name, review in scene.reviews.items()},
           **{f"job_{name}": job for name, job in scene.jobs.items()}}
    return [path.format(**ids) for path in PAGES[role]]


def _look(page: Any, url: str, looks: set[str]) -> list[str]:
    """Open a page at the first width and say what is wrong with it."""
    page.set_viewport_size({"width": checks.WIDTHS[0], "height": checks.HEIGHT})
    page.goto(url)
    return [*checks.violations(page, looks), *checks.unclean(page), *checks.too_wide(page)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", [None, *ROLES, HOSPITALS[0][0]], ids=lambda role: role or "public")
def test_every_page_is_accessible_fits_every_width_and_is_clean(visitor: Visitor, role: str | None, looked_at: LookedAt) -> None:
    page, base = visitor.page, visitor.site.url
    if role is not None:
        visitor.sign_in(role)
    else:
        visitor.open("/")
    checks.bring_axe(page)
    named = [base + path for path in _named(role, visitor.site.scene)]
    waiting, seen, wrong = [page.url, *named, *(base + path for path in BEGIN)], set[str](), []
    for at, url in enumerate(waiting):  # which grows; after the first page the named ones, each of which is looked at
        pattern = _pattern(url)
        assert len(seen) < MOST_PAGES, "addresses of one kind are taken for many"
        if pattern in seen and at > len(named):
            continue
        seen.add(pattern)
        answer = page.request.get(url, headers={"Accept-Language": visitor.say("zh-CN", "en-GB")})  # cheaper than opening it
        if 0 < at <= len(named) and answer.status != 200:
            wrong.append(f"{url}: status {answer.status}")
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        text = answer.text()
        assert LANGUAGE.findall(text) == [visitor.say("zh-CN", "en")], url
        waiting += _links(text, answer.url, base)
        main = visitor.locale, TOKEN.sub("", MAIN.findall(text)[0])
        if at and main in looked_at.mains:  # the first page is looked at for its menu
            continue
        looked_at.mains.add(main)
        wrong += [f"{url}: {what}" for what in _look(page, url, looked_at.looks)]
    visitor.troubles[:] = [trouble for trouble in visitor.troubles if "status of 404" not in trouble]
    assert wrong == [], "\n".join(wrong)
    assert len(seen) >= 5
